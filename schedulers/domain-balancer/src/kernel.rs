// SPDX-License-Identifier: GPL-2.0-only
//! Owns the BPF skeleton: opens, configures, loads and attaches it, and detaches it again.
//!
//! Skeleton types stop here. What the rest of the program sees is a [`BpfObject`] for as long as the scheduler is attached.

use std::mem::MaybeUninit;

use anyhow::{Context, Result, anyhow};
use libbpf_rs::skel::Skel;
use libbpf_rs::{OpenObject, PrintLevel};
use runtime::libbpf::LibbpfObject;
use runtime::seam::BpfObject;
use scx_utils::{compat, scx_ops_attach, scx_ops_load, scx_ops_open};

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
    libbpf_rs::set_print(Some((PrintLevel::Debug, log_libbpf)));
    let mut place = MaybeUninit::uninit();
    let mut skel = load(&mut place, machine, options)?;
    // From here on libbpf warns of things that are as they should be, such as the struct_ops link not being part of
    // the skeleton; what fails comes back as an error anyway.
    libbpf_rs::set_print(Some((PrintLevel::Debug, log_libbpf_quietly)));
    let link = scx_ops_attach!(skel, domain_balancer)?;
    let result = LibbpfObject::new(skel.object()).map_err(Into::into).and_then(|mut object| work(&mut object));
    drop(link);
    result
}

fn load<'a>(
    place: &'a mut MaybeUninit<OpenObject>,
    machine: &Machine,
    options: &Options,
) -> Result<BpfSkel<'a>> {
    let mut skel =
        scx_ops_open!(BpfSkelBuilder::default(), place, domain_balancer, None)?;
    configure(&mut skel, machine, options)?;
    let skel = scx_ops_load!(skel, domain_balancer, uei)?;
    Ok(skel)
}

/// Fills the read-only data and sizes the maps for this machine.
fn configure(skel: &mut OpenBpfSkel<'_>, machine: &Machine, options: &Options) -> Result<()> {
    let nr_domains = machine.domains.len();
    let nr_domains_u32 = u32::try_from(nr_domains)?;
    let ops = skel.struct_ops.domain_balancer_mut();
    // A task with a planned move passes through enqueue even when it is alone on its CPU.
    ops.flags = *compat::SCX_OPS_ENQ_LAST;
    ops.exit_dump_len = options.common.exit_dump_len;

    skel.maps.domains.set_max_entries(nr_domains_u32)?;
    skel.maps.domain_snapshots.set_max_entries(nr_domains_u32)?;
    skel.maps.load_buckets.set_max_entries(nr_domains_u32 * abi::WEIGHT_BUCKETS)?;

    let rodata = skel.maps.rodata_data.as_deref_mut().ok_or_else(|| anyhow!("the BPF object has no .rodata"))?;
    let conf = &mut rodata.conf;
    conf.slice_ns = options.slice_us * 1000;
    conf.slice_min_ns = options.slice_min_us * 1000;
    conf.load_half_life_ns = options.load_half_life_ns();
    conf.nr_domains = nr_domains_u32;
    conf.nr_cpu_ids = u32::try_from(machine.topology.nr_cpu_ids())?;
    conf.greedy_threshold = options.greedy_threshold;
    conf.greedy_threshold_x_node = options.greedy_threshold_x_node;
    conf.fifo = options.fifo.into();

    for (cpu, slot) in rodata.cpu_domain.iter_mut().enumerate() {
        *slot = machine.domains.domain_of(cpu).map_or(Ok(abi::db_limits_DB_MAX_DOMAINS), u32::try_from)?;
    }
    for domain in &machine.domains.domains {
        let slot = rodata.domain_node.get_mut(domain.id);
        *slot.context("more domains than the BPF side can hold")? = u32::try_from(domain.node)?;
    }
    Ok(())
}

/// libbpf's own words go to the log: its warnings matter when a load fails, the rest only to a developer.
fn log_libbpf(level: PrintLevel, text: String) {
    let text = text.trim_end();
    match level {
        PrintLevel::Warn => tracing::warn!("{text}"),
        PrintLevel::Info => tracing::debug!("{text}"),
        PrintLevel::Debug => tracing::trace!("{text}"),
    }
}

fn log_libbpf_quietly(level: PrintLevel, text: String) {
    log_libbpf(if level == PrintLevel::Warn { PrintLevel::Info } else { level }, text);
}

#[cfg(test)]
mod tests;
