// SPDX-License-Identifier: GPL-2.0-only
//! How busy the machine is, from the kernel's own accounting in /proc/stat.

use procfs::{CpuTime as Ticks, CurrentSI, KernelStats};

/// Busy and total ticks at the last look.
#[derive(Debug, Default)]
pub struct CpuTime {
    last: Option<(u64, u64)>,
}

impl CpuTime {
    /// Share of all CPUs' time used since the last call, percent; 0 on the first call, or when /proc cannot be read.
    pub fn busy_pct(&mut self) -> f64 {
        let Ok(stat) = KernelStats::current() else { return 0.0 };
        let now = busy_and_total(&stat.total);
        let Some(last) = self.last.replace(now) else { return 0.0 };
        percent(last, now)
    }
}

fn busy_and_total(ticks: &Ticks) -> (u64, u64) {
    let idle = ticks.idle + ticks.iowait.unwrap_or(0);
    let busy = ticks.user
        + ticks.nice
        + ticks.system
        + ticks.irq.unwrap_or(0)
        + ticks.softirq.unwrap_or(0)
        + ticks.steal.unwrap_or(0);
    (busy, busy + idle)
}

/// idle and iowait may run backwards a little; the result stays within 0..=100.
fn percent(last: (u64, u64), now: (u64, u64)) -> f64 {
    let busy = now.0.saturating_sub(last.0) as f64;
    let total = now.1.saturating_sub(last.1) as f64;
    if total > 0.0 { (100.0 * busy / total).clamp(0.0, 100.0) } else { 0.0 }
}

#[cfg(test)]
mod tests;
