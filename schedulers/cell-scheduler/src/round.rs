// SPDX-License-Identifier: GPL-2.0-only
//! One attachment's rounds: figures in, a table out when something has changed enough.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use runtime::seam::{BpfObject, SeamError};
use tracing::debug;

use crate::cells::{Assignment, Cell, CellId, Input, Note, Outcome, Params, PhysicalCell, assign};
use crate::demand::{DemandParams, DemandTracker, Sample};
use crate::doors;
use crate::kernel;
use crate::machine::Machine;
use crate::options::Options;
use crate::report;
use crate::run::{self, Host, Running};
use crate::snapshot::{Policy, Table, Totals};
use crate::stats::Metrics;
use crate::tenants::{Found, Member, Tenants, Update};
use crate::told::{Line, Topic};
use crate::weigher::{Seat, TreeNode, Weigher};

/// What one attachment's rounds work on.
pub struct Round<'a> {
    /// The BPF side.
    pub object: &'a mut dyn BpfObject,
    pub(crate) machine: &'a Machine,
    pub(crate) options: &'a Options,
    pub(crate) running: &'a mut Running,
    pub(crate) tenants: Tenants,
    pub(crate) demand: DemandTracker,
    pub(crate) assignment: Option<Assignment>,
    /// Sequence number of the table that `assignment` became.
    pub(crate) sequence: u64,
    /// Wishes that `assignment` does not meet.
    pub(crate) unmet: usize,
    params: Params,
    capacities: Vec<f64>,
    /// The members have changed since the last table.
    restructured: bool,
    /// When to decide again whatever happens until then, ns: see [`again_ns`].
    again_ns: Option<u64>,
    weigher: Weigher,
    /// The hierarchy of cgroups at the last look.
    tree: Vec<TreeNode>,
    /// Time of the last reading of the cgroups' loads on the BPF clock, ns; 0 before the first.
    last_weighed_ns: u64,
    /// What the BPF side had counted as lent by each cell id when its present cell began.
    lent_before: BTreeMap<u32, (u32, u64)>,
}

impl<'a> Round<'a> {
    /// Nothing but everything else, in the BPF side's first table.
    pub fn new(
        object: &'a mut dyn BpfObject,
        machine: &'a Machine,
        options: &'a Options,
        running: &'a mut Running,
    ) -> Self {
        let root = Cell::new(CellId::ROOT);
        Self {
            object,
            machine,
            options,
            running,
            tenants: Tenants::new(options.max_members, root),
            demand: DemandTracker::new(demand_params(options)),
            assignment: None,
            sequence: 0,
            unmet: 0,
            params: params(machine, options),
            capacities: machine.capacities(),
            restructured: true,
            again_ns: None,
            weigher: Weigher::new(nanoseconds(options.demand_half_life)),
            tree: Vec::new(),
            last_weighed_ns: 0,
            lent_before: BTreeMap::new(),
        }
    }

    /// Looks for members that came or went, and tells the BPF side; true if a new table is due because of them.
    pub fn look(&mut self, host: &mut dyn Host, due: bool) -> bool {
        if let Err(error) = host.reload() {
            // Somebody waits for the answer, be it the same as the last time.
            self.running.discovery_errors += 1;
            host.warn(&error);
        }
        if due && !self.options.no_cgroup_weights {
            self.tree = host.tree();
        }
        let update = match host.look(due) {
            Ok(found) => found.map(|found| self.accept(host, &found)),
            Err(complaint) => {
                self.running.discovery_errors += 1;
                self.warn(host, Topic::Cgroups, vec![Line::from(complaint)]);
                None
            }
        };
        // Also what could not be told before.
        let told = (due || update.is_some()) && self.tell(host);
        let update = update.unwrap_or_default();
        // What the slots counted for others before is not theirs.
        self.observe_some(&update.added);
        let changed = update.changed || told;
        self.restructured |= changed;
        changed
    }

    /// Makes the members be those found.
    fn accept(&mut self, host: &mut dyn Host, found: &Found) -> Update {
        let leaving = self.tenants.leaving(found);
        self.observe_some(&leaving);
        let update = self.tenants.update(found);
        self.running.discovery_errors += found.warnings.len() as u64;
        let mut lines: Vec<Line> = found.warnings.iter().cloned().map(Line::from).collect();
        let refused = self.tenants.refused();
        if refused > 0 {
            let text = format!(
                "{refused} more cells than --max-members {} allows; they share the CPUs of everything else",
                self.options.max_members
            );
            lines.push(Line::new("refused", text));
        }
        self.warn(host, Topic::Cgroups, lines);
        update
    }

