// SPDX-License-Identifier: GPL-2.0-only
//! The typed helpers and the default exit record, over an object that is nothing but tables.

use std::collections::BTreeMap;

use bytemuck::{Pod, Zeroable};

use super::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
struct Pair {
    first: u32,
    second: u32,
}

#[derive(Default)]
struct Tables {
    globals: BTreeMap<String, Vec<u8>>,
    map: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl BpfObject for Tables {
    fn read_global(&self, variable: &str) -> Result<Vec<u8>, SeamError> {
        let missing = || SeamError::Missing { kind: "variable", name: variable.to_owned() };
        self.globals.get(variable).cloned().ok_or_else(missing)
    }
    fn map_lookup(&self, _map: &str, key: &[u8]) -> Result<Option<Vec<u8>>, SeamError> {
        Ok(self.map.get(key).cloned())
    }
    fn map_lookup_percpu(&self, _map: &str, key: &[u8]) -> Result<Option<Vec<Vec<u8>>>, SeamError> {
        Ok(self.map.get(key).map(|value| vec![value.clone(), vec![0; value.len()]]))
    }
    fn map_entries(&self, _map: &str) -> Result<Vec<Entry>, SeamError> {
        Ok(self.map.clone().into_iter().collect())
    }
    fn map_update(&mut self, _map: &str, key: &[u8], value: &[u8]) -> Result<(), SeamError> {
        self.map.insert(key.to_vec(), value.to_vec());
        Ok(())
    }
    fn map_delete(&mut self, _map: &str, key: &[u8]) -> Result<bool, SeamError> {
        Ok(self.map.remove(key).is_some())
    }
    fn run_syscall(&mut self, _program: &str, context: &mut [u8]) -> Result<i32, SeamError> {
        context.reverse();
        Ok(-7)
    }
}

fn user_exit_info(kind: i32, cpu: i32, code: i64, reason: &str, message: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(cpu.to_ne_bytes());
    bytes.extend(code.to_ne_bytes());
    let mut field = |text: &str, length: usize| {
        bytes.extend(text.bytes().chain(std::iter::repeat(0)).take(length));
    };
    field(reason, 128);
    field(message, 1024);
    bytes
}

#[test]
fn typed_access_round_trips() {
    let mut object = Tables::default();
    let value = Pair { first: 1, second: u32::MAX };
    update(&mut object, "m", &5u32, &value).unwrap();
    assert_eq!(lookup::<u32, Pair>(&object, "m", &5).unwrap(), Some(value));
    assert_eq!(lookup::<u32, Pair>(&object, "m", &6).unwrap(), None);
    assert_eq!(entries::<u32, Pair>(&object, "m").unwrap(), vec![(5, value)]);
    let each = lookup_percpu::<u32, Pair>(&object, "m", &5).unwrap().unwrap();
    assert_eq!(each, vec![value, Pair { first: 0, second: 0 }]);
    assert_eq!(lookup_percpu::<u32, Pair>(&object, "m", &6).unwrap(), None);
    assert!(object.map_delete("m", &5u32.to_ne_bytes()).unwrap());
}

#[test]
fn a_context_comes_back_changed() {
    let mut object = Tables::default();
    let mut context = 0x0102_0304_u32;
    assert_eq!(run(&mut object, "p", &mut context).unwrap(), -7);
    assert_eq!(context, 0x0403_0201);
}

#[test]
fn bytes_of_another_size_are_refused_with_both_sizes() {
    let error = decode::<Pair>("task_stats", &[0; 7]).unwrap_err().to_string();
    assert!(error.contains("task_stats") && error.contains('7') && error.contains('8'), "{error}");
    assert!(decode::<Pair>("x", &[0; 9]).is_err());
    // At any alignment.
    let bytes = [9, 1, 0, 0, 0, 2, 0, 0, 0];
    assert_eq!(decode::<Pair>("x", &bytes[1..]).unwrap(), Pair { first: 1, second: 2 });
}

#[test]
fn arrays_hold_whole_elements_only() {
    assert_eq!(decode_slice::<u16>("x", &[1, 0, 2, 0]).unwrap(), vec![1, 2]);
    assert_eq!(decode_slice::<u16>("x", &[]).unwrap(), Vec::<u16>::new());
    assert!(matches!(
        decode_slice::<u16>("x", &[1, 0, 2]),
        Err(SeamError::Size { expected: 4, found: 3, .. })
    ));
    assert!(decode_slice::<()>("x", &[1]).is_err());
}

#[test]
fn no_exit_record_before_the_end_or_without_the_variable() {
    let mut object = Tables::default();
    assert_eq!(object.exit_record().unwrap(), None);
    object.globals.insert("uei".into(), user_exit_info(0, -1, 0, "ignored", ""));
    assert_eq!(object.exit_record().unwrap(), None);
}

#[test]
fn exit_record_with_and_without_dump() {
    let mut object = Tables::default();
    object
        .globals
        .insert("uei".into(), user_exit_info(1026, 3, 0, "runnable task stall", "sleep[42] did not run"));
    let record = object.exit_record().unwrap().unwrap();
    assert_eq!((record.kind, record.cpu, record.dump.clone()), (1026, Some(3), None));
    assert_eq!(record.to_string(), "runnable task stall (sleep[42] did not run) on CPU 3");

    object.globals.insert("uei_dump".into(), b"CPU states\n\0garbage".to_vec());
    assert_eq!(object.exit_record().unwrap().unwrap().dump.as_deref(), Some("CPU states\n"));
    object.globals.insert("uei_dump".into(), vec![0; 16]);
    assert_eq!(object.exit_record().unwrap().unwrap().dump, None);
}

#[test]
fn an_exit_record_of_another_build_is_refused() {
    let mut object = Tables::default();
    object.globals.insert("uei".into(), vec![1; 100]);
    assert!(matches!(object.exit_record(), Err(SeamError::Size { found: 100, .. })));
}
