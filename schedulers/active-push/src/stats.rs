// SPDX-License-Identifier: GPL-2.0-only
//! What an operator sees: the statistics served over the socket, and their form as text.

use std::collections::BTreeMap;
use std::io::{self, Write};

use runtime::stats::Figures;
use scx_stats::{Meta, StatsMeta};
use scx_stats_derive::{Stats, stat_doc};
use serde::{Deserialize, Serialize};

/// Rounds of one level for one idle type, under the names of the kernel's /proc/schedstat.
#[stat_doc]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Stats)]
#[stat(_om_prefix = "level_", _om_label = "level")]
#[allow(
    missing_docs,
    reason = "each field is described by its stat attribute, which becomes its documentation"
)]
pub struct LevelMetrics {
    #[stat(desc = "Balancing rounds")]
    pub lb_count: u64,
    #[stat(desc = "Rounds that found an imbalance and moved nothing")]
    pub lb_failed: u64,
    #[stat(desc = "Rounds that found nothing to do")]
    pub lb_balanced: u64,
    #[stat(desc = "Load by which groups were out of balance, summed over rounds; 100 is a task of nice 0")]
    pub lb_imbalance: u64,
    #[stat(desc = "Tasks pulled")]
    pub lb_gained: u64,
    #[stat(desc = "Cache-hot tasks pulled")]
    pub lb_hot_gained: u64,
    #[stat(desc = "Rounds without a busiest group")]
    pub lb_nobusyg: u64,
    #[stat(desc = "Rounds without a busiest queue in the busiest group")]
    pub lb_nobusyq: u64,
    #[stat(desc = "Rounds in which only tasks waited that may not come")]
    pub lb_all_pinned: u64,
    #[stat(desc = "Push requests recorded")]
    pub alb_count: u64,
    #[stat(desc = "Push requests that were withdrawn or refused")]
    pub alb_failed: u64,
    #[stat(desc = "Running tasks pushed")]
    pub alb_pushed: u64,
}

/// One CPU at the moment.
#[stat_doc]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Stats)]
#[stat(_om_prefix = "cpu_", _om_label = "cpu")]
#[allow(
    missing_docs,
    reason = "each field is described by its stat attribute, which becomes its documentation"
)]
pub struct CpuMetrics {
    #[stat(desc = "Tasks that wait or run", _om_gauge)]
    pub running: u64,
    #[stat(desc = "Sum of their weights", _om_gauge)]
    pub load: u64,
}

/// The whole scheduler. Counters are cumulative since the program started, across restarts in place.
#[stat_doc]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Stats)]
#[stat(top)]
#[allow(
    missing_docs,
    reason = "each field is described by its stat attribute, which becomes its documentation"
)]
pub struct Metrics {
    #[stat(desc = "Restarts in place after CPU hotplug")]
    pub restarts: u64,
    #[stat(desc = "Time of these figures, ns of CLOCK_MONOTONIC", _om_gauge)]
    pub at_ns: u64,
    #[stat(desc = "CPU time used by anybody since the last report, percent of all CPUs")]
    pub cpu_busy_pct: f64,
    #[stat(desc = "Tasks that have a context, sleeping ones included", _om_gauge)]
    pub nr_tasks: u64,
    #[stat(desc = "Tasks that wait or run, at the moment", _om_gauge)]
    pub nr_runnable: u64,
    #[stat(desc = "Wake-ups on their idle previous CPU")]
    pub wake_prev: u64,
    #[stat(desc = "Wake-ups on an idle CPU of the same last-level cache")]
    pub wake_llc: u64,
    #[stat(desc = "Wake-ups on an idle CPU elsewhere")]
    pub wake_far: u64,
    #[stat(desc = "New tasks that started on a less loaded CPU than their parent's")]
    pub fork_spread: u64,
    #[stat(desc = "Wake-ups sent to a larger CPU")]
    pub wake_misfit: u64,
    #[stat(desc = "Wake-ups on the waker's CPU because none was idle")]
    pub wake_affine: u64,
    #[stat(desc = "Wake-ups that kept away from a previous CPU held by a higher class")]
    pub wake_evaded: u64,
    #[stat(desc = "Queued on a CPU")]
    pub enqueued: u64,
    #[stat(desc = "Queued on their only CPU")]
    pub pinned: u64,
    #[stat(desc = "Per-CPU kernel threads, straight to their CPU")]
    pub kthread: u64,
    #[stat(desc = "Wake-ups that made the running task stop")]
    pub wake_preempt: u64,
    #[stat(desc = "Slices renewed")]
    pub kept: u64,
    #[stat(desc = "Tasks that had to leave their CPU and went on at once on an idle one")]
    pub requeued_idle: u64,
    #[stat(desc = "Tasks whose CPU a higher class took and that went on at once on an idle one")]
    pub rescued: u64,
    #[stat(desc = "Tasks whose CPU a higher class took while no CPU was idle")]
    pub rescue_no_cpu: u64,
    #[stat(desc = "Idle CPUs kicked because work waited")]
    pub kicked_for_work: u64,
    #[stat(desc = "Idle CPUs kicked because a balancing round was due")]
    pub kicked_for_balance: u64,
    #[stat(desc = "CPUs asked to take a task that waits where a higher class holds the CPU")]
    pub called_for_help: u64,
    #[stat(desc = "Tasks taken from CPUs that a higher class holds")]
    pub helped: u64,
    #[stat(desc = "Push requests because two threads shared a core beside an idle one")]
    pub push_spread: u64,
    #[stat(desc = "Push requests because a task was too large for its CPU")]
    pub push_misfit: u64,
    #[stat(desc = "Push requests because a group had too many running tasks")]
    pub push_imbalance: u64,
    #[stat(desc = "Pushed tasks that reached their target")]
    pub push_arrived: u64,
    #[stat(desc = "Push requests not recorded: source or target had one")]
    pub push_collision: u64,
    #[stat(desc = "Slices ended early for a push request")]
    pub prompt_kicks: u64,
    #[stat(desc = "Requests that ended because the task slept or left")]
    pub stale_slept: u64,
    #[stat(desc = "Requests that ended because another task ran on the source")]
    pub stale_other_task: u64,
    #[stat(desc = "Requests that ended because the affinity excluded the target")]
    pub stale_affinity: u64,
    #[stat(desc = "Requests that ended because the task must not migrate")]
    pub stale_migration_disabled: u64,
    #[stat(desc = "Requests that ended because the target was offline")]
    pub stale_target_offline: u64,
    #[stat(desc = "Requests that ended because the target was not idle any more")]
    pub stale_target_busy: u64,
    #[stat(desc = "Requests that were not taken in time")]
    pub stale_expired: u64,
    #[stat(desc = "Half of the pushed tasks left their CPU within this time of the request, us", _om_gauge)]
    pub push_out_p50_us: u64,
    #[stat(
        desc = "99 percent of the pushed tasks left their CPU within this time of the request, us",
        _om_gauge
    )]
    pub push_out_p99_us: u64,
    #[stat(
        desc = "Half of the pushed tasks ran on their target within this time of the request, us",
        _om_gauge
    )]
    pub push_run_p50_us: u64,
    #[stat(
        desc = "99 percent of the pushed tasks ran on their target within this time of the request, us",
        _om_gauge
    )]
    pub push_run_p99_us: u64,
    #[stat(desc = "Callbacks that met a task without context")]
    pub no_context: u64,
    #[stat(desc = "Levels, innermost first, by number, name and idle type")]
    pub levels: BTreeMap<String, LevelMetrics>,
    #[stat(desc = "Pushed tasks by time from request to running on the target: below 2^n us")]
    pub push_run_us: BTreeMap<u64, u64>,
    #[stat(desc = "The CPUs by number")]
    pub cpus: BTreeMap<usize, CpuMetrics>,
}

