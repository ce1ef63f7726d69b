// SPDX-License-Identifier: GPL-2.0-only
//! A BPF side made of plain values: members that use CPU time as told, tables checked as the real one checks them, and time
//! moved by hand.

use std::cell::Cell as Shared;
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use bytemuck::Zeroable;
use runtime::exit::ExitRecord;
use runtime::host::World;
use runtime::seam::{BpfObject, Entry, SeamError};
use runtime::signals::Wake;

use crate::kernel::abi;
use crate::run::Host;
use crate::stats::Metrics;
use crate::tenants::Found;
use crate::weigher::TreeNode;

thread_local! {
    /// The time of the test on this thread, ns; object and host share it.
    static NOW: Rc<Shared<u64>> = Rc::default();
}

pub fn now_ns() -> u64 {
    NOW.with(|now| now.get())
}

/// CPUs a member keeps busy, and how many of its tasks wait meanwhile.
#[derive(Clone, Copy, Debug, Default)]
pub struct Use {
    pub cpus: f64,
    pub waiting: f64,
}

pub struct FakeObject {
    /// By cgroup id; 0 is everything else.
    pub uses: BTreeMap<u64, Use>,
    /// They happen from then on, ns.
    pub begins_ns: u64,
    /// They happen for so long and rest for so long, ns; 0: they never rest.
    pub swing_ns: u64,
    pub members: BTreeMap<u64, u32>,
    pub factors: BTreeMap<u64, u32>,
    pub renewals: u64,
    pub tables: [Box<abi::cs_table>; 2],
    pub sequence: u64,
    /// Every table that was applied.
    pub applied: Vec<Box<abi::cs_table>>,
    /// When no table is taken, ns.
    pub refuse_tables: Range<u64>,
    pub fail_totals: bool,
    /// When nothing can be changed about an element, by map and cgroup id, ns.
    pub refused: BTreeMap<(&'static str, u64), Range<u64>>,
    pub exit: Option<ExitRecord>,
    pub exit_after_ns: Option<u64>,
    pub searches: u64,
    /// Tasks by queue that no CPU serves.
    pub orphans: BTreeMap<u32, u32>,
    pub drained: u32,
    /// What was counted per slot: used and waited ns.
    counted: BTreeMap<u32, (f64, f64)>,
    counted_until_ns: u64,
    cpus: usize,
}

impl FakeObject {
    pub fn new(cpus: usize) -> Self {
        let mut first = Box::new(abi::cs_table::zeroed());
        first.cpu_cell.fill(abi::cs_limits_CS_NONE as u16);
        first.cpu_cell[..cpus].fill(0);
        (first.nr_cells, first.nr_slots) = (1, 1);
        Self {
            uses: BTreeMap::new(),
            begins_ns: 0,
            swing_ns: 0,
            members: BTreeMap::new(),
            factors: BTreeMap::new(),
            renewals: 0,
            tables: [first, Box::new(abi::cs_table::zeroed())],
            sequence: 0,
            applied: Vec::new(),
            refuse_tables: 0..0,
            fail_totals: false,
            refused: BTreeMap::new(),
            exit: None,
            exit_after_ns: None,
            searches: 0,
            orphans: BTreeMap::new(),
            drained: 0,
            counted: BTreeMap::new(),
            counted_until_ns: 0,
            cpus,
        }
    }

    /// The table in use.
    pub fn table(&self) -> &abi::cs_table {
        &self.tables[(self.sequence & 1) as usize]
    }

    /// CPUs of the cell that a cgroup's tasks live in.
    pub fn cpus_of(&self, cgroup: u64) -> usize {
        let slot = self.members.get(&cgroup).copied().unwrap_or(0);
        let cell = self.table().slot_cell[slot as usize];
        self.table().cpu_cell.iter().filter(|owner| **owner == cell).count()
    }

    /// The cell that a cgroup's tasks live in.
    pub fn cell_of(&self, cgroup: u64) -> u16 {
        self.table().slot_cell[self.members.get(&cgroup).copied().unwrap_or(0) as usize]
    }

    /// Lets the uses happen until now.
    fn count(&mut self) {
        let elapsed = now_ns().saturating_sub(self.counted_until_ns.max(self.begins_ns)) as f64;
        self.counted_until_ns = now_ns();
        if now_ns().checked_div(self.swing_ns).is_some_and(|swing| swing % 2 == 1) {
            return;
        }
        for (cgroup, usage) in &self.uses {
            let slot = self.members.get(cgroup).copied().unwrap_or(0);
            let entry = self.counted.entry(slot).or_default();
            entry.0 += usage.cpus * elapsed;
            entry.1 += usage.waiting * elapsed;
        }
    }

    fn check_refused(&self, map: &str, key: &[u8]) -> Result<(), SeamError> {
        let mut refused = self.refused.iter().filter(|(_, when)| when.contains(&now_ns()));
        if refused.any(|((name, id), _)| *name == map && id.to_ne_bytes() == key) {
            return Err(failed(map));
        }
        Ok(())
    }

