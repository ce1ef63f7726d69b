// SPDX-License-Identifier: GPL-2.0-only
//! QEMU's command line for a virtual machine.

use super::accel::Accel;
use super::topology::Spec;
use crate::kernels::version;
use std::path::PathBuf;

/// Guest memory.
const MEMORY_MIB: u32 = 1536;
/// Distance between two NUMA nodes, as ACPI counts it (10 is local).
const REMOTE_DISTANCE: u32 = 20;
/// What the guest's clock starts at in deterministic mode: any fixed moment serves.
const FIXED_DATE: &str = "2026-01-01T00:00:00";

/// Everything that decides how a guest is booted.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The kernel image.
    pub kernel: PathBuf,
    /// The initramfs, with the plan appended.
    pub initramfs: PathBuf,
    /// Where QEMU writes what the guest prints on its console.
    pub console: PathBuf,
    /// The shape of the machine.
    pub topology: Spec,
    /// How instructions are run.
    pub accel: Accel,
    /// Whether an emulated CPU has CMPXCHG16B; see [`needs_cmpxchg16b`].
    pub cmpxchg16b: bool,
    /// With a seed, guest time counts instructions and two runs give the same output.
    pub deterministic: Option<u64>,
}

/// Whether a kernel of this release needs CMPXCHG16B. From 6.16 on it does: BPF's task storage allocates by a path that
/// works only with it. Older ones do better without: some emulators (QEMU 7.2) leave part of an address in the flags
/// register after that instruction, and the slab allocator of 6.12 then brought down about one boot in three.
pub fn needs_cmpxchg16b(release: &str) -> bool {
    version::release_version(release).is_none_or(|version| version.as_slice() >= [6, 16].as_slice())
}

impl Machine {
    /// QEMU's arguments. The records of the guest come out of QEMU's standard output.
    pub fn args(&self) -> Vec<String> {
        let mut args = Args::default();
        args.flag("-nodefaults").flag("-no-user-config").flag("-no-reboot");
        args.pair("-display", "none").pair("-monitor", "none");
        args.pair("-name", "xtask").pair("-machine", "q35");
        args.pair("-cpu", self.cpu());
        self.accelerator(&mut args);
        self.shape(&mut args);
        args.pair("-kernel", self.kernel.display());
        args.pair("-initrd", self.initramfs.display());
        args.pair("-append", self.kernel_command_line());
        // A comma inside a file name is written twice in QEMU's option syntax.
        let console = self.console.display().to_string().replace(',', ",,");
        args.pair("-chardev", format!("file,id=console,path={console}")).pair("-serial", "chardev:console");
        args.pair("-chardev", "stdio,id=records,signal=off").pair("-serial", "chardev:records");
        args.0
    }

    /// Every feature that the accelerator has. An emulated CPU calls itself Intel's: from an old AMD model, which it
    /// would be otherwise, Linux takes the last-level cache to be shared by the whole node.
    fn cpu(&self) -> &'static str {
        match (self.emulated(), self.cmpxchg16b) {
            (true, true) => "max,vendor=GenuineIntel",
            (true, false) => "max,vendor=GenuineIntel,-cx16",
            (false, _) => "max",
        }
    }

    fn emulated(&self) -> bool {
        self.accel != Accel::Kvm || self.deterministic.is_some()
    }

    fn accelerator(&self, args: &mut Args) {
        if let Some(seed) = self.deterministic {
            args.pair("-accel", "tcg,thread=single");
            args.pair("-icount", "shift=2,sleep=off");
            args.pair("-rtc", format!("base={FIXED_DATE},clock=vm"));
            args.pair("-seed", seed);
            return;
        }
        args.pair(
            "-accel",
            match self.accel {
                Accel::Kvm => "kvm",
                Accel::TcgMulti => "tcg,thread=multi",
                Accel::TcgSingle => "tcg,thread=single",
            },
        );
    }

    /// A die is what carries a last-level cache in QEMU's CPU model, a socket is what carries a node.
    fn shape(&self, args: &mut Args) {
        let Spec { nodes, llcs, cores, threads, .. } = self.topology;
        args.pair("-m", format!("{}M", self.memory_mib()));
        args.pair(
            "-smp",
            format!("{},sockets={nodes},dies={llcs},cores={cores},threads={threads}", self.topology.cpus()),
        );
        let all = self.topology.all_nodes();
        if all == 1 {
            return;
        }
        let share = self.memory_mib() / all;
        let per_node = self.topology.cpus_per_node();
        for node in 0..all {
            let (first, last) = (node * per_node, (node + 1) * per_node - 1);
            let cpus = if node < nodes { format!(",cpus={first}-{last}") } else { String::new() };
            args.pair("-object", format!("memory-backend-ram,id=memory{node},size={share}M"));
            args.pair("-numa", format!("node,nodeid={node}{cpus},memdev=memory{node}"));
        }
        for (from, to) in (0..all).flat_map(|from| (from + 1..all).map(move |to| (from, to))) {
            args.pair("-numa", format!("dist,src={from},dst={to},val={REMOTE_DISTANCE}"));
        }
    }

    /// The memory is split evenly between nodes, so it is rounded up to a multiple of their number.
    fn memory_mib(&self) -> u32 {
        MEMORY_MIB.next_multiple_of(self.topology.all_nodes())
    }

    /// A panic ends QEMU (`panic=-1` reboots at once and `-no-reboot` turns that into an end); `nokaslr` keeps
    /// addresses alike between runs; the timer check only costs time in an emulated machine.
    fn kernel_command_line(&self) -> String {
        let mut words = vec![
            "console=ttyS0",
            "rdinit=/init",
            "panic=-1",
            "loglevel=7",
            "nokaslr",
            "mitigations=off",
            "no_timer_check",
            "audit=0",
            "random.trust_cpu=on",
        ];
        if self.emulated() {
            // The emulated TSC is the only clock that does not leave the CPU; the watchdog would mistrust it whenever
            // the host is busy.
            words.push("tsc=reliable");
        }
        words.join(" ")
    }
}

#[derive(Default)]
struct Args(Vec<String>);

impl Args {
    fn flag(&mut self, flag: &str) -> &mut Self {
        self.0.push(flag.to_owned());
        self
    }

    fn pair(&mut self, flag: &str, value: impl ToString) -> &mut Self {
        self.flag(flag);
        self.0.push(value.to_string());
        self
    }
}
