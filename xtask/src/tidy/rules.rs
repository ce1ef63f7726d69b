// SPDX-License-Identifier: GPL-2.0-only
//! The house rules as data: a name, a reason and a check. A check gives one line for each thing that breaks the rule.

use super::tree::{File, Kind, Package, Tree};

/// A house rule.
pub struct Rule {
    /// Short name.
    pub name: &'static str,
    /// What must hold.
    pub why: &'static str,
    /// What breaks it.
    pub check: fn(&Tree) -> Vec<String>,
}

/// All rules.
pub const RULES: &[Rule] = &[
    Rule { name: "spdx", why: "every source file begins with its licence line", check: spdx },
    Rule {
        name: "module-docs",
        why: "every Rust file opens with a //! line that says what it is",
        check: module_docs,
    },
    Rule {
        name: "bpf-docs",
        why: "every BPF and C file opens with a comment that says what it does",
        check: bpf_docs,
    },
    Rule {
        name: "directions",
        why: "packages depend only in the directions of the design",
        check: directions,
    },
    Rule { name: "package-names", why: "a package is named as its folder", check: package_names },
    Rule { name: "lints", why: "every package takes the workspace's lints", check: lints },
    Rule { name: "readme", why: "README.md has a sentence for every folder", check: readme },
    Rule {
        name: "words",
        why: "nothing that ties the code to one machine or place, and no notes to oneself",
        check: words,
    },
];

/// A file longer than this is reported.
pub const FILE_LINES: usize = 600;
/// A function longer than this is reported.
pub const FUNCTION_LINES: usize = 70;

const SPDX: &str = "SPDX-License-Identifier: GPL-2.0-only";
/// Files that carry the licence line, by what their name ends with.
const LICENSED: [&str; 11] =
    [".rs", ".c", ".h", ".toml", ".sh", ".py", ".yml", ".yaml", ".ci/run", ".clang-format", ".gitattributes"];
/// Files that this project did not write.
const GENERATED: [&str; 2] = ["Cargo.lock", "LICENSE"];

/// The packages of ours that each may depend on, build scripts included. `schedulers/*` are one row.
const DIRECTIONS: [(&str, &[&str]); 11] = [
    ("bpf-common", &[]),
    ("topology", &[]),
    ("ravg", &["topology"]),
    ("balancer", &["topology"]),
    ("runtime", &["topology"]),
    ("bpf-vm", &[]),
    ("sim", &["bpf-vm", "topology", "runtime"]),
    // What a scheduler's host speaks comes from runtime and balancer.
    ("sched-sim", &["sim", "topology", "runtime", "balancer", "*"]),
    ("guest", &[]),
    ("xtask", &["guest"]),
    ("*", &["runtime", "balancer", "ravg", "topology", "bpf-common"]),
];
/// What only tests may use besides.
const FOR_TESTS: [&str; 1] = ["bpf-common"];
/// Packages of others that would break a promise: pure cores stay pure, and xtask builds on a bare toolchain.
const UNWANTED: [(&[&str], &[&str]); 2] = [
    (
        &["balancer", "ravg", "topology"],
        &["libbpf-rs", "libbpf-sys", "scx_utils", "scx_stats", "scx_cargo", "nix", "libc", "tokio"],
    ),
    (
        &["xtask", "guest"],
        &["libbpf-rs", "libbpf-sys", "scx_utils", "scx_stats", "scx_cargo", "bindgen", "cc"],
    ),
];

/// Words that must not appear, each in two parts so that this file may name them.
const WORDS: [(&str, &str); 9] = [
    ("crates", ".io"),
    ("static.rust", "-lang.org"),
    ("/wo", "rk/"),
    ("/ro", "ot/"),
    ("/ho", "me/"),
    ("/tmp/", "target"),
    ("TO", "DO"),
    ("FIX", "ME"),
    ("XX", "X:"),
];

fn spdx(tree: &Tree) -> Vec<String> {
    let licensed = tree.files.iter().filter(|file| LICENSED.iter().any(|end| file.path.ends_with(end)));
    licensed.filter(|file| !file.text.lines().take(2).any(|line| line.contains(SPDX))).map(at).collect()
}

fn module_docs(tree: &Tree) -> Vec<String> {
    let opens = |file: &&File| {
        let mut lines = file.text.lines().filter(|line| !line.is_empty() && !line.starts_with("// SPDX"));
        lines.next().is_some_and(|line| line.starts_with("//! ") && line.len() > "//! ".len())
    };
    with_end(tree, &[".rs"]).filter(|file| !opens(file)).map(at).collect()
}

fn bpf_docs(tree: &Tree) -> Vec<String> {
    let opens = |file: &&File| {
        let mut lines = file.text.lines().skip(1).skip_while(|line| line.trim().is_empty());
        lines
            .next()
            .is_some_and(|line| line.starts_with("/*") || line.starts_with("//") || line.starts_with(" *"))
    };
    with_end(tree, &[".c", ".h"]).filter(|file| !opens(file)).map(at).collect()
}

fn directions(tree: &Tree) -> Vec<String> {
    let ours = |name: &str| tree.packages.iter().find(|package| package.name == name);
    let mut found = Vec::new();
    for package in &tree.packages {
        let Some((_, allowed)) = DIRECTIONS.iter().find(|(row, _)| *row == row_of(package)) else {
            found.push(format!("{}: no rule says what it may depend on", package.folder));
            continue;
        };
        for dependency in &package.dependencies {
            let name = dependency.name.as_str();
            let tested = dependency.kind == Some(Kind::Dev);
            if let Some(target) = ours(name) {
                let permitted =
                    allowed.contains(&name) || allowed.contains(&row_of(target)) && row_of(target) == "*";
                let for_tests = tested && FOR_TESTS.contains(&name);
                if !permitted && !for_tests && target.name != package.name {
                    found.push(format!("{} must not depend on {name}", package.folder));
                }
            }
            let unwanted = |(packages, names): &(&[&str], &[&str])| {
                packages.contains(&package.name.as_str()) && names.contains(&name)
            };
            if !tested && UNWANTED.iter().any(unwanted) {
                found.push(format!("{} must not depend on {name}", package.folder));
            }
        }
    }
    found
}

