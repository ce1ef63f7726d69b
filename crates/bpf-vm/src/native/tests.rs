// SPDX-License-Identifier: GPL-2.0-only
//! Compiled code and the interpreter do the same: results, memory, counts, and what they say about faults.

use std::sync::Arc;

use proptest::prelude::*;

use crate::btf::Btf;
use crate::error::Fault;
use crate::insn::{FP, Insn, Op, ZERO, atomic};
use crate::memory::{Access, Addr, MapDef, MapKind, Memory};
use crate::registry::{Ctx, Function, Registry};
use crate::run::{Core, Engine, Extern, LinkedFunction, Program, Vm};

/// How a run ended: r0 or the fault in words, instructions executed, and all memory.
#[derive(Debug, PartialEq)]
struct End {
    result: Result<u64, String>,
    executed: u64,
    memory: Vec<Vec<u8>>,
}

/// Pointers that programs begin with: a region to write, one to read, an element of an array, a small number, and a region
/// that is gone.
fn memory() -> (Memory, [u64; 5]) {
    let empty = [0x9f, 0xeb, 1, 0, 24, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];
    let mut memory = Memory::new(Arc::new(Btf::parse(&empty).unwrap()), 2);
    memory.null_reads_zero = true;
    let def = MapDef {
        name: "map".into(),
        kind: MapKind::Array,
        key_size: 4,
        value_size: 40,
        max_entries: 3,
        special: Vec::new(),
    };
    memory.add_map(def).unwrap();
    let element = memory.map_addr("map", &1u32.to_le_bytes(), 0).unwrap().unwrap();
    let rw = memory.alloc_bytes("rw", 64, Access::ReadWrite).unwrap();
    let ro = memory.alloc_bytes("ro", 48, Access::ReadOnly).unwrap();
    let gone = memory.alloc_bytes("gone", 64, Access::ReadWrite).unwrap();
    memory.free(gone).unwrap();
    memory.write_bytes(ro, &std::array::from_fn::<u8, 48, _>(|byte| byte as u8 * 5)).unwrap();
    // Variables stay where they are, and compiled code knows them by their addresses.
    let variables = memory.alloc_bytes("variables", 32, Access::ReadWrite).unwrap();
    memory.fix(variables);
    let storage = MapDef {
        name: "storage".into(),
        kind: MapKind::TaskStorage,
        key_size: 4,
        value_size: 40,
        max_entries: 0,
        special: Vec::new(),
    };
    memory.add_map(storage).unwrap();
    memory.create_storage(1, rw, None).unwrap();
    let constants = [variables, memory.map_handle(0), memory.map_handle(1)].map(|addr| addr.0);
    assert_eq!(constants, [VARIABLES, ARRAY, STORAGE], "constants in the generated code");
    (memory, [rw.0, ro.0, element.0, 7, gone.0])
}

/// Address of variables in these tests, and handles of the maps.
const VARIABLES: u64 = 6 << 42;
const ARRAY: u64 = 1 << 42;
const STORAGE: u64 = 7 << 42;

/// Places of the registered functions in [`program`].
const LOOKUP: i64 = 4;
const STORAGE_GET: i64 = 5;
const STORAGE_DELETE: i64 = 6;

fn alloc(ctx: &mut Ctx<'_, ()>, args: [u64; 5]) -> Result<u64, Fault> {
    let addr = ctx.mem.alloc_bytes("new", 16 + (args[0] & 31) as u32, Access::ReadWrite)?;
    ctx.mem.write_u64(addr, args[1] ^ ctx.instructions())?;
    Ok(addr.0)
}

fn free(ctx: &mut Ctx<'_, ()>, args: [u64; 5]) -> Result<u64, Fault> {
    ctx.mem.free(Addr(args[0]).base())?;
    Ok(1)
}

fn call_back(ctx: &mut Ctx<'_, ()>, args: [u64; 5]) -> Result<u64, Fault> {
    ctx.call(Addr(0), args)
}

