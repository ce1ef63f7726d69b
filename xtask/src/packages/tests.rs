// SPDX-License-Identifier: GPL-2.0-only
//! Versions and packages.

use super::*;

#[test]
fn clang_versions_are_read() {
    assert_eq!(parse_clang_version("Debian clang version 19.1.7 (3~deb12u1)\nTarget: x\n"), Some(19));
    assert_eq!(parse_clang_version("Ubuntu clang version 18.1.3 (1ubuntu1)"), Some(18));
    assert_eq!(parse_clang_version("clang version 21.0.0git"), Some(21));
    assert_eq!(parse_clang_version("gcc (Debian 12.2.0) 12.2.0"), None);
}

#[test]
fn libclang_is_recognised_by_its_file_names() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("libclang-cpp.so.19.1"), "").unwrap();
    fs::write(dir.path().join("libclang.a"), "").unwrap();
    // The C++ library alone is of no use to the bindings generator, yet its name begins alike.
    assert!(!holds_libclang(dir.path()));
    fs::write(dir.path().join("libclang-19.so.19"), "").unwrap();
    assert!(holds_libclang(dir.path()));
}

#[test]
fn every_need_names_a_package() {
    for need in FOR_ALL {
        assert!(!need.packages(19).is_empty() && !need.name().is_empty());
    }
    assert_eq!(Need::Libclang.packages(20), ["libclang-20-dev"]);
}
