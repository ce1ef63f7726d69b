// SPDX-License-Identifier: GPL-2.0-only
//! 25: what a scheduler says of itself agrees with what the kernel saw. Sleepers wake for half of T. Every wake-up that the
//! kernel's tracepoints count is one placement in the statistics, and every task that had to leave its CPU at most one more,
//! within 5 %; the metrics lie between statistics taken before and after them, and nothing that counts up falls. Then both
//! servers are fed what no client should send.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::context::Context;
use crate::evidence;
use crate::metrics_client as metrics;
use crate::profile::{self, Profile};
use crate::scheduler::{Scheduler, run_to_end, socket};
use crate::stats_client::Stats;
use crate::sys;
use crate::trace::WakeupTrace;
use crate::workers::{Job, Pool};

const ADDRESS: &str = "127.0.0.1:9101";

/// Documented status: the metrics address is in use.
const ADDRESS_IN_USE: i32 = 73;

/// Largest difference between the kernel's count and the scheduler's, as a share of the kernel's.
const DIFFERENCE: f64 = 0.05;

/// For answers of a daemon that competes with the load.
const DEADLINE: Duration = Duration::from_secs(120);

/// Clients that connect and say nothing.
const SILENT: usize = 40;

pub fn run(context: &mut Context) -> Result<()> {
    let profile = profile::of(context)?;
    sys::loopback_up().context("the loopback interface cannot be set up")?;
    let address: SocketAddr = ADDRESS.parse()?;
    refuse_a_taken_address(context, address)?;
    let arguments: Vec<&str> = profile.brisk.iter().copied().chain(["--metrics", ADDRESS]).collect();
    let mut scheduler = Scheduler::start(context, &arguments)?;
    scheduler.stats_when(context, DEADLINE, |_| true)?;
    // Short runs and no more sleepers than CPUs: hardly anybody is placed without having been woken.
    let sleeper = Job::periodic(Duration::from_micros(300), Duration::from_millis(10));
    let pool = Pool::start(&vec![sleeper; evidence::online()?.len()])?;
    context.sleep(Duration::from_secs(1));
    agree_with_the_kernel(context, &scheduler, profile)?;
    agree_with_each_other(context, &scheduler, profile, address)?;
    let before = metrics::scrape(address)?;
    disturb_statistics(context)?;
    disturb_metrics(context, &scheduler, address)?;
    let after = metrics::scrape(address)?;
    let fallen = before.fallen(&after);
    context.require(fallen.is_empty(), || format!("counters fell: {}", fallen.join(", ")));
    let stuck = pool.wait_for_progress(context)?;
    context.require_measured(stuck == 0, || format!("{stuck} sleepers do not wake any more"));
    scheduler.require_on(context)?;
    scheduler.stop(context)
}

fn refuse_a_taken_address(context: &mut Context, address: SocketAddr) -> Result<()> {
    let _taken = TcpListener::bind(address).with_context(|| format!("cannot listen at {address}"))?;
    let finished = run_to_end(context, &["--metrics", ADDRESS], None, DEADLINE)?;
    let lines = finished.lines();
    context.require(finished.status.code() == Some(ADDRESS_IN_USE), || {
        format!(
            "a taken address must end the program with status {ADDRESS_IN_USE}, it was {}",
            finished.status
        )
    });
    context.require(lines.len() == 1 && lines[0].contains(ADDRESS), || {
        format!("one line must name the taken address, it was: {}", lines.join(" | "))
    });
    Ok(())
}

/// Sum of the counters of placements.
fn placements(stats: &Stats, profile: &Profile) -> Result<u64> {
    profile.placements.iter().map(|counter| stats.counter(counter)).sum()
}

