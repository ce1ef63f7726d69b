// SPDX-License-Identifier: GPL-2.0-only
//! One round at four sizes: with a new planner (cold), with one that has planned before (warm), and by linear scans.
//!
//! Settled is a warm round on the same machine after rounds until nothing moved: all pairs that could fail do.
//!
//! The linear versions follow the same rules without an index: `linear` looks at every task of the source domain for
//! each move and each candidate destination, `first-fit` stops at the first destination that can take one. They are
//! left out where a single round would take many seconds.
#![allow(missing_docs, reason = "the criterion macros expand to undocumented items")]

#[path = "../tests/linear/mod.rs"]
mod linear;
#[path = "../tests/machine/mod.rs"]
mod machine;
#[path = "../tests/snapshot/mod.rs"]
mod snapshot;

use balancer::Planner;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use linear::{Linear, Scan};
use snapshot::Snapshot;
use std::hint::black_box;
use std::time::Duration;

const SIZES: [(usize, usize); 4] = [(8, 1_000), (64, 10_000), (512, 100_000), (512, 1_000_000)];

fn rounds(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("balancer");
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
    for (domains, tasks) in SIZES {
        let snapshot = Snapshot::new(domains, tasks, 1);
        let moves = snapshot.round(&mut Planner::new()).moves.len();
        eprintln!("({domains} domains, {tasks} tasks): {moves} moves");
        let size = format!("{domains}x{tasks}");
        group.throughput(Throughput::Elements(tasks as u64));
        group.bench_function(BenchmarkId::new("cold", &size), |bencher| {
            bencher.iter(|| snapshot.round(black_box(&mut Planner::new())));
        });
        let mut planner = Planner::new();
        group.bench_function(BenchmarkId::new("warm", &size), |bencher| {
            bencher.iter(|| snapshot.round(black_box(&mut planner)));
        });
        if tasks < 1_000_000 {
            let settled = Snapshot::new(domains, tasks, 1).settle();
            group.bench_function(BenchmarkId::new("settled", &size), |bencher| {
                bencher.iter(|| settled.round(black_box(&mut planner)));
            });
        }
        for (name, scan, largest) in [("first-fit", Scan::FirstFit, 10_000), ("linear", Scan::Every, 10_000)]
        {
            if tasks > largest {
                continue;
            }
            group.bench_function(BenchmarkId::new(name, &size), |bencher| {
                bencher.iter(|| {
                    let shape = black_box(snapshot.shape());
                    let (ledger, tasks, params) = (&snapshot.ledger, &snapshot.tasks, &snapshot.params);
                    Linear::new(shape, ledger, tasks, params, scan).run().moves
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, rounds);
criterion_main!(benches);