    fn apply(&mut self, args: &mut abi::cs_apply_args) -> i32 {
        let next = self.sequence + 1;
        let table = &self.tables[(next & 1) as usize];
        if self.refuse_tables.contains(&now_ns()) {
            return abi::cs_apply_result_CS_APPLY_NO_QUEUE as i32;
        }
        if args.sequence != next || table.sequence != next {
            return abi::cs_apply_result_CS_APPLY_STALE as i32;
        }
        let owned = table.cpu_cell[..self.cpus].iter().all(|cell| u32::from(*cell) < table.nr_cells);
        let others =
            table.cpu_cell[self.cpus..].iter().all(|cell| u32::from(*cell) == abi::cs_limits_CS_NONE);
        if !owned || !others {
            return abi::cs_apply_result_CS_APPLY_INVALID as i32;
        }
        let before = self.table().cpu_cell;
        args.nr_moved_cpus = before.iter().zip(&table.cpu_cell).filter(|(a, b)| a != b).count() as u32;
        self.applied.push(table.clone());
        self.sequence = next;
        abi::cs_apply_result_CS_APPLY_OK as i32
    }
}

fn missing(kind: &'static str, name: &str) -> SeamError {
    SeamError::Missing { kind, name: name.to_owned() }
}

fn failed(name: &str) -> SeamError {
    let reason = "made to fail".to_owned();
    SeamError::Refused { operation: "run", name: name.to_owned(), errno: None, reason }
}

fn key64(key: &[u8]) -> u64 {
    bytemuck::pod_read_unaligned(key)
}

fn key32(key: &[u8]) -> u32 {
    bytemuck::pod_read_unaligned(key)
}

impl BpfObject for FakeObject {
    fn read_global(&self, variable: &str) -> Result<Vec<u8>, SeamError> {
        Err(missing("variable", variable))
    }

    fn map_lookup(&self, map: &str, _key: &[u8]) -> Result<Option<Vec<u8>>, SeamError> {
        Err(missing("map", map))
    }

    /// Spread over two CPUs: the sum counts.
    fn map_lookup_percpu(&self, map: &str, key: &[u8]) -> Result<Option<Vec<Vec<u8>>>, SeamError> {
        if map == "lendings" {
            let part = abi::cs_lending { lent_ns: 5 };
            return Ok(Some(vec![bytemuck::bytes_of(&part).to_vec(); 2]));
        }
        assert_eq!(map, "figures");
        let (used, waited) = self.counted.get(&key32(key)).copied().unwrap_or_default();
        let mut parts = [abi::cs_figures::zeroed(), abi::cs_figures::zeroed()];
        parts[0].used_ns = used as u64 / 3;
        parts[1].used_ns = used as u64 - parts[0].used_ns;
        parts[0].waited_ns = waited as u64;
        // Half of it was borrowed, and each millisecond was a placement.
        parts[0].borrowed_ns = used as u64 / 2;
        parts[1].counters[abi::cs_counter_CS_LOCAL as usize] = used as u64 / 1_000_000;
        // Tasks that came on the first CPU and left on the second.
        (parts[0].nr_tasks, parts[1].nr_tasks) = (7, -4);
        Ok(Some(parts.iter().map(|part| bytemuck::bytes_of(part).to_vec()).collect()))
    }

    fn map_entries(&self, map: &str) -> Result<Vec<Entry>, SeamError> {
        assert_eq!(map, "cgroup_loads");
        let entry = |(cgroup, usage): (&u64, &Use)| {
            let load = ((usage.cpus + usage.waiting) * now_ns() as f64) as u64;
            (cgroup.to_ne_bytes().to_vec(), load.to_ne_bytes().to_vec())
        };
        Ok(self.uses.iter().map(entry).collect())
    }

    fn map_update(&mut self, map: &str, key: &[u8], value: &[u8]) -> Result<(), SeamError> {
        self.check_refused(map, key)?;
        match map {
            "tables" => {
                let at = key32(key) as usize;
                assert_ne!(at as u64, self.sequence & 1, "the table in use is never written");
                *self.tables[at] = bytemuck::pod_read_unaligned(value);
            }
            "members" => {
                self.count();
                let member: abi::cs_member = bytemuck::pod_read_unaligned(value);
                self.members.insert(key64(key), member.slot);
            }
            "cgroup_factors" => _ = self.factors.insert(key64(key), key32(value)),
            _ => return Err(missing("map", map)),
        }
        Ok(())
    }

    fn map_delete(&mut self, map: &str, key: &[u8]) -> Result<bool, SeamError> {
        self.check_refused(map, key)?;
        match map {
            "members" => {
                self.count();
                Ok(self.members.remove(&key64(key)).is_some())
            }
            "cgroup_factors" => Ok(self.factors.remove(&key64(key)).is_some()),
            "cgroup_loads" => Ok(true),
            _ => Err(missing("map", map)),
        }
    }