/// The row of [`DIRECTIONS`] that a package falls under.
fn row_of(package: &Package) -> &str {
    if package.folder.starts_with("schedulers/") { "*" } else { &package.name }
}

fn package_names(tree: &Tree) -> Vec<String> {
    let folder_name = |package: &Package| package.folder.rsplit('/').next().unwrap_or_default().to_owned();
    let wrong = tree.packages.iter().filter(|package| folder_name(package) != package.name);
    wrong.map(|package| format!("{}: the package is named {}", package.folder, package.name)).collect()
}

fn lints(tree: &Tree) -> Vec<String> {
    let takes = |manifest: &&String| {
        let file = tree.file(manifest);
        file.is_some_and(|file| file.text.replace(' ', "").contains("[lints]\nworkspace=true"))
    };
    let manifests: Vec<String> =
        tree.packages.iter().map(|package| format!("{}/Cargo.toml", package.folder)).collect();
    manifests.iter().filter(|manifest| !takes(manifest)).cloned().collect()
}

/// Folders with a sentence: those at the root, and those of packages.
fn readme(tree: &Tree) -> Vec<String> {
    let Some(readme) = tree.file("README.md") else { return vec!["there is no README.md".to_owned()] };
    let at_root =
        tree.files.iter().filter_map(|file| file.path.split_once('/').map(|(folder, _)| folder.to_owned()));
    let mut folders: Vec<String> = at_root.filter(|folder| !folder.starts_with('.')).collect();
    folders.extend(tree.packages.iter().map(|package| package.folder.clone()));
    folders.sort();
    folders.dedup();
    folders.retain(|folder| !readme.text.contains(&format!("`{folder}")));
    folders.into_iter().map(|folder| format!("README.md does not name `{folder}/`")).collect()
}

fn words(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    for file in tree.files.iter().filter(|file| !GENERATED.contains(&file.path.as_str())) {
        for (number, line) in (1..).zip(file.text.lines()) {
            for word in WORDS.map(|(head, tail)| format!("{head}{tail}")) {
                if holds_word(line, &word) {
                    found.push(format!("{}:{number}: '{word}'", file.path));
                }
            }
        }
    }
    found
}

/// Whether the line has the word with nothing before it that makes it part of a longer word or path.
fn holds_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || "_}.*~$".contains(c))
    })
}

/// Files and functions that have grown long: reported, not refused. Tests may be long.
pub fn sizes(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    let sources = with_end(tree, &[".rs", ".c", ".h"]);
    for file in sources.filter(|file| !is_test(&file.path)) {
        let lines = file.text.lines().count();
        if lines > FILE_LINES {
            found.push(format!("{}: {lines} lines, aim at {FILE_LINES}", file.path));
        }
        for (number, name, length) in functions(&file.text) {
            if length > FUNCTION_LINES {
                found.push(format!(
                    "{}:{number}: {name} has {length} lines, aim at {FUNCTION_LINES}",
                    file.path
                ));
            }
        }
    }
    found
}

fn is_test(path: &str) -> bool {
    path.ends_with("tests.rs") || path.contains("/tests/") || path.contains("/benches/")
}

/// Functions with the line they begin on, their name and their length. Relies on formatted source: a function ends at
/// the first closing brace that is indented as its first line is.
fn functions(text: &str) -> Vec<(usize, String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        let indent = &line[..line.len() - line.trim_start().len()];
        let close = format!("{indent}}}");
        let declared = lines[at..].iter().position(|line| line.ends_with(';') && !line.ends_with("};"));
        let Some(length) = lines[at..].iter().position(|line| *line == close) else { continue };
        // A declaration without a body ends before any brace opens.
        let opened = lines[at..].iter().position(|line| line.contains('{'));
        if declared.is_none_or(|declared| opened.is_some_and(|opened| opened <= declared)) {
            found.push((at + 1, name, length + 1));
        }
    }
    found
}

/// The name in a line that begins a function: Rust's `fn name`, or C's `type name(` at the first column.
fn function_name(line: &str) -> Option<String> {
    let code = line.trim_start();
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    if let Some(at) = code.find("fn ").filter(|&at| at == 0 || code[..at].ends_with(' ')) {
        let head = &code[..at];
        let qualified = head.split_whitespace().all(|word| {
            ["async", "const", "unsafe", "extern", "\"C\""].contains(&word) || word.starts_with("pub")
        });
        return qualified.then(|| word(&code[at + 3..])).filter(|name| !name.is_empty());
    }
    let (head, _) = line.split_once('(')?;
    let starts = line.starts_with(|c: char| c.is_ascii_lowercase())
        || line.starts_with("SEC(")
        || line.starts_with("BPF_");
    let c_like = starts && head.contains(' ') && !head.contains('=') && !line.ends_with(';');
    c_like.then(|| head.rsplit([' ', '*']).next().unwrap_or(head).to_owned()).filter(|name| !name.is_empty())
}

fn with_end<'a>(tree: &'a Tree, ends: &'static [&'static str]) -> impl Iterator<Item = &'a File> {
    tree.files.iter().filter(move |file| ends.iter().any(|end| file.path.ends_with(end)))
}

fn at(file: &File) -> String {
    file.path.clone()
}