fn agree_with_the_kernel(context: &mut Context, scheduler: &Scheduler, profile: &Profile) -> Result<()> {
    let trace = WakeupTrace::prepare()?;
    // Both kinds of figures are taken at the same moments, as far as an answer takes no time.
    let before = scheduler.stats(context)?;
    trace.start()?;
    context.sleep(context.base_time / 2);
    let after = scheduler.stats(context)?;
    trace.stop()?;
    let traced = trace.finish()?;
    let counted = placements(&after, profile)? - placements(&before, profile)?;
    let (least, most) = (traced.wakeups as f64, (traced.wakeups + traced.left_runnable) as f64);
    let counted_f = counted as f64;
    let difference = ((least - counted_f).max(counted_f - most) / least.max(1.0)).max(0.0);
    context.figure("wakeups_traced", least);
    context.figure("left_runnable_traced", traced.left_runnable as f64);
    context.figure("placements_counted", counted_f);
    context.figure("difference", difference);
    context.require(traced.wakeups > 100, || format!("{least} wake-ups only: nothing was shown"));
    context.require_measured(difference <= DIFFERENCE, || {
        format!(
            "{counted} placements counted, {least} wake-ups and {} other occasions traced: {:.1} % apart",
            traced.left_runnable,
            difference * 100.0
        )
    });
    Ok(())
}

/// The metrics are between the statistics before and after them, counter by counter.
fn agree_with_each_other(
    context: &mut Context,
    scheduler: &Scheduler,
    profile: &Profile,
    address: SocketAddr,
) -> Result<()> {
    let before = scheduler.stats(context)?;
    let found = metrics::scrape(address)?;
    let after = scheduler.stats(context)?;
    context.figure("samples", found.len() as f64);
    for counter in profile.placements {
        let value = found.value(&format!("{}_{counter}_total", profile.name.replace('-', "_")))?;
        let (low, high) = (before.counter(counter)? as f64, after.counter(counter)? as f64);
        context.require((low..=high).contains(&value), || {
            format!("the metrics say {value} for {counter}, the statistics {low} before and {high} after")
        });
    }
    Ok(())
}

/// Lines that are no requests: each is answered with an error, and the next client with figures.
fn disturb_statistics(context: &mut Context) -> Result<()> {
    let long = vec![b'x'; 100_000];
    for request in [b"hello\n".as_slice(), b"{\"req\":7}\n", b"\xff\xfe\x00\n", b"{\"req\":\"stats\"", &long]
    {
        let mut stream = UnixStream::connect(socket(context)).context("nobody answers any more")?;
        stream.set_read_timeout(Some(DEADLINE))?;
        // One that refuses early closes before everything is sent.
        let _refused = stream.write_all(request);
        stream.shutdown(std::net::Shutdown::Write).ok();
        let mut reply = Vec::new();
        let _reset = stream.read_to_end(&mut reply);
        let reply = String::from_utf8_lossy(&reply);
        let shown = String::from_utf8_lossy(&request[..request.len().min(20)]).into_owned();
        context.require(reply.contains("\"errno\":") && !reply.contains("\"errno\":0"), || {
            format!("the statistics socket answers {shown:?} with {reply:?}")
        });
    }
    Ok(())
}

/// Requests that are none, and more silent clients than it takes: the others get their answers, then and afterwards.
fn disturb_metrics(context: &mut Context, scheduler: &Scheduler, address: SocketAddr) -> Result<()> {
    let long = [b"GET /metrics HTTP/1.1\r\nX: ".as_slice(), &[b'x'; 20_000]].concat();
    for (request, status) in [
        (b"hello\r\n\r\n".as_slice(), 400),
        (b"\x00\xff\r\n\r\n", 400),
        (b"DELETE /metrics HTTP/1.1\r\n\r\n", 405),
        (b"GET /etc/passwd HTTP/1.1\r\n\r\n", 404),
        (&long, 431),
    ] {
        let reply = metrics::send(address, request)?;
        context.require(reply.starts_with(&format!("HTTP/1.1 {status} ")), || {
            let shown = String::from_utf8_lossy(&request[..request.len().min(20)]).into_owned();
            format!("{shown:?} must be answered with {status}: {:?}", reply.lines().next())
        });
    }
    let silent: Vec<TcpStream> = (0..SILENT).map(|_| metrics::connect(address)).collect::<Result<_>>()?;
    // Neither the daemon nor the other server notices.
    scheduler.stats(context)?;
    let recovered =
        context.wait_for(DEADLINE, Duration::from_millis(500), |_| Ok(metrics::scrape(address).ok()))?;
    context.require_measured(recovered.is_some(), || {
        format!("no scrape in {DEADLINE:?} beside {} silent clients", silent.len())
    });
    Ok(())
}
