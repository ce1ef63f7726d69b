// SPDX-License-Identifier: GPL-2.0-only
//! A BPF side made of plain values, and time moved by hand.

use std::collections::BTreeMap;
use std::time::Duration;

use bytemuck::Zeroable;
use runtime::exit::ExitRecord;
use runtime::host::{Host, World};
use runtime::seam::{BpfObject, Entry, SeamError};
use runtime::signals::Wake;

use crate::kernel::abi;
use crate::stats::Metrics;

/// Counters by index; what is not named is 0.
pub struct FakeObject {
    pub counters: BTreeMap<u32, u64>,
    pub level_counters: BTreeMap<u32, u64>,
    pub latencies: BTreeMap<u32, u64>,
    pub exit: Option<ExitRecord>,
    cpus: usize,
}

impl FakeObject {
    pub fn new(cpus: usize) -> Self {
        let (counters, level_counters, latencies) = Default::default();
        Self { counters, level_counters, latencies, exit: None, cpus }
    }
}

fn missing(kind: &'static str, name: &str) -> SeamError {
    SeamError::Missing { kind, name: name.to_owned() }
}

impl BpfObject for FakeObject {
    fn read_global(&self, variable: &str) -> Result<Vec<u8>, SeamError> {
        match variable {
            "nr_tasks" => Ok(42u64.to_ne_bytes().to_vec()),
            _ => Err(missing("variable", variable)),
        }
    }

    fn map_lookup(&self, map: &str, key: &[u8]) -> Result<Option<Vec<u8>>, SeamError> {
        assert_eq!(map, "cpus");
        let cpu = bytemuck::pod_read_unaligned::<u32>(key) as usize;
        let mut raw = abi::ap_cpu::zeroed();
        raw.nr_running = 1;
        raw.load = 100;
        Ok((cpu < self.cpus).then(|| bytemuck::bytes_of(&raw).to_vec()))
    }

    fn map_lookup_percpu(&self, map: &str, key: &[u8]) -> Result<Option<Vec<Vec<u8>>>, SeamError> {
        let values = match map {
            "counters" => &self.counters,
            "level_counters" => &self.level_counters,
            "latencies" => &self.latencies,
            _ => return Err(missing("map", map)),
        };
        let value = values.get(&bytemuck::pod_read_unaligned::<u32>(key)).copied().unwrap_or_default();
        // Spread over two CPUs: the sum counts.
        let parts = [value / 3, value - value / 3];
        Ok(Some(parts.iter().map(|part| part.to_ne_bytes().to_vec()).collect()))
    }

    fn map_entries(&self, map: &str) -> Result<Vec<Entry>, SeamError> {
        Err(missing("map", map))
    }

    fn map_update(&mut self, map: &str, _key: &[u8], _value: &[u8]) -> Result<(), SeamError> {
        Err(missing("map", map))
    }

    fn map_delete(&mut self, map: &str, _key: &[u8]) -> Result<bool, SeamError> {
        Err(missing("map", map))
    }

    fn run_syscall(&mut self, program: &str, _context: &mut [u8]) -> Result<i32, SeamError> {
        Err(missing("program", program))
    }

    fn exit_record(&self) -> Result<Option<ExitRecord>, SeamError> {
        Ok(self.exit.clone())
    }
}

/// Time moves only while the loop waits; it is told to shut down at `end_ns`.
pub struct ManualHost {
    pub published: Vec<Metrics>,
    now_ns: u64,
    end_ns: u64,
}

impl ManualHost {
    pub fn new(length: Duration) -> Self {
        Self { published: Vec::new(), now_ns: 0, end_ns: length.as_nanos() as u64 }
    }
}

impl World for ManualHost {
    fn now_ns(&self) -> u64 {
        0
    }

    fn wait(&mut self, timeout: Duration) -> Wake {
        self.now_ns = (self.now_ns + timeout.as_nanos() as u64).min(self.end_ns);
        if self.now_ns >= self.end_ns { Wake::Shutdown } else { Wake::Timeout }
    }

    fn cpu_busy_pct(&mut self) -> f64 {
        100.0
    }

    fn wants_metrics(&self) -> bool {
        true
    }
}

impl Host<Metrics> for ManualHost {
    fn publish(&mut self, metrics: &Metrics) {
        self.published.push(metrics.clone());
    }
}
