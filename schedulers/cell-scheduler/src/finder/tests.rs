// SPDX-License-Identifier: GPL-2.0-only
//! Members and trees from directories that stand for cgroups.

use std::fs;

use tempfile::TempDir;
use topology::CpuSet;

use super::*;
use crate::cells::CellKey;

/// Directories by path, each with files.
fn hierarchy(cgroups: &[(&str, &[(&str, &str)])]) -> TempDir {
    let root = TempDir::new().expect("a directory");
    for (path, files) in cgroups {
        fs::create_dir_all(root.path().join(path)).expect("a directory");
        for (file, text) in *files {
            fs::write(root.path().join(path).join(file), text).expect("a file");
        }
    }
    root
}

fn finder(root: &Path, source: Source) -> Finder {
    let parent = Some(Parent::open_anywhere(root).expect("a directory"));
    Finder::of(source, parent, Box::new(NoWatch), root.to_owned())
}

fn inode(root: &TempDir, path: &str) -> u64 {
    fs::metadata(root.path().join(path)).expect("it exists").ino()
}

#[test]
fn children_become_members_with_their_weight_and_cpuset() {
    let root = hierarchy(&[
        ("a", &[("cpu.weight", "300\n"), ("cpuset.cpus.effective", "0-3\n")]),
        ("a/inner", &[]),
        ("b", &[]),
        ("system", &[]),
    ]);
    let exclude = Exclude::new(&["sys*"]).expect("a pattern");
    let found = finder(root.path(), Source::Children(exclude)).find().expect("readable");
    let names: Vec<&str> = found.tenants.iter().map(|tenant| tenant.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    let a = &found.tenants[0];
    assert_eq!(a.cgroups, [inode(&root, "a")]);
    assert_eq!((a.template.weight, a.template.cpuset.as_ref().map(CpuSet::len)), (300, Some(4)));
    assert_eq!((found.tenants[1].template.weight, &found.tenants[1].template.cpuset), (100, &None));
}

#[test]
fn a_file_groups_cgroups_into_members() {
    let root = hierarchy(&[
        ("web1", &[("cpuset.cpus.effective", "0-1")]),
        ("web2", &[("cpuset.cpus.effective", "1-2")]),
        ("batch", &[]),
    ]);
    let text = "[[cell]]\nname = \"web\"\ncgroups = [\"web*\"]\nweight = 400\nmin_cpus = 2\nlend = false\n\n\
                [[cell]]\nname = \"idle\"\ncgroups = [\"nothing\"]\n";
    let config = Config::parse("test.toml", text).expect("a valid file");
    let source = Source::File { path: PathBuf::from("test.toml"), config };
    let found = finder(root.path(), source).find().expect("readable");
    assert_eq!(found.tenants.len(), 2);
    let web = &found.tenants[0];
    assert_eq!(web.key, CellKey::Named("web".to_owned()));
    assert_eq!(web.cgroups, [inode(&root, "web1"), inode(&root, "web2")]);
    assert_eq!(web.template.cpuset.as_ref().map(ToString::to_string).as_deref(), Some("0-2"));
    assert_eq!((web.template.weight, web.template.min_cpus, web.template.lend), (400, 2, false));
    assert!(found.tenants[1].cgroups.is_empty() && found.tenants[1].template.cpuset.is_none());
}

#[test]
fn a_parent_that_vanishes_is_one_line() {
    let root = hierarchy(&[("parent/a", &[])]);
    let mut finder = finder(&root.path().join("parent"), Source::Children(Exclude::default()));
    assert!(finder.look(false).expect("nothing to do").is_none());
    assert_eq!(finder.look(true).expect("there").expect("looked").tenants.len(), 1);
    fs::remove_dir_all(root.path().join("parent")).expect("removable");
    let error = finder.look(true).expect_err("gone");
    assert!(error.contains("vanished") && !error.contains('\n'), "{error}");
}

#[test]
fn a_file_is_read_again_when_asked_and_errors_leave_the_former_in_force() {
    let root = hierarchy(&[("a", &[])]);
    let path = root.path().join("cells.toml");
    let text = |name: &str| format!("[[cell]]\nname = \"{name}\"\ncgroups = [\"a\"]\n");
    fs::write(&path, text("first")).expect("a file");
    let config = Config::load(&path).expect("valid");
    let mut finder = finder(root.path(), Source::File { path: path.clone(), config });
    let raised = Arc::new(AtomicBool::new(false));
    finder.reload_on(raised.clone());
    fs::write(&path, text("second")).expect("a file");
    finder.reload().expect("nobody asked");
    assert_eq!(finder.look(true).expect("valid").expect("looked").tenants[0].name, "first");
    raised.store(true, Ordering::SeqCst);
    finder.reload().expect("valid");
    assert_eq!(finder.look(false).expect("valid").expect("looked").tenants[0].name, "second");
    assert!(!raised.load(Ordering::SeqCst));
    assert!(finder.look(false).expect("valid").is_none(), "looked already");
    fs::write(&path, "[[cell]]\nnme = 1\n").expect("a file");
    // The same error is one each time that somebody asks.
    for _ in 0..2 {
        raised.store(true, Ordering::SeqCst);
        let error = finder.reload().expect_err("no such key");
        assert!(error.contains("nme") && !error.trim().contains('\n'), "{error}");
        assert!(finder.look(false).expect("nothing to do").is_none());
    }
    assert_eq!(finder.look(true).expect("valid").expect("looked").tenants[0].name, "second");
}

/// A directory in a file's place fails to be read for every user, root included.
fn make_unreadable(root: &TempDir, file: &str) {
    let path = root.path().join(file);
    fs::remove_file(&path).expect("a file");
    fs::create_dir(&path).expect("a directory");
}

#[test]
fn a_cpuset_that_cannot_be_read_any_more_leaves_the_members_as_they_were() {
    let files: &[(&str, &str)] = &[("cpu.weight", "300\n"), ("cpuset.cpus.effective", "0-3\n")];
    let root = hierarchy(&[("a", files), ("b", files)]);
    let text = "[[cell]]\nname = \"all\"\ncgroups = [\"*\"]\n";
    let config = Config::parse("test.toml", text).expect("a valid file");
    let file = Source::File { path: PathBuf::from("test.toml"), config };
    let mut finders = [Source::Children(Exclude::default()), file].map(|source| finder(root.path(), source));
    let before = finders.each_mut().map(|finder| finder.find().expect("readable"));
    make_unreadable(&root, "a/cpuset.cpus.effective");
    fs::write(root.path().join("b/cpu.weight"), "heavy").expect("a file");
    for (finder, before) in finders.iter_mut().zip(before) {
        for _ in 0..2 {
            let found = finder.find().expect("readable");
            assert_eq!(found.tenants, before.tenants);
            assert_eq!(found.warnings.len(), 2, "{:?}", found.warnings);
        }
    }
}

#[test]
fn a_weight_that_cannot_be_read_any_more_counts_on_in_the_tree() {
    let root = hierarchy(&[("a", &[("cpu.weight", "300")])]);
    let mut finder = finder(root.path(), Source::Nothing);
    let before = finder.tree();
    assert_eq!(before[1].weight, 300);
    make_unreadable(&root, "a/cpu.weight");
    // The directory is a cgroup of its own now, as far as a file system other than cgroup2 can tell.
    assert_eq!(finder.tree()[1], before[1]);
}

#[test]
fn the_tree_has_parents_first() {
    let root =
        hierarchy(&[("a/x/y", &[("cpu.weight", "50")]), ("a-b", &[]), ("b", &[("cpu.weight", "200")])]);
    let tree = tree(root.path(), &mut Memory::default());
    assert_eq!(tree[0], TreeNode { id: inode(&root, "."), parent: None, weight: 100 });
    let node = |path: &str| tree.iter().find(|node| node.id == inode(&root, path)).expect("in the tree");
    assert_eq!(
        node("a/x/y"),
        &TreeNode { id: inode(&root, "a/x/y"), parent: Some(inode(&root, "a/x")), weight: 50 }
    );
    assert_eq!((node("a-b").parent, node("b").weight), (Some(tree[0].id), 200));
    for (at, node) in tree.iter().enumerate().skip(1) {
        assert!(tree[..at].iter().any(|above| Some(above.id) == node.parent));
    }
    assert!(super::tree(Path::new("/no/such/mount"), &mut Memory::default()).is_empty());
}
