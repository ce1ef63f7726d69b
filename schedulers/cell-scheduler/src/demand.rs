// SPDX-License-Identifier: GPL-2.0-only
//! How many CPUs each cell could use: CPU time used plus time spent waiting for a CPU, over the time that really passed,
//! smoothed, and held steady until a change is worth a new assignment.
//!
//! Pure: times and counters come in as arguments.

use std::collections::BTreeMap;

use crate::cells::CellId;

#[cfg(test)]
mod tests;

/// What a cell has used and waited since it exists. Counters only grow; one that falls is taken as a new beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// The cell.
    pub cell: CellId,
    /// CPU time, ns; on machines with unequal CPUs scaled by their capacity (1024 is full speed).
    pub used_ns: u64,
    /// Time that its tasks were runnable without running, summed over tasks, ns.
    pub waited_ns: u64,
}

/// How demand is smoothed and when it counts as changed.
#[derive(Debug, Clone, PartialEq)]
pub struct DemandParams {
    /// After this time an old value counts half, ns. 0: no smoothing.
    pub half_life_ns: u64,
    /// How much a waiting task counts against a running one; 1 makes the demand the average number of runnable tasks.
    pub wait_weight: f64,
    /// CPUs. Smaller changes are none.
    pub threshold_cpus: f64,
    /// Share of the settled demand. Smaller changes are none.
    pub threshold_ratio: f64,
    /// Time between two changes of the settled demands at least, ns.
    pub cool_down_ns: u64,
}

impl Default for DemandParams {
    fn default() -> Self {
        Self {
            half_life_ns: 1_000_000_000,
            wait_weight: 1.0,
            threshold_cpus: 0.25,
            threshold_ratio: 0.1,
            cool_down_ns: 1_000_000_000,
        }
    }
}

/// Below this a cell counts as idle, CPUs.
const IDLE: f64 = 0.01;

#[derive(Debug, Clone)]
struct Track {
    last: Sample,
    last_ns: u64,
    /// Smoothed; none before the second sample.
    figures: Option<Figures>,
    settled: f64,
}

#[derive(Debug, Clone, Copy)]
struct Figures {
    utilisation: f64,
    demand: f64,
}

/// Follows the demand of all cells.
#[derive(Debug, Clone)]
pub struct DemandTracker {
    params: DemandParams,
    tracks: BTreeMap<CellId, Track>,
    settled_ns: Option<u64>,
}

impl DemandTracker {
    /// A tracker that knows no cell yet.
    pub fn new(params: DemandParams) -> Self {
        Self { params, tracks: BTreeMap::new(), settled_ns: None }
    }

    /// Takes the counters of all cells that exist, read at `at_ns`; cells that are not among them are forgotten. The
    /// first sample of a cell is its beginning, the second gives a first value. A time that is not later than the last
    /// one is ignored.
    pub fn observe(&mut self, at_ns: u64, samples: &[Sample]) {
        let mut old = std::mem::take(&mut self.tracks);
        for sample in samples {
            let track = match old.remove(&sample.cell) {
                Some(track) => self.advanced(track, at_ns, *sample),
                None => Track { last: *sample, last_ns: at_ns, figures: None, settled: 0.0 },
            };
            self.tracks.insert(sample.cell, track);
        }
    }

    fn advanced(&self, track: Track, at_ns: u64, sample: Sample) -> Track {
        let Some(elapsed_ns) = at_ns.checked_sub(track.last_ns).filter(|elapsed| *elapsed > 0) else {
            return track;
        };
        let grown = |now: u64, before: u64| now.checked_sub(before);
        let (Some(used), Some(waited)) =
            (grown(sample.used_ns, track.last.used_ns), grown(sample.waited_ns, track.last.waited_ns))
        else {
            return Track { last: sample, last_ns: at_ns, ..track };
        };
        let elapsed = elapsed_ns as f64;
        let utilisation = used as f64 / elapsed;
        let demand = utilisation + self.params.wait_weight.max(0.0) * waited as f64 / elapsed;
        // What is left of the old value after this time; nothing if there is none.
        let kept = match track.figures {
            Some(_) if self.params.half_life_ns > 0 => (-elapsed / self.params.half_life_ns as f64).exp2(),
            _ => 0.0,
        };
        let before = track.figures.unwrap_or(Figures { utilisation, demand });
        let mixed = |old: f64, new: f64| old * kept + new * (1.0 - kept);
        let figures = Figures {
            utilisation: mixed(before.utilisation, utilisation),
            demand: mixed(before.demand, demand),
        };
        Track { last: sample, last_ns: at_ns, figures: Some(figures), settled: track.settled }
    }

    /// Smoothed CPU time used per time, CPUs; 0 for cells without a value.
    pub fn utilisation(&self, cell: CellId) -> f64 {
        self.figures(cell).map_or(0.0, |figures| figures.utilisation)
    }

    /// Smoothed demand, CPUs; 0 for cells without a value.
    pub fn demand(&self, cell: CellId) -> f64 {
        self.figures(cell).map_or(0.0, |figures| figures.demand)
    }

    fn figures(&self, cell: CellId) -> Option<Figures> {
        self.tracks.get(&cell)?.figures
    }

    /// The demand to assign CPUs by: that of the moment when [`DemandTracker::settle`] last said yes.
    pub fn settled(&self, cell: CellId) -> f64 {
        self.tracks.get(&cell).map_or(0.0, |track| track.settled)
    }

    /// Whether some demand has changed enough for a new assignment and the last change is long enough ago. If so, all
    /// settled demands follow.
    pub fn settle(&mut self, now_ns: u64) -> bool {
        let cooled =
            self.settled_ns.is_none_or(|last| now_ns.saturating_sub(last) >= self.params.cool_down_ns);
        if !cooled || !self.tracks.values().any(|track| self.moved(track)) {
            return false;
        }
        for track in self.tracks.values_mut() {
            if let Some(figures) = track.figures {
                track.settled = if figures.demand < IDLE { 0.0 } else { figures.demand };
            }
        }
        self.settled_ns = Some(now_ns);
        true
    }

    fn moved(&self, track: &Track) -> bool {
        let Some(Figures { demand, .. }) = track.figures else { return false };
        let threshold = self.params.threshold_cpus.max(self.params.threshold_ratio * track.settled);
        let falls_idle = demand < IDLE && track.settled >= IDLE;
        falls_idle || (demand - track.settled).abs() > threshold
    }
}
