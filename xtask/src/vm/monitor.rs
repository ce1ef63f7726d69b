// SPDX-License-Identifier: GPL-2.0-only
//! Follows the two streams of a running machine, its records and its console, until it is done, dead or late.

use super::Boot;
use super::console::{Scanner, Severity};
use super::session::{End, Event, ScenarioResult, Session};
use anyhow::{Context, Result};
use guest::protocol::{Record, decode};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// How often the console is looked at.
const POLL: Duration = Duration::from_millis(200);

/// The state of following one machine.
pub struct Monitor<'a> {
    boot: &'a Boot<'a>,
    console: File,
    scanner: Scanner,
    log: File,
    session: Session,
    /// When the clock of the current limit was set.
    since: Instant,
}

impl<'a> Monitor<'a> {
    /// Begins with the two logs; `log` takes every record as it came.
    pub fn new(boot: &'a Boot<'a>, console: File, log: File) -> Self {
        let session = Session {
            ready: None,
            results: Vec::new(),
            findings: Vec::new(),
            garbled: 0,
            table: Vec::new(),
            end: End::Exited(String::new()),
        };
        Self { boot, console, scanner: Scanner::default(), log, session, since: Instant::now() }
    }

    /// Reads until the guest is done, the stream ends, the kernel dies or a limit passes.
    ///
    /// # Errors
    /// When a log cannot be written.
    pub fn follow(mut self, records: &Receiver<String>, watch: &mut dyn FnMut(Event)) -> Result<Session> {
        loop {
            let received = records.recv_timeout(POLL);
            // First the console: what it said before the record belongs to the scenario that still runs.
            let panic = self.look_at_console(received.is_ok(), watch);
            match received {
                Ok(line) => self.take(&line, watch)?,
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {}
            }
            if let Some(line) = panic {
                self.session.end = End::Panic(line);
                break;
            }
            let limit = self.limit();
            if self.session.end == End::Done || self.since.elapsed() > limit {
                if self.session.end != End::Done {
                    self.session.end = End::Late(limit);
                }
                break;
            }
        }
        self.look_at_console(false, watch);
        Ok(self.session)
    }

    fn limit(&self) -> Duration {
        match self.session.ready {
            None => self.boot.limits.ready,
            Some(_) => self.boot.limits.after(self.session.results.len()),
        }
    }

    /// Notes what the console complains about; gives the line with which the kernel died, if it did.
    ///
    /// Before the guest is ready nothing is being tested, and a warning is the kernel's own affair; but what is read
    /// together with a record may be younger than that record.
    fn look_at_console(&mut self, with_record: bool, watch: &mut dyn FnMut(Event)) -> Option<String> {
        let mut piece = Vec::new();
        // A log that cannot be read now is read at the next look.
        let _ = self.console.read_to_end(&mut piece);
        let piece = String::from_utf8_lossy(&piece);
        let last = piece.lines().rev().find(|line| !line.trim().is_empty());
        if let (None, Some(line)) = (&self.session.ready, last) {
            watch(Event::Console(line.trim()));
        }
        let at = self.session.results.len();
        let found = self.scanner.feed(&piece);
        let fatal = found.iter().find(|finding| finding.severity == Severity::Fatal).map(|f| f.line.clone());
        if self.session.ready.is_some() || with_record || fatal.is_some() {
            self.session.findings.extend(found.into_iter().map(|finding| (at, finding)));
        }
        fatal
    }

    fn take(&mut self, line: &str, watch: &mut dyn FnMut(Event)) -> Result<()> {
        if line.trim().is_empty() {
            return Ok(());
        }
        self.log.write_all(line.trim_end().as_bytes()).context("cannot write the record log")?;
        self.log.write_all(b"\n").context("cannot write the record log")?;
        let Ok(record) = decode(line) else {
            self.session.garbled += 1;
            return Ok(());
        };
        watch(Event::Record(&record));
        match record {
            Record::Ready { kernel, .. } => {
                self.session.ready = Some(kernel);
                self.since = Instant::now();
            }
            Record::Result { scenario, verdict, figures, failures, reason } => {
                self.session.results.push(ScenarioResult { scenario, verdict, figures, failures, reason });
                self.since = Instant::now();
            }
            Record::Table { rows } => self.session.table = rows,
            Record::File { name, text } => keep(self.boot.dir, &name, &text)?,
            Record::Done => self.session.end = End::Done,
            Record::Step { .. } | Record::Live { .. } => {}
        }
        Ok(())
    }
}

/// Writes an artefact beside the logs, whatever folders its name may speak of.
fn keep(dir: &Path, name: &str, text: &str) -> Result<()> {
    let name = Path::new(name).file_name().unwrap_or("unnamed".as_ref());
    let path = dir.join(name);
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}
