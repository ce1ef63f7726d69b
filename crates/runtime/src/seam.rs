// SPDX-License-Identifier: GPL-2.0-only
//! The seam between a scheduler and its BPF object.
//!
//! A scheduler's userspace half sees its BPF half only through [`BpfObject`]: bytes in, bytes out, names for what they
//! belong to. The same decoding, planning and applying code therefore runs over the kernel ([`crate::libbpf`]) and over
//! any other machine that can execute the object. No type of a BPF library appears here.
//!
//! There is no way to write a global variable: the BPF side may be writing its neighbours at that moment, and no
//! system call changes a part of a data section. Change state through a map or a syscall program.

use bytemuck::{AnyBitPattern, NoUninit};
use thiserror::Error;

use crate::exit::ExitRecord;

#[cfg(test)]
mod tests;

/// Name of the global variable that holds the exit record (`UEI_DEFINE(uei)` of the scx headers).
pub const EXIT_VARIABLE: &str = "uei";
/// Name of the global variable that holds the debug dump belonging to [`EXIT_VARIABLE`].
pub const EXIT_DUMP_VARIABLE: &str = "uei_dump";

/// What can go wrong at the seam. Each message names the map, program or variable.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SeamError {
    /// The object has no such map, program or variable: userspace and BPF halves come from different builds.
    #[error("the BPF object has no {kind} named '{name}'; rebuild the scheduler so that both halves match")]
    Missing {
        /// "map", "program" or "variable".
        kind: &'static str,
        /// The name that was looked for.
        name: String,
    },
    /// Bytes of another length than the type asked for: the two halves disagree about a layout.
    #[error(
        "'{what}' has {found} bytes where {expected} were expected; rebuild the scheduler so that both halves match"
    )]
    Size {
        /// What was decoded or passed.
        what: String,
        /// Bytes the caller's type has.
        expected: usize,
        /// Bytes there were.
        found: usize,
    },
    /// The kernel (or the machine that stands for it) refused an operation.
    #[error("{operation} of '{name}' failed: {reason}")]
    Refused {
        /// What was tried, for example "look-up".
        operation: &'static str,
        /// Map, program or variable.
        name: String,
        /// The errno, positive, where there is one.
        errno: Option<i32>,
        /// The reason in words.
        reason: String,
    },
}

/// Key and value of one map element.
pub type Entry = (Vec<u8>, Vec<u8>);

/// A loaded BPF object: global variables, maps, syscall programs and the exit record, by name.
///
/// Every call is one look at one moment: nothing makes two calls atomic, and BPF code runs meanwhile. Bytes are in the
/// layout of the BPF side, which is the host's byte order.
pub trait BpfObject {
    /// The bytes of a global variable (of `.data`, `.bss`, `.rodata` or a section with such a prefix).
    ///
    /// # Errors
    /// [`SeamError::Missing`] for an unknown variable, [`SeamError::Refused`] when its section cannot be read.
    fn read_global(&self, variable: &str) -> Result<Vec<u8>, SeamError>;

    /// The value at `key`, or `None` when the map has no such key. Not for per-CPU maps.
    ///
    /// # Errors
    /// Unknown map, key of the wrong length, or a refusal by the kernel.
    fn map_lookup(&self, map: &str, key: &[u8]) -> Result<Option<Vec<u8>>, SeamError>;

    /// The values at `key` of a per-CPU map, indexed by CPU id over all possible CPUs; `None` when there is no such
    /// key.
    ///
    /// # Errors
    /// As [`BpfObject::map_lookup`]; also a map that is not per-CPU.
    fn map_lookup_percpu(&self, map: &str, key: &[u8]) -> Result<Option<Vec<Vec<u8>>>, SeamError>;

    /// The elements of a hash or array map (not per-CPU). Those that are there all the time are all found; those that
    /// come or go meanwhile may be missing; none appears twice.
    ///
    /// # Errors
    /// As [`BpfObject::map_lookup`]; also a map that changes too fast to be read.
    fn map_entries(&self, map: &str) -> Result<Vec<Entry>, SeamError>;

    /// Sets the value at `key`, creating the element where the map type allows.
    ///
    /// # Errors
    /// Unknown map, wrong lengths, a full map, or another refusal by the kernel.
    fn map_update(&mut self, map: &str, key: &[u8], value: &[u8]) -> Result<(), SeamError>;

    /// Removes `key`; `false` when it was not there.
    ///
    /// # Errors
    /// Unknown map, wrong key length, or a map type whose elements cannot be removed.
    fn map_delete(&mut self, map: &str, key: &[u8]) -> Result<bool, SeamError>;

    /// Runs a program of type syscall. `context` is its argument, at most 65535 bytes, and holds what the program left
    /// there afterwards. Returns the program's return value.
    ///
    /// # Errors
    /// Unknown program, a program of another type, a context of the wrong size, or a refusal by the kernel.
    fn run_syscall(&mut self, program: &str, context: &mut [u8]) -> Result<i32, SeamError>;

