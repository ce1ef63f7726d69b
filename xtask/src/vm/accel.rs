// SPDX-License-Identifier: GPL-2.0-only
//! Which accelerator QEMU can use here.
//!
//! `/dev/kvm` may exist on a machine that cannot run an ordinary guest, so the CPU's flags are looked at too. Without
//! KVM the guest is emulated; QEMU before 8 crashes guests at random with one thread per CPU while the kernel patches
//! its own code, so there one thread emulates all CPUs.

use crate::status;
use anyhow::Result;
use std::fs::OpenOptions;
use std::path::Path;
use std::process::Command;

/// How QEMU runs the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accel {
    /// Hardware virtualisation.
    Kvm,
    /// Emulation, one host thread per CPU.
    TcgMulti,
    /// Emulation, one host thread for all CPUs.
    TcgSingle,
}

impl Accel {
    /// What the user is told.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kvm => "KVM",
            Self::TcgMulti => "emulation, one thread per CPU",
            Self::TcgSingle => "emulation, one thread",
        }
    }

    /// How many times slower than KVM a guest is allowed to be before its deadline passes.
    pub fn slowness(self) -> u32 {
        match self {
            Self::Kvm => 1,
            Self::TcgMulti => 3,
            Self::TcgSingle => 5,
        }
    }
}

/// The accelerator for this host and this QEMU.
pub fn choose(qemu_major: u32) -> Accel {
    let opens = OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok();
    let cpuinfo = std::fs::read_to_string(Path::new("/proc/cpuinfo")).unwrap_or_default();
    choose_from(opens, &cpuinfo, qemu_major)
}

/// The choice itself, from what was found.
pub fn choose_from(kvm_opens: bool, cpuinfo: &str, qemu_major: u32) -> Accel {
    if kvm_opens && has_virtualisation(cpuinfo) {
        Accel::Kvm
    } else if qemu_major >= 8 {
        Accel::TcgMulti
    } else {
        Accel::TcgSingle
    }
}

fn has_virtualisation(cpuinfo: &str) -> bool {
    let flags = cpuinfo.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    flags.split_whitespace().any(|flag| flag == "vmx" || flag == "svm")
}

/// QEMU's major version.
///
/// # Errors
/// When QEMU cannot say it.
pub fn qemu_major(qemu: &Path) -> Result<u32> {
    let text = crate::process::text(Command::new(qemu).arg("--version"))?;
    parse_version(&text)
        .ok_or_else(|| status::unavailable(format!("{} --version printed no version", qemu.display())))
}

/// The major version in the first line of `qemu-system-x86_64 --version`.
pub fn parse_version(text: &str) -> Option<u32> {
    let after = text.lines().next()?.split("version ").nth(1)?;
    after.split('.').next()?.trim().parse().ok()
}
