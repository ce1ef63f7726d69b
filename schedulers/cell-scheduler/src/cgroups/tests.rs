// SPDX-License-Identifier: GPL-2.0-only
//! Scans and watches over a temporary directory.

use std::fs;
use std::path::Path;

use topology::CpuSet;

use super::*;
use crate::cells::CellKey;
use crate::config::Config;

fn cgroup(root: &Path, path: &str, files: &[(&str, &str)]) {
    fs::create_dir_all(root.join(path)).unwrap();
    for (name, text) in files {
        fs::write(root.join(path).join(name), text).unwrap();
    }
}

#[test]
fn children_with_weight_and_cpuset() {
    let root = tempfile::tempdir().unwrap();
    cgroup(root.path(), "web", &[("cpu.weight", "300\n"), ("cpuset.cpus.effective", "0-3,8\n")]);
    cgroup(root.path(), "batch/inner", &[]);
    cgroup(root.path(), "system.slice", &[]);
    fs::write(root.path().join("cgroup.procs"), "1\n").unwrap();
    let parent = Parent::open_anywhere(root.path()).unwrap();
    let exclude = Exclude::new(&["*.slice", "nothing"]).unwrap();
    let scan = parent.scan(&exclude).unwrap();
    assert!(scan.warnings.is_empty(), "{:?}", scan.warnings);
    let [batch, web] = &scan.children[..] else { panic!("{:?}", scan.children) };
    assert_eq!((batch.path.as_str(), batch.weight, &batch.cpuset), ("batch", 100, &None));
    assert_eq!((web.weight, &web.cpuset), (300, &Some(CpuSet::parse_list("0-3,8").unwrap())));
    let paths: Vec<String> =
        parent.walk(&exclude).unwrap().children.into_iter().map(|child| child.path).collect();
    assert_eq!(paths, ["batch", "batch/inner", "web"]);
}

#[test]
fn a_new_directory_of_the_same_name_has_another_inode() {
    let root = tempfile::tempdir().unwrap();
    cgroup(root.path(), "a", &[]);
    let parent = Parent::open_anywhere(root.path()).unwrap();
    let first = parent.scan(&Exclude::default()).unwrap().children;
    // The old one still exists under another name, so that its inode cannot be used again.
    fs::rename(root.path().join("a"), root.path().join("b")).unwrap();
    cgroup(root.path(), "a", &[]);
    let second = parent.scan(&Exclude::default()).unwrap().children;
    assert_ne!(first[0].inode, second[0].inode);
    assert_eq!(first[0].inode, second[1].inode);
}

#[test]
fn what_cannot_be_read_is_told_in_one_line_and_what_was_never_read_is_default() {
    let root = tempfile::tempdir().unwrap();
    cgroup(root.path(), "a", &[("cpu.weight", "heavy"), ("cpuset.cpus.effective", "0-x")]);
    // A directory in a file's place fails to be read for every user, root included.
    cgroup(root.path(), "b/cpuset.cpus.effective", &[]);
    let mut scan = Parent::open_anywhere(root.path()).unwrap().scan(&Exclude::default()).unwrap();
    Memory::default().complete(&mut scan);
    assert_eq!(scan.children.len(), 2);
    assert!(scan.children.iter().all(|child| child.weight == 100 && child.cpuset.is_none()));
    let lines: Vec<String> = scan.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines.iter().all(|line| line.lines().count() == 1));
    assert!(lines[0].contains("a/cpu.weight") && lines[0].contains("heavy"), "{}", lines[0]);
    assert!(lines[2].contains("b/cpuset.cpus.effective"), "{}", lines[2]);
}

