// SPDX-License-Identifier: GPL-2.0-only
//! Telling the operator why the kernel ended a scheduler.

use tracing::{error, info, warn};

use crate::exit::ExitRecord;

#[cfg(test)]
mod tests;

/// How loudly an ending is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tone {
    Info,
    Warning,
    Error,
}

/// Logs the kernel's exit reason on one line and, when there is one, the debug dump after it, line by line.
///
/// An error is logged as an error; an end that somebody else asked for (SysRq, a restart after hotplug) as a warning;
/// our own detach as information.
pub fn report_exit(record: &ExitRecord) {
    match tone(record) {
        Tone::Error => error!("the kernel ended the scheduler: {record}"),
        Tone::Warning if record.should_restart() => warn!("the scheduler restarts: {record}"),
        Tone::Warning => warn!("the scheduler was ended: {record}"),
        Tone::Info => info!("the scheduler is detached: {record}"),
    }
    let Some(dump) = &record.dump else { return };
    error!("debug dump of the kernel, {} bytes:", dump.len());
    for line in dump.lines() {
        error!("{line}");
    }
}

fn tone(record: &ExitRecord) -> Tone {
    use crate::exit::ExitKind;
    if record.exit_status() != crate::exit::OK {
        return Tone::Error;
    }
    match record.kind() {
        ExitKind::None | ExitKind::Done | ExitKind::Unregistered => Tone::Info,
        _ => Tone::Warning,
    }
}
