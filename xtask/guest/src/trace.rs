// SPDX-License-Identifier: GPL-2.0-only
//! Migrations as the kernel's tracepoint `sched_migrate_task` tells them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

const INSTANCES: &str = "/sys/kernel/tracing/instances";

/// One task changed its CPU.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Migration {
    /// Task.
    pub pid: i32,
    /// CPU it left.
    pub from_cpu: usize,
    /// CPU it goes to.
    pub to_cpu: usize,
}

/// What happened to tasks that are not real-time, by which a scheduler has to place one.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Placeable {
    /// Wake-ups, those of new tasks included.
    pub wakeups: usize,
    /// Times that one left its CPU although it wanted to go on: it is placed again, save where it only makes room for a moment.
    pub left_runnable: usize,
}

/// A trace instance: it records on its own, beside every other.
pub struct Instance {
    directory: PathBuf,
}

impl Instance {
    /// The one of that name, made if there is none: empty, not recording, with room for so much on each CPU. That takes a while.
    pub fn prepare(name: &str, buffer_kb: usize) -> Result<Self> {
        let instance = Self { directory: Path::new(INSTANCES).join(name) };
        if !instance.directory.exists() {
            fs::create_dir(&instance.directory)
                .with_context(|| format!("cannot create the trace instance {name}"))?;
        }
        instance.stop()?;
        instance.set("buffer_size_kb", &buffer_kb.to_string())?;
        instance.set("trace", "")?;
        Ok(instance)
    }

    /// Writes one of its files.
    pub fn set(&self, file: &str, value: &str) -> Result<()> {
        fs::write(self.directory.join(file), value)
            .with_context(|| format!("cannot set the trace's {file} to '{value}'"))
    }

    /// Records what happens to whom the filter names.
    pub fn enable(&self, event: &str, filter: &str) -> Result<()> {
        self.set(&format!("events/sched/{event}/filter"), filter)?;
        self.set(&format!("events/sched/{event}/enable"), "1")
    }

    /// Records from now on.
    pub fn start(&self) -> Result<()> {
        self.set("tracing_on", "1")
    }

    /// Records no more.
    pub fn stop(&self) -> Result<()> {
        self.set("tracing_on", "0")
    }

    /// What was recorded, after [`Self::stop`], and none of its events from now on; reading takes a while.
    ///
    /// # Errors
    /// The trace cannot be read, or its buffer overflowed (then whatever is counted in it would be wrong).
    pub fn finish(&self) -> Result<String> {
        self.set("events/enable", "0")?;
        let text = fs::read_to_string(self.directory.join("trace")).context("cannot read the trace")?;
        ensure!(!lost_events(&text), "the trace buffer overflowed: what it recorded cannot be counted");
        Ok(text)
    }
}

/// A count of what happens to tasks that are not real-time.
pub struct WakeupTrace {
    instance: Instance,
}

impl WakeupTrace {
    /// Events and the tasks they matter for: priorities below 100 are those of the real-time classes, 0 is an idle CPU.
    const EVENTS: [(&str, &str); 3] = [
        ("sched_wakeup", "prio >= 100"),
        ("sched_wakeup_new", "prio >= 100"),
        ("sched_switch", "prev_prio >= 100 && prev_pid != 0"),
    ];

    /// Makes everything ready, in a trace instance of its own; that takes a while.
    pub fn prepare() -> Result<Self> {
        let instance = Instance::prepare("wakeups", 8192)?;
        Self::EVENTS.iter().try_for_each(|(event, filter)| instance.enable(event, filter))?;
        Ok(Self { instance })
    }

    /// Starts to count.
    pub fn start(&self) -> Result<()> {
        self.instance.start()
    }

    /// Stops.
    pub fn stop(&self) -> Result<()> {
        self.instance.stop()
    }

    /// The numbers, after [`Self::stop`]; reading them takes a while.
    ///
    /// # Errors
    /// The trace cannot be read, or its buffer overflowed (then the numbers would be wrong).
    pub fn finish(self) -> Result<Placeable> {
        Ok(placeable(&self.instance.finish()?))
    }
}

/// Counts the lines of a trace.
pub fn placeable(text: &str) -> Placeable {
    let woke = |line: &&str| line.contains(": sched_wakeup: ") || line.contains(": sched_wakeup_new: ");
    let left = |line: &&str| line.contains(": sched_switch: ") && line.contains(" prev_state=R");
    Placeable { wakeups: text.lines().filter(woke).count(), left_runnable: text.lines().filter(left).count() }
}

/// Stops whatever still records: a scenario that is killed leaves its trace running, which the next ones would pay for.
pub fn stop_all() {
    for instance in fs::read_dir(INSTANCES).into_iter().flatten().flatten() {
        let _stopped = fs::write(instance.path().join("tracing_on"), "0");
    }
}

/// A recording of the migrations of tasks with one name.
pub struct MigrationTrace {
    instance: Instance,
}

impl MigrationTrace {
    /// Starts to record tasks called `comm` in a trace instance of its own.
    pub fn start(comm: &str) -> Result<Self> {
        let instance = Instance::prepare(&format!("{comm}-migrations"), 2048)?;
        instance.enable("sched_migrate_task", &format!("comm == \"{comm}\""))?;
        instance.start()?;
        Ok(Self { instance })
    }

    /// Stops and returns the migrations in order of time, with the text they came from.
    ///
    /// # Errors
    /// The trace cannot be read, or its buffer overflowed (then counts would be wrong).
    pub fn finish(self) -> Result<(Vec<Migration>, String)> {
        self.instance.stop()?;
        let text = self.instance.finish()?;
        Ok((text.lines().filter_map(parse_line).collect(), text))
    }
}

/// Whether a trace's header says that events were overwritten.
pub fn lost_events(text: &str) -> bool {
    let Some(line) = text.lines().find(|line| line.contains("entries-in-buffer/entries-written:")) else {
        return false;
    };
    let numbers = line.split(':').nth(1).and_then(|rest| rest.split_whitespace().next());
    match numbers.and_then(|numbers| numbers.split_once('/')) {
        Some((in_buffer, written)) => in_buffer != written,
        None => false,
    }
}

/// One line of a trace: `hog-71 [003] d..2. 12.3: sched_migrate_task: comm=hog pid=71 prio=120 orig_cpu=3 dest_cpu=5`.
pub fn parse_line(line: &str) -> Option<Migration> {
    let (_, fields) = line.split_once(" sched_migrate_task: ")?;
    let field = |name: &str| {
        fields
            .split_whitespace()
            .find_map(|field| field.strip_prefix(name)?.strip_prefix('=')?.parse::<i32>().ok())
    };
    Some(Migration {
        pid: field("pid")?,
        from_cpu: usize::try_from(field("orig_cpu")?).ok()?,
        to_cpu: usize::try_from(field("dest_cpu")?).ok()?,
    })
}

/// How many of the migrations crossed from one domain to another. `domain_of` has a domain per CPU.
pub fn cross_domain(migrations: &[Migration], domain_of: &[Option<usize>]) -> usize {
    let domain = |cpu: usize| domain_of.get(cpu).copied().flatten();
    migrations.iter().filter(|migration| domain(migration.from_cpu) != domain(migration.to_cpu)).count()
}

#[cfg(test)]
mod tests;
