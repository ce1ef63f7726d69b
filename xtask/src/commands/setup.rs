// SPDX-License-Identifier: GPL-2.0-only
//! `cargo xtask setup`: finds or installs what the host needs. The other commands call it when something is missing.

use crate::packages::{CLANG_VERSIONS, FOR_ALL, Need, missing};
use crate::{process, status};
use anyhow::{Result, bail};
use std::process::Command;

/// Options of `setup`.
#[derive(clap::Args)]
pub struct Args {
    /// Only say what is missing; install nothing
    #[arg(long)]
    check: bool,
}

/// Runs the command.
///
/// # Errors
/// When something is missing and cannot be installed (status 77).
pub fn main(args: &Args) -> Result<u8> {
    let lacking = missing(FOR_ALL);
    if args.check && !lacking.is_empty() {
        return Err(status::failure(status::NO_PERMISSION, wanted(&lacking, CLANG_VERSIONS[0])));
    }
    ensure(FOR_ALL)?;
    println!("setup: everything is here");
    Ok(0)
}

/// Makes sure that these are here, by installing what is missing.
///
/// # Errors
/// When that is not possible (status 77): the message has the exact packages.
pub fn ensure(needs: &[Need]) -> Result<()> {
    let lacking = missing(needs);
    if lacking.is_empty() {
        return Ok(());
    }
    let refuse = |why: &str, clang| {
        Err(status::failure(status::NO_PERMISSION, format!("{}; {why}", wanted(&lacking, clang))))
    };
    if process::find("apt-get").is_none() {
        return refuse(
            "this system has no apt-get: install what brings them here, then try again",
            CLANG_VERSIONS[0],
        );
    }
    let Some(root) = become_root() else {
        return refuse(
            "neither root nor sudo is available here: install them, then try again",
            CLANG_VERSIONS[0],
        );
    };
    let mut updated = false;
    let mut clang = choose_clang(&lacking);
    if clang.is_none() || !known(&packages(&lacking, clang.unwrap_or(CLANG_VERSIONS[0]))) {
        eprintln!("setup: refreshing apt's package lists");
        process::visible(&mut apt(&root, &["update"])?)?;
        updated = true;
        clang = choose_clang(&lacking);
    }
    let Some(clang) = clang else {
        return refuse("apt knows no clang from 18 on", CLANG_VERSIONS[0]);
    };
    let wanted = packages(&lacking, clang);
    for need in &lacking {
        eprintln!("setup: installing {} for {}", need.packages(clang).join(" "), need.name());
    }
    let mut install = vec!["install", "--yes", "--no-install-recommends"];
    install.extend(wanted.iter().map(String::as_str));
    if let Err(error) = process::visible(&mut apt(&root, &install)?) {
        if updated {
            return Err(error);
        }
        // Lists that are too old name files that the mirror has no more.
        process::visible(&mut apt(&root, &["update"])?)?;
        process::visible(&mut apt(&root, &install)?)?;
    }
    let still = missing(needs);
    if !still.is_empty() {
        bail!("installed {}, yet still missing: {}", wanted.join(" "), names(&still));
    }
    Ok(())
}

fn names(needs: &[Need]) -> String {
    needs.iter().map(|need| need.name()).collect::<Vec<_>>().join(", ")
}

fn packages(needs: &[Need], clang: u32) -> Vec<String> {
    needs.iter().flat_map(|need| need.packages(clang)).collect()
}

fn wanted(needs: &[Need], clang: u32) -> String {
    format!("missing: {} (Debian packages: {})", names(needs), packages(needs, clang).join(" "))
}

/// The clang version to install: libclang must fit the clang that is here, else the first that apt knows.
fn choose_clang(lacking: &[Need]) -> Option<u32> {
    if !lacking.contains(&Need::Clang) && !lacking.contains(&Need::Libclang) {
        return Some(CLANG_VERSIONS[0]);
    }
    if let (false, Some(clang)) = (lacking.contains(&Need::Clang), crate::packages::clang()) {
        return Some(clang.version);
    }
    CLANG_VERSIONS
        .into_iter()
        .find(|version| known(&[format!("clang-{version}"), format!("libclang-{version}-dev")]))
}

/// Whether apt's lists know all of these packages.
fn known(packages: &[String]) -> bool {
    packages.iter().all(|package| {
        let asked = process::output(Command::new("apt-cache").args(["show", "--no-all-versions", package]));
        asked.is_ok_and(|output| output.status.success() && !output.stdout.is_empty())
    })
}

/// What stands before a command that needs root: nothing for root, else sudo.
fn become_root() -> Option<Vec<&'static str>> {
    if nix::unistd::geteuid().is_root() {
        return Some(Vec::new());
    }
    process::find("sudo").map(|_| vec!["sudo"])
}

/// `apt-get`, as root and without questions.
fn apt(root: &[&str], args: &[&str]) -> Result<Command> {
    let mut words = root.to_vec();
    words.extend(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q"]);
    words.extend(args);
    let Some((program, rest)) = words.split_first() else { bail!("no command") };
    let mut command = Command::new(program);
    command.args(rest);
    Ok(command)
}