    fn run_syscall(&mut self, program: &str, context: &mut [u8]) -> Result<i32, SeamError> {
        self.count();
        match program {
            "read_totals" if self.fail_totals => Err(failed(program)),
            "read_totals" => {
                let totals = abi::cs_totals_args {
                    at_ns: now_ns(),
                    sequence: self.sequence,
                    nr_tasks: 3,
                    nr_no_context: 0,
                };
                context.copy_from_slice(bytemuck::bytes_of(&totals));
                Ok(0)
            }
            "apply_table" => {
                let mut args: abi::cs_apply_args = bytemuck::pod_read_unaligned(context);
                let answer = self.apply(&mut args);
                context.copy_from_slice(bytemuck::bytes_of(&args));
                Ok(answer)
            }
            "find_orphans" => {
                self.searches += 1;
                let mut args: abi::cs_orphans_args = bytemuck::pod_read_unaligned(context);
                let orphan = self.orphans.iter().find(|(queue, tasks)| **queue >= args.queue && **tasks > 0);
                args.found = orphan.is_some().into();
                args.queue = orphan.map_or(args.queue, |(queue, _)| *queue);
                context.copy_from_slice(bytemuck::bytes_of(&args));
                Ok(0)
            }
            "drain_queue" => {
                let mut args: abi::cs_drain_args = bytemuck::pod_read_unaligned(context);
                // One task of each queue cannot be moved.
                args.nr_drained = self.orphans.insert(args.queue, 1).unwrap_or(1) - 1;
                self.drained += args.nr_drained;
                context.copy_from_slice(bytemuck::bytes_of(&args));
                Ok(0)
            }
            "renew_factors" => {
                self.renewals += 1;
                Ok(0)
            }
            _ => Err(failed(program)),
        }
    }

    fn exit_record(&self) -> Result<Option<ExitRecord>, SeamError> {
        let ended = self.exit_after_ns.is_some_and(|at| now_ns() >= at);
        Ok(self.exit.clone().filter(|_| ended))
    }
}

/// What the host finds from a moment on.
pub type Change = (u64, Result<Found, String>);

/// Time moves only while the loop waits; it is told to shut down at `end_ns`.
pub struct ManualHost {
    pub published: Vec<Metrics>,
    pub changes: Vec<Change>,
    /// Errors of reading the configuration again, and when they come.
    pub reloads: Vec<(u64, String)>,
    /// What the operator was told.
    pub warned: Vec<String>,
    pub tree: Vec<TreeNode>,
    /// When a look was due though nothing told of a change, ns.
    pub due_ns: Vec<u64>,
    end_ns: u64,
}

impl ManualHost {
    pub fn new(length: Duration, changes: Vec<Change>) -> Self {
        Self::starting_at(0, length, changes)
    }

    /// The clock shows `start_ns` at first; the changes come at times of that clock.
    pub fn starting_at(start_ns: u64, length: Duration, changes: Vec<Change>) -> Self {
        NOW.with(|now| now.set(start_ns));
        Self {
            published: Vec::new(),
            changes,
            reloads: Vec::new(),
            warned: Vec::new(),
            tree: Vec::new(),
            due_ns: Vec::new(),
            end_ns: start_ns + length.as_nanos() as u64,
        }
    }
}

impl World for ManualHost {
    fn now_ns(&self) -> u64 {
        now_ns()
    }

    fn wait(&mut self, timeout: Duration) -> Wake {
        // A wait of no time at all would stand still for ever.
        let next = now_ns() + (timeout.as_nanos() as u64).max(1);
        NOW.with(|now| now.set(next.min(self.end_ns)));
        if next >= self.end_ns { Wake::Shutdown } else { Wake::Timeout }
    }

    fn cpu_busy_pct(&mut self) -> f64 {
        50.0
    }

    fn wants_metrics(&self) -> bool {
        false
    }
}

impl runtime::host::Host<Metrics> for ManualHost {
    fn publish(&mut self, metrics: &Metrics) {
        self.published.push(metrics.clone());
    }
}

impl Host for ManualHost {
    fn reload(&mut self) -> Result<(), String> {
        match self.reloads.first() {
            Some((at_ns, _)) if *at_ns <= now_ns() => Err(self.reloads.remove(0).1),
            _ => Ok(()),
        }
    }

    fn look(&mut self, due: bool) -> Result<Option<Found>, String> {
        self.due_ns.extend(due.then(now_ns));
        if self.changes.first().is_none_or(|(at_ns, _)| *at_ns > now_ns()) {
            return Ok(None);
        }
        self.changes.remove(0).1.map(Some)
    }

    fn tree(&mut self) -> Vec<TreeNode> {
        self.tree.clone()
    }

    fn warn(&mut self, line: &str) {
        self.warned.push(line.to_owned());
    }
}
