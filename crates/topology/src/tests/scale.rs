// SPDX-License-Identifier: GPL-2.0-only
//! The largest machine: 4096 CPUs and 1024 domains.

use std::time::{Duration, Instant};

use super::check;
use super::fake_sysfs::FakeSysfs;
use crate::{DomainSpec, Topology};

/// Unoptimised and on a busy host this takes well under a second; anything quadratic in the CPUs takes minutes.
const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn the_largest_machine_is_cheap() {
    let start = Instant::now();
    let t = Topology::from_spec("16n16l8c2t").unwrap();
    let d = t.domains(&DomainSpec::Llc, 4).unwrap();
    assert_eq!((t.cpus.len(), d.len()), (4096, 1024));
    assert_eq!(d.levels(&t).names, ["node", "llc", "domain"]);
    assert_eq!(t.sched_domains().len(), 4);
    let masks = DomainSpec::Masks(d.domains.iter().map(|d| d.cpus.clone()).collect());
    assert_eq!(masks.to_string().parse::<DomainSpec>().unwrap().adapted(&t), masks);
    assert_eq!(t.domains(&masks, 0).unwrap(), d);
    assert_eq!(t.domains(&DomainSpec::Machine, 3).unwrap().len(), 2048);
    assert!(t.to_string().len() + t.to_toml().len() > 4096);
    let took = start.elapsed();
    assert!(took < LIMIT, "took {took:?}");
    check::machine(&t);
    check::domains(&t, &d);
}

#[test]
fn a_large_sysfs_tree_is_read_in_time() {
    // One node and one LLC: every list of the tree is as long as it gets.
    let machine = Topology::from_spec("1n1l128c2t").unwrap();
    let tree = FakeSysfs::of(&machine);
    let start = Instant::now();
    assert_eq!(Topology::from_sysfs(tree.root()).unwrap(), machine);
    assert!(start.elapsed() < LIMIT, "took {:?}", start.elapsed());
}
