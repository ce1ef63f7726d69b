// SPDX-License-Identifier: GPL-2.0-only
//! What the `main` of every scheduler does around its own work: arguments in, one line and a documented status out.

use std::error::Error as StdError;
use std::process::ExitCode;

use clap::Parser;
use thiserror::Error;

use crate::args::{CommonArgs, usage_line, version_text};
use crate::daemon::{WatchError, monitor};
use crate::exit::{USAGE, one_line, status_of};
use crate::stats::{Figures, StatsError, describe};

/// The options of this process, or the status to end with: help goes to standard output as it is, an error is one
/// line like every other.
///
/// # Errors
/// The exit status; everything was told.
pub fn options<O: Parser>(name: &str) -> Result<O, ExitCode> {
    O::try_parse().map_err(|error| {
        if !error.use_stderr() {
            print!("{error}");
            return ExitCode::SUCCESS;
        }
        eprintln!("{name}: {}", usage_line(&error));
        ExitCode::from(USAGE)
    })
}

/// Why a question cannot be answered. Each cause stays a link of the chain of errors: its exit status is looked up there.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// The descriptions of statistics have no text.
    #[error("{0}")]
    Stats(#[from] StatsError),
    /// No running scheduler tells its figures.
    #[error("{0}")]
    Watch(#[from] WatchError),
}

/// Answers what needs neither a machine nor rights: `version` (of the package) if it is asked for, `--help-stats` and
/// `--monitor`. True if something was asked.
///
/// # Errors
/// [`AnswerError`].
pub fn answered<M: Figures>(
    name: &str,
    version: Option<&str>,
    common: &CommonArgs,
) -> Result<bool, AnswerError> {
    if let Some(version) = version {
        println!("{name} {}", version_text(version));
    } else if common.help_stats {
        print!("{}", describe(&M::descriptions())?);
    } else if let Some(interval) = common.monitor {
        monitor::<M>(name, common, interval)?;
    } else {
        return Ok(false);
    }
    Ok(true)
}

/// The status for the outcome of the work; an error is told in one line.
///
/// `result`'s error is an `anyhow::Error` or a boxed one. It is borrowed, never converted: a converted `anyhow::Error`
/// hides its first cause, and with it the status.
pub fn end<E: AsRef<dyn StdError + Send + Sync>>(name: &str, result: Result<(), E>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    let plain: &(dyn StdError + 'static) = error.as_ref();
    eprintln!("{name}: {}", one_line(plain));
    ExitCode::from(status_of(plain))
}

#[cfg(test)]
mod tests;
