// SPDX-License-Identifier: GPL-2.0-only
//! Steps that stand for several instructions do what the instructions do one by one: same results, same memory, same
//! counts, same place of a fault.

use std::sync::Arc;

use proptest::prelude::*;

use super::{CHAINS, Do, Step, prepare};
use crate::btf::Btf;
use crate::insn::{FP, Insn, Op, ZERO};
use crate::memory::{Addr, Memory};
use crate::run::{Core, LinkedFunction, Program, STACK_BYTES, Vm};

const ARITHMETIC: [Op; 19] = [
    Op::Add64,
    Op::Sub64,
    Op::Mul64,
    Op::Div64,
    Op::Mod64,
    Op::Or64,
    Op::And64,
    Op::Xor64,
    Op::Lsh64,
    Op::Rsh64,
    Op::Arsh64,
    Op::Neg64,
    Op::Mov64,
    Op::Mov32,
    Op::Add32,
    Op::Sub32,
    Op::And32,
    Op::Rsh32,
    Op::MovSx32To64,
];
const JUMPS: [Op; 8] =
    [Op::Jump, Op::Jeq64, Op::Jne64, Op::Jgt64, Op::Jlt64, Op::Jgt32, Op::Jeq32, Op::Jsgt32];

/// How a run ended: r0 or the fault in words, instructions executed, the stack.
type End = (Result<u64, String>, u64, Vec<u8>);

fn run(code: &[Insn], steps: Vec<Step>, budget: u64) -> End {
    let empty = [0x9f, 0xeb, 1, 0, 24, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];
    let mut mem = Memory::new(Arc::new(Btf::parse(&empty).unwrap()), 1);
    let function = LinkedFunction { name: "f".to_owned(), entry: 0, len: code.len() as u32 };
    let mut program = Program::<()>::new(vec![function], Addr::NULL);
    program.code = code.to_vec();
    program.slots = (0..code.len() as u32).collect();
    program.steps = steps;
    let mut core = Core::new();
    core.budget = budget;
    core.fuel = budget;
    let mut vm = Vm { program: &program, mem: &mut mem, state: &mut (), core: &mut core };
    let result = vm.enter(0, [1, u64::MAX, 1 << 40, 7, 0x8000_0000]);
    let executed = core.executed();
    let stack = mem.bytes(core.stacks[0], STACK_BYTES).unwrap().to_vec();
    (result.map_err(|fault| fault.to_string()), executed, stack)
}

fn agree(code: &[Insn], budget: u64) -> End {
    let plain = run(code, code.iter().map(|insn| Step::plain(*insn)).collect(), budget);
    let fast = run(code, prepare(code), budget);
    assert_eq!((&plain.0, plain.1), (&fast.0, fast.1), "result and count of {code:#?}");
    if plain.0.is_ok() {
        assert_eq!(plain.2, fast.2, "stack after {code:#?}");
    }
    plain
}

/// An end that leaves all registers in the stack.
fn with_end(mut code: Vec<Insn>) -> Vec<Insn> {
    let registers =
        (0..10).map(|src| Insn { op: Op::Store64, dst: FP, src, off: -8 * i32::from(src) - 8, imm: 0 });
    code.extend(registers);
    code.push(Insn { op: Op::Exit, dst: 0, src: ZERO, off: 0, imm: 0 });
    code
}

fn operand() -> impl Strategy<Value = (u8, i64)> {
    prop_oneof![
        (0..10u8).prop_map(|src| (src, 0)),
        any::<i32>().prop_map(|imm| (ZERO, imm.into())),
        (0..64i64).prop_map(|imm| (ZERO, imm)),
        Just((ZERO, 32)),
    ]
}