fn sum(_: &mut Ctx<'_, ()>, args: [u64; 5]) -> Result<u64, Fault> {
    Ok(args.iter().fold(0, |sum: u64, arg| sum.wrapping_mul(31).wrapping_add(*arg)))
}

/// The first function is called by others and from outside, the second one is the program.
fn program(functions: [&[Insn]; 2]) -> Program<()> {
    let mut linked = Vec::new();
    let mut code: Vec<Insn> = Vec::new();
    for (index, function) in functions.into_iter().enumerate() {
        let entry = code.len() as u32;
        linked.push(LinkedFunction {
            name: format!("f{index}"),
            entry,
            len: function.len() as u32,
            stack: 512,
        });
        code.extend(function.iter().map(|insn| {
            let moved = if insn.op.is_branch() { insn.off + entry as i32 } else { insn.off };
            Insn { off: moved, ..*insn }
        }));
    }
    // Both functions have address 0 as far as `call_back` is concerned.
    let mut program = Program::<()>::new(linked, Addr::NULL);
    program.reached = vec![true; code.len()];
    program.slots = (0..code.len() as u32).collect();
    program.messages = vec!["something".to_owned()];
    let known: [(&str, Function<()>); 4] =
        [("alloc", alloc), ("free", free), ("call_back", call_back), ("sum", sum)];
    let known = known.map(|(name, function)| Extern { name: name.to_owned(), function, builtin: None });
    // Look-ups of an array and of storage, which compiled code does itself, and what takes storage away.
    let registry = Registry::<()>::new();
    let helpers = [1, 156, 157].map(|number| registry.helper(number).expect("a helper of the kernel"));
    let helpers = helpers.map(|(name, known)| Extern {
        name: name.to_owned(),
        function: known.function,
        builtin: known.builtin,
    });
    program.externs = known.into_iter().chain(helpers).collect();
    program.code = code;
    program
}

fn run(program: &Program<()>, engine: Engine, budget: u64) -> End {
    let (mut mem, args) = memory();
    let mut core = Core::new(program.functions.len());
    core.set_engine(engine);
    core.begin(u32::MAX, budget);
    let mut vm = Vm { program, mem: &mut mem, state: &mut (), core: &mut core };
    let result = vm.enter(1, &args).map_err(|fault| fault.to_string());
    assert_eq!(core.compiled_functions() > 0, engine == Engine::Compile, "it ran the way it was asked to");
    End { result, executed: core.executed(), memory: mem.contents() }
}

fn agree(functions: [&[Insn]; 2], budget: u64) -> End {
    let program = program(functions);
    let [plain, compiled] = [Engine::Interpret, Engine::Compile].map(|engine| run(&program, engine, budget));
    assert_eq!(plain, compiled, "interpreted and compiled; {:#?}", program.code);
    plain
}