#[test]
fn what_was_read_before_counts_while_it_cannot_be_read() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("parent");
    let good: &[(&str, &str)] = &[("cpu.weight", "300"), ("cpuset.cpus.effective", "0-3")];
    let bad: &[(&str, &str)] = &[("cpu.weight", "heavy"), ("cpuset.cpus.effective", "0-x")];
    cgroup(&path, "a", good);
    let parent = Parent::open_anywhere(&path).unwrap();
    let mut memory = Memory::default();
    let mut look = || {
        let mut scan = parent.scan(&Exclude::default()).unwrap();
        memory.complete(&mut scan);
        let child = scan.children.pop().unwrap();
        (child.weight, child.cpuset.map(|cpus| cpus.to_string()), scan.warnings.len())
    };
    let cpus = Some("0-3".to_owned());
    assert_eq!(look(), (300, cpus.clone(), 0));
    cgroup(&path, "a", bad);
    assert_eq!(look(), (300, cpus.clone(), 2));
    assert_eq!(look(), (300, cpus.clone(), 2), "for as long as it lasts");
    cgroup(&path, "a", &[("cpu.weight", "200")]);
    assert_eq!(look(), (200, cpus.clone(), 1));
    // Without the files the controllers are off: that is no trouble, and nothing is restricted.
    fs::remove_file(path.join("a/cpu.weight")).unwrap();
    fs::remove_file(path.join("a/cpuset.cpus.effective")).unwrap();
    assert_eq!(look(), (100, None, 0));
    cgroup(&path, "a", good);
    assert_eq!(look(), (300, cpus, 0));
    // Another cgroup of the same name has nothing to do with that. The old one stays somewhere, so that its inode does.
    fs::rename(path.join("a"), root.path().join("old")).unwrap();
    cgroup(&path, "a", bad);
    assert_eq!(look(), (100, None, 2));
}

#[test]
fn cgroups_that_cannot_be_looked_at_are_as_they_were() {
    let child = |path: &str, inode| Child {
        path: path.to_owned(),
        inode,
        weight: 300,
        cpuset: None,
        weight_unread: false,
        cpuset_unread: false,
    };
    let mut memory = Memory::default();
    let all = [child("a", 1), child("a/b", 2), child("a/b/c", 3), child("ab", 4), child("d", 5)];
    let mut look = |children: &[Child], unseen: &[&str]| {
        let unseen = unseen.iter().map(|path| (*path).to_owned()).collect();
        let mut scan = Scan { children: children.to_vec(), unseen, warnings: Vec::new() };
        memory.complete(&mut scan);
        scan.children
    };
    assert_eq!(look(&all, &[]), all);
    // Nothing is known of what lies below the first, nor of the last.
    assert_eq!(look(&[all[0].clone(), all[3].clone()], &["a", "d"]), all);
    assert_eq!(look(&[all[0].clone(), all[3].clone()], &["a", "d"]), all, "for as long as it lasts");
    assert_eq!(look(&all[..1], &["a"]), all[..3]);
    assert_eq!(look(&all[..1], &[]), all[..1], "gone is gone");
}

#[test]
fn wrong_parents_are_named() {
    let root = tempfile::tempdir().unwrap();
    let missing = root.path().join("missing");
    assert!(matches!(Parent::open(&missing), Err(CgroupError::Missing { .. })));
    fs::write(root.path().join("file"), "").unwrap();
    assert!(matches!(Parent::open(&root.path().join("file")), Err(CgroupError::NotADirectory { .. })));
    let error = Parent::open(root.path()).unwrap_err();
    assert!(matches!(error, CgroupError::NotCgroup2 { .. }), "{error}");
    assert!(error.to_string().contains("mount cgroup2"));

    cgroup(root.path(), "parent", &[]);
    let parent = Parent::open_anywhere(&root.path().join("parent")).unwrap();
    fs::remove_dir(root.path().join("parent")).unwrap();
    assert!(matches!(parent.scan(&Exclude::default()), Err(CgroupError::Vanished { .. })));
    cgroup(root.path(), "parent/back", &[]);
    assert_eq!(parent.scan(&Exclude::default()).unwrap().children.len(), 1);
}

#[test]
fn the_watch_sees_children_come_and_go_and_survives_its_directory() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("parent");
    cgroup(&path, "", &[]);
    let mut watch = InotifyWatch::new(&path).unwrap();
    assert!(!watch.changed());
    cgroup(&path, "a", &[]);
    assert!(watch.changed());
    assert!(!watch.changed());
    fs::remove_dir(path.join("a")).unwrap();
    assert!(watch.changed());
    fs::remove_dir(&path).unwrap();
    assert!(watch.changed());
    assert!(!watch.changed());
    cgroup(&path, "", &[]);
    assert!(watch.changed(), "the directory is back");
    cgroup(&path, "b", &[]);
    assert!(watch.changed());
    assert!(InotifyWatch::new(&root.path().join("missing")).unwrap_err().to_string().contains("missing"));
    assert!(!NoWatch.changed());
}

