// SPDX-License-Identifier: GPL-2.0-only
//! Waiting, waking and real signals.

use std::thread;

use nix::sys::signal::{Signal, raise};

use super::*;

const LONG: Duration = Duration::from_secs(30);

#[test]
fn a_wait_takes_its_time() {
    let shutdown = Shutdown::without_signals().unwrap();
    let start = Instant::now();
    assert_eq!(shutdown.wait(Duration::from_millis(30)), Wake::Timeout);
    assert!(start.elapsed() >= Duration::from_millis(30));
    assert_eq!(shutdown.wait(Duration::ZERO), Wake::Timeout);
}

#[test]
fn wakes_before_the_wait_count_once() {
    let shutdown = Shutdown::without_signals().unwrap();
    // More than the pipe can hold: waking never blocks.
    for _ in 0..10_000 {
        shutdown.waker().wake();
    }
    assert_eq!(shutdown.wait(LONG), Wake::Notified);
    assert_eq!(shutdown.wait(Duration::from_millis(5)), Wake::Timeout);
}

#[test]
fn another_thread_ends_the_wait() {
    let shutdown = Shutdown::without_signals().unwrap();
    let waker = shutdown.waker();
    let thread = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        waker.shut_down();
    });
    let start = Instant::now();
    assert_eq!(shutdown.wait(Duration::MAX), Wake::Shutdown);
    assert!(start.elapsed() < LONG);
    assert_eq!(shutdown.wait(LONG), Wake::Shutdown);
    assert!(shutdown.requested() && shutdown.flag().load(Ordering::SeqCst));
    thread.join().unwrap();
}

#[test]
fn signals_ask_for_the_end_and_repeated_ones_do_not_kill() {
    let shutdown = Shutdown::install().unwrap();
    assert!(!shutdown.requested());
    raise(Signal::SIGINT).unwrap();
    assert_eq!(shutdown.wait(LONG), Wake::Shutdown);
    // We are "hanging" on the way out: impatient operators must not tear us apart.
    for _ in 0..3 {
        raise(Signal::SIGINT).unwrap();
        raise(Signal::SIGTERM).unwrap();
    }
    assert_eq!(shutdown.wait(LONG), Wake::Shutdown);

    // A signal whose wake-up byte was already drained is still seen.
    let other = Shutdown::install().unwrap();
    raise(Signal::SIGTERM).unwrap();
    other.drain();
    assert!(other.requested());
    assert_eq!(other.wait(LONG), Wake::Shutdown);
}

#[test]
fn timeouts_round_up() {
    assert_eq!(poll_timeout(Duration::ZERO), PollTimeout::ZERO);
    assert_eq!(poll_timeout(Duration::from_nanos(1)), PollTimeout::from(1u8));
    assert_eq!(poll_timeout(Duration::from_micros(1001)), PollTimeout::from(2u8));
    assert_eq!(poll_timeout(Duration::MAX).as_millis(), Some(3_600_000));
}

#[test]
fn a_hangup_is_noted_and_ends_a_wait_but_not_the_process() {
    let shutdown = Shutdown::without_signals().expect("a pipe");
    let raised = shutdown.on_hangup().expect("a handler");
    signal_hook::low_level::raise(signal_hook::consts::SIGHUP).expect("raised");
    assert_eq!(shutdown.wait(Duration::from_secs(20)), Wake::Notified);
    assert!(raised.load(Ordering::SeqCst) && !shutdown.requested());
}
