// SPDX-License-Identifier: GPL-2.0-only
//! What the command line accepts, and what it means.

use super::*;

fn parsed(arguments: &[&str]) -> Result<Options, clap::Error> {
    Options::try_parse_from([&["cell-scheduler"], arguments].concat())
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    let cases: [(&[&str], &str); 10] = [
        (&["--slice-us", "0"], "--slice-us"),
        (&["--borrow-slice-us", "2000000"], "--borrow-slice-us"),
        (&["--max-members", "1"], "--max-members"),
        (&["--max-members", "4096"], "--max-members"),
        (&["--rebalance-threshold=-1"], "--rebalance-threshold"),
        (&["--headroom", "11"], "--headroom"),
        (&["--rebalance-interval", "0"], "--rebalance-interval"),
        (&["--cell-exclude", "x"], "--cell-parent-cgroup"),
        (&["--config", "f", "--cell-parent-cgroup", "p"], "--cell-parent-cgroup"),
        (&["--topology", "1c"], "--dry-run"),
    ];
    for (arguments, name) in cases {
        let error = parsed(arguments).expect_err("refused").to_string();
        assert!(error.contains(name), "{arguments:?}: {error}");
    }
}

#[test]
fn the_shortest_slice_is_at_most_the_longest() {
    let options = parsed(&["--slice-us", "500"]).expect("each for itself is fine");
    let error = options.check().expect_err("1000 is the default of the other").to_string();
    assert!(error.contains("--slice-min-us 1000") && error.contains("--slice-us 500"), "{error}");
    assert!(parsed(&[]).expect("defaults").check().is_ok());
}

#[test]
fn a_parent_is_below_the_mount_point() {
    let directory = |path: &str| parsed(&["--cell-parent-cgroup", path]).expect("a path").parent_directory();
    let expected = Some(PathBuf::from("/sys/fs/cgroup/no-such/tenants"));
    assert_eq!(directory("no-such/tenants"), expected);
    assert_eq!(directory("/no-such/tenants"), expected);
    assert_eq!(directory("/sys/fs/cgroup/no-such/tenants"), expected);
    assert_eq!(parsed(&[]).expect("defaults").parent_directory(), None);
}

#[test]
fn members_lie_right_below_the_parent_or_anywhere() {
    let levels = |arguments: &[&str]| parsed(arguments).expect("valid").member_levels();
    let max = abi::cs_limits_CS_MAX_LEVELS;
    assert_eq!(levels(&[]), (1, max));
    assert_eq!(levels(&["--config", "f"]), (1, max));
    assert_eq!(levels(&["--cell-parent-cgroup", "no-such/tenants"]), (3, 3));
    assert_eq!(levels(&["--cell-parent-cgroup", "no-such/../tenants"]), (1, max), "who knows");
    assert_eq!(levels(&["--cell-parent-cgroup", "/tmp"]), (1, max));
}

#[test]
fn the_level_is_that_of_the_cgroup_however_it_is_written() {
    let mount = tempfile::tempdir().expect("a directory");
    let cgroup = |path: &str, files: &[&str]| {
        let directory = mount.path().join("root").join(path);
        std::fs::create_dir_all(&directory).expect("a directory");
        files.iter().for_each(|file| std::fs::write(directory.join(file), "").expect("a file"));
        directory
    };
    let levels = |path: &Path| {
        parsed(&["--cell-parent-cgroup", path.to_str().expect("text")]).expect("valid").member_levels()
    };
    let root = cgroup("", &["cgroup.procs"]);
    let parent = cgroup("a", &["cgroup.procs", "cgroup.type"]);
    let inner = cgroup("a/b", &["cgroup.procs", "cgroup.type"]);
    assert_eq!((levels(&root), levels(&parent), levels(&inner)), ((1, 1), (2, 2), (3, 3)));
    assert_eq!(levels(&inner.join("../../a/.")), (2, 2));
    let link = mount.path().join("link");
    std::os::unix::fs::symlink(&inner, &link).expect("a link");
    assert_eq!(levels(&link), (3, 3));
    // What is mounted here is itself below the root.
    std::fs::write(root.join("cgroup.type"), "").expect("a file");
    assert_eq!(levels(&inner), (1, abi::cs_limits_CS_MAX_LEVELS));
}