const ARITHMETIC: [Op; 39] = [
    Op::Add64,
    Op::Sub64,
    Op::Mul64,
    Op::Div64,
    Op::SDiv64,
    Op::Mod64,
    Op::SMod64,
    Op::Or64,
    Op::And64,
    Op::Xor64,
    Op::Lsh64,
    Op::Rsh64,
    Op::Arsh64,
    Op::Neg64,
    Op::Mov64,
    Op::MovSx8To64,
    Op::MovSx16To64,
    Op::MovSx32To64,
    Op::Add32,
    Op::Sub32,
    Op::Mul32,
    Op::Div32,
    Op::SDiv32,
    Op::Mod32,
    Op::SMod32,
    Op::Or32,
    Op::And32,
    Op::Xor32,
    Op::Lsh32,
    Op::Rsh32,
    Op::Arsh32,
    Op::Neg32,
    Op::Mov32,
    Op::MovSx8To32,
    Op::MovSx16To32,
    Op::Swap16,
    Op::Swap32,
    Op::Low16,
    Op::Low32,
];
const JUMPS: [Op; 24] = [
    Op::Jump,
    Op::Jeq64,
    Op::Jne64,
    Op::Jgt64,
    Op::Jge64,
    Op::Jlt64,
    Op::Jle64,
    Op::Jset64,
    Op::Jsgt64,
    Op::Jsge64,
    Op::Jslt64,
    Op::Jsle64,
    Op::Jeq32,
    Op::Jne32,
    Op::Jgt32,
    Op::Jge32,
    Op::Jlt32,
    Op::Jle32,
    Op::Jset32,
    Op::Jsgt32,
    Op::Jsge32,
    Op::Jslt32,
    Op::Jsle32,
    Op::MayGoto,
];
const LOADS: [Op; 11] = [
    Op::Load8,
    Op::Load16,
    Op::Load32,
    Op::Load64,
    Op::LoadSx8,
    Op::LoadSx16,
    Op::LoadSx32,
    Op::LoadAcquire8,
    Op::LoadAcquire16,
    Op::LoadAcquire32,
    Op::LoadAcquire64,
];
const STORES: [Op; 8] = [
    Op::Store8,
    Op::Store16,
    Op::Store32,
    Op::Store64,
    Op::StoreRelease8,
    Op::StoreRelease16,
    Op::StoreRelease32,
    Op::StoreRelease64,
];
const ATOMICS: [i32; 10] = [
    atomic::ADD,
    atomic::OR,
    atomic::AND,
    atomic::XOR,
    atomic::ADD | atomic::FETCH,
    atomic::OR | atomic::FETCH,
    atomic::AND | atomic::FETCH,
    atomic::XOR | atomic::FETCH,
    atomic::XCHG,
    atomic::CMPXCHG,
];

fn plain(op: Op, dst: u8, src: u8, off: i32, imm: i64) -> Insn {
    Insn { op, dst, src, off, imm }
}

fn operand() -> impl Strategy<Value = (u8, i64)> {
    prop_oneof![
        4 => (0..10u8).prop_map(|src| (src, 0)),
        2 => any::<i32>().prop_map(|imm| (ZERO, imm.into())),
        2 => (-2..70i64).prop_map(|imm| (ZERO, imm)),
        1 => any::<i64>().prop_map(|imm| (ZERO, imm)),
        1 => (0..40i64).prop_map(|offset| (ZERO, VARIABLES as i64 + offset)),
    ]
}

/// Registers that mostly hold pointers: r6 to r9 get those the program is given, r10 is the frame.
fn base() -> impl Strategy<Value = u8> {
    prop_oneof![8 => 6..10u8, 6 => Just(FP), 1 => 0..10u8]
}

fn offset() -> impl Strategy<Value = i32> {
    prop_oneof![8 => -8..8i32, 4 => -64..8i32, 1 => -600..600i32].prop_map(|words| words * 4)
}

/// A call with constants for r1 to r4, of which r2 is a register and a distance.
fn call_with(function: i64, r1: u64, (r2, distance): (u8, i64)) -> Vec<Insn> {
    vec![
        plain(Op::Mov64, 1, ZERO, 0, r1.cast_signed()),
        plain(Op::Mov64, 2, r2, 0, 0),
        plain(Op::Add64, 2, ZERO, 0, distance),
        plain(Op::Mov64, 3, ZERO, 0, 0),
        plain(Op::Mov64, 4, ZERO, 0, 0),
        plain(Op::CallExtern, 0, ZERO, 0, function),
    ]
}

/// What was found is in r9, is moved by `by`, and used unless it is NULL then.
fn use_found(by: i64, offset: i32, write: bool) -> Vec<Insn> {
    let access =
        if write { plain(Op::Store64, 9, ZERO, offset, 77) } else { plain(Op::Load64, 4, 9, offset, 0) };
    vec![plain(Op::Add64, 9, ZERO, 0, by), plain(Op::Jeq64, 9, ZERO, 1, 0), access]
}

/// Looks an element up, which need not exist.
fn look_up(key: i64, by: i64, offset: i32, write: bool) -> Vec<Insn> {
    let mut code = vec![plain(Op::Store32, FP, ZERO, -200, key)];
    code.extend(call_with(LOOKUP, ARRAY, (FP, -200)));
    code.push(plain(Op::Mov64, 9, 0, 0, 0));
    code.extend(use_found(by, offset, write));
    code
}

