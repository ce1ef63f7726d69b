// SPDX-License-Identifier: GPL-2.0-only
//! CO-RE relocations of compiled programs against other kernels than they were compiled for.

mod common;

use std::sync::Arc;

use bpf_vm::{Btf, LoadError, LoadOptions, Machine, Object, Registry};
use common::{clang, compile, kernel_types, no_types};

/// What the program believes the kernel looks like.
const PROGRAM: &str = r#"
enum state { IDLE, BUSY = 5, GONE };
struct inner { u32 a; u64 b[4]; } RELOCATED;
struct thing {
	u64 first;
	union { u32 left; u64 right; };
	struct inner inner;
	u32 bits:3, more:5;
	s8 small;
	u32 wide;
	enum state state;
	u64 vanished;
} RELOCATED;
struct thing___new { u64 added; } RELOCATED;
struct absent { int x; } RELOCATED;

#define READ_BITS(p, field) ({ \
	u64 value = 0; \
	const void *from = (const void *)(p) + __builtin_preserve_field_info((p)->field, 0); \
	switch (__builtin_preserve_field_info((p)->field, 1)) { \
	case 1: value = *(u8 *)from; break; \
	case 2: value = *(u16 *)from; break; \
	case 4: value = *(u32 *)from; break; \
	case 8: value = *(u64 *)from; break; \
	} \
	value <<= __builtin_preserve_field_info((p)->field, 4); \
	value >> __builtin_preserve_field_info((p)->field, 5); })

SEC("struct_ops/fields") u64 fields(u64 *ctx)
{
	struct thing *t = (void *)ctx[0];
	switch (ctx[1]) {
	case 0: return t->first;
	case 1: return t->left;
	case 2: return t->right;
	case 3: return t->inner.b[2];
	case 4: return READ_BITS(t, bits);
	case 5: return READ_BITS(t, more);
	case 6: return t->small;
	case 7: return t->wide;
	case 8: return field_size(t->inner);
	}
	return 0;
}

SEC("struct_ops/guarded") u64 guarded(u64 *ctx)
{
	struct thing *t = (void *)ctx[0];
	struct thing___new *n = (void *)ctx[0];
	u64 sum = 0;

	if (field_exists(t->vanished))
		sum += t->vanished;
	if (field_exists(n->added))
		sum += n->added;
	return sum;
}

SEC("struct_ops/questions") u64 questions(u64 *ctx)
{
	return __builtin_preserve_type_info(*(struct thing *)0, 0) |
	       __builtin_preserve_type_info(*(struct absent *)0, 0) << 1 |
	       __builtin_preserve_enum_value(*(typeof(enum state) *)BUSY, 0) << 2 |
	       __builtin_preserve_enum_value(*(typeof(enum state) *)GONE, 0) << 3 |
	       __builtin_preserve_enum_value(*(typeof(enum state) *)BUSY, 1) << 4 |
	       (u64)__builtin_preserve_type_info(*(struct inner *)0, 1) << 32;
}

SEC("struct_ops/unguarded") u64 unguarded(u64 *ctx)
{
	struct thing *t = (void *)ctx[0];
	return t->vanished;
}
struct ops { u64 (*a)(u64 *); u64 (*b)(u64 *); u64 (*c)(u64 *); u64 (*d)(u64 *); };
SEC(".struct_ops.link") struct ops ops = {
	.a = (void *)fields, .b = (void *)guarded, .c = (void *)questions, .d = (void *)unguarded,
};
char _license[] SEC("license") = "GPL";
"#;

/// Another kernel: everything elsewhere, one field wider, one gone, one added, bit fields moved.
const KERNEL: &str = r#"
enum state { NEW, IDLE, BUSY = 9 };
struct inner { u8 shift[24]; u64 a; u64 b[8]; };
struct thing {
	u64 added;
	struct inner inner;
	u16 before:9, bits:3, more:4;
	s8 small;
	u64 wide;
	struct { u64 padding; struct { u32 left; u64 right; } ; };
	u64 first;
	enum state state;
};
struct thing *keep(struct thing *t) { return t; }
"#;

