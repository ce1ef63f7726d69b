// SPDX-License-Identifier: GPL-2.0-only
//! Owns the BPF skeleton: opens, configures, loads and attaches it, and detaches it again.
//!
//! Skeleton types stop here. What the rest of the program sees is a [`BpfObject`] for as long as the scheduler is attached.

use std::mem::MaybeUninit;
use std::time::Instant;

use anyhow::{Result, ensure};
use libbpf_rs::OpenObject;
use libbpf_rs::skel::{OpenSkel, Skel};
use runtime::libbpf::{self, LibbpfObject};
use runtime::seam::BpfObject;
use runtime::setup::Setup;
use scx_utils::{scx_ops_attach, scx_ops_load, scx_ops_open};
use tracing::debug;

use crate::machine::Machine;
use crate::options::Options;

pub mod abi;
mod verifier;

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
    let link = scx_ops_attach!(skel, domain_balancer)?;
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
    let begin = Instant::now();
    let mut skel = scx_ops_open!(BpfSkelBuilder::default(), place, domain_balancer, None)?;
    apply(&mut skel, &setup(machine, options)?)?;
    let opened = begin.elapsed();
    let skel = scx_ops_load!(skel, domain_balancer, uei)?;
    debug!(
        "opened in {:.3} s, loaded in {:.3} s",
        opened.as_secs_f64(),
        (begin.elapsed() - opened).as_secs_f64()
    );
    verifier::log_cost(skel.object());
    Ok(skel)
}

/// The compiled BPF object, as the skeleton embeds it.
pub fn object_bytes() -> &'static [u8] {
    include_bytes!(concat!(env!("OUT_DIR"), "/bpf.bpf.o"))
}

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
    Ok(Setup {
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
        exit_dump_len: options.common.exit_dump_len,
    })
}

fn apply(skel: &mut OpenBpfSkel<'_>, setup: &Setup) -> Result<()> {
    libbpf::apply(skel.open_object_mut(), setup)?;
    let ops = skel.struct_ops.domain_balancer_mut();
    ops.flags = libbpf::ops_flags(setup);
    ops.exit_dump_len = setup.exit_dump_len;
    Ok(())
}

#[cfg(test)]
mod tests;