impl Metrics {
    /// Push requests that came to nothing, whatever the cause.
    pub fn stale(&self) -> u64 {
        self.stale_slept
            + self.stale_other_task
            + self.stale_affinity
            + self.stale_migration_disabled
            + self.stale_target_offline
            + self.stale_target_busy
            + self.stale_expired
    }

    fn write_totals(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(
            out,
            "cpu {:.1}%  tasks {} runnable {}  restarts {}  without context {}",
            self.cpu_busy_pct, self.nr_tasks, self.nr_runnable, self.restarts, self.no_context
        )?;
        writeln!(
            out,
            "  wake: prev {} cache {} far {} larger {} affine {} evaded {} preempt {}  fork spread {}  queue: cpu {} pinned {} kthread {}  kept {}",
            self.wake_prev,
            self.wake_llc,
            self.wake_far,
            self.wake_misfit,
            self.wake_affine,
            self.wake_evaded,
            self.wake_preempt,
            self.fork_spread,
            self.enqueued,
            self.pinned,
            self.kthread,
            self.kept,
        )
    }

    fn write_pushes(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(
            out,
            "  push: spread {} misfit {} imbalance {} arrived {} stale {} (slept {} other task {} affinity {} \
             pinned {} offline {} busy {} expired {}) collisions {} prompt {}",
            self.push_spread,
            self.push_misfit,
            self.push_imbalance,
            self.push_arrived,
            self.stale(),
            self.stale_slept,
            self.stale_other_task,
            self.stale_affinity,
            self.stale_migration_disabled,
            self.stale_target_offline,
            self.stale_target_busy,
            self.stale_expired,
            self.push_collision,
            self.prompt_kicks,
        )?;
        writeln!(
            out,
            "  request to schedule-out: p50 {} us p99 {} us, to running: p50 {} us p99 {} us  rescued {} (no cpu {}) \
             requeued {} helped {} of {}  kicks: work {} balance {}",
            self.push_out_p50_us,
            self.push_out_p99_us,
            self.push_run_p50_us,
            self.push_run_p99_us,
            self.rescued,
            self.rescue_no_cpu,
            self.requeued_idle,
            self.helped,
            self.called_for_help,
            self.kicked_for_work,
            self.kicked_for_balance,
        )
    }
}

impl Figures for Metrics {
    fn descriptions() -> Vec<StatsMeta> {
        vec![LevelMetrics::meta(), CpuMetrics::meta(), <Self as Meta>::meta()]
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        self.write_totals(out)?;
        self.write_pushes(out)?;
        writeln!(
            out,
            "  level                 count   failed balanced imbalance   gained      hot no-group no-queue   pinned | requests   failed   pushed"
        )?;
        for (name, level) in &self.levels {
            writeln!(
                out,
                "  {name:<18} {:>8} {:>8} {:>8} {:>9} {:>8} {:>8} {:>8} {:>8} {:>8} | {:>8} {:>8} {:>8}",
                level.lb_count,
                level.lb_failed,
                level.lb_balanced,
                level.lb_imbalance,
                level.lb_gained,
                level.lb_hot_gained,
                level.lb_nobusyg,
                level.lb_nobusyq,
                level.lb_all_pinned,
                level.alb_count,
                level.alb_failed,
                level.alb_pushed,
            )?;
        }
        writeln!(out)
    }
}
