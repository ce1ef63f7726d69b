// SPDX-License-Identifier: GPL-2.0-only
//! Who had which CPU over the whole run, in buckets of time: what a picture of a long run shows when there is no room
//! for every stretch.

use topology::CpuSet;

use crate::trace::Stretch;

/// Buckets of a run; they double in length when a run outgrows them.
const BUCKETS: usize = 1024;
/// Length of the first buckets, ns.
const FIRST_NS: u64 = 100_000;
/// Shades of a cell: from nearly idle to busy.
const SHADES: u64 = 8;

/// Time by CPU, bucket and slot. Slot 0 is real-time work, slot n group n - 1.
#[derive(Clone, Debug)]
pub struct Occupancy {
    bucket_ns: u64,
    slots: usize,
    /// By CPU: time in ns by bucket and slot.
    cpus: Vec<Vec<u64>>,
}

impl Default for Occupancy {
    fn default() -> Self {
        Self { bucket_ns: FIRST_NS, slots: 1, cpus: Vec::new() }
    }
}

impl Occupancy {
    /// Length of a bucket, ns.
    pub fn bucket_ns(&self) -> u64 {
        self.bucket_ns
    }

    /// Adds a stretch.
    pub fn add(&mut self, stretch: &Stretch) {
        let slot = if stretch.pid > 0 { stretch.group.saturating_add(1) } else { 0 };
        if slot >= self.slots {
            self.widen(slot + 1);
        }
        while stretch.to > self.bucket_ns * BUCKETS as u64 {
            self.double();
        }
        if stretch.cpu >= self.cpus.len() {
            self.cpus.resize_with(stretch.cpu + 1, || vec![0; BUCKETS * self.slots]);
        }
        let cells = &mut self.cpus[stretch.cpu];
        let mut from = stretch.from;
        while from < stretch.to {
            let bucket = from / self.bucket_ns;
            let end = ((bucket + 1) * self.bucket_ns).min(stretch.to);
            cells[bucket as usize * self.slots + slot] += end - from;
            from = end;
        }
    }

    /// By CPU and bucket up to `to_ns`: 0 for idle, else 1 + 8 × slot + shade for who had most of the bucket.
    /// At most `cells` altogether; the length of a bucket comes with them.
    pub fn rows(&self, to_ns: u64, cells: usize) -> (u64, Vec<Vec<u64>>) {
        let mut coarse = self.clone();
        let buckets = |this: &Self| to_ns.div_ceil(this.bucket_ns).clamp(1, BUCKETS as u64) as usize;
        while buckets(&coarse) * coarse.cpus.len() > cells.max(coarse.cpus.len()) {
            coarse.double();
        }
        let count = buckets(&coarse);
        let cells = |times: &Vec<u64>| -> Vec<u64> {
            times.chunks(coarse.slots).take(count).map(|cell| coarse.cell(cell)).collect()
        };
        (coarse.bucket_ns, coarse.cpus.iter().map(cells).collect())
    }

    /// How many of `cpus` ran a task, by bucket up to `to_ns`, at most so many: middle of the bucket and mean over it.
    pub fn busy(&self, cpus: &CpuSet, to_ns: u64, buckets: usize) -> Vec<(u64, f64)> {
        let count = |ns: u64| to_ns.div_ceil(ns).min(BUCKETS as u64 * self.bucket_ns / ns);
        let mut bucket_ns = self.bucket_ns;
        while count(bucket_ns) > buckets as u64 {
            bucket_ns *= 2;
        }
        let fine = (bucket_ns / self.bucket_ns) as usize * self.slots;
        let point = |bucket: u64| {
            let (from, end) = (bucket * bucket_ns, ((bucket + 1) * bucket_ns).min(to_ns));
            let cells = |cpu: usize| self.cpus.get(cpu)?.chunks(fine).nth(bucket as usize);
            let busy: u64 = cpus.iter().filter_map(cells).flatten().sum();
            (from.midpoint(end), busy as f64 / (end - from).max(1) as f64)
        };
        (0..count(bucket_ns)).map(point).collect()
    }

    fn cell(&self, times: &[u64]) -> u64 {
        let busy: u64 = times.iter().sum();
        // Of equal ones the first.
        let most = (0..times.len()).rev().max_by_key(|&slot| times[slot]).unwrap_or(0);
        let shade = (busy * SHADES).div_ceil(self.bucket_ns).clamp(1, SHADES) - 1;
        if busy == 0 { 0 } else { 1 + SHADES * most as u64 + shade }
    }

    fn widen(&mut self, slots: usize) {
        for times in &mut self.cpus {
            let mut wider = vec![0; BUCKETS * slots];
            for (old, new) in times.chunks(self.slots).zip(wider.chunks_mut(slots)) {
                new[..old.len()].copy_from_slice(old);
            }
            *times = wider;
        }
        self.slots = slots;
    }

    fn double(&mut self) {
        self.bucket_ns *= 2;
        for times in &mut self.cpus {
            for bucket in 0..BUCKETS {
                for slot in 0..self.slots {
                    let at = |bucket: usize| times.get(bucket * self.slots + slot).copied().unwrap_or(0);
                    times[bucket * self.slots + slot] = at(2 * bucket) + at(2 * bucket + 1);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
