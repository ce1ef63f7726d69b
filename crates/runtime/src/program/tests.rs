// SPDX-License-Identifier: GPL-2.0-only
//! The status for an outcome. An `ExitCode` says its number only by its debug text.

use super::*;
use crate::exit::{FAILURE, UsageError};

fn shown(code: ExitCode) -> String {
    format!("{code:?}")
}

#[test]
fn success_is_zero_and_every_error_has_its_documented_status() {
    let fine: Result<(), UsageError> = Ok(());
    assert_eq!(shown(end("test", fine)), shown(ExitCode::SUCCESS));
    assert_eq!(shown(end("test", Err(UsageError("--x: no".into())))), shown(ExitCode::from(USAGE)));
    assert_eq!(shown(end("test", Err(std::io::Error::other("broken")))), shown(ExitCode::from(FAILURE)));
}