fn object(clang: &str, without_unguarded: bool) -> Object {
    let mut object = Object::parse(&compile(clang, PROGRAM)).unwrap();
    if without_unguarded {
        object.clear_ops_member("ops", "d").unwrap();
    }
    object
}

fn load(object: &Object, target: &Arc<Btf>, strict: bool) -> Result<Machine<()>, LoadError> {
    object.load(target, &Registry::new(), &LoadOptions { strict, ..LoadOptions::default() })
}

#[test]
fn fields_are_found_where_the_target_has_them() {
    let Some(clang) = clang() else { return };
    let mut machine = load(&object(&clang, true), &kernel_types(&clang, KERNEL), true).unwrap();
    let memory = machine.memory_mut();
    let thing = memory.alloc("thing").unwrap();
    for (path, value) in [
        ("first", 1),
        ("left", 0xffff_fff2),
        ("right", 3 << 40),
        ("inner.b[2]", 4),
        ("before", 0x1ff),
        ("bits", 5),
        ("more", 10),
        ("small", (-6i64).cast_unsigned()),
        ("wide", 7 << 40),
        ("added", 8),
    ] {
        let field = memory.field("thing", path).unwrap();
        memory.write(thing, &field, value).unwrap();
        assert_eq!(memory.read(thing, &field), Ok(value), "{path}");
    }
    let fields = machine.program("fields").unwrap();
    let expected = [1, 0xffff_fff2, 3 << 40, 4, 5, 10, (-6i64).cast_unsigned(), 7 << 40, 96];
    for (which, expected) in (0..).zip(expected) {
        assert_eq!(machine.call(fields, &[thing.0, which], &mut ()), Ok(expected), "field {which}");
    }
    let guarded = machine.program("guarded").unwrap();
    assert_eq!(machine.call(guarded, &[thing.0], &mut ()), Ok(8), "only what is there is added");
}

#[test]
fn types_and_enumerators_are_asked_for() {
    let Some(clang) = clang() else { return };
    let mut machine = load(&object(&clang, true), &kernel_types(&clang, KERNEL), true).unwrap();
    let questions = machine.program("questions").unwrap();
    // thing and BUSY are there, absent and GONE are not; BUSY is 9; inner has 96 bytes.
    // Clang numbers the questions: 0 asks whether a type exists, 1 its size; for enumerators likewise.
    let answer = machine.call(questions, &[], &mut ()).unwrap();
    assert_eq!(answer & 0b1111, 0b0101, "{answer:#x}");
    assert_eq!(answer >> 4 & 0xf, 9, "{answer:#x}");
    assert_eq!(answer >> 32, 96, "{answer:#x}");
}

#[test]
fn a_reachable_access_to_a_missing_field_is_refused_by_name() {
    let Some(clang) = clang() else { return };
    let target = kernel_types(&clang, KERNEL);
    let error = load(&object(&clang, false), &target, true).err().expect("'vanished' is not there");
    let LoadError::MissingField { what, location } = &error else { panic!("{error}") };
    assert_eq!(what, "field 'thing.vanished'");
    assert!(location.starts_with("unguarded at instruction"), "{location}");
    assert!(location.contains("test.bpf.c:"), "{location}");

    // Without strictness it is a fault, where and when it is reached.
    let mut machine = load(&object(&clang, false), &target, false).unwrap();
    let thing = machine.memory_mut().alloc("thing").unwrap();
    let unguarded = machine.program("unguarded").unwrap();
    let fault = machine.call(unguarded, &[thing.0], &mut ()).unwrap_err().to_string();
    assert!(
        fault.starts_with("field 'thing.vanished' is not in the target kernel types; in unguarded"),
        "{fault}"
    );
    assert!(fault.contains("return t->vanished"), "{fault}");
}

#[test]
fn a_target_without_the_type_has_none_of_its_fields() {
    let Some(clang) = clang() else { return };
    let error = load(&object(&clang, true), &no_types(), true).err().expect("there is no 'thing'");
    let LoadError::MissingField { what, .. } = &error else { panic!("{error}") };
    // The order of the programs decides what is met first.
    assert!(["'thing", "'inner", "'BUSY"].iter().any(|name| what.contains(name)), "{what}");
}

