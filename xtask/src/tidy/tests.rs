// SPDX-License-Identifier: GPL-2.0-only
//! A small workspace that keeps every rule, and for each rule at least one change that breaks it and no other.

use super::rules::{RULES, sizes};
use super::tree::{Dependency, File, Kind, Package, Tree};

const SPDX: &str = "// SPDX-License-Identifier: GPL-2.0-only\n";

fn package(folder: &str, dependencies: &[(&str, Option<Kind>)]) -> Package {
    let dependency =
        |(name, kind): &(&str, Option<Kind>)| Dependency { name: (*name).to_owned(), kind: *kind };
    let name = folder.rsplit('/').next().unwrap().to_owned();
    Package { name, folder: folder.to_owned(), dependencies: dependencies.iter().map(dependency).collect() }
}

fn file(path: &str, text: impl Into<String>) -> File {
    File { path: path.to_owned(), text: text.into() }
}

/// A workspace in order.
fn good() -> Tree {
    let packages = vec![
        package("bpf-common", &[]),
        package("crates/topology", &[("serde", None)]),
        package("crates/balancer", &[("topology", None), ("bpf-common", Some(Kind::Dev))]),
        package("crates/runtime", &[("libbpf-rs", None)]),
        package(
            "schedulers/one",
            &[("balancer", None), ("runtime", None), ("bpf-common", Some(Kind::Build))],
        ),
        package("schedulers/two", &[("topology", None)]),
        package("xtask", &[("guest", None)]),
        package("xtask/guest", &[]),
    ];
    let manifest = "# SPDX-License-Identifier: GPL-2.0-only\n[package]\n\n[lints]\nworkspace = true\n";
    let mut files: Vec<File> =
        packages.iter().map(|p| file(&format!("{}/Cargo.toml", p.folder), manifest)).collect();
    let named: Vec<String> = packages.iter().map(|p| format!("- `{}/`: something", p.folder)).collect();
    files.push(file("README.md", format!("{}\n- `crates/`\n- `schedulers/`\n", named.join("\n"))));
    files.push(file("xtask/src/main.rs", format!("{SPDX}//! Says what it is.\nfn main() {{}}\n")));
    files.push(file("schedulers/one/src/bpf/main.bpf.c", format!("{SPDX}/* What it does. */\nint x;\n")));
    Tree { files, packages }
}

/// The names of the rules that a tree breaks.
fn broken(tree: &Tree) -> Vec<&'static str> {
    RULES.iter().filter(|rule| !(rule.check)(tree).is_empty()).map(|rule| rule.name).collect()
}

fn with_file(path: &str, text: &str) -> Tree {
    let mut tree = good();
    tree.files.retain(|file| file.path != path);
    tree.files.push(file(path, text));
    tree
}

fn with_dependency(package: &str, name: &str, kind: Option<Kind>) -> Tree {
    let mut tree = good();
    let found = tree.packages.iter_mut().find(|one| one.name == package).unwrap();
    found.dependencies.push(Dependency { name: name.to_owned(), kind });
    tree
}

#[test]
fn a_workspace_in_order_breaks_nothing() {
    assert_eq!(broken(&good()), [""; 0]);
}

#[test]
fn a_missing_licence_line_is_found() {
    assert_eq!(broken(&with_file("xtask/src/x.rs", "//! Says what it is.\n")), ["spdx"]);
    assert_eq!(broken(&with_file("xtask/x.sh", "#!/bin/sh\n# SPDX-License-Identifier: MIT\n")), ["spdx"]);
    assert_eq!(
        broken(&with_file("xtask/x.sh", "#!/bin/sh\n# SPDX-License-Identifier: GPL-2.0-only\n")),
        [""; 0]
    );
}

#[test]
fn a_module_without_a_word_about_itself_is_found() {
    assert_eq!(
        broken(&with_file("xtask/src/x.rs", &format!("{SPDX}fn x() {{}}\n//! Too late.\n"))),
        ["module-docs"]
    );
    assert_eq!(broken(&with_file("xtask/src/x.rs", &format!("{SPDX}//! \nfn x() {{}}\n"))), ["module-docs"]);
}

