// SPDX-License-Identifier: GPL-2.0-only
//! The machine as the kernel side sees it: levels, and CPUs in an order in which every span of every level is a range.

use anyhow::Result;
use runtime::exit::UsageError;
use topology::Topology;

use crate::levels::{self, LevelParams};
use crate::options::Options;

/// One span as ranges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First CPU and number of CPUs, in [`Machine::order`].
    pub first: usize,
    /// Number of CPUs.
    pub nr: usize,
    /// First group: a span of the next inner level, or a place in [`Machine::order`] on the innermost.
    pub first_group: usize,
    /// Number of groups.
    pub nr_groups: usize,
}

/// One level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Level {
    /// `smt`, `llc`, `node` or `machine`.
    pub name: String,
    /// How it is balanced.
    pub params: LevelParams,
    /// Its spans, as a range of [`Machine::spans`].
    pub spans: std::ops::Range<usize>,
}

/// Where an online CPU stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// CPU number.
    pub cpu: usize,
    /// 1 to 1024.
    pub capacity: u32,
    /// Index of its last-level cache.
    pub llc: usize,
    /// Its core: first CPU in [`Machine::order`] and number of online threads.
    pub core: (usize, usize),
    /// Its span on each level, in [`Machine::spans`].
    pub spans: Vec<usize>,
}

/// A topology prepared for balancing; read anew at every start, so it never outlives a hotplug event.
#[derive(Debug)]
pub struct Machine {
    /// Nodes, caches, cores and CPUs.
    pub topology: Topology,
    /// The levels, innermost first; those that add nothing are left out.
    pub levels: Vec<Level>,
    /// Online CPUs, nested: threads of a core, cores of a cache, caches of a node next to each other.
    pub order: Vec<usize>,
    /// Spans of all levels, innermost level first, by their place in [`Machine::order`].
    pub spans: Vec<Span>,
    /// Online CPUs, in the order of [`Machine::order`].
    pub places: Vec<Place>,
    /// The capacities there are, ascending.
    pub classes: Vec<u32>,
}

impl Machine {
    /// Prepares `topology` for balancing with `options`.
    ///
    /// # Errors
    /// [`UsageError`] when the options make a level's shortest interval longer than its longest.
    pub fn new(topology: Topology, options: &Options) -> Result<Self> {
        let sched_levels = topology.sched_domains();
        let mut online: Vec<&topology::Cpu> = topology.cpus.iter().filter(|cpu| cpu.online).collect();
        online.sort_by_key(|cpu| (cpu.node, cpu.llc, cpu.core, cpu.id));
        let order: Vec<usize> = online.iter().map(|cpu| cpu.id).collect();
        let mut spans: Vec<Span> = Vec::new();
        let mut levels = Vec::new();
        // Group of each place in the order on the level at hand, and where that group begins.
        let mut group_of: Vec<usize> = (0..order.len()).collect();
        for level in &sched_levels {
            let begin = spans.len();
            let mut span_at: Vec<usize> = Vec::with_capacity(order.len());
            let mut last = None;
            for (at, &cpu) in order.iter().enumerate() {
                let span = level.span_of(cpu);
                if last != Some(span) {
                    last = Some(span);
                    spans.push(Span { first: at, nr: 0, first_group: group_of[at], nr_groups: 0 });
                }
                let current = spans.len() - 1;
                spans[current].nr += 1;
                spans[current].nr_groups = group_of[at] + 1 - spans[current].first_group;
                span_at.push(current);
            }
            group_of = span_at;
            levels.push(Level {
                name: levels::name_of(level.kind).to_owned(),
                params: params(level, options)?,
                spans: begin..spans.len(),
            });
        }
        let places = online.iter().map(|cpu| place(cpu, &online, &levels, &spans)).collect();
        let mut classes: Vec<u32> = online.iter().map(|cpu| cpu.capacity).collect();
        classes.sort_unstable();
        classes.dedup();
        Ok(Self { levels, order, spans, places, classes, topology })
    }

    /// Whether some core has several online threads.
    pub fn has_smt(&self) -> bool {
        self.places.iter().any(|place| place.core.1 > 1)
    }
}

fn params(level: &topology::SchedLevel, options: &Options) -> Result<LevelParams> {
    let mut params = LevelParams::defaults(level);
    options.level.iter().for_each(|option| option.apply(level.kind, &mut params));
    let name = levels::name_of(level.kind);
    if params.min_interval_ms > params.max_interval_ms {
        return Err(UsageError(format!(
            "--level {name}: min-interval-ms {} is longer than max-interval-ms {}; give both",
            params.min_interval_ms, params.max_interval_ms
        ))
        .into());
    }
    Ok(params)
}

fn place(cpu: &topology::Cpu, online: &[&topology::Cpu], levels: &[Level], spans: &[Span]) -> Place {
    let at = online.iter().position(|other| other.id == cpu.id).unwrap_or_default();
    let first = online.iter().position(|other| other.core == cpu.core).unwrap_or_default();
    let threads = online[first..].iter().take_while(|other| other.core == cpu.core).count();
    let span_on = |level: &Level| {
        let fits = |span: &Span| (span.first..span.first + span.nr).contains(&at);
        let within = spans[level.spans.clone()].partition_point(|span| span.first + span.nr <= at);
        let index = level.spans.start + within;
        debug_assert!(fits(&spans[index]), "every online CPU is in a span of every level");
        index
    };
    Place {
        cpu: cpu.id,
        capacity: cpu.capacity,
        llc: cpu.llc,
        core: (first, threads),
        spans: levels.iter().map(span_on).collect(),
    }
}

#[cfg(test)]
mod tests;
