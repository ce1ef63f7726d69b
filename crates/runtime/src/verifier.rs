// SPDX-License-Identifier: GPL-2.0-only
//! What loading cost: the instructions that the kernel's verifier went through, program by program.
//!
//! A start spends most of its time there, and how much differs from kernel to kernel.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::time::Duration;

use libbpf_rs::query::ProgInfoIter;
use libbpf_rs::{Object, Program};
use tracing::{Level, debug, enabled};

/// Logs it, the dearest program first, after the times that opening and loading took. A kernel that does not tell is no
/// error: the line says so.
pub fn log_load(object: &Object, opened: Duration, loaded: Duration) {
    if !enabled!(Level::DEBUG) {
        return;
    }
    debug!("opened in {:.3} s, loaded in {:.3} s", opened.as_secs_f64(), loaded.as_secs_f64());
    let names: BTreeMap<u32, String> = object
        .progs()
        .filter_map(|program| {
            let id = Program::id_from_fd(program.as_fd()).ok()?;
            Some((id, program.name().to_string_lossy().into_owned()))
        })
        .collect();
    let known = ProgInfoIter::default()
        .filter_map(|info| Some((info.verified_insns, names.get(&info.id)?.as_str())))
        .collect();
    for line in report(known) {
        debug!("{line}");
    }
}

/// One line a program and one for all of them.
fn report(mut programs: Vec<(u32, &str)>) -> Vec<String> {
    programs.sort_unstable_by(|a, b| b.cmp(a));
    let total: u64 = programs.iter().map(|&(instructions, _)| u64::from(instructions)).sum();
    let head = format!("verified instructions: {total} in {} programs", programs.len());
    let lines =
        programs.iter().map(|(instructions, name)| format!("verified instructions: {instructions} {name}"));
    std::iter::once(head).chain(lines).collect()
}

#[cfg(test)]
mod tests;
