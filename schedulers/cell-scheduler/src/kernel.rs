// SPDX-License-Identifier: GPL-2.0-only
//! Owns the BPF skeleton: opens, configures, loads and attaches it, and detaches it again.
//!
//! Skeleton types stop here. What the rest of the program sees is a [`BpfObject`](runtime::seam::BpfObject) for as long as
//! the scheduler is attached.

use anyhow::{Result, ensure};
use runtime::setup::Setup;

use crate::machine::Machine;
use crate::options::Options;

pub mod abi;

runtime::skeleton!(cell_scheduler, cell_scheduler_mut);

/// Cells with CPUs of their own that can exist on this machine: no more than there are CPUs.
pub fn max_cells(machine: &Machine) -> u32 {
    let cpus = u32::try_from(machine.topology.online().len()).unwrap_or(u32::MAX);
    cpus.clamp(1, abi::cs_limits_CS_MAX_CELLS)
}

/// What this machine and these options mean for the BPF object.
///
/// # Errors
/// When the machine has more caches or CPUs than the object can hold.
pub fn setup(machine: &Machine, options: &Options) -> Result<Setup> {
    let nr_llcs = u32::try_from(machine.blocks.len())?;
    let nr_cpu_ids = u32::try_from(machine.topology.nr_cpu_ids())?;
    ensure!(
        nr_llcs <= abi::cs_limits_CS_MAX_LLCS,
        "{nr_llcs} cache blocks; at most {} fit, raise --max-cpus-per-queue",
        abi::cs_limits_CS_MAX_LLCS
    );
    ensure!(
        nr_cpu_ids <= abi::cs_limits_CS_MAX_CPUS,
        "CPU numbers up to {nr_cpu_ids}; at most {} fit",
        abi::cs_limits_CS_MAX_CPUS
    );
    let nr_cells = max_cells(machine);
    let (member_level_min, member_level_max) = options.member_levels();
    let conf = abi::cs_config {
        slice_ns: options.slice_us * 1000,
        slice_min_ns: options.slice_min_us * 1000,
        borrow_slice_ns: options.borrow_slice_us * 1000,
        shrink_slice_ns: options.pinned_slice_us * 1000,
        nr_cpu_ids,
        nr_llcs,
        nr_cells,
        nr_slots: options.nr_slots(),
        member_level_min,
        member_level_max,
        cgroup_weights: u32::from(!options.no_cgroup_weights),
        pad: 0,
    };
    let mut cpu_llc = vec![abi::cs_limits_CS_MAX_LLCS; abi::cs_limits_CS_MAX_CPUS as usize];
    let mut llc_node = vec![0u32; abi::cs_limits_CS_MAX_LLCS as usize];
    for block in &machine.blocks.domains {
        llc_node[block.id] = u32::try_from(block.node)?;
        for cpu in block.cpus.iter() {
            cpu_llc[cpu] = u32::try_from(block.id)?;
        }
    }
    Ok(options.common.complete(Setup {
        read_only: vec![
            ("conf", bytemuck::bytes_of(&conf).to_vec()),
            ("cpu_llc", bytemuck::cast_slice(&cpu_llc).to_vec()),
            ("llc_node", bytemuck::cast_slice(&llc_node).to_vec()),
        ],
        map_entries: vec![("queues", nr_cells * nr_llcs), ("figures", options.nr_slots())],
        ops: "cell_scheduler",
        // A task alone on a CPU that its cell has lost or borrowed passes through enqueue.
        ops_flags: vec!["SCX_OPS_ENQ_LAST"],
        ..Setup::default()
    }))
}

#[cfg(test)]
mod tests;