/// Takes the storage of the object in r6, which may go away before it is used.
fn from_storage(delete: bool, by: i64, offset: i32, write: bool) -> Vec<Insn> {
    let mut code = call_with(STORAGE_GET, STORAGE, (6, 0));
    code.push(plain(Op::Mov64, 9, 0, 0, 0));
    if delete {
        code.extend(call_with(STORAGE_DELETE, STORAGE, (6, 0)));
    }
    code.extend(use_found(by, offset, write));
    code
}

fn piece() -> impl Strategy<Value = Vec<Insn>> {
    let pick = |ops: &'static [Op]| prop::sample::select(ops);
    let arithmetic = (pick(&ARITHMETIC), 0..6u8, operand())
        .prop_map(|(op, dst, (src, imm))| vec![plain(op, dst, src, 0, imm)]);
    let pointer = (6..10u8, base(), -3..6i64).prop_map(|(dst, from, words)| {
        vec![plain(Op::Mov64, dst, from, 0, 0), plain(Op::Add64, dst, ZERO, 0, words * 4)]
    });
    let shifted = (6..10u8, prop_oneof![Just(8i64), Just(-8), Just(64), any::<i64>()])
        .prop_map(|(dst, by)| vec![plain(Op::Add64, dst, ZERO, 0, by)]);
    let variable =
        (0..10u8, 0..40i64).prop_map(|(dst, at)| vec![plain(Op::Mov64, dst, ZERO, 0, VARIABLES as i64 + at)]);
    let load = (pick(&LOADS), 0..6u8, base(), offset())
        .prop_map(|(op, dst, src, off)| vec![plain(op, dst, src, off, 0)]);
    let store = (pick(&STORES), base(), operand(), offset())
        .prop_map(|(op, dst, (src, imm), off)| vec![plain(op, dst, src, off, imm)]);
    let read_modify_write = (any::<bool>(), base(), 0..6u8, offset(), prop::sample::select(&ATOMICS[..]))
        .prop_map(|(wide, dst, src, off, imm)| {
            vec![plain(if wide { Op::Atomic64 } else { Op::Atomic32 }, dst, src, off, imm.into())]
        });
    // The distance is made an index later.
    let jump = (pick(&JUMPS), 0..6u8, operand(), prop_oneof![8 => 0..6i32, 1 => -6..0i32])
        .prop_map(|(op, dst, (src, imm), off)| vec![plain(op, dst, src, off, imm)]);
    let call = (0..4i64).prop_map(|index| vec![plain(Op::CallExtern, 0, ZERO, 0, index)]);
    let local = Just(vec![plain(Op::CallLocal, 0, ZERO, 0, 0)]);
    let missing = any::<bool>()
        .prop_map(|poison| vec![plain(if poison { Op::Poison } else { Op::CallMissing }, 0, ZERO, 0, 0)]);
    let by = || prop_oneof![4 => Just(0i64), 1 => Just(8), 1 => Just(-8)];
    let words = || (-1..6i32).prop_map(|words| words * 8);
    let found = (0..5i64, by(), words(), any::<bool>())
        .prop_map(|(key, by, offset, write)| look_up(key, by, offset, write));
    let stored = (any::<bool>(), by(), words(), any::<bool>())
        .prop_map(|(delete, by, offset, write)| from_storage(delete, by, offset, write));
    prop_oneof![
        3 => found, 2 => stored,
        20 => arithmetic, 6 => pointer, 1 => shifted, 2 => variable, 14 => load, 14 => store,
        6 => read_modify_write, 8 => jump, 3 => call, 1 => local, 1 => missing
    ]
}