    /// Tells the BPF side which cgroups are whose, as far as it does not know; true if there was anything. What it refuses is
    /// tried again at the next look.
    fn tell(&mut self, host: &mut dyn Host) -> bool {
        let (mut told, mut refused, mut first) = (false, 0, None);
        for (cgroup, slot) in self.tenants.untold() {
            let outcome = match slot {
                Some(slot) => doors::set_member(self.object, cgroup, slot),
                None => doors::remove_member(self.object, cgroup),
            };
            match outcome {
                Ok(()) => {
                    self.tenants.told(cgroup, slot);
                    told = true;
                }
                Err(error) => {
                    refused += 1;
                    first.get_or_insert(error);
                }
            }
        }
        self.running.discovery_errors += u64::from(first.is_some());
        let line = first.map(|error| {
            let text = format!("{refused} cgroups cannot be told to the BPF side for now: {error}");
            Line::new("refused", text)
        });
        self.warn(host, Topic::Members, line.into_iter().collect());
        told
    }

    /// Tells the operator what of the trouble that a topic has now is new.
    fn warn(&mut self, host: &mut dyn Host, topic: Topic, lines: Vec<Line>) {
        for text in self.running.told.news(topic, lines) {
            host.warn(&text);
        }
    }

    /// One round; `first` looks for members as well.
    pub fn turn(&mut self, host: &mut dyn Host, first: bool) {
        self.running.rounds += 1;
        if first {
            self.look(host, true);
        }
        if let Err(error) = self.rebalance(host) {
            self.running.rounds_failed += 1;
            run::skipped(self.running.rounds, &error);
        }
    }

    fn rebalance(&mut self, host: &mut dyn Host) -> anyhow::Result<()> {
        let now_ns = host.now_ns();
        let totals = doors::totals(self.object)?;
        self.observe(true)?;
        let samples: Vec<Sample> = self
            .tenants
            .iter()
            .map(|member| Sample {
                cell: member.id,
                used_ns: member.total.work_ns,
                waited_ns: member.total.waited_ns,
            })
            .collect();
        self.demand.observe(totals.at_ns, &samples);
        // CPUs for the cells do not wait for the weights inside of them.
        let weighed = self.weigh(totals.at_ns);
        self.running.weight_errors += u64::from(weighed.is_err());
        let text = weighed.err().map(|error| format!("cpu.weight does not count in full: {error:#}"));
        self.warn(host, Topic::Weights, text.into_iter().map(Line::from).collect());
        let settled = self.demand.settle(now_ns);
        let again = self.again_ns.is_some_and(|at_ns| at_ns <= now_ns);
        if !settled && !self.restructured && !again {
            self.sweep();
            return Ok(());
        }
        let outcome = self.decide(now_ns);
        self.running.decisions += 1;
        // Before anything can fail: what the BPF side refuses is tried again as well.
        self.again_ns = again_ns(&outcome, now_ns, self.params.cool_down_ns);
        let unmet = outcome.notes.len();
        let lines = outcome.notes.iter().map(|note| self.wish(note)).collect();
        self.warn(host, Topic::Wishes, lines);
        if outcome.changed || self.restructured {
            self.apply(&totals, outcome)?;
        }
        self.unmet = unmet;
        Ok(())
    }

    /// The line for a wish that could not be met.
    fn wish(&self, note: &Note) -> Line {
        let name = |id| self.tenants.name_of(id);
        let (kind, cell) = note.subject();
        Line::new(format!("{kind} {}", cell.map(name).unwrap_or_default()), note.line(&name))
    }

