// SPDX-License-Identifier: GPL-2.0-only
//! Dropping for real, in a thread of its own: capabilities belong to threads, so the other tests keep theirs.

use std::thread;

use super::*;

fn set(capabilities: &[Capability]) -> CapsHashSet {
    capabilities.iter().copied().collect()
}

#[test]
fn only_what_attaching_needs_is_kept() {
    let bpf = set(&[Capability::CAP_BPF, Capability::CAP_PERFMON]);
    assert_eq!(to_keep(&caps::all()), bpf);
    assert_eq!(to_keep(&bpf), bpf);
    // CAP_SYS_ADMIN stands for the two where they are missing.
    assert_eq!(
        to_keep(&set(&[Capability::CAP_SYS_ADMIN, Capability::CAP_KILL])),
        set(&[Capability::CAP_SYS_ADMIN])
    );
    let partly = set(&[Capability::CAP_SYS_ADMIN, Capability::CAP_BPF]);
    assert_eq!(to_keep(&partly), partly);
    assert_eq!(to_keep(&CapsHashSet::new()), CapsHashSet::new());
}

#[test]
fn a_thread_gives_up_the_rest_for_good() {
    let before = caps::read(None, CapSet::Permitted).unwrap();
    let (untouched, inner) = (before.clone(), to_keep(&before));
    let no_new_privs = nix::sys::prctl::get_no_new_privs().unwrap();
    thread::spawn(move || {
        let kept = drop_after_attach().unwrap();
        assert_eq!(set(&kept.capabilities), inner);
        assert!(kept.other_threads > 0);
        for which in [CapSet::Effective, CapSet::Permitted] {
            assert_eq!(caps::read(None, which).unwrap(), inner, "{which:?}");
        }
        for which in [CapSet::Inheritable, CapSet::Ambient] {
            assert!(caps::read(None, which).unwrap().is_empty(), "{which:?}");
        }
        if before.contains(&Capability::CAP_SETPCAP) {
            assert!(caps::read(None, CapSet::Bounding).unwrap().is_subset(&inner));
        }
        assert!(nix::sys::prctl::get_no_new_privs().unwrap());
        // And it stays so.
        assert!(caps::raise(None, CapSet::Effective, Capability::CAP_SYS_BOOT).is_err());
        assert_eq!(drop_after_attach().unwrap().capabilities, kept.capabilities);
    })
    .join()
    .unwrap();
    // This thread was not touched.
    assert_eq!(caps::read(None, CapSet::Permitted).unwrap(), untouched);
    assert_eq!(nix::sys::prctl::get_no_new_privs().unwrap(), no_new_privs);
}
