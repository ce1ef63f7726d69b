// SPDX-License-Identifier: GPL-2.0-only
//! Formats, as a kernel prints them.

use std::sync::Arc;

use crate::btf::Btf;
use crate::memory::{Access, Addr, Memory};

fn memory() -> Memory {
    let empty = [0x9f, 0xeb, 1, 0, 24, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];
    Memory::new(Arc::new(Btf::parse(&empty).unwrap()), 1)
}

fn text(memory: &mut Memory, text: &str) -> Addr {
    let addr = memory.alloc_bytes("text", text.len() as u32 + 1, Access::ReadOnly).unwrap();
    memory.write_bytes(addr, text.as_bytes()).unwrap();
    addr
}

#[test]
fn formats() {
    let mut memory = memory();
    let name = text(&mut memory, "balancer");
    let minus = (-5i64).cast_unsigned();
    let table: &[(&str, &[u64], &str)] = &[
        ("plain 100%%\n", &[], "plain 100%\n"),
        ("cpu %d of %u", &[minus, 7], "cpu -5 of 7"),
        ("%d", &[0xffff_ffff], "-1"),
        ("%lld %ld %llu", &[minus, minus, u64::MAX], "-5 -5 18446744073709551615"),
        ("%x %X %llx", &[0xabc, 0xabc, 0xabcdef], "abc ABC abcdef"),
        ("[%5d][%-5d][%05d]", &[42, 42, minus], "[   42][42   ][-0005]"),
        ("%s/%.3s/%10s", &[name.0, name.0, name.0], "balancer/bal/  balancer"),
        ("%s", &[0], "(null)"),
        ("%c%c", &[65, 66], "AB"),
        ("%d %d", &[1], "1 0"),
        ("end %", &[], "end "),
    ];
    for (format, arguments, expected) in table {
        let place = memory.alloc_bytes("arguments", 8 * arguments.len() as u32, Access::ReadOnly).unwrap();
        let bytes: Vec<u8> = arguments.iter().flat_map(|argument| argument.to_le_bytes()).collect();
        memory.write_bytes(place, &bytes).unwrap();
        let format = text(&mut memory, format);
        assert_eq!(memory.format(format, place, bytes.len() as u32).unwrap(), *expected);
    }
    let format = text(&mut memory, "%s");
    let place = memory.alloc_bytes("arguments", 8, Access::ReadOnly).unwrap();
    memory.write_u64(place, 4242).unwrap();
    assert!(memory.format(format, place, 8).is_err(), "a text that cannot be read is a fault");
}
