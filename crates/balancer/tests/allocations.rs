// SPDX-License-Identifier: GPL-2.0-only
//! A round in a planner that has seen the machine before allocates for its answer, not for the tasks.
mod machine;
mod snapshot;

use balancer::{Plan, Planner};
use machine::Rng;
use snapshot::Snapshot;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    /// Allocations of this thread, so that the test harness does not disturb the count.
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

fn count() {
    COUNT.with(|count| count.set(count.get() + 1));
}

// SAFETY: every call goes to the system's allocator with the arguments it came with; counting touches a thread-local
// without a destructor and allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`; `block` came from the system's allocator.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `realloc`; `block` came from the system's allocator.
        unsafe { System.realloc(block, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn counted(snapshot: &Snapshot, planner: &mut Planner) -> (Plan, usize) {
    let before = COUNT.get();
    let plan = snapshot.round(planner);
    (plan, COUNT.get() - before)
}

/// What the answer of a machine of 16 domains on 2 nodes holds: a path for each of 18 groups, a list for each of 16
/// cgroups, a handful of vectors (which grow by doubling).
const OF_THE_ANSWER: usize = 80;

#[test]
fn a_warm_round_allocates_nothing_per_task() {
    let mut warm_counts = Vec::new();
    for tasks in [1_000, 10_000, 40_000] {
        let mut snapshot = Snapshot::new(16, tasks, 5);
        let mut planner = Planner::new();
        let (cold, cold_count) = counted(&snapshot, &mut planner);
        assert!(cold.moves.len() > tasks / 50, "{} moves of {tasks} tasks", cold.moves.len());
        let (warm, warm_count) = counted(&snapshot, &mut planner);
        assert_eq!(cold, warm, "what a planner remembers must not change the answer");
        assert!(cold_count > warm_count, "{cold_count} cold, {warm_count} warm");

        // Other loads, the same tasks.
        let mut rng = Rng(tasks as u64);
        for task in snapshot.tasks.iter_mut().flatten() {
            task.duty_cycle = (task.duty_cycle + rng.between(-0.01, 0.01)).clamp(0.0, 1.0);
        }
        snapshot.count();
        let (changed, changed_count) = counted(&snapshot, &mut planner);
        assert_ne!(changed, warm);
        for count in [warm_count, changed_count] {
            let growth = 2 * changed.moves.len().ilog2() as usize;
            assert!(count <= OF_THE_ANSWER + growth, "{tasks} tasks: {count} allocations");
        }
        warm_counts.push(warm_count);

        planner.release();
        assert_eq!(counted(&snapshot, &mut planner).0, changed);
    }
    assert!(warm_counts[2] - warm_counts[0] <= 8, "{warm_counts:?}");
}
