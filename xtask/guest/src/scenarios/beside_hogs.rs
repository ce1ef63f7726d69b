// SPDX-License-Identifier: GPL-2.0-only
//! 13 and 14: tasks that mostly sleep, beside hogs on every CPU. Sleepers that run for a millisecond and sleep for nine, and
//! pairs that wake each other in turn through a futex. Each must be served all the time, and all together at least half as
//! much as under the kernel's own scheduler in the same boot.
//!
//! What a turn of a pair costs depends on where its two halves are: between CPUs that one host core emulates in turn it takes
//! many times as long as on one CPU, whatever the scheduler. So turns are compared for pairs that are bound to one CPU, and
//! CPU time for pairs that may run everywhere.
//!
//! The two schedulers come one after the other, and what the host does meanwhile makes a turn dearer in one phase than in the
//! other. The hogs tell: what they get done in a second of CPU time is the speed of the machine in that phase, and turns, which
//! are nothing but CPU time, are compared by it.

use std::time::Duration;

use anyhow::Result;

use crate::context::Context;
use crate::cpulist::Cpus;
use crate::evidence;
use crate::scheduler::Scheduler;
use crate::workers::{Job, Pool};

const SLEEPERS: usize = 4;

/// Pairs that are bound to one CPU, and as many that are not.
const PAIRS: usize = 3;

/// For the load to begin before anything counts.
const WARM_UP: Duration = Duration::from_secs(1);

/// Stretches of a phase in each of which everybody must be served.
const STRETCHES: u32 = 4;

/// What is served, against the kernel's scheduler.
const SHARE: f64 = 0.5;

/// Comparisons before it counts that the share was not reached. Emulated, what a turn costs differs by half from phase to phase.
const COMPARISONS: u32 = 3;

/// What is compared between the two schedulers.
#[derive(Clone, Copy, PartialEq)]
enum Measure {
    /// Wakes that were served.
    Wakes,
    /// The same for tasks that wake each other as fast as they can: as many as the machine's speed in that phase allows.
    Turns,
    /// CPU time, in seconds.
    CpuSeconds,
}

/// Tasks that are measured together.
struct Party {
    name: &'static str,
    jobs: Vec<Job>,
    measure: Measure,
}

/// Sleepers beside two hogs a CPU.
pub fn run_sleepers(context: &mut Context) -> Result<()> {
    let sleeper = Job::periodic(Duration::from_millis(1), Duration::from_millis(9));
    let sleepers = Party { name: "sleepers", jobs: vec![sleeper; SLEEPERS], measure: Measure::Wakes };
    compare(context, &[sleepers], 2)
}

/// Pairs beside one hog a CPU.
pub fn run_pairs(context: &mut Context) -> Result<()> {
    let online: Vec<usize> = evidence::online()?.into_iter().collect();
    let half = |number: usize| Job::ping_pong().on(&Cpus::from([online[number / 2 % online.len()]]));
    let bound =
        Party { name: "bound_pairs", jobs: (0..2 * PAIRS).map(half).collect(), measure: Measure::Turns };
    let free =
        Party { name: "free_pairs", jobs: vec![Job::ping_pong(); 2 * PAIRS], measure: Measure::CpuSeconds };
    compare(context, &[bound, free], 1)
}

/// What else happens on the machine only ever takes something away: one good comparison is enough.
fn compare(context: &mut Context, parties: &[Party], hogs_per_cpu: usize) -> Result<()> {
    for comparison in 1..=COMPARISONS {
        let short = compare_once(context, parties, hogs_per_cpu)?;
        context.figure("comparisons", f64::from(comparison));
        if short.is_empty() {
            break;
        }
        if comparison == COMPARISONS {
            for text in short {
                context.require_measured(false, || text);
            }
        }
    }
    Ok(())
}

