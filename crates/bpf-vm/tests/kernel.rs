// SPDX-License-Identifier: GPL-2.0-only
//! Random programs here and in the running kernel (`BPF_PROG_TEST_RUN`): registers and memory must agree afterwards.
//!
//! Needs the right to load BPF programs; prints that it is skipped where there is none.

mod common;

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use common::asm::*;
use common::load_code;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

const PROG_LOAD: libc::c_long = 5;
const PROG_TEST_RUN: libc::c_long = 10;
const PROG_TYPE_SYSCALL: u32 = 31;
const SLEEPABLE: u32 = 1 << 4;

/// `union bpf_attr` for loading; what is not named here stays zero.
#[repr(C)]
#[derive(Default)]
struct LoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    rest: [u64; 16],
}

/// `union bpf_attr` for a test run.
#[repr(C)]
#[derive(Default)]
struct RunAttr {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
    flags: u32,
    cpu: u32,
    batch_size: u32,
    pad: u32,
}

fn bpf<T>(command: libc::c_long, attr: &mut T) -> Result<i32, std::io::Error> {
    // SAFETY: `attr` is a whole attribute structure of the size given; the kernel reads and writes only that and the
    // buffers it points to, which the callers keep alive and large enough.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size_of::<T>()) };
    if result < 0 { Err(std::io::Error::last_os_error()) } else { Ok(result as i32) }
}

fn kernel_load(code: &[u8]) -> Result<OwnedFd, String> {
    let license = c"GPL";
    let mut log = vec![0u8; 1 << 16];
    let mut attr = LoadAttr {
        prog_type: PROG_TYPE_SYSCALL,
        insn_cnt: (code.len() / 8) as u32,
        insns: code.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log_level: 1,
        log_size: log.len() as u32,
        log_buf: log.as_mut_ptr() as u64,
        prog_flags: SLEEPABLE,
        ..LoadAttr::default()
    };
    match bpf(PROG_LOAD, &mut attr) {
        // SAFETY: the kernel just returned this descriptor, nobody else knows it.
        Ok(fd) => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        Err(error) => {
            let log = String::from_utf8_lossy(&log);
            Err(format!("{error}: {}", log.trim_end_matches('\0')))
        }
    }
}

fn kernel_run(program: &OwnedFd, context: &mut [u8]) -> Result<u32, std::io::Error> {
    let mut attr = RunAttr {
        prog_fd: program.as_raw_fd() as u32,
        ctx_size_in: context.len() as u32,
        ctx_in: context.as_mut_ptr() as u64,
        ..RunAttr::default()
    };
    bpf(PROG_TEST_RUN, &mut attr)?;
    Ok(attr.retval)
}

/// Registers that hold data: r0 to r9.
const DATA_REGISTERS: usize = 10;
/// 8-byte places on the stack, below the ones the frame of the test uses.
const PLACES: usize = 6;
/// The context: inputs and then outputs.
const CONTEXT: usize = (DATA_REGISTERS + PLACES) * 8;

fn place(index: usize) -> i16 {
    -24 - 8 * index as i16
}

#[derive(Debug, Clone)]
struct Step {
    kind: u8,
    op: u8,
    dst: u8,
    src: u8,
    imm: i32,
    at: u8,
    size: u8,
    skip: u8,
}

fn step() -> impl Strategy<Value = Step> {
    let imm = prop_oneof![any::<i32>(), -4..70i32, Just(i32::MIN), Just(-1)];
    (0u8..100, any::<u8>(), 0u8..10, 0u8..10, imm, any::<u8>(), 0u8..4, 0u8..4).prop_map(
        |(kind, op, dst, src, imm, at, size, skip)| Step { kind, op, dst, src, imm, at, size, skip },
    )
}

