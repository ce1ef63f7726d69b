// SPDX-License-Identifier: GPL-2.0-only
//! The push protocol as a model whose every reachable state is visited: 3 CPUs, 3 tasks, each idle CPU asking on its own, and
//! disturbances in between (a higher class takes a CPU, affinity changes, hotplug, sleep, death).
//!
//! States and transitions are those of `src/bpf/push.bpf.h`, under the same names (record, publish, take, arrive, refuse,
//! withdraw); change both together. Steps that are separate in the kernel side, so that another CPU may act in between, are
//! separate here. What is one compare-and-exchange there, or happens under one rq lock, is one step.
mod protocol;
mod state;
mod steps;
mod symmetry;

use protocol::{Disturbance, Protocol};
use stateright::{Checker, Model};

/// Visits every state and tells how many there were.
fn check(disturbances: &'static [Disturbance], times: u8) {
    let checker = Protocol { disturbances, times }.checker().threads(2).spawn_bfs().join();
    let (all, unique) = (checker.state_count(), checker.unique_state_count());
    println!("{times} of {disturbances:?}: {all} states, {unique} of them unique");
    assert!(checker.is_done());
    checker.assert_properties();
}

#[test]
fn the_protocol_survives_any_disturbance() {
    use Disturbance::{Affinity, Death, HigherClass, Hotplug, Sleep};
    check(&[HigherClass, Sleep, Affinity, Hotplug, Death], 1);
}

#[test]
fn the_protocol_survives_hotplug_and_affinity_together() {
    check(&[Disturbance::Hotplug, Disturbance::Affinity], 2);
}

/// With every other CPU idle there is no tick that could notice who waits on a held one.
#[test]
fn the_protocol_survives_a_higher_class_where_nothing_ticks() {
    check(&[Disturbance::HigherClass, Disturbance::Sleep], 2);
}
