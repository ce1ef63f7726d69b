// SPDX-License-Identifier: GPL-2.0-only
//! What is logged, and how loudly.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use super::*;

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn logged(record: &ExitRecord) -> String {
    let captured = Captured::default();
    let writer = captured.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .with_ansi(false)
        .without_time()
        .finish();
    tracing::subscriber::with_default(subscriber, || report_exit(record));
    let bytes = captured.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

fn record(kind: i32) -> ExitRecord {
    ExitRecord { kind, reason: "because".into(), ..ExitRecord::default() }
}

#[test]
fn an_error_comes_with_its_dump() {
    let log = logged(&ExitRecord { dump: Some("CPU 0\n  task".into()), ..record(1026) });
    let lines: Vec<_> = log.lines().collect();
    assert_eq!(lines.len(), 4, "{log}");
    assert!(lines.iter().all(|line| line.contains("ERROR")), "{log}");
    assert!(
        lines[0].contains("because") && lines[2].ends_with("CPU 0") && lines[3].ends_with("  task"),
        "{log}"
    );
}

#[test]
fn loudness_follows_the_kind() {
    assert!(logged(&record(64)).contains("INFO"));
    assert!(logged(&record(67)).contains("WARN"));
    assert!(logged(&record(1024)).contains("ERROR"));
    let restart = ExitRecord { exit_code: 1 << 48, ..record(66) };
    let log = logged(&restart);
    assert!(log.contains("WARN") && log.contains("restarts"), "{log}");
}