fn arithmetic(step: &Step) -> [u8; 8] {
    const OPS: [u8; 13] = [0x00, 0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0x80, 0x90, 0xa0, 0xb0, 0xc0];
    let class = if step.at & 1 == 0 { ALU } else { ALU64 };
    let op = OPS[step.op as usize % OPS.len()];
    let signed = i16::from(step.at & 4 != 0);
    let from_register = step.at & 2 != 0;
    let division = matches!(op, 0x30 | 0x90);
    let off = if division { signed } else { 0 };
    match op {
        0x80 => insn(op | class, step.dst, 0, 0, 0),
        0xb0 if from_register && signed != 0 => {
            let widths: &[i16] = if class == ALU { &[8, 16] } else { &[8, 16, 32] };
            insn(op | class | X, step.dst, step.src, widths[step.skip as usize % widths.len()], 0)
        }
        _ if from_register => insn(op | class | X, step.dst, step.src, off, 0),
        // What the verifier refuses: a constant division by zero, a constant shift beyond the width.
        0x30 | 0x90 if step.imm == 0 => insn(op | class, step.dst, 0, off, 3),
        0x60 | 0x70 | 0xc0 => insn(op | class, step.dst, 0, 0, step.imm & if class == ALU { 31 } else { 63 }),
        _ => insn(op | class, step.dst, 0, off, step.imm),
    }
}

fn swap(step: &Step) -> [u8; 8] {
    let width = [16, 32, 64][step.op as usize % 3];
    let code = [0xd4, 0xdc, 0xd7][step.at as usize % 3];
    insn(code, step.dst, 0, 0, width)
}

/// A jump over as many instructions as the next `skip` steps have, at most over what `following` has.
fn jump(step: &Step, following: &[Vec<[u8; 8]>]) -> [u8; 8] {
    const OPS: [u8; 12] = [0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0xa0, 0xb0, 0xc0, 0xd0, 0x00];
    let op = OPS[step.op as usize % OPS.len()];
    let skip = following.iter().take(step.skip as usize).map(Vec::len).sum::<usize>() as i16;
    match (op, step.at & 3) {
        // Code that no jump reaches is refused.
        (0x00, 0 | 1) => insn(JMP, 0, 0, 0, 0),
        (0x00, _) => insn(JMP32, 0, 0, 0, 0),
        (_, 0) => insn(op | JMP, step.dst, 0, skip, step.imm),
        (_, 1) => insn(op | JMP32, step.dst, 0, skip, step.imm),
        (_, 2) => insn(op | JMP | X, step.dst, step.src, skip, 0),
        _ => insn(op | JMP32 | X, step.dst, step.src, skip, 0),
    }
}

/// A read or write of the stack, plain or atomic.
fn memory(step: &Step) -> Vec<[u8; 8]> {
    let (size, bytes) = [(B, 1), (H, 2), (W, 4), (DW, 8)][step.size as usize];
    let at = place(step.at as usize % PLACES) + i16::from(step.at / 16) / bytes * bytes % 8;
    match step.op % 8 {
        0 | 1 => vec![store(size, 10, at, step.src)],
        2 => vec![insn(2 | MEM | size, 10, 0, at, step.imm)],
        3 | 4 => vec![load(size, step.dst, 10, at)],
        5 if size != DW => vec![insn(1 | MEMSX | size, step.dst, 10, at, 0)],
        _ => atomic(step, at),
    }
}

/// An atomic change of the stack.
///
/// A 32-bit compare-and-exchange is followed by a move of the whole of r0, and no jump leads between the two: r0 is to be
/// zero-extended, on x86 the verifier adds that, and only where it has seen all 64 bits read. Linux 6.18 forgets such a read when
/// it prunes the path from the exchange to it (two paths to one read, the other with r0 written again), and leaves the upper half of
/// r0 as it was.
fn atomic(step: &Step, at: i16) -> Vec<[u8; 8]> {
    const CMPXCHG: i32 = 0xf1;
    const OPS: [i32; 10] = [0x00, 0x40, 0x50, 0xa0, 0x01, 0x41, 0x51, 0xa1, 0xe1, CMPXCHG];
    let (size, at) = if step.at & 1 == 0 { (W, at & !3) } else { (DW, at & !7) };
    let op = OPS[step.imm.unsigned_abs() as usize % OPS.len()];
    let change = insn(3 | ATOMIC | size, 10, step.src, at, op);
    if (size, op) == (W, CMPXCHG) { vec![change, mov_reg(0, 0)] } else { vec![change] }
}

/// The instructions of each step.
fn body(steps: &[Step]) -> Vec<Vec<[u8; 8]>> {
    // Every jump may double what the verifier looks at.
    const MOST_JUMPS: usize = 8;
    let is_jump = |step: &Step| (60..70).contains(&step.kind);
    let jumps: Vec<usize> = (0..steps.len()).filter(|&at| is_jump(&steps[at])).take(MOST_JUMPS).collect();
    // From the end, so that a jump knows how long the steps are that it leaps over.
    let mut body = vec![Vec::new(); steps.len()];
    for (index, step) in steps.iter().enumerate().rev() {
        body[index] = match step.kind {
            0..50 => vec![arithmetic(step)],
            50..60 => vec![swap(step)],
            _ if jumps.contains(&index) => vec![jump(step, &body[index + 1..])],
            _ => memory(step),
        };
    }
    body
}