/// What was less than the bound, in words.
fn compare_once(context: &mut Context, parties: &[Party], hogs_per_cpu: usize) -> Result<Vec<String>> {
    context.step("under the kernel's scheduler");
    let kernel = phase(context, parties, hogs_per_cpu)?;
    context.step("under the scheduler");
    let mut scheduler = Scheduler::start(context, &[])?;
    let tested = phase(context, parties, hogs_per_cpu)?;
    scheduler.require_on(context)?;
    let stretch = context.base_time / 2 / STRETCHES;
    let mut short = Vec::new();
    for ((party, tested), kernel) in parties.iter().zip(&tested).zip(&kernel) {
        let name = party.name;
        for (what, under, value) in [
            ("wakes", "", tested.wakes as f64),
            ("wakes", "_kernel", kernel.wakes as f64),
            ("cpu_seconds", "", tested.cpu_seconds),
            ("cpu_seconds", "_kernel", kernel.cpu_seconds),
            ("speed", "", tested.speed / kernel.speed),
        ] {
            context.figure(&format!("{name}_{what}{under}"), value);
        }
        context.require_measured(tested.fewest > 0, || {
            format!("one of the {name} was not served once in {stretch:?}")
        });
        let (had, of, what) = match party.measure {
            Measure::Wakes => (tested.wakes as f64, kernel.wakes as f64, "wakes"),
            Measure::Turns => (
                tested.wakes as f64 / tested.speed,
                kernel.wakes as f64 / kernel.speed,
                "turns at full speed",
            ),
            Measure::CpuSeconds => (tested.cpu_seconds, kernel.cpu_seconds, "seconds of CPU time"),
        };
        if had < SHARE * of {
            short.push(format!(
                "{name}: {had:.1} {what}, {of:.1} under the kernel's scheduler, bound {SHARE} of it"
            ));
        }
    }
    scheduler.stop(context)?;
    Ok(short)
}

/// What one party had in one phase.
struct Served {
    wakes: u64,
    /// Of the least served in its worst stretch.
    fewest: u64,
    cpu_seconds: f64,
    /// What hogs got done in a second of CPU time, in units of [`SPEED_UNIT`].
    speed: f64,
}

/// Rounds of a hog's loop, so that figures have a readable size.
const SPEED_UNIT: f64 = 1e6;

fn phase(context: &mut Context, parties: &[Party], hogs_per_cpu: usize) -> Result<Vec<Served>> {
    let hogs = Pool::start(&vec![Job::spinner(); hogs_per_cpu * evidence::online()?.len()])?;
    let pools: Vec<Pool> = parties.iter().map(|party| Pool::start(&party.jobs)).collect::<Result<_>>()?;
    context.sleep(WARM_UP);
    let seconds = |pool: &Pool| -> Result<f64> { Ok(pool.cpu_seconds()?.iter().sum()) };
    let seconds_before: Vec<f64> = pools.iter().map(seconds).collect::<Result<_>>()?;
    let hogs_before = (hogs.progress().iter().sum::<u64>(), seconds(&hogs)?);
    let begin: Vec<Vec<u64>> = pools.iter().map(Pool::progress).collect();
    let (mut before, mut fewest) = (begin.clone(), vec![u64::MAX; pools.len()]);
    for _ in 0..STRETCHES {
        context.sleep(context.base_time / 2 / STRETCHES);
        for ((pool, before), fewest) in pools.iter().zip(&mut before).zip(&mut fewest) {
            let now = pool.progress();
            *fewest = now.iter().zip(&*before).map(|(now, before)| now - before).fold(*fewest, u64::min);
            *before = now;
        }
    }
    let hogs_did = hogs.progress().iter().sum::<u64>() - hogs_before.0;
    let speed = hogs_did as f64 / SPEED_UNIT / (seconds(&hogs)? - hogs_before.1).max(1e-3);
    let mut all = Vec::new();
    for (index, pool) in pools.iter().enumerate() {
        all.push(Served {
            wakes: before[index].iter().sum::<u64>() - begin[index].iter().sum::<u64>(),
            fewest: fewest[index],
            cpu_seconds: seconds(pool)? - seconds_before[index],
            speed: speed.max(f64::MIN_POSITIVE),
        });
    }
    hogs.stop(context);
    Ok(all)
}