/// Instructions in the shapes that compilers make; a few do what is not allowed.
fn piece() -> impl Strategy<Value = Vec<Insn>> {
    let arithmetic = (prop::sample::select(&ARITHMETIC[..]), 0..10u8, operand())
        .prop_map(|(op, dst, (src, imm))| vec![Insn { op, dst, src, off: 0, imm }]);
    let moved = (prop::sample::select(&ARITHMETIC[..]), 0..4u8, operand(), operand()).prop_map(
        |(op, dst, (from, value), (src, imm))| {
            vec![
                Insn { op: Op::Mov64, dst, src: from, off: 0, imm: value },
                Insn { op, dst, src, off: 0, imm },
            ]
        },
    );
    let cut = (0..4u8, operand(), prop::sample::select(vec![Op::Rsh64, Op::Arsh64]), 31..33i64).prop_map(
        |(dst, (src, imm), shift, by)| {
            vec![
                Insn { op: Op::Mov64, dst, src, off: 0, imm },
                Insn { op: Op::Lsh64, dst, src: ZERO, off: 0, imm: 32 },
                Insn { op: shift, dst, src: ZERO, off: 0, imm: by },
            ]
        },
    );
    let base = prop_oneof![40 => Just(FP), 1 => 0..10u8];
    let memory =
        (any::<bool>(), any::<bool>(), 0..10u8, base, 1..40i32).prop_map(|(wide, reads, data, base, at)| {
            let off = -8 * at;
            vec![match (reads, wide) {
                (true, true) => Insn { op: Op::Load64, dst: data, src: base, off, imm: 0 },
                (true, false) => Insn { op: Op::Load32, dst: data, src: base, off, imm: 0 },
                (false, true) => Insn { op: Op::Store64, dst: base, src: data, off, imm: 0 },
                (false, false) => Insn { op: Op::Store32, dst: base, src: data, off, imm: 0 },
            }]
        });
    // The distance is made an index later.
    let jump = (prop::sample::select(&JUMPS[..]), 0..10u8, operand(), 0..6i32)
        .prop_map(|(op, dst, (src, imm), off)| vec![Insn { op, dst, src, off, imm }]);
    prop_oneof![4 => arithmetic, 4 => moved, 2 => cut, 4 => memory, 1 => jump]
}

fn program() -> impl Strategy<Value = Vec<Insn>> {
    prop::collection::vec(piece(), 1..40).prop_map(|pieces| {
        let mut code = pieces.concat();
        let end = code.len() as i32;
        for (at, insn) in (0..).zip(&mut code) {
            if insn.op.is_branch() {
                insn.off = (at + 1 + insn.off).min(end);
            }
        }
        with_end(code)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn fused_code_does_the_same(code in program()) {
        let _same = agree(&code, 10_000);
    }

    #[test]
    fn fused_code_stops_at_the_same_instruction(code in program(), budget in 0..60u64) {
        let _same = agree(&code, budget);
    }
}

/// Every chain of the list, alone, with each of its parts made of one instruction.
#[test]
fn every_chain_is_found_and_does_the_same() {
    for (chain, parts) in CHAINS {
        let code: Vec<Insn> = (0..)
            .zip(*parts)
            .map(|(at, part)| {
                let op = ARITHMETIC.into_iter().chain(JUMPS).chain([
                    Op::Load64,
                    Op::Load32,
                    Op::Store64,
                    Op::Store32,
                ]);
                let more =
                    [Op::Jge64, Op::Jle64, Op::Jne32, Op::Jlt32, Op::Jge32, Op::Jle32, Op::Or32, Op::Lsh32];
                let more = more.into_iter().chain([Op::Jsge32, Op::Jslt32]);
                let op = op.chain(more).find(|op| Do::from(*op) == *part).expect("an operation of chains");
                let (dst, src) = (at % 4, 5 + at % 3);
                let end = parts.len() as i32;
                match op {
                    Op::Load64 | Op::Load32 => Insn { op, dst, src: FP, off: -16, imm: 0 },
                    Op::Store64 | Op::Store32 => Insn { op, dst: FP, src, off: -16, imm: 0 },
                    op if op.is_branch() => Insn { op, dst, src, off: end, imm: 0 },
                    op => Insn { op, dst, src, off: 0, imm: 0 },
                }
            })
            .collect();
        assert_eq!(prepare(&code)[0].does, *chain, "{parts:?}");
        let _same = agree(&with_end(code), 10_000);
    }
}
