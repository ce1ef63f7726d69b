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

runtime::skeleton!(domain_balancer, domain_balancer_mut);

/// What this machine and these options mean for the BPF object.
///
/// # Errors
/// When the machine has more domains or CPUs than the object can hold.
pub fn setup(machine: &Machine, options: &Options) -> Result<Setup> {
    let nr_domains = u32::try_from(machine.domains.len())?;
    let nr_cpu_ids = u32::try_from(machine.topology.nr_cpu_ids())?;
    ensure!(
        nr_domains <= abi::db_limits_DB_MAX_DOMAINS,
        "{nr_domains} domains; at most {} fit, use larger ones",
        abi::db_limits_DB_MAX_DOMAINS
    );
    ensure!(
        nr_cpu_ids <= abi::db_limits_DB_MAX_CPUS,
        "CPU numbers up to {nr_cpu_ids}; at most {} fit",
        abi::db_limits_DB_MAX_CPUS
    );
    let conf = abi::db_config {
        slice_ns: options.slice_us * 1000,
        slice_min_ns: options.slice_min_us * 1000,
        load_half_life_ns: options.load_half_life_ns(),
        nr_domains,
        nr_cpu_ids,
        greedy_threshold: options.greedy_threshold,
        greedy_threshold_x_node: options.greedy_threshold_x_node,
        fifo: options.fifo.into(),
        pad: 0,
    };
    let mut cpu_domain = vec![abi::db_limits_DB_MAX_DOMAINS; abi::db_limits_DB_MAX_CPUS as usize];
    let mut domain_node = vec![0u32; abi::db_limits_DB_MAX_DOMAINS as usize];
    for domain in &machine.domains.domains {
        domain_node[domain.id] = u32::try_from(domain.node)?;
        for cpu in domain.cpus.iter() {
            cpu_domain[cpu] = u32::try_from(domain.id)?;
        }
    }
    Ok(options.common.complete(Setup {
        read_only: vec![
            ("conf", bytemuck::bytes_of(&conf).to_vec()),
            ("cpu_domain", bytemuck::cast_slice(&cpu_domain).to_vec()),
            ("domain_node", bytemuck::cast_slice(&domain_node).to_vec()),
        ],
        map_entries: vec![
            ("domains", nr_domains),
            ("cpu_axes", nr_cpu_ids),
            ("domain_snapshots", nr_domains),
            ("load_buckets", nr_domains * abi::WEIGHT_BUCKETS),
        ],
        ops: "domain_balancer",
        // A task with a planned move passes through enqueue even when it is alone on its CPU.
        ops_flags: vec!["SCX_OPS_ENQ_LAST"],
        ..Setup::default()
    }))
}

#[cfg(test)]
mod tests;