#[test]
fn the_own_types_answer_with_the_own_layout() {
    let Some(clang) = clang() else { return };
    let bytes = compile(&clang, PROGRAM);
    let target = Arc::new(Btf::from_elf(&bytes).unwrap());
    let mut machine = load(&Object::parse(&bytes).unwrap(), &target, true).unwrap();
    let memory = machine.memory_mut();
    let thing = memory.alloc("thing").unwrap();
    let field = memory.field("thing", "vanished").unwrap();
    memory.write(thing, &field, 77).unwrap();
    let [guarded, unguarded] = ["guarded", "unguarded"].map(|name| machine.program(name).unwrap());
    assert_eq!(machine.call(unguarded, &[thing.0], &mut ()), Ok(77));
    assert_eq!(machine.call(guarded, &[thing.0], &mut ()), Ok(77));
}

#[test]
fn field_paths() {
    let Some(clang) = clang() else { return };
    let target = kernel_types(&clang, KERNEL);
    assert_eq!(target.field("thing", "inner.b[7]").unwrap().offset, 8 + 32 + 56);
    for (ty, path) in [
        ("thing", "inner.b[8]"),
        ("thing", "nothing"),
        ("thing", "inner.b.x"),
        ("thing", ""),
        ("thing", "b["),
    ] {
        let error = target.field(ty, path).unwrap_err().to_string();
        assert!(error.contains(&format!("'{ty}' has no field '{path}'")), "{error}");
    }
    assert!(target.field("nothing", "x").unwrap_err().to_string().contains("no 'nothing'"));
    assert_eq!(target.struct_size("inner"), Ok(96));
    assert_eq!(target.enumerator("BUSY"), Some(9));
    assert_eq!(target.enumerator("GONE"), None);
}

const CONFIGURED: &str = r#"
struct thing { u64 vanished; } RELOCATED;
extern int LINUX_KERNEL_VERSION __kconfig;
const volatile u32 wanted;
u32 changing;

static __noinline u64 vanished(struct thing *t) { return t->vanished; }

SEC("struct_ops/ask") u64 ask(u64 *ctx)
{
	if (wanted > 1 && LINUX_KERNEL_VERSION >= 10)
		return vanished((void *)ctx[0]);
	return changing;
}
struct ops { u64 (*ask)(u64 *); };
SEC(".struct_ops.link") struct ops ops = { .ask = (void *)ask };
char _license[] SEC("license") = "GPL";
"#;

#[test]
fn configuration_decides_what_is_reachable() {
    let Some(clang) = clang() else { return };
    let target = kernel_types(&clang, KERNEL);
    let mut object = Object::parse(&compile(&clang, CONFIGURED)).unwrap();
    for (wanted, kernel_version, loads) in [(0u32, 10, true), (2, 9, true), (2, 10, false), (1, 11, true)] {
        object.set_global("wanted", &wanted.to_le_bytes()).unwrap();
        let options = LoadOptions { kernel_version, ..LoadOptions::default() };
        match object.load(&target, &Registry::<()>::new(), &options) {
            Ok(mut machine) => {
                assert!(loads, "wanted {wanted}, kernel {kernel_version}");
                let ask = machine.program("ask").unwrap();
                assert_eq!(machine.call(ask, &[0], &mut ()), Ok(0));
                // Going where nothing was linked is found.
                machine.set_global("wanted", &2u32.to_le_bytes()).unwrap();
                if kernel_version >= 10 {
                    let fault = machine.call(ask, &[0], &mut ()).unwrap_err().to_string();
                    assert!(fault.contains("not linked"), "{fault}");
                }
            }
            Err(error) => {
                assert!(!loads, "wanted {wanted}, kernel {kernel_version}: {error}");
                assert!(
                    error.to_string().starts_with("field 'thing.vanished', needed at vanished"),
                    "{error}"
                );
            }
        }
    }
}
