// SPDX-License-Identifier: GPL-2.0-only
//! Every instruction, hand-encoded, with the result that RFC 9669 gives it.

mod common;

use bpf_vm::{FaultKind, LoadError};
use common::asm::*;
use common::{load_code, run_code};

const MIN64: u64 = 1 << 63;
const MIN32: u64 = 1 << 31;

/// `r1 = a; r2 = b; <instruction>; r0 = r1; exit`
fn on_registers(a: u64, b: u64, instruction: [u8; 8]) -> u64 {
    let code = code(&[&wide(1, a), &wide(2, b), &instruction, &mov_reg(0, 1), &exit()]);
    run_code(&code, &mut []).unwrap()
}

/// (name, operation, offset, a, b, 64-bit result, 32-bit result)
type Arithmetic = (&'static str, u8, i16, u64, u64, u64, u64);

const ARITHMETIC: &[Arithmetic] = &[
    ("add", 0x00, 0, u64::MAX, 2, 1, 1),
    ("add carries", 0x00, 0, 0xffff_ffff, 1, 0x1_0000_0000, 0),
    ("sub", 0x10, 0, 1, 2, u64::MAX, 0xffff_ffff),
    ("mul", 0x20, 0, 0x1_0000_0003, 5, 0x5_0000_000f, 15),
    ("div", 0x30, 0, 0x7_0000_0007, 2, 0x3_8000_0003, 3),
    ("div of large", 0x30, 0, u64::MAX, 2, u64::MAX / 2, 0x7fff_ffff),
    ("div by 0", 0x30, 0, 7, 0, 0, 0),
    ("div by 0 in the lower half", 0x30, 0, 7, 0, 0, 0),
    ("sdiv", 0x30, 1, (-7i64).cast_unsigned(), 2, (-3i64).cast_unsigned(), 0xffff_fffd),
    ("sdiv by 0", 0x30, 1, (-7i64).cast_unsigned(), 0, 0, 0),
    ("sdiv overflow 64", 0x30, 1, MIN64, u64::MAX, MIN64, 0),
    ("sdiv overflow 32", 0x30, 1, MIN32, u64::MAX, MIN32.wrapping_neg(), MIN32),
    ("or", 0x40, 0, 0xf0_0000_000f, 0x0f_0000_00f0, 0xff_0000_00ff, 0xff),
    ("and", 0x50, 0, 0xff_0000_00ff, 0x0f_0000_00f0, 0x0f_0000_00f0, 0xf0),
    ("lsh", 0x60, 0, 0x8000_0001, 1, 0x1_0000_0002, 2),
    ("lsh by the width", 0x60, 0, 5, 64, 5, 5),
    ("lsh by 33", 0x60, 0, 5, 33, 5 << 33, 10),
    ("rsh", 0x70, 0, MIN64 | 0x8000_0000, 1, MIN64 >> 1 | 0x4000_0000, 0x4000_0000),
    ("rsh by 65", 0x70, 0, 8, 65, 4, 4),
    ("mod", 0x90, 0, 0x1_0000_0005, 3, 0, 2),
    ("mod by 0", 0x90, 0, 0x1_0000_0005, 0, 0x1_0000_0005, 5),
    ("smod", 0x90, 1, (-7i64).cast_unsigned(), 3, (-1i64).cast_unsigned(), 0xffff_ffff),
    ("smod by a negative", 0x90, 1, 7, (-3i64).cast_unsigned(), 1, 1),
    ("smod by 0", 0x90, 1, (-7i64).cast_unsigned(), 0, (-7i64).cast_unsigned(), 0xffff_fff9),
    ("smod overflow", 0x90, 1, MIN64, u64::MAX, 0, 0),
    ("xor", 0xa0, 0, 0xff_0000_00ff, 0x0f_0000_000f, 0xf0_0000_00f0, 0xf0),
    ("mov", 0xb0, 0, 1, 0x1_0000_0002, 0x1_0000_0002, 2),
    ("movsx 8", 0xb0, 8, 1, 0x180, (-128i64).cast_unsigned(), 0xffff_ff80),
    ("movsx 16", 0xb0, 16, 1, 0x1_8001, (-32767i64).cast_unsigned(), 0xffff_8001),
    ("movsx of a positive", 0xb0, 8, 1, 0x17f, 0x7f, 0x7f),
    ("arsh", 0xc0, 0, MIN64 | MIN32, 4, 0xf800_0000_0800_0000, 0xf800_0000),
    ("arsh by 68", 0xc0, 0, MIN64, 68, 0xf800_0000_0000_0000, 0),
];

#[test]
fn arithmetic_on_registers() {
    for &(name, op, off, a, b, expected64, expected32) in ARITHMETIC {
        assert_eq!(on_registers(a, b, insn(op | ALU64 | X, 1, 2, off, 0)), expected64, "{name}, 64 bits");
        assert_eq!(on_registers(a, b, insn(op | ALU | X, 1, 2, off, 0)), expected32, "{name}, 32 bits");
    }
}

#[test]
fn arithmetic_on_immediates() {
    for &(name, op, off, a, b, expected64, expected32) in ARITHMETIC {
        // Sign-extending moves have no immediate form; other operands must fit into 32 bits with sign.
        let Some(imm) = i32::try_from(b.cast_signed()).ok().filter(|_| op != 0xb0 || off == 0) else {
            continue;
        };
        assert_eq!(on_registers(a, 0, insn(op | ALU64, 1, 0, off, imm)), expected64, "{name}, 64 bits");
        assert_eq!(on_registers(a, 0, insn(op | ALU, 1, 0, off, imm)), expected32, "{name}, 32 bits");
    }
    assert_eq!(on_registers(0, 0, mov(1, -1)), u64::MAX, "a 64-bit move extends the sign");
    assert_eq!(
        on_registers(0, 0, insn(0xb0 | ALU, 1, 0, 0, -1)),
        0xffff_ffff,
        "a 32-bit one zeroes the upper half"
    );
    assert_eq!(on_registers(0, 0x1_8000_0000, insn(0xb0 | ALU64 | X, 1, 2, 32, 0)), 0xffff_ffff_8000_0000);
}

#[test]
fn negation_and_byte_order() {
    let value = 0x1122_3344_5566_7788u64;
    let table: [(&str, u8, i32, u64); 12] = [
        ("neg64", 0x80 | ALU64, 0, value.wrapping_neg()),
        ("neg32", 0x80 | ALU, 0, u64::from((value as u32).wrapping_neg())),
        ("le16", 0xd0 | ALU, 16, 0x7788),
        ("le32", 0xd0 | ALU, 32, 0x5566_7788),
        ("le64", 0xd0 | ALU, 64, value),
        ("be16", 0xd0 | ALU | X, 16, 0x8877),
        ("be32", 0xd0 | ALU | X, 32, 0x8877_6655),
        ("be64", 0xd0 | ALU | X, 64, 0x8877_6655_4433_2211),
        ("bswap16", 0xd0 | ALU64, 16, 0x8877),
        ("bswap32", 0xd0 | ALU64, 32, 0x8877_6655),
        ("bswap64", 0xd0 | ALU64, 64, 0x8877_6655_4433_2211),
        ("mov32 zeroes the upper half", 0xb0 | ALU | X, 0, 0x5566_7788),
    ];
    for (name, code, imm, expected) in table {
        let src = if code == 0xb0 | ALU | X { 2 } else { 0 };
        assert_eq!(on_registers(value, value, insn(code, 1, src, 0, imm)), expected, "{name}");
    }
}

/// (operation, a, b, 64-bit outcome, 32-bit outcome)
const COMPARISONS: &[(&str, u8, u64, u64, bool, bool)] = &[
    ("jeq", 0x10, 0x1_0000_0001, 1, false, true),
    ("jeq", 0x10, 5, 5, true, true),
    ("jgt", 0x20, u64::MAX, 1, true, true),
    ("jgt", 0x20, 1, 1, false, false),
    ("jgt", 0x20, 0x1_0000_0000, 1, true, false),
    ("jge", 0x30, 1, 1, true, true),
    ("jge", 0x30, 0, 1, false, false),
    ("jset", 0x40, 0x1_0000_0000, 0x1_0000_0001, true, false),
    ("jset", 0x40, 3, 2, true, true),
    ("jne", 0x50, 0x1_0000_0001, 1, true, false),
    ("jsgt", 0x60, 1, u64::MAX, true, true),
    ("jsgt", 0x60, 0x8000_0000, 1, true, false),
    ("jsge", 0x70, u64::MAX, u64::MAX, true, true),
    ("jsge", 0x70, u64::MAX, 0, false, false),
    ("jlt", 0xa0, 1, u64::MAX, true, true),
    ("jlt", 0xa0, 1, 1, false, false),
    ("jle", 0xb0, 1, 1, true, true),
    ("jle", 0xb0, 2, 1, false, false),
    ("jslt", 0xc0, u64::MAX, 1, true, true),
    ("jslt", 0xc0, 0x8000_0000, 1, false, true),
    ("jsle", 0xd0, 1, 1, true, true),
    ("jsle", 0xd0, 1, u64::MAX, false, false),
];

#[test]
fn comparisons() {
    // r0 = 1 if the jump is taken, else 0
    let outcome = |jump: [u8; 8], a: u64, b: u64| {
        let code = code(&[&wide(1, a), &wide(2, b), &mov(0, 1), &jump, &mov(0, 0), &exit()]);
        run_code(&code, &mut []).unwrap() == 1
    };
    for &(name, op, a, b, expected64, expected32) in COMPARISONS {
        assert_eq!(outcome(insn(op | JMP | X, 1, 2, 1, 0), a, b), expected64, "{name} {a:#x} {b:#x}");
        assert_eq!(outcome(insn(op | JMP32 | X, 1, 2, 1, 0), a, b), expected32, "{name}32 {a:#x} {b:#x}");
        if let Ok(imm) = i32::try_from(b.cast_signed()) {
            assert_eq!(outcome(insn(op | JMP, 1, 0, 1, imm), a, 0), expected64, "{name} {a:#x}, {imm}");
            assert_eq!(outcome(insn(op | JMP32, 1, 0, 1, imm), a, 0), expected32, "{name}32 {a:#x}, {imm}");
        }
    }
}

#[test]
fn jumps_without_condition() {
    let skipping = |jump: [u8; 8]| code(&[&mov(0, 1), &jump, &mov(0, 2), &exit()]);
    assert_eq!(run_code(&skipping(insn(0x05, 0, 0, 1, 0)), &mut []), Ok(1), "ja counts in the offset");
    assert_eq!(run_code(&skipping(insn(0x06, 0, 0, 0, 1)), &mut []), Ok(1), "gotol counts in the immediate");
    // Over a 64-bit immediate, which takes two slots; and backwards.
    let over = code(&[&insn(0x05, 0, 0, 2, 0), &wide(0, 7), &mov(0, 3), &exit()]);
    assert_eq!(run_code(&over, &mut []), Ok(3));
    let back = code(&[
        &mov(0, 0),
        &insn(0x05, 0, 0, 2, 0),
        &insn(0x07, 0, 0, 0, 5),
        &exit(),
        &insn(0x05, 0, 0, -3, 0),
    ]);
    assert_eq!(run_code(&back, &mut []), Ok(5));
}

#[test]
fn may_goto_ends_an_endless_loop() {
    // loop: may_goto end; r0 += 1; goto loop
    let code = code(&[
        &mov(0, 0),
        &insn(0xe5, 0, 0, 2, 0),
        &insn(0x07, 0, 0, 0, 1),
        &insn(0x05, 0, 0, -3, 0),
        &exit(),
    ]);
    let (mut machine, program) = load_code(&code).unwrap();
    machine.set_budget(u64::MAX);
    assert_eq!(machine.call_bytes(program, &mut [], &mut ()), Ok(8 << 20));
}

#[test]
fn loads_and_stores_of_every_width() {
    let value = 0x1122_3344_8586_8788u64;
    for (size, bytes) in [(B, 1usize), (H, 2), (W, 4), (DW, 8)] {
        let mask = u64::MAX >> (64 - bytes * 8);
        let mut context = [0xffu8; 16];
        let program = code(&[&wide(2, value), &store(size, 1, 4, 2), &load(size, 0, 1, 4), &exit()]);
        assert_eq!(run_code(&program, &mut context), Ok(value & mask), "{bytes} bytes");
        let mut expected = [0xff; 16];
        expected[4..4 + bytes].copy_from_slice(&value.to_le_bytes()[..bytes]);
        assert_eq!(context, expected, "{bytes} bytes");
        // An immediate is extended with its sign.
        let program = code(&[&insn(2 | MEM | size, 1, 0, 4, -2), &load(size, 0, 1, 4), &exit()]);
        assert_eq!(run_code(&program, &mut context), Ok((-2i64).cast_unsigned() & mask), "{bytes} bytes");
    }
    for (size, expected) in
        [(B, 0xffff_ffff_ffff_ff88), (H, 0xffff_ffff_ffff_8788), (W, 0xffff_ffff_8586_8788)]
    {
        let program =
            code(&[&wide(2, value), &store(DW, 1, 0, 2), &insn(1 | MEMSX | size, 0, 1, 0, 0), &exit()]);
        assert_eq!(run_code(&program, &mut [0; 8]), Ok(expected), "signed load");
    }
}

/// (name, immediate, memory and operand before, memory after, what is fetched)
type Atomic = (&'static str, i32, u64, u64, u64, Option<u64>);

const ATOMICS: &[Atomic] = &[
    ("add", 0x00, 0xffff_ffff_ffff_ffff, 2, 1, None),
    ("or", 0x40, 0xf0, 0x0f, 0xff, None),
    ("and", 0x50, 0xff, 0x0f, 0x0f, None),
    ("xor", 0xa0, 0xff, 0x0f, 0xf0, None),
    ("fetch add", 0x01, 5, 2, 7, Some(5)),
    ("fetch or", 0x41, 0xf0, 0x0f, 0xff, Some(0xf0)),
    ("fetch and", 0x51, 0xff, 0x0f, 0x0f, Some(0xff)),
    ("fetch xor", 0xa1, 0xff, 0x0f, 0xf0, Some(0xff)),
    ("xchg", 0xe1, 5, 9, 9, Some(5)),
];

#[test]
fn atomics() {
    for &(name, imm, before, operand, after, fetched) in ATOMICS {
        for (size, mask) in [(W, 0xffff_ffffu64), (DW, u64::MAX)] {
            let mut context = [0u8; 16];
            context[8..].copy_from_slice(&before.to_le_bytes());
            let program = code(&[
                &wide(2, operand | 0xabcd_0000_0000_0000 & !mask),
                &insn(3 | ATOMIC | size, 1, 2, 8, imm),
                &mov_reg(0, 2),
                &exit(),
            ]);
            let result = run_code(&program, &mut context).unwrap();
            let mut expected = before;
            expected = expected & !mask | after & mask;
            assert_eq!(u64::from_le_bytes(context[8..].try_into().unwrap()), expected, "{name} {mask:#x}");
            let expected = fetched.map_or(operand | 0xabcd_0000_0000_0000 & !mask, |old| old & mask);
            assert_eq!(result, expected, "{name} {mask:#x} fetches");
        }
    }
}

#[test]
fn compare_and_exchange() {
    for (size, mask) in [(W, 0xffff_ffffu64), (DW, u64::MAX)] {
        for (compared, after) in [(0x1_0000_0005u64 & (mask | 0xffff_ffff), 9u64), (4, 5)] {
            let before = 0x1_0000_0005u64 & mask;
            let mut context = before.to_le_bytes();
            let program =
                code(&[&wide(0, compared), &mov(2, 9), &insn(3 | ATOMIC | size, 1, 2, 0, 0xf1), &exit()]);
            assert_eq!(run_code(&program, &mut context), Ok(before), "the old value, for {compared:#x}");
            let hit = compared & mask == before;
            assert_eq!(u64::from_le_bytes(context), if hit { 9 } else { before }, "{compared:#x} {after}");
        }
    }
}

#[test]
fn acquire_and_release() {
    let value = 0x1122_3344_5566_7788u64;
    for (size, bytes) in [(B, 1usize), (H, 2), (W, 4), (DW, 8)] {
        let mask = u64::MAX >> (64 - bytes * 8);
        let mut context = [0u8; 16];
        let program = code(&[
            &wide(2, value),
            &insn(3 | ATOMIC | size, 1, 2, 8, 0x110),
            &insn(3 | ATOMIC | size, 0, 1, 8, 0x100),
            &exit(),
        ]);
        assert_eq!(run_code(&program, &mut context), Ok(value & mask), "{bytes} bytes");
        assert_eq!(u64::from_le_bytes(context[8..].try_into().unwrap()), value & mask, "{bytes} bytes");
    }
}

#[test]
fn misaligned_atomics_are_faults() {
    let program = code(&[&mov(2, 1), &insn(3 | ATOMIC | DW, 1, 2, 4, 0), &mov(0, 0), &exit()]);
    let fault = run_code(&program, &mut [0; 16]).unwrap_err();
    assert!(fault.to_string().contains("misaligned"), "{fault}");
    // Plain accesses may be.
    let program = code(&[&load(DW, 0, 1, 3), &exit()]);
    assert_eq!(run_code(&program, &mut [1; 16]), Ok(0x0101_0101_0101_0101));
}

#[test]
fn a_wide_immediate_is_one_instruction() {
    let (mut machine, program) = load_code(&code(&[&wide(0, u64::MAX - 1), &exit()])).unwrap();
    assert_eq!(machine.call_bytes(program, &mut [], &mut ()), Ok(u64::MAX - 1));
    assert_eq!(machine.stats().instructions, 2);
}

#[test]
fn a_stack_frame_begins_as_zero() {
    let again = |parts: &[&[u8]]| {
        let (mut machine, id) = load_code(&code(parts)).unwrap();
        for round in 0..3 {
            assert_eq!(machine.call_bytes(id, &mut [], &mut ()), Ok(0), "round {round}");
        }
    };
    // By the frame pointer, by a pointer made from it, and by one whose distance the loader does not know.
    again(&[&load(DW, 0, 10, -16), &mov(1, 7), &store(DW, 10, -16, 1), &exit()]);
    let add = |by: i32| insn(0x07, 2, 0, 0, by);
    again(&[&mov_reg(2, 10), &add(-24), &load(DW, 0, 2, 0), &mov(1, 7), &store(DW, 2, 0, 1), &exit()]);
    let anywhere =
        [mov_reg(2, 10), mov(3, -400), insn(0x0f, 2, 3, 0, 0), load(DW, 0, 2, 0), store(DW, 2, 0, 3)];
    again(&[&anywhere.concat(), &exit()]);
}

#[test]
fn the_budget_is_exact() {
    let program = code(&[&mov(0, 3), &insn(0x17, 0, 0, 0, 1), &insn(0x55, 0, 0, -2, 0), &exit()]);
    let (mut machine, id) = load_code(&program).unwrap();
    machine.set_budget(8);
    assert_eq!(machine.call_bytes(id, &mut [], &mut ()), Ok(0));
    assert_eq!(machine.stats().instructions, 8);
    machine.set_budget(7);
    let fault = machine.call_bytes(id, &mut [], &mut ()).unwrap_err();
    assert_eq!(*fault.kind(), FaultKind::Budget(7));
    assert_eq!(fault.trace()[0].insn, 3);
    assert_eq!(machine.stats().instructions, 7);
}

#[test]
fn what_does_not_exist_is_refused_with_its_place() {
    let table: &[(&str, [u8; 8])] = &[
        ("code 0x8d", insn(0x8d, 0, 1, 0, 0)),
        ("code 0x0c", insn(0x0c, 11, 1, 0, 0)),
        ("code 0x07", insn(0x07, 10, 0, 0, 1)),
        ("code 0x07", insn(0x07, 1, 0, 5, 1)),
        ("code 0xbf", insn(0xbf, 1, 2, 24, 0)),
        ("code 0xd4", insn(0xd4, 1, 0, 0, 24)),
        ("code 0xdb", insn(0xdb, 1, 2, 0, 0x20)),
        ("code 0xd3", insn(0xd3, 1, 2, 0, 0)),
        ("code 0x20", insn(0x20, 0, 0, 0, 0)),
        ("jump out", insn(0x05, 0, 0, 5, 0)),
        ("jump out", insn(0x05, 0, 0, -3, 0)),
    ];
    for (expected, instruction) in table {
        let error =
            load_code(&code(&[&mov(0, 0), instruction, &exit()])).err().map(|error| error.to_string());
        let error = error.unwrap_or_else(|| panic!("{instruction:x?} was accepted"));
        assert!(
            error.contains(expected) && error.contains("prog at instruction 1"),
            "{instruction:x?}: {error}"
        );
    }
    let error = load_code(&code(&[&mov(0, 0)])).err().expect("there is no exit");
    assert!(matches!(&error, LoadError::Damaged(what) if what.contains("missing exit")), "{error}");
    // A jump into the middle of a 64-bit immediate.
    let error = load_code(&code(&[&insn(0x05, 0, 0, 1, 0), &wide(0, 1), &exit()])).err();
    assert!(error.is_some_and(|error| error.to_string().contains("jump out")));
    let error = load_code(&code(&[&insn(0x85, 0, 0, 0, 9999), &exit()])).err().expect("no such helper");
    assert!(
        matches!(&error, LoadError::MissingFunction { function, .. } if function == "helper 9999"),
        "{error}"
    );
    // What cannot be reached may be anything.
    let dead = code(&[&mov(0, 4), &exit(), &insn(0xff, 0, 0, 0, 0), &exit()]);
    assert_eq!(run_code(&dead, &mut []), Ok(4));
}
