// SPDX-License-Identifier: GPL-2.0-only
//! The walk over made-up hierarchies, also while they change.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::{CgroupDir, mount_point, read};

/// A folder of its own for each test, gone at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("cgroups-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a writable folder for temporary files");
        Self(path)
    }

    fn file(&self, path: &str, text: &str) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().expect("below the folder")).expect("a writable folder");
        fs::write(path, text).expect("a writable folder");
    }

    fn id(&self, path: &str) -> u64 {
        fs::metadata(self.0.join(path)).expect("it was made").ino()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Another process may clean up temporary files, too.
        let _gone = fs::remove_dir_all(&self.0);
    }
}

fn sorted(mut dirs: Vec<CgroupDir>) -> Vec<CgroupDir> {
    dirs.sort_by_key(|dir| dir.id);
    dirs
}

#[test]
fn weights_follow_the_controller_down_the_tree() {
    let folder = Folder::new("weights");
    folder.file("cgroup.subtree_control", "cpuset cpu memory\n");
    folder.file("a/cpu.weight", "300\n");
    folder.file("a/inner/cpu.weight", "20\n");
    folder.file("a/inner/beyond/cgroup.procs", "");
    folder.file("a/inner/beyond/more/cgroup.procs", "");
    folder.file("idle/cpu.weight", "0\n");
    folder.file("odd/cpu.weight", "max\n");
    let dir = |path: &str, parent: &str, weight| CgroupDir {
        id: folder.id(path),
        parent: Some(folder.id(parent)),
        weight,
    };
    let expected = vec![
        CgroupDir { id: folder.id("."), parent: None, weight: None },
        dir("a", ".", Some(300)),
        dir("a/inner", "a", Some(20)),
        dir("a/inner/beyond", "a/inner", None),
        dir("a/inner/beyond/more", "a/inner/beyond", None),
        dir("idle", ".", Some(1)),
        dir("odd", ".", None),
    ];
    assert_eq!(sorted(read(&folder.0)), sorted(expected));
}

#[test]
fn nothing_counts_without_the_controller() {
    let folder = Folder::new("without");
    folder.file("cgroup.subtree_control", "cpuset memory\n");
    folder.file("a/cgroup.procs", "");
    assert!(read(&folder.0).is_empty());
    assert!(read(Path::new("/nowhere/at/all")).is_empty());
}

#[test]
fn cgroups_that_come_and_go_meanwhile_do_not_confuse_the_walk() {
    let folder = Folder::new("churn");
    folder.file("cgroup.subtree_control", "cpu\n");
    folder.file("stays/cpu.weight", "200\n");
    let end = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Also when an assertion fails: the test must end then, too.
        let _ends = Ends(&end);
        scope.spawn(|| {
            while !end.load(Ordering::Relaxed) {
                for number in 0..20 {
                    folder.file(&format!("comes-{number}/inner/cpu.weight"), "50\n");
                    folder.file(&format!("comes-{number}/cpu.weight"), "50\n");
                }
                for number in 0..20 {
                    fs::remove_dir_all(folder.0.join(format!("comes-{number}"))).expect("it was made");
                }
            }
        });
        for _ in 0..200 {
            let dirs = read(&folder.0);
            let mut known = BTreeSet::new();
            for dir in &dirs {
                assert!(dir.parent.is_none_or(|parent| known.contains(&parent)), "{dirs:?}");
                // Twice is possible here: unlike cgroup2, this file system gives the number of who is gone to who comes.
                known.insert(dir.id);
            }
            let stays = dirs.iter().find(|dir| dir.id == folder.id("stays")).map(|dir| dir.weight);
            assert_eq!(stays, Some(Some(200)));
        }
    });
}

/// Says that the test is over when it goes out of scope.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn the_hierarchy_is_found_among_the_mounts() {
    let mounts = "proc /proc proc rw 0 0\ncgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
                  cgroup2 /sys/fs/cgroup\\040two cgroup2 rw,nosuid 0 0\nother /x cgroup2 rw 0 0\n";
    assert_eq!(mount_point(mounts), Some(PathBuf::from("/sys/fs/cgroup two")));
    assert_eq!(mount_point("proc /proc proc rw 0 0\n"), None);
    assert_eq!(mount_point(""), None);
}