    /// Lets cpu.weight count among those who share a cell. What the BPF side refuses keeps nothing else from it, and is tried
    /// again in the next round.
    fn weigh(&mut self, at_ns: u64) -> anyhow::Result<()> {
        let elapsed_ns = at_ns.saturating_sub(self.last_weighed_ns);
        if self.options.no_cgroup_weights || elapsed_ns == 0 || self.tree.is_empty() {
            self.last_weighed_ns = at_ns;
            return Ok(());
        }
        let cumulative = doors::cgroup_loads(self.object)?;
        self.last_weighed_ns = at_ns;
        let loads = self.weigher.loads(&cumulative, elapsed_ns);
        let mut forgotten: Result<(), SeamError> = Ok(());
        for gone in self.weigher.gone(&self.tree) {
            // A cgroup younger than the tree looks the same; forgetting it costs it one round.
            match doors::forget_load(self.object, gone) {
                Ok(()) => self.weigher.forget(gone),
                Err(error) => forgotten = forgotten.and(Err(error)),
            }
        }
        let seat = |member: &Member| {
            let cell = self.assignment.as_ref().and_then(|assignment| assignment.physical_of(member.id));
            (member.id.slot, Seat { cell: cell.map_or(0, |cell| cell.id), weight: member.template.weight })
        };
        let seats = self.tenants.iter().map(seat).collect();
        let changes = self.weigher.changes(&self.tree, &loads, self.tenants.cgroups(), &seats)?;
        let (done, set) = doors::set_factors(self.object, &changes);
        self.weigher.told(&done);
        forgotten.and(set)?;
        Ok(())
    }

    /// Brings every member's figures up to date.
    pub(crate) fn observe(&mut self, round: bool) -> Result<(), SeamError> {
        let capacities = &self.capacities;
        for member in self.tenants.iter_mut() {
            let raw = doors::figures(self.object, member.id.slot, capacities)?;
            member.observe(raw, round);
        }
        Ok(())
    }

    /// The same for those who come or go, whose figures begin or end now.
    fn observe_some(&mut self, ids: &[CellId]) {
        for id in ids {
            let Some(member) = self.tenants.get_mut(*id) else { continue };
            match doors::figures(self.object, id.slot, &self.capacities) {
                Ok(raw) => member.observe(raw, false),
                Err(error) => debug!("slot {} cannot be observed: {error}", id.slot),
            }
        }
    }

    fn decide(&self, now_ns: u64) -> Outcome {
        let lends = !self.options.no_borrowing;
        let cells: Vec<Cell> = self
            .tenants
            .iter()
            .map(|member| {
                let lend = member.template.lend && lends;
                let headroom = if lend { self.options.headroom } else { 0.0 };
                Cell {
                    demand: with_headroom(self.demand.settled(member.id), headroom),
                    lend,
                    borrow: member.template.borrow && lends,
                    ..member.template.clone()
                }
            })
            .collect();
        assign(&Input {
            topology: &self.machine.topology,
            domains: &self.machine.blocks,
            cells: &cells,
            previous: self.assignment.as_ref(),
            params: &self.params,
            now_ns,
        })
    }

    fn apply(&mut self, totals: &Totals, outcome: Outcome) -> anyhow::Result<()> {
        let table = self.table(totals.sequence + 1, &outcome.assignment);
        let applied = doors::apply(self.object, &table).context("the new configuration is not in force")?;
        debug!(
            "table {}: {} cells, {} CPUs moved, {} tasks drained",
            table.sequence,
            outcome.assignment.cells.len(),
            applied.moved_cpus,
            applied.drained
        );
        self.count_merges(&outcome.assignment);
        self.note_lending(&outcome.assignment)?;
        self.sequence = table.sequence;
        self.assignment = Some(outcome.assignment);
        self.restructured = false;
        self.running.reconfigurations += 1;
        self.running.moved_cpus += u64::from(applied.moved_cpus);
        self.running.merges += u64::from(outcome.merges);
        self.running.splits += u64::from(outcome.splits);
        Ok(())
    }

    /// Counts for each member whether it shares a cell from now on, or no longer does.
    fn count_merges(&mut self, assignment: &Assignment) {
        let shares = |assignment: &Assignment, id| {
            assignment.physical_of(id).is_some_and(|cell| cell.members.len() > 1)
        };
        let before = self.assignment.as_ref();
        for member in self.tenants.iter_mut() {
            let shared = before.is_some_and(|before| shares(before, member.id));
            let will_share = shares(assignment, member.id);
            member.merges += u64::from(!shared && will_share);
            member.splits += u64::from(shared && !will_share);
        }
    }

    /// A cell id given to another cell begins to count what it lends anew.
    fn note_lending(&mut self, assignment: &Assignment) -> Result<(), SeamError> {
        for cell in &assignment.cells {
            let known = self.lent_before.get(&cell.id).map_or(0, |(generation, _)| *generation);
            if known != cell.generation {
                let lent_ns = doors::lent_ns(&*self.object, cell.id)?;
                self.lent_before.insert(cell.id, (cell.generation, lent_ns));
            }
        }
        Ok(())
    }

