// SPDX-License-Identifier: GPL-2.0-only
//! The doors to the BPF side: what it counts, over any [`BpfObject`].
//!
//! Written against the seam, not against libbpf, so that the same code runs wherever the object can be executed.

use runtime::seam::{self, BpfObject, SeamError};

use crate::kernel::abi;

/// Levels that figures are kept for, whether the machine has them or not.
pub const MAX_LEVELS: usize = abi::ap_limits_AP_MAX_LEVELS as usize;
/// Names of the idle types, by their number on the BPF side.
pub const IDLE_TYPES: [&str; abi::ap_idle_AP_NR_IDLE_TYPES as usize] = ["idle", "busy", "newly-idle"];
const NR_LB: usize = abi::ap_lb_AP_NR_LB as usize;
const NR_COUNTERS: usize = abi::ap_counter_AP_NR_COUNTERS as usize;
const BUCKETS: usize = abi::ap_limits_AP_LATENCY_BUCKETS as usize;

/// Everything that is counted, summed over CPUs; grows from attachment to attachment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counters {
    whole: Vec<u64>,
    levels: Vec<u64>,
    latencies: Vec<u64>,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            whole: vec![0; NR_COUNTERS],
            levels: vec![0; MAX_LEVELS * IDLE_TYPES.len() * NR_LB],
            latencies: vec![0; 2 * BUCKETS],
        }
    }
}

impl Counters {
    /// One of `enum ap_counter`.
    pub fn get(&self, counter: u32) -> u64 {
        self.whole.get(counter as usize).copied().unwrap_or_default()
    }

    /// One of `enum ap_lb` on a level for an idle type.
    pub fn level(&self, level: usize, idle: usize, counter: u32) -> u64 {
        let index = (level * IDLE_TYPES.len() + idle) * NR_LB + counter as usize;
        self.levels.get(index).copied().unwrap_or_default()
    }

    /// Times from request to schedule-out.
    pub fn to_schedule_out(&self) -> Latency<'_> {
        Latency(&self.latencies[..BUCKETS])
    }

    /// Times from request to running on the target.
    pub fn to_running(&self) -> Latency<'_> {
        Latency(&self.latencies[BUCKETS..])
    }

    /// Adds what another attachment counted.
    pub fn add(&mut self, other: &Self) {
        let pairs = [
            (&mut self.whole, &other.whole),
            (&mut self.levels, &other.levels),
            (&mut self.latencies, &other.latencies),
        ];
        for (sums, values) in pairs {
            sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
        }
    }
}

/// A histogram of times in powers of two of microseconds: bucket 0 is below 1 µs, bucket n below 2^n µs.
#[derive(Clone, Copy, Debug)]
pub struct Latency<'a>(&'a [u64]);

impl Latency<'_> {
    /// The upper end of the bucket that holds the given share (0 to 1) of all times, in µs; 0 for none.
    pub fn quantile_us(&self, share: f64) -> u64 {
        let total: u64 = self.0.iter().sum();
        let wanted = (total as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (bucket, &times) in self.0.iter().enumerate() {
            seen += times;
            if times > 0 && seen >= wanted {
                return 1 << bucket;
            }
        }
        0
    }

    /// The buckets, shortest times first.
    pub fn buckets(&self) -> &[u64] {
        self.0
    }
}

/// What a CPU does at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuState {
    /// Tasks that run or wait.
    pub nr_running: u32,
    /// Sum of their weights.
    pub load: u32,
}

/// Reads all counters.
///
/// # Errors
/// As [`BpfObject::map_lookup_percpu`].
pub fn counters(object: &dyn BpfObject) -> Result<Counters, SeamError> {
    let read = |map: &str, slots: &mut Vec<u64>| -> Result<(), SeamError> {
        for (index, slot) in slots.iter_mut().enumerate() {
            let key = u32::try_from(index).unwrap_or(u32::MAX);
            let values: Option<Vec<u64>> = seam::lookup_percpu(object, map, &key)?;
            *slot = values.unwrap_or_default().iter().sum();
        }
        Ok(())
    };
    let mut counters = Counters::default();
    read("counters", &mut counters.whole)?;
    read("level_counters", &mut counters.levels)?;
    read("latencies", &mut counters.latencies)?;
    Ok(counters)
}

/// Reads what a CPU does.
///
/// # Errors
/// As [`BpfObject::map_lookup`]; a CPU the object does not know.
pub fn cpu(object: &dyn BpfObject, cpu: usize) -> Result<CpuState, SeamError> {
    let key = u32::try_from(cpu).unwrap_or(u32::MAX);
    let raw: Option<abi::ap_cpu> = seam::lookup(object, "cpus", &key)?;
    let raw = raw.ok_or_else(|| SeamError::Missing { kind: "element", name: format!("cpus[{cpu}]") })?;
    // Sums are atomic but not read at one moment with their parts: below zero means zero.
    let nr_running = if raw.nr_running.cast_signed() < 0 { 0 } else { raw.nr_running };
    Ok(CpuState { nr_running, load: raw.load })
}

/// Tasks that have a context.
///
/// # Errors
/// As [`BpfObject::read_global`].
pub fn nr_tasks(object: &dyn BpfObject) -> Result<u64, SeamError> {
    seam::read_global(object, "nr_tasks")
}
