// SPDX-License-Identifier: GPL-2.0-only
//! Owns the BPF skeleton: opens, configures, loads and attaches it, and detaches it again.
//!
//! Skeleton types stop here. What the rest of the program sees is a [`BpfObject`] for as long as the scheduler is attached.

use std::mem::MaybeUninit;

use anyhow::{Result, ensure};
use libbpf_rs::OpenObject;
use libbpf_rs::skel::{OpenSkel, Skel};
use runtime::libbpf::{self, LibbpfObject};
use runtime::seam::BpfObject;
use runtime::setup::Setup;
use scx_utils::{scx_ops_attach, scx_ops_load, scx_ops_open};

use crate::machine::Machine;
use crate::options::Options;

pub mod abi;

#[allow(
    missing_docs,
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    clippy::allow_attributes_without_reason,
    dead_code,
    reason = "generated from the BPF object"
)]
mod skel {
    include!(concat!(env!("OUT_DIR"), "/bpf_skel.rs"));
}

use skel::{BpfSkel, BpfSkelBuilder, OpenBpfSkel};

/// Loads and attaches the scheduler, hands its BPF object to `work`, and detaches when `work` is done. If this process
/// dies inside, the kernel detaches by itself.
///
/// # Errors
/// When the kernel refuses the object, its configuration or the attachment; whatever `work` fails with.
pub fn with_scheduler<R>(
    machine: &Machine,
    options: &Options,
    work: impl FnOnce(&mut dyn BpfObject) -> Result<R>,
) -> Result<R> {
    libbpf::log_while_loading();
    let mut place = MaybeUninit::uninit();
    let mut skel = load(&mut place, machine, options)?;
    libbpf::log_while_attaching();
    let link = scx_ops_attach!(skel, cell_scheduler)?;
    let result =
        LibbpfObject::new(skel.object()).map_err(Into::into).and_then(|mut object| work(&mut object));
    drop(link);
    result
}

fn load<'a>(
    place: &'a mut MaybeUninit<OpenObject>,
    machine: &Machine,
    options: &Options,
) -> Result<BpfSkel<'a>> {
    let mut skel = scx_ops_open!(BpfSkelBuilder::default(), place, cell_scheduler, None)?;
    apply(&mut skel, &setup(machine, options)?)?;
    let skel = scx_ops_load!(skel, cell_scheduler, uei)?;
    Ok(skel)
}

/// The compiled BPF object, as the skeleton embeds it.
pub fn object_bytes() -> &'static [u8] {
    include_bytes!(concat!(env!("OUT_DIR"), "/bpf.bpf.o"))
}

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
        nr_slots: options.max_members,
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
    Ok(Setup {
        read_only: vec![
            ("conf", bytemuck::bytes_of(&conf).to_vec()),
            ("cpu_llc", bytemuck::cast_slice(&cpu_llc).to_vec()),
            ("llc_node", bytemuck::cast_slice(&llc_node).to_vec()),
        ],
        map_entries: vec![("queues", nr_cells * nr_llcs), ("figures", options.max_members)],
        ops: "cell_scheduler",
        // A task alone on a CPU that its cell has lost or borrowed passes through enqueue.
        ops_flags: vec!["SCX_OPS_ENQ_LAST"],
        exit_dump_len: options.common.exit_dump_len,
    })
}

fn apply(skel: &mut OpenBpfSkel<'_>, setup: &Setup) -> Result<()> {
    libbpf::apply(skel.open_object_mut(), setup)?;
    let ops = skel.struct_ops.cell_scheduler_mut();
    ops.flags = libbpf::ops_flags(setup);
    ops.exit_dump_len = setup.exit_dump_len;
    Ok(())
}

#[cfg(test)]
mod tests;