/// Registers and places from the context, the steps, and registers and places back.
fn program(steps: &[Step]) -> Vec<u8> {
    let mut code = Vec::new();
    let mut add = |insn: [u8; 8]| code.extend(insn);
    add(store(DW, 10, -8, 1));
    for index in 0..PLACES {
        add(load(DW, 2, 1, (DATA_REGISTERS + index) as i16 * 8));
        add(store(DW, 10, place(index), 2));
    }
    for register in (0..DATA_REGISTERS as u8).filter(|register| *register != 1).chain([1]) {
        add(load(DW, register, 1, i16::from(register) * 8));
    }
    body(steps).concat().into_iter().for_each(&mut add);
    add(store(DW, 10, -16, 1));
    add(load(DW, 1, 10, -8));
    for register in (0..DATA_REGISTERS as u8).filter(|register| *register != 1) {
        add(store(DW, 1, i16::from(register) * 8, register));
    }
    add(load(DW, 2, 10, -16));
    add(store(DW, 1, 8, 2));
    for index in 0..PLACES {
        add(load(DW, 2, 10, place(index)));
        add(store(DW, 1, (DATA_REGISTERS + index) as i16 * 8, 2));
    }
    add(mov(0, 7));
    add(exit());
    code
}

#[test]
fn random_programs_do_the_same_in_the_kernel() {
    let smallest = code(&[&mov(0, 0), &exit()]);
    match kernel_load(&smallest).map(|program| kernel_run(&program, &mut [0; 8])) {
        Ok(Ok(0)) => {}
        Ok(other) => return println!("skipped: the kernel does not run syscall programs: {other:?}"),
        Err(error) => return println!("skipped: this process may not load BPF programs: {error}"),
    }
    let word = prop_oneof![
        any::<u64>(),
        0u64..4,
        Just(u64::MAX),
        Just(1 << 63),
        Just(1 << 31),
        any::<u32>().prop_map(u64::from)
    ];
    let inputs = prop::collection::vec(word, CONTEXT / 8);
    let cases = (inputs, prop::collection::vec(step(), 1..60));
    let (ran, refused) = (AtomicU32::new(0), AtomicU32::new(0));
    let mut runner = TestRunner::new(Config { cases: 400, failure_persistence: None, ..Config::default() });
    let result = runner.run(&cases, |(inputs, steps)| {
        let context: Vec<u8> = inputs.iter().flat_map(|word| word.to_le_bytes()).collect();
        let code = program(&steps);
        // A program the verifier refuses says nothing about the interpreter.
        match kernel_load(&code) {
            Ok(loaded) => {
                ran.fetch_add(1, Relaxed);
                compare(&code, &context, &loaded)
            }
            Err(error) => {
                refused.fetch_add(1, Relaxed);
                println!("refused: {error}");
                Ok(())
            }
        }
    });
    result.unwrap_or_else(|error| panic!("{error}"));
    let (ran, refused) = (ran.into_inner(), refused.into_inner());
    println!("{ran} programs compared with the kernel, {refused} refused by its verifier");
    assert!(ran >= 9 * refused, "the verifier refuses too many: {refused}, {ran} ran");
}

fn compare(code: &[u8], context: &[u8], loaded: &OwnedFd) -> Result<(), TestCaseError> {
    let (mut there, mut here) = (context.to_vec(), context.to_vec());
    let result = kernel_run(loaded, &mut there).expect("a loaded program runs");
    let (mut machine, program) = load_code(code).expect("the kernel took it");
    let own = machine.call_bytes(program, &mut here, &mut ()).expect("the kernel verified it");
    prop_assert_eq!(own, u64::from(result));
    let words = |bytes: &[u8]| -> Vec<String> {
        bytes
            .chunks_exact(8)
            .map(|word| format!("{:016x}", u64::from_le_bytes(word.try_into().unwrap())))
            .collect()
    };
    prop_assert_eq!(words(&here), words(&there), "here, kernel; r0 to r9, then the stack");
    Ok(())
}