#[test]
fn a_scan_beside_a_storm_of_removals_never_fails() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().to_owned();
    let storm = std::thread::spawn(move || {
        for round in 0..300 {
            let name = format!("c{}", round % 7);
            cgroup(&path, &name, &[("cpu.weight", "50")]);
            fs::remove_dir_all(path.join(&name)).unwrap();
        }
    });
    let parent = Parent::open_anywhere(root.path()).unwrap();
    while !storm.is_finished() {
        let scan = parent.walk(&Exclude::default()).unwrap();
        assert!(
            scan.children.len() <= 7
                && scan.warnings.iter().all(|warning| warning.to_string().contains("cpu.weight"))
        );
    }
    storm.join().unwrap();
}

#[test]
fn each_child_is_a_member_with_its_weight_and_cpuset() {
    let root = tempfile::tempdir().unwrap();
    cgroup(root.path(), "web", &[("cpu.weight", "300"), ("cpuset.cpus.effective", "0-3")]);
    let parent = Parent::open_anywhere(root.path()).unwrap();
    let look = || each_child(&parent.scan(&Exclude::default()).unwrap());
    let first = look();
    let [web] = &first.tenants[..] else { panic!("{first:?}") };
    assert!(matches!(&web.key, CellKey::Cgroup { path, inode } if path == "web" && web.cgroups == [*inode]));
    assert_eq!((web.template.weight, web.template.cpuset.clone()), (300, CpuSet::parse_list("0-3").ok()));
    assert_eq!(look(), first, "nothing has changed");
    cgroup(root.path(), "batch", &[]);
    assert_eq!(look().tenants.len(), 2);
    cgroup(root.path(), "web", &[("cpu.weight", "30000")]);
    assert_eq!(look().tenants[1].template.weight, 10_000);
}

#[test]
fn configured_cells_take_in_what_lies_below_their_members() {
    let root = tempfile::tempdir().unwrap();
    cgroup(root.path(), "shop/back/deep", &[]);
    cgroup(root.path(), "shop", &[("cpu.weight", "50"), ("cpuset.cpus.effective", "0-3")]);
    cgroup(root.path(), "shop/front", &[("cpuset.cpus.effective", "2-3")]);
    cgroup(root.path(), "web-1", &[("cpu.weight", "150"), ("cpuset.cpus.effective", "4-5")]);
    cgroup(root.path(), "other", &[]);
    let file = root.path().join("cells.toml");
    let text = "[[cell]]\nname = \"web\"\ncgroups = [\"web-*\", \"shop/front\"]\nmin_cpus = 2\n\
                [[cell]]\nname = \"shop\"\ncgroups = [\"shop\"]\nlend = false\n\
                [[cell]]\nname = \"absent\"\ncgroups = [\"absent\"]\n";
    fs::write(&file, text).unwrap();
    let parent = Parent::open_anywhere(root.path()).unwrap();
    let mut config = Config::load(&file).unwrap();
    let look = |config: &Config| by_config(config, &parent.walk(&Exclude::default()).unwrap());
    let found = look(&config);
    let [web, shop, absent] = &found.tenants[..] else { panic!("{found:?}") };
    let inode = |path: &str| {
        let children = parent.walk(&Exclude::default()).unwrap().children;
        children.into_iter().find(|child| child.path == path).unwrap().inode
    };
    assert_eq!(web.cgroups, [inode("shop/front"), inode("web-1")]);
    assert_eq!(shop.cgroups, [inode("shop")]);
    assert_eq!((web.template.weight, web.template.min_cpus, web.template.lend), (250, 2, true));
    assert_eq!(web.template.cpuset, CpuSet::parse_list("2-5").ok());
    assert_eq!((shop.template.weight, shop.template.lend), (50, false));

    assert!(absent.cgroups.is_empty() && absent.template.cpuset.is_none(), "{absent:?}");
    assert_eq!(absent.template.weight, 100);

    fs::write(&file, "[[cell]]\nname = 1\n").unwrap();
    assert!(config.reload(&file).is_err());
    assert_eq!(look(&config), found, "the running configuration stays");
    fs::write(&file, "[[cell]]\nname = \"all\"\ncgroups = [\"*\"]\n").unwrap();
    assert!(config.reload(&file).unwrap());
    assert_eq!(look(&config).tenants[0].cgroups.len(), 3);
}