    /// CPU time that others used on the CPUs of a cell since it began, ns.
    ///
    /// # Errors
    /// As [`doors::lent_ns`].
    pub(crate) fn lent_ns(&self, cell: &PhysicalCell) -> Result<u64, SeamError> {
        let before = self.lent_before.get(&cell.id).map_or(0, |(_, lent_ns)| *lent_ns);
        Ok(doors::lent_ns(&*self.object, cell.id)?.saturating_sub(before))
    }

    fn table(&self, sequence: u64, assignment: &Assignment) -> Table {
        let nr_cells = assignment.cells.last().map_or(1, |cell| cell.id as usize + 1);
        let mut policies = vec![Policy::default(); nr_cells];
        // A slot without a member is everything else's.
        let mut slot_cell = vec![0; self.tenants.nr_slots()];
        for cell in &assignment.cells {
            let weights = cell.members.iter().filter_map(|id| self.tenants.get(*id));
            let weight = weights.fold(0u32, |sum, member| sum.saturating_add(member.template.weight)).max(1);
            policies[cell.id as usize] = Policy { lend: cell.lend, borrow: cell.borrow, weight };
            for member in &cell.members {
                if let Some(entry) = slot_cell.get_mut(member.slot as usize) {
                    *entry = cell.id;
                }
            }
        }
        Table {
            sequence,
            cpu_cell: assignment.owners(self.machine.topology.nr_cpu_ids()),
            slot_cell,
            policies,
        }
    }

    /// Picks up tasks that a late decision left in a queue without CPUs.
    pub fn sweep(&mut self) {
        if let Err(error) = doors::drain_orphans(self.object) {
            debug!("queues without CPUs were not looked at: {error}");
        }
    }

    /// Publishes the statistics of this moment.
    pub fn report(&mut self, host: &mut dyn Host) {
        match self.metrics(host) {
            Ok(metrics) => host.publish(&metrics),
            Err(error) => tracing::warn!("no statistics this time: {error:#}"),
        }
    }

    fn metrics(&mut self, host: &mut dyn Host) -> Result<Metrics, SeamError> {
        let totals = doors::totals(self.object)?;
        self.observe(false)?;
        report::metrics(self, &totals, host.now_ns(), host.cpu_busy_pct())
    }

    /// Keeps the counters of this attachment for the next one.
    pub fn retire(&mut self) {
        if let Err(error) = self.observe(false) {
            run::lost(&error);
        }
        let (counters, borrowed_ns) = self.tenants.sums();
        self.running.counters = self.running.counters + counters;
        self.running.borrowed_ns += borrowed_ns;
        match doors::totals(self.object) {
            Ok(totals) => self.running.no_context += totals.nr_no_context,
            Err(error) => run::lost(&error),
        }
    }
}

/// When the same demand is worth another decision. One that changed something may have been a step of several, and one made
/// while cells rested from a merge may have put off what it would have done otherwise. One that changed nothing, with
/// nobody at rest, would only be repeated.
fn again_ns(outcome: &Outcome, now_ns: u64, cool_down_ns: u64) -> Option<u64> {
    if outcome.changed {
        return Some(now_ns.saturating_add(cool_down_ns));
    }
    // The last to rest: then no two such decisions come within one cool-down, however many cells merged one by one.
    let rested_ns = outcome.assignment.since_ns()?.saturating_add(cool_down_ns);
    (rested_ns > now_ns).then_some(rested_ns)
}

/// CPUs for a demand, so that a task which wakes seldom finds none idle: the square-root rule of staffing for queues, by
/// which the spread of the number of runnable tasks grows with the root of its mean. Below one CPU in proportion, lest many
/// small cells claim more than they could ever use.
fn with_headroom(demand: f64, factor: f64) -> f64 {
    demand + factor * demand.max(0.0).sqrt().min(demand)
}

/// Thresholds of the assignment on this machine.
pub(crate) fn params(machine: &Machine, options: &Options) -> Params {
    let cool_down_ns = nanoseconds(options.cool_down);
    Params { max_cells: kernel::max_cells(machine), cool_down_ns, ..Params::default() }
}

fn demand_params(options: &Options) -> DemandParams {
    DemandParams {
        half_life_ns: nanoseconds(options.demand_half_life),
        threshold_cpus: options.rebalance_threshold,
        cool_down_ns: nanoseconds(options.cool_down),
        ..DemandParams::default()
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
