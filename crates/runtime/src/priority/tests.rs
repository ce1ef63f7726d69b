// SPDX-License-Identifier: GPL-2.0-only
//! The priority in force is the one the kernel reports.

use super::*;

#[test]
fn raises_when_it_may_and_goes_on_when_not() {
    let before =
        rustix::process::getpriority_process(None).expect("reading one's own priority needs no right");
    raise();
    let after =
        rustix::process::getpriority_process(None).expect("reading one's own priority needs no right");
    assert!(after == DAEMON_NICE || after == before, "nice {before} became {after}");
    // Later tests of this process run as before.
    let _ = rustix::process::setpriority_process(None, before);
}
