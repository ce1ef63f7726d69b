// SPDX-License-Identifier: GPL-2.0-only
//! The loop: look for cgroups → figures → demand → assignment → a new table, and statistics whenever somebody asks.
//!
//! Nothing the workload does ends it: a round that fails is counted, logged and skipped.

use std::time::Duration;

use runtime::clock::Periodic;
use runtime::daemon::Ending;
use runtime::seam::{BpfObject, SeamError};
use runtime::signals::Wake;
use tracing::{debug, warn};

use crate::machine::Machine;
use crate::options::Options;
use crate::round::Round;
use crate::snapshot::Counters;
use crate::stats::Metrics;
use crate::tenants::Found;
use crate::told::Told;
use crate::weigher::TreeNode;

/// How often the loop looks whether the kernel has ended the scheduler and whether cgroups have changed.
const POLL: Duration = Duration::from_millis(100);

/// The world as the loop sees it, with its cgroups. A simulator puts its own here.
pub trait Host: runtime::host::Host<Metrics> {
    /// Reads the configuration again if somebody has asked for that since the last call.
    ///
    /// # Errors
    /// One line. What was read before stays in force.
    fn reload(&mut self) -> Result<(), String> {
        Ok(())
    }
    /// The members as they are now, if they may have changed since the last call or `due` asks for a look anyway; `None`
    /// means that they are as before.
    ///
    /// # Errors
    /// One line. What was found before stays in force.
    fn look(&mut self, due: bool) -> Result<Option<Found>, String>;
    /// The whole hierarchy of cgroups with its weights, parents first; empty if there is none.
    fn tree(&mut self) -> Vec<TreeNode>;
    /// Tells the operator a line.
    fn warn(&mut self, line: &str) {
        warn!("{line}");
    }
}

/// Figures that outlive one attachment: a restart in place goes on counting.
#[derive(Clone, Debug, Default)]
pub struct Running {
    /// BPF counters of former attachments, of all members together.
    pub counters: Counters,
    /// CPU time used on CPUs of other cells during former attachments, ns.
    pub borrowed_ns: u64,
    /// Callbacks without a task's context during former attachments.
    pub no_context: u64,
    /// Rounds.
    pub rounds: u64,
    /// Rounds that failed.
    pub rounds_failed: u64,
    /// Restarts in place.
    pub restarts: u64,
    /// Rounds that reckoned a new assignment, whether or not anything in it was new.
    pub decisions: u64,
    /// Tables applied.
    pub reconfigurations: u64,
    /// CPUs that changed cell.
    pub moved_cpus: u64,
    /// Members that came to share a cell.
    pub merges: u64,
    /// Members that got a cell of their own again.
    pub splits: u64,
    /// What looks for cgroups could not read, reloads of the configuration that failed, and looks after which the BPF side
    /// could not be told everything.
    pub discovery_errors: u64,
    /// Rounds in which `cpu.weight` could not be made to count in full.
    pub weight_errors: u64,
    /// The trouble that the operator knows of.
    pub told: Told,
}

/// Runs until a shutdown or until the kernel ends the scheduler.
///
/// # Errors
/// When the exit record cannot be read: the two halves do not fit together.
pub fn run(
    object: &mut dyn BpfObject,
    machine: &Machine,
    options: &Options,
    host: &mut dyn Host,
    running: &mut Running,
) -> Result<Ending, SeamError> {
    let start_ns = host.now_ns();
    let mut rescan = Periodic::new(options.reconfiguration_interval, start_ns);
    let mut beat = Periodic::new(options.rebalance_interval, start_ns);
    let mut round = Round::new(object, machine, options, running);
    // Whoever asks at once learns of the first cell, and the cells that are there already do not wait for the first beat.
    round.report(host);
    round.turn(host, true);
    round.report(host);
    loop {
        let pause = beat.remaining(host.now_ns()).min(POLL);
        let wake = host.wait(pause);
        if let Some(record) = round.object.exit_record()? {
            round.retire();
            return Ok(Ending::Kernel(record));
        }
        if wake == Wake::Shutdown {
            round.retire();
            return Ok(Ending::Shutdown);
        }
        let now_ns = host.now_ns();
        let rescan_due = rescan.due(now_ns);
        let changed = round.look(host, rescan_due);
        let due = beat.due(now_ns);
        if due || changed {
            round.turn(host, false);
        } else {
            round.sweep();
        }
        if due || host.wants_metrics() {
            round.report(host);
        }
    }
}

/// Logs what a failed round said; the caller counts it.
pub(crate) fn skipped(round: u64, error: &anyhow::Error) {
    warn!("round {round} skipped: {error:#}");
}

/// Logs figures that are lost with an attachment.
pub(crate) fn lost(error: &SeamError) {
    debug!("the last counters are lost: {error}");
}
