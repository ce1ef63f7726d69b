// SPDX-License-Identifier: GPL-2.0-only
//! Spans as ranges, compared with the topology's own sets of CPUs.

use clap::Parser;
use proptest::prelude::*;
use topology::CpuSet;

use super::*;

fn machine(spec: &str) -> Machine {
    let options = Options::try_parse_from(["active-push"]).expect("no arguments");
    Machine::new(Topology::from_spec(spec).expect("valid spec"), &options).expect("default levels")
}

fn cpus(machine: &Machine, first: usize, nr: usize) -> CpuSet {
    machine.order[first..first + nr].iter().copied().collect()
}

/// Every span and every group is the set of CPUs that the topology names.
fn check(machine: &Machine) {
    let sched_levels = machine.topology.sched_domains();
    assert_eq!(sched_levels.len(), machine.levels.len());
    for (depth, (expected, level)) in sched_levels.iter().zip(&machine.levels).enumerate() {
        assert_eq!(expected.spans.len(), level.spans.len());
        for index in level.spans.clone() {
            let span = &machine.spans[index];
            let set = cpus(machine, span.first, span.nr);
            let same = expected.spans.iter().find(|other| other.cpus == set).expect("a span of the topology");
            let mut groups: Vec<CpuSet> = (span.first_group..span.first_group + span.nr_groups)
                .map(|group| match depth {
                    0 => cpus(machine, group, 1),
                    _ => cpus(machine, machine.spans[group].first, machine.spans[group].nr),
                })
                .collect();
            groups.sort_by_key(|group| group.first());
            let mut wanted = same.groups.clone();
            wanted.sort_by_key(|group| group.first());
            assert_eq!(groups, wanted);
        }
    }
    for place in &machine.places {
        for (depth, level) in sched_levels.iter().enumerate() {
            let span = &machine.spans[place.spans[depth]];
            assert!(cpus(machine, span.first, span.nr).contains(place.cpu), "{} {}", place.cpu, level.kind);
        }
        let core = cpus(machine, place.core.0, place.core.1);
        assert!(core.contains(place.cpu));
        assert!(
            core.iter().all(|cpu| machine.topology.siblings(cpu) == machine.topology.siblings(place.cpu))
        );
    }
}

#[test]
fn ranges_are_the_sets_of_the_topology() {
    for spec in ["1c", "3c", "4c2t", "2n2l2c1t", "2n4l8c2t", "1n2l1c1t"] {
        check(&machine(spec));
    }
}

#[test]
fn one_cpu_has_no_level() {
    let machine = machine("1c");
    assert!(machine.levels.is_empty() && machine.spans.is_empty());
    assert_eq!(machine.order, [0]);
}

#[test]
fn a_level_of_the_command_line_must_fit_itself() {
    let options =
        Options::try_parse_from(["active-push", "--level", "llc:min-interval-ms=50"]).expect("valid");
    let error = Machine::new(Topology::from_spec("8c").expect("valid"), &options).expect_err("50 > 16");
    assert!(error.to_string().contains("min-interval-ms 50"), "{error}");
}

proptest! {
    #[test]
    fn any_even_machine_is_cut_into_ranges(nodes in 1..4usize, llcs in 1..4usize, cores in 1..5usize, threads in 1..4usize) {
        check(&machine(&format!("{nodes}n{llcs}l{cores}c{threads}t")));
    }
}
