// SPDX-License-Identifier: GPL-2.0-only
//! The monitor and the in-process printer.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;
use crate::signals::Waker;

const OFTEN: Duration = Duration::from_millis(10);

/// Hands every line on to the test.
struct Lines(Sender<String>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        self.0.send(text).map_err(gone)?;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn render(statistics: &Value, out: &mut dyn Write) -> io::Result<()> {
    out.write_all(statistics["round"].to_string().as_bytes())
}

/// A monitor in a thread: what it prints, how to stop it, and how it ended.
fn start(path: &Path) -> (Receiver<String>, Waker, JoinHandle<Result<(), MonitorError>>) {
    let (sender, lines) = channel();
    let shutdown = Shutdown::without_signals().unwrap();
    let waker = shutdown.waker();
    let path = path.to_owned();
    let thread = thread::spawn(move || monitor(&path, OFTEN, &shutdown, &mut Lines(sender), &mut render));
    (lines, waker, thread)
}

#[test]
fn survives_restarts_of_the_scheduler_and_ends_when_told() {
    let (_directory, path) = place();
    let (lines, waker, thread) = start(&path);
    assert!(lines.recv_timeout(Duration::from_millis(100)).is_err(), "nobody serves yet");
    for _ in 0..2 {
        let scheduler = Scheduler::start(&path);
        lines.recv_timeout(SOON).unwrap();
        lines.recv_timeout(SOON).unwrap();
        drop(scheduler);
        while lines.try_recv().is_ok() {}
    }
    waker.wake();
    assert!(!thread.is_finished());
    waker.shut_down();
    thread.join().unwrap().unwrap();
}

#[test]
fn waits_through_a_scheduler_without_figures() {
    let (_directory, path) = place();
    let (_server, feed, _shutdown) = busy(&path);
    let (lines, waker, thread) = start(&path);
    assert!(lines.recv_timeout(Duration::from_millis(700)).is_err());
    feed.publish(&figures(9)).unwrap();
    assert_eq!(lines.recv_timeout(SOON).unwrap(), "9");
    waker.shut_down();
    thread.join().unwrap().unwrap();
}

#[test]
fn a_reader_that_goes_away_is_a_normal_end() {
    let (_directory, path) = place();
    let _scheduler = Scheduler::start(&path);
    let (lines, _waker, thread) = start(&path);
    lines.recv_timeout(SOON).unwrap();
    drop(lines);
    thread.join().unwrap().unwrap();
}

#[test]
fn other_failures_of_the_output_are_errors() {
    let (_directory, path) = place();
    let _scheduler = Scheduler::start(&path);
    let shutdown = Shutdown::without_signals().unwrap();
    let mut full = |_: &Value, _: &mut dyn Write| Err(io::Error::from(io::ErrorKind::StorageFull));
    let error = monitor(&path, OFTEN, &shutdown, &mut io::sink(), &mut full).unwrap_err();
    assert_eq!(error.exit_status(), 1);
    assert!(!error.to_string().contains('\n'));
}

#[test]
fn a_forbidden_socket_is_missing_rights() {
    let (_directory, path) = place();
    let _scheduler = Scheduler::start(&path);
    fs::set_permissions(&path, Permissions::from_mode(0o000)).unwrap();
    // Without capabilities root is an owner like any other. Capabilities belong to threads.
    let result = thread::spawn(move || {
        crate::privileges::drop_after_attach().unwrap();
        let shutdown = Shutdown::without_signals().unwrap();
        let waker = shutdown.waker();
        // A monitor that waits instead must fail this test, not hang it.
        thread::spawn(move || {
            thread::sleep(SOON);
            waker.shut_down();
        });
        monitor(&path, OFTEN, &shutdown, &mut io::sink(), &mut render)
    });
    let error = result.join().unwrap().unwrap_err();
    assert!(matches!(error, MonitorError::Denied { .. }), "{error}");
    assert_eq!(error.exit_status(), 77);
}

#[test]
fn the_printer_stops_when_nobody_reads_and_the_scheduler_goes_on() {
    let (sender, lines) = channel();
    let mut printer = Printer::new(Lines(sender));
    printer.print(|out| out.write_all(b"1"));
    assert_eq!(lines.recv().unwrap(), "1");
    drop(lines);
    printer.print(|out| out.write_all(b"2"));
    assert!(!printer.is_open());
    printer.print(|_| panic!("asked to print although nobody reads"));
}
