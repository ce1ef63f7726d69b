// SPDX-License-Identifier: GPL-2.0-only
//! The checks over made-up /sys and /proc trees.

use std::thread;

use tempfile::TempDir;

use super::*;

const ROOT_CAPS: &str = "000001ffffffffff";

struct Tree {
    directory: TempDir,
}

impl Tree {
    /// A kernel with sched_ext, nobody attached, a root shell in the initial user namespace.
    fn good() -> Self {
        let tree = Self { directory: TempDir::new().unwrap() };
        tree.write("sys/kernel/sched_ext/state", "disabled\n");
        tree.write("proc/self/status", &format!("Name:\tcat\nCapEff:\t{ROOT_CAPS}\nCapBnd:\t{ROOT_CAPS}\n"));
        tree.write("proc/self/uid_map", "         0          0 4294967295\n");
        tree.write("proc/sys/kernel/osrelease", "6.12.0-test\n");
        tree
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.directory.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn remove(&self, path: &str) {
        fs::remove_file(self.directory.path().join(path)).unwrap();
    }

    fn roots(&self) -> Roots {
        Roots { sys: self.directory.path().join("sys"), proc: self.directory.path().join("proc") }
    }

    fn effective(&self, mask: u64) {
        self.write("proc/self/status", &format!("CapPrm:\t{ROOT_CAPS}\nCapEff:\t{mask:016x}\n"));
    }
}

fn is_one_line(error: &PreflightError) -> String {
    let line = error.to_string();
    assert!(!line.contains('\n'), "{line}");
    line
}

#[test]
fn a_good_machine_passes() {
    check(&Tree::good().roots()).unwrap();
}

#[test]
fn no_sched_ext() {
    let tree = Tree::good();
    tree.remove("sys/kernel/sched_ext/state");
    let error = check(&tree.roots()).unwrap_err();
    assert_eq!(error.exit_status(), 69);
    let line = is_one_line(&error);
    assert!(line.contains("6.12.0-test") && line.contains("CONFIG_SCHED_CLASS_EXT"), "{line}");
}

#[test]
fn no_sysfs_is_not_blamed_on_the_kernel() {
    let tree = Tree::good();
    let roots = Roots { sys: tree.directory.path().join("nowhere"), ..tree.roots() };
    let error = check(&roots).unwrap_err();
    assert!(matches!(error, PreflightError::Unreadable { .. }), "{error}");
    assert_eq!(error.exit_status(), 1);
}

#[test]
fn missing_capabilities_are_named() {
    let tree = Tree::good();
    tree.effective(0);
    let error = check(&tree.roots()).unwrap_err();
    assert_eq!(error.exit_status(), 77);
    let line = is_one_line(&error);
    assert!(line.contains("CAP_BPF and CAP_PERFMON") && line.contains("sudo"), "{line}");

    tree.effective(1 << CAP_BPF);
    let line = is_one_line(&check(&tree.roots()).unwrap_err());
    assert!(line.contains("CAP_PERFMON") && !line.contains("CAP_BPF"), "{line}");

    tree.effective(!(1 << CAP_BPF | 1 << CAP_PERFMON | 1 << CAP_SYS_ADMIN));
    assert_eq!(check(&tree.roots()).unwrap_err().exit_status(), 77);
}

#[test]
fn enough_capabilities_pass() {
    let tree = Tree::good();
    tree.effective(1 << CAP_BPF | 1 << CAP_PERFMON);
    check(&tree.roots()).unwrap();
    tree.effective(1 << CAP_SYS_ADMIN);
    check(&tree.roots()).unwrap();
}

#[test]
fn a_container_root_has_no_rights() {
    let tree = Tree::good();
    tree.write("proc/self/uid_map", "0 1000 1\n");
    let error = check(&tree.roots()).unwrap_err();
    assert_eq!(error.exit_status(), 77);
    assert!(is_one_line(&error).contains("user namespace"));
    tree.remove("proc/self/uid_map");
    check(&tree.roots()).unwrap();
}

#[test]
fn an_unreadable_status_names_the_file() {
    let tree = Tree::good();
    tree.write("proc/self/status", "Name:\tcat\n");
    let line = is_one_line(&check(&tree.roots()).unwrap_err());
    assert!(line.contains("proc/self/status"), "{line}");
    tree.write("proc/self/status", "CapEff:\tnonsense\n");
    check(&tree.roots()).unwrap_err();
}

#[test]
fn another_scheduler_is_named() {
    let tree = Tree::good();
    tree.write("sys/kernel/sched_ext/state", "enabled\n");
    tree.write("sys/kernel/sched_ext/root/ops", "somebody_1.2\n");
    let error = check(&tree.roots()).unwrap_err();
    assert_eq!(error.exit_status(), 75);
    assert!(is_one_line(&error).contains("'somebody_1.2' (state enabled)"), "{error}");
    let expected = Attached { name: Some("somebody_1.2".into()), state: "enabled".into() };
    assert_eq!(attached(&tree.roots()).unwrap(), Some(expected));

    tree.remove("sys/kernel/sched_ext/root/ops");
    assert!(is_one_line(&check(&tree.roots()).unwrap_err()).contains("unknown"));
}

#[test]
fn the_most_fundamental_miss_is_reported() {
    let tree = Tree::good();
    tree.effective(0);
    tree.write("sys/kernel/sched_ext/state", "enabled\n");
    assert_eq!(check(&tree.roots()).unwrap_err().exit_status(), 77);
    tree.remove("sys/kernel/sched_ext/state");
    assert_eq!(check(&tree.roots()).unwrap_err().exit_status(), 69);
}

#[test]
fn a_scheduler_on_its_way_out_is_waited_for() {
    let tree = Tree::good();
    tree.write("sys/kernel/sched_ext/state", "disabling\n");
    let short = Duration::from_millis(50);
    let error = check_unattached(&tree.roots(), short).unwrap_err();
    assert!(error.to_string().contains("disabling"), "{error}");

    let roots = tree.roots();
    let waiter = thread::spawn(move || check_unattached(&roots, Duration::from_secs(20)));
    thread::sleep(Duration::from_millis(50));
    tree.write("sys/kernel/sched_ext/state.new", "disabled\n");
    let state = tree.directory.path().join("sys/kernel/sched_ext/state");
    fs::rename(state.with_extension("new"), state).unwrap();
    waiter.join().unwrap().unwrap();
}

#[test]
fn the_real_roots_are_the_usual_ones() {
    let roots = Roots::default();
    assert_eq!((roots.sys, roots.proc), (PathBuf::from("/sys"), PathBuf::from("/proc")));
}

#[test]
fn capability_numbers_are_the_kernels() {
    use caps::Capability;
    let ours = [CAP_SYS_ADMIN, CAP_PERFMON, CAP_BPF];
    let theirs = [Capability::CAP_SYS_ADMIN, Capability::CAP_PERFMON, Capability::CAP_BPF];
    assert_eq!(ours, theirs.map(|capability| u32::from(capability.index())));
}
