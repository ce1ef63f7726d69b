// SPDX-License-Identifier: GPL-2.0-only
//! The report of a machine that is not there.

use clap::Parser;
use topology::Topology;

use super::*;

#[test]
fn it_names_machine_cells_and_options() {
    let options = Options::try_parse_from(["cell-scheduler", "--dry-run", "--slice-us", "7000"])
        .expect("valid arguments");
    let machine = Machine::new(Topology::from_spec("2n2l2c1t").expect("valid spec"), 16).expect("CPUs");
    let text = report(&machine, &options).expect("nothing to read");
    assert!(text.contains("  3: node 1 cpus 6-7\n"), "{text}");
    assert!(text.contains("  0: cpus 0-7 members /\n"), "{text}");
    assert!(text.contains("  --slice-us 7000\n"), "{text}");
}

#[test]
fn a_parent_that_does_not_exist_is_told() {
    let options =
        Options::try_parse_from(["cell-scheduler", "--cell-parent-cgroup", "/sys/fs/cgroup/no/such"])
            .expect("valid arguments");
    let machine = Machine::new(Topology::from_spec("1c").expect("valid spec"), 16).expect("CPUs");
    let error = report(&machine, &options).expect_err("nothing there").to_string();
    assert!(error.contains("/sys/fs/cgroup/no/such") && error.contains("does not exist"), "{error}");
    assert!(!error.contains('\n'));
}