    /// The record the kernel left when it ended the scheduler; `None` while the scheduler is on, or when the object
    /// keeps no such record.
    ///
    /// The default reads [`EXIT_VARIABLE`] and [`EXIT_DUMP_VARIABLE`].
    ///
    /// # Errors
    /// As [`BpfObject::read_global`], except that an object without the variables simply has no record.
    fn exit_record(&self) -> Result<Option<ExitRecord>, SeamError> {
        let raw = match self.read_global(EXIT_VARIABLE) {
            Err(SeamError::Missing { .. }) => return Ok(None),
            other => other?,
        };
        let Some(mut record) = ExitRecord::decode(&raw)? else { return Ok(None) };
        record.dump = match self.read_global(EXIT_DUMP_VARIABLE) {
            Ok(bytes) => Some(crate::exit::text_until_nul(&bytes)).filter(|dump| !dump.is_empty()),
            Err(SeamError::Missing { .. }) => None,
            Err(error) => return Err(error),
        };
        Ok(Some(record))
    }
}

/// Reads a plain value out of bytes that came over the seam; `what` names it in the error.
///
/// # Errors
/// [`SeamError::Size`] unless `bytes` has exactly the size of `T`.
pub fn decode<T: AnyBitPattern>(what: &str, bytes: &[u8]) -> Result<T, SeamError> {
    bytemuck::try_pod_read_unaligned(bytes).map_err(|_| SeamError::Size {
        what: what.to_owned(),
        expected: size_of::<T>(),
        found: bytes.len(),
    })
}

/// Reads an array of plain values out of bytes that came over the seam.
///
/// # Errors
/// [`SeamError::Size`] unless `bytes` holds a whole number of `T`.
pub fn decode_slice<T: AnyBitPattern>(what: &str, bytes: &[u8]) -> Result<Vec<T>, SeamError> {
    let size = size_of::<T>();
    if size == 0 || !bytes.len().is_multiple_of(size) {
        let expected = bytes.len().next_multiple_of(size.max(1));
        return Err(SeamError::Size { what: what.to_owned(), expected, found: bytes.len() });
    }
    bytes.chunks_exact(size).map(|chunk| decode(what, chunk)).collect()
}

/// Reads a global variable as a plain value.
///
/// # Errors
/// As [`BpfObject::read_global`] and [`decode`].
pub fn read_global<T: AnyBitPattern>(object: &dyn BpfObject, variable: &str) -> Result<T, SeamError> {
    decode(variable, &object.read_global(variable)?)
}

/// Looks up `key` in `map` and reads the value as a plain value.
///
/// # Errors
/// As [`BpfObject::map_lookup`] and [`decode`].
pub fn lookup<K: NoUninit, V: AnyBitPattern>(
    object: &dyn BpfObject,
    map: &str,
    key: &K,
) -> Result<Option<V>, SeamError> {
    object.map_lookup(map, bytemuck::bytes_of(key))?.map(|bytes| decode(map, &bytes)).transpose()
}

/// Looks up `key` in a per-CPU `map` and reads each CPU's value as a plain value, indexed by CPU id.
///
/// # Errors
/// As [`BpfObject::map_lookup_percpu`] and [`decode`].
pub fn lookup_percpu<K: NoUninit, V: AnyBitPattern>(
    object: &dyn BpfObject,
    map: &str,
    key: &K,
) -> Result<Option<Vec<V>>, SeamError> {
    let Some(values) = object.map_lookup_percpu(map, bytemuck::bytes_of(key))? else { return Ok(None) };
    values.iter().map(|bytes| decode(map, bytes)).collect::<Result<Vec<V>, _>>().map(Some)
}

/// Reads all elements of `map` as plain keys and values.
///
/// # Errors
/// As [`BpfObject::map_entries`] and [`decode`].
pub fn entries<K: AnyBitPattern, V: AnyBitPattern>(
    object: &dyn BpfObject,
    map: &str,
) -> Result<Vec<(K, V)>, SeamError> {
    let raw = object.map_entries(map)?;
    raw.iter().map(|(key, value)| Ok((decode(map, key)?, decode(map, value)?))).collect()
}

/// Sets `key` of `map` to a plain value.
///
/// # Errors
/// As [`BpfObject::map_update`].
pub fn update<K: NoUninit, V: NoUninit>(
    object: &mut dyn BpfObject,
    map: &str,
    key: &K,
    value: &V,
) -> Result<(), SeamError> {
    object.map_update(map, bytemuck::bytes_of(key), bytemuck::bytes_of(value))
}

/// Runs a syscall program with a plain value as its context; the value holds what the program left there.
///
/// # Errors
/// As [`BpfObject::run_syscall`].
pub fn run<C: NoUninit + AnyBitPattern>(
    object: &mut dyn BpfObject,
    program: &str,
    context: &mut C,
) -> Result<i32, SeamError> {
    object.run_syscall(program, bytemuck::bytes_of_mut(context))
}