/// Code with its jumps in place: pointers to r6 to r9 first, all registers to the frame at the end.
fn function(pieces: Vec<Vec<Insn>>) -> Vec<Insn> {
    let mut code: Vec<Insn> = (1..5u8).map(|from| plain(Op::Mov64, from + 5, from, 0, 0)).collect();
    let start = code.len() as i32;
    code.extend(pieces.into_iter().flatten());
    let end = code.len() as i32;
    for (at, insn) in (0..).zip(code.iter_mut()).filter(|(_, insn)| insn.op.is_branch()) {
        insn.off = (at + 1 + insn.off).clamp(start, end);
    }
    code.extend((0..10u8).map(|src| plain(Op::Store64, FP, src, -8 * i32::from(src) - 8, 0)));
    code.push(plain(Op::Exit, 0, ZERO, 0, 0));
    code
}

fn pieces(most: usize) -> impl Strategy<Value = Vec<Vec<Insn>>> {
    prop::collection::vec(piece(), 0..most)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn compiled_and_interpreted_code_agree(
        callee in pieces(12),
        main in pieces(60),
        budget in prop_oneof![Just(5000u64), 0..200u64],
    ) {
        agree([&function(callee), &function(main)], budget);
    }
}

#[test]
fn the_budget_is_exact_wherever_it_ends() {
    let body = vec![
        vec![plain(Op::Mov64, 0, ZERO, 0, 3)],
        vec![plain(Op::CallLocal, 0, ZERO, 0, 0)],
        vec![plain(Op::CallExtern, 0, ZERO, 0, 3)],
        vec![plain(Op::CallExtern, 0, ZERO, 0, 2)],
        vec![plain(Op::Store64, 6, 0, 8, 0)],
    ];
    let (callee, main) = (function(vec![vec![plain(Op::Load64, 0, 6, 16, 0)]]), function(body));
    let whole = agree([&callee, &main], 10_000);
    assert!(whole.result.is_ok(), "{whole:?}");
    for budget in 0..whole.executed {
        let end = agree([&callee, &main], budget);
        assert_eq!(end.executed, budget);
        assert!(end.result.unwrap_err().contains("instructions in one call"), "budget {budget}");
    }
}

#[test]
fn a_pointer_beside_null_is_no_element() {
    // Element 3 does not exist: NULL and 8 bytes is no pointer to anything.
    let main = function(vec![look_up(3, 8, 0, true)]);
    let end = agree([&main, &main], 1000);
    assert!(end.result.unwrap_err().contains("NULL"));
    assert!(agree([&main, &function(vec![look_up(1, 8, 0, true)])], 1000).result.is_ok());
}

#[test]
fn storage_that_is_gone_is_not_found_again() {
    let main = function(vec![from_storage(true, 0, 0, false)]);
    assert!(agree([&main, &main], 1000).result.is_err(), "it was freed before it was read");
    let main = function(vec![from_storage(false, 0, 0, true)]);
    assert!(agree([&main, &main], 1000).result.is_ok());
}

#[test]
fn compiled_code_goes_on_in_the_interpreter_and_comes_back() {
    // A read through NULL is no plain access: the callee ends in the interpreter, its caller goes on as it was.
    let callee = function(vec![
        vec![plain(Op::Mov64, 1, ZERO, 0, 0)],
        vec![plain(Op::Load64, 2, 1, 16, 0)],
        vec![plain(Op::Mov64, 0, ZERO, 0, 42)],
    ]);
    let main = function(vec![
        vec![plain(Op::CallLocal, 0, ZERO, 0, 0)],
        vec![plain(Op::Add64, 0, ZERO, 0, 1)],
        vec![plain(Op::Store64, 6, 0, 0, 0)],
    ]);
    assert_eq!(agree([&callee, &main], 1000).result, Ok(43));
}

#[test]
fn a_panic_of_a_registered_function_reaches_the_caller() {
    fn panics(_: &mut Ctx<'_, ()>, _: [u64; 5]) -> Result<u64, Fault> {
        panic!("the model has a defect")
    }
    let main = function(vec![vec![plain(Op::CallExtern, 0, ZERO, 0, 0)]]);
    let mut program = program([&main, &main]);
    program.externs[0].function = panics;
    let run = || run(&program, Engine::Compile, 100);
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"the model has a defect"));
}