#[test]
fn c_without_an_opening_comment_is_found() {
    assert_eq!(
        broken(&with_file("schedulers/one/src/bpf/x.bpf.c", &format!("{SPDX}int x;\n"))),
        ["bpf-docs"]
    );
}

#[test]
fn forbidden_directions_are_found() {
    for (package, name, kind) in [
        ("one", "two", None),
        ("topology", "balancer", None),
        ("balancer", "runtime", None),
        ("balancer", "libbpf-rs", None),
        ("balancer", "bpf-common", None),
        ("runtime", "one", Some(Kind::Dev)),
        ("xtask", "topology", None),
        ("xtask", "scx_utils", None),
        ("guest", "runtime", None),
        ("bpf-common", "topology", Some(Kind::Build)),
    ] {
        assert_eq!(broken(&with_dependency(package, name, kind)), ["directions"], "{package} -> {name}");
    }
    assert_eq!(broken(&with_dependency("runtime", "bpf-common", Some(Kind::Dev))), [""; 0]);
    let mut unknown = good();
    unknown.packages.push(package("crates/unheard", &[]));
    assert!(broken(&unknown).contains(&"directions"));
}

#[test]
fn a_package_named_unlike_its_folder_is_found() {
    let mut tree = good();
    tree.packages[5].name = "three".to_owned();
    assert_eq!(broken(&tree), ["package-names"]);
}

#[test]
fn a_package_without_the_lints_is_found() {
    let manifest = "# SPDX-License-Identifier: GPL-2.0-only\n[package]\n";
    assert_eq!(broken(&with_file("xtask/Cargo.toml", manifest)), ["lints"]);
}

#[test]
fn a_folder_that_the_readme_leaves_out_is_found() {
    let readme = good().file("README.md").unwrap().text.replace("`crates/runtime/`", "runtime");
    assert_eq!(broken(&with_file("README.md", &readme)), ["readme"]);
    assert_eq!(broken(&with_file("fresh/x.txt", "")), ["readme"]);
    let mut without = good();
    without.files.retain(|file| file.path != "README.md");
    assert_eq!(broken(&without), ["readme"]);
}

#[test]
fn words_of_one_machine_are_found_and_kernel_paths_are_not() {
    for word in [
        concat!("/ro", "ot/x"),
        concat!("see crates", ".io"),
        concat!("// TO", "DO: later"),
        concat!("/ho", "me/me/x"),
    ] {
        assert_eq!(broken(&with_file("ci/notes.txt", &format!("{word}\n"))).last(), Some(&"words"), "{word}");
    }
    let fine = with_file(
        "xtask/src/main.rs",
        &format!("{SPDX}//! /sys/kernel/sched_ext/root/ops and {{base}}/root/x.\n"),
    );
    assert_eq!(broken(&fine), [""; 0]);
}

#[test]
fn long_files_and_functions_are_reported_save_in_tests() {
    let body = "    let x = 1;\n".repeat(80);
    let long = format!(
        "{SPDX}//! X.\n\nimpl A {{\n    pub(crate) const fn long(x: u8) -> u8 {{\n{body}    }}\n}}\n\nfn short() {{\n}}\n"
    );
    let notes = sizes(&with_file("xtask/src/x.rs", &long));
    assert_eq!(notes, ["xtask/src/x.rs:5: long has 82 lines, aim at 70"]);
    assert!(sizes(&with_file("xtask/src/x/tests.rs", &long)).is_empty());
    let c = format!(
        "{SPDX}/* X. */\nstatic int other(int x);\n\nstatic __always_inline int long_one(int x)\n{{\n{body}}}\n"
    );
    let notes = sizes(&with_file("bpf-common/include/x.h", &c));
    assert_eq!(notes, ["bpf-common/include/x.h:5: long_one has 83 lines, aim at 70"]);
    let lines = "// x\n".repeat(700);
    assert_eq!(sizes(&with_file("xtask/src/x.rs", &lines)), ["xtask/src/x.rs: 700 lines, aim at 600"]);
}
