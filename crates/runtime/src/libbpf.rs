// SPDX-License-Identifier: GPL-2.0-only
//! The seam over a loaded kernel object.
//!
//! [`LibbpfObject`] borrows a [`libbpf_rs::Object`] for as long as it lives, so a scheduler keeps its skeleton, attaches
//! it, and then makes one for its loop: `LibbpfObject::new(skel.object())`. All calls go through `bpf(2)`; nothing is
//! read through the skeleton's memory maps, so no reference into memory that BPF writes ever exists.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;

use libbpf_rs::btf::types::DataSec;
use libbpf_rs::btf::{Btf, BtfType};
use libbpf_rs::{
    Map, MapCore, MapFlags, Object, OpenObject, PrintLevel, ProgramInput, ProgramMut, ProgramType,
};
use nix::errno::Errno;

use crate::seam::{BpfObject, Entry, SeamError};
use crate::setup::Setup;

/// Largest context of a syscall program, as the kernel has it.
const MAX_CONTEXT_BYTES: usize = u16::MAX as usize;

/// Largest buffer (of keys, or of values) for reading a whole map in one call.
const MAX_BATCH_BYTES: u64 = 64 << 20;

/// Where a global variable lies.
#[derive(Clone, Debug)]
struct Place {
    section: String,
    offset: usize,
    size: usize,
}

/// [`BpfObject`] over a loaded object of libbpf.
pub struct LibbpfObject<'a> {
    maps: BTreeMap<String, Map<'a>>,
    programs: BTreeMap<String, ProgramMut<'a>>,
    globals: BTreeMap<String, Place>,
}

impl<'a> LibbpfObject<'a> {
    /// Looks up the object's maps, programs and global variables once.
    ///
    /// # Errors
    /// [`SeamError::Refused`] when the object's type information cannot be read.
    pub fn new(object: &'a Object) -> Result<Self, SeamError> {
        let maps = object.maps().map(|map| (text(map.name()), map)).collect();
        let programs = object.progs_mut().map(|program| (text(program.name()), program)).collect();
        let globals =
            match object.btf().map_err(|error| refused("reading type information", "object", &error))? {
                Some(btf) => globals_of(&btf),
                None => BTreeMap::new(),
            };
        Ok(Self { maps, programs, globals })
    }

    fn map(&self, name: &str) -> Result<&Map<'a>, SeamError> {
        self.maps.get(name).ok_or_else(|| missing("map", name))
    }

    /// The map of a data section. libbpf puts the start of the object's name before the plain sections (`obj.bss`) and
    /// leaves the others (`.data.dump`) as they are.
    fn section(&self, section: &str) -> Option<&Map<'a>> {
        if let Some(map) = self.maps.get(section) {
            return Some(map);
        }
        let owns = |name: &str| name.strip_suffix(section).is_some_and(|object| !object.contains('.'));
        self.maps.iter().find(|(name, _)| owns(name)).map(|(_, map)| map)
    }
}

/// Variables of all data sections that the object's type information describes.
fn globals_of(btf: &Btf<'_>) -> BTreeMap<String, Place> {
    let mut globals = BTreeMap::new();
    for section in btf.type_by_kind::<DataSec<'_>>() {
        let name = section.name().map(text).unwrap_or_default();
        for variable in section.iter() {
            let Some(declared) = btf.type_by_id::<BtfType<'_>>(variable.ty) else { continue };
            let Some(label) = declared.name() else { continue };
            let place =
                Place { section: name.clone(), offset: variable.offset as usize, size: variable.size };
            globals.insert(text(label), place);
        }
    }
    globals
}

impl BpfObject for LibbpfObject<'_> {
    fn read_global(&self, variable: &str) -> Result<Vec<u8>, SeamError> {
        let place = self.globals.get(variable).ok_or_else(|| missing("variable", variable))?;
        let map = self.section(&place.section).ok_or_else(|| missing("map", &place.section))?;
        let bytes = map
            .lookup(&0u32.to_ne_bytes(), MapFlags::ANY)
            .map_err(|error| refused("reading", variable, &error))?
            .ok_or_else(|| missing("variable", variable))?;
        let end = place.offset + place.size;
        let found = bytes.len();
        bytes.get(place.offset..end).map(<[u8]>::to_vec).ok_or_else(|| SeamError::Size {
            what: place.section.clone(),
            expected: end,
            found,
        })
    }

    fn map_lookup(&self, map: &str, key: &[u8]) -> Result<Option<Vec<u8>>, SeamError> {
        let handle = self.map(map)?;
        check_size(map, handle.key_size(), key)?;
        handle.lookup(key, MapFlags::ANY).map_err(|error| refused("look-up", map, &error))
    }

    fn map_lookup_percpu(&self, map: &str, key: &[u8]) -> Result<Option<Vec<Vec<u8>>>, SeamError> {
        let handle = self.map(map)?;
        check_size(map, handle.key_size(), key)?;
        handle.lookup_percpu(key, MapFlags::ANY).map_err(|error| refused("look-up", map, &error))
    }

    fn map_entries(&self, map: &str) -> Result<Vec<Entry>, SeamError> {
        let handle = self.map(map)?;
        let entries = whole_map(handle).map_err(|error| refused("walk", map, &error))?;
        // The library hides errors of a batched look-up: it looks like an empty map.
        if !entries.is_empty() || handle.keys().next().is_none() {
            return Ok(entries);
        }
        walk(map, handle)
    }

    fn map_update(&mut self, map: &str, key: &[u8], value: &[u8]) -> Result<(), SeamError> {
        let handle = self.map(map)?;
        check_size(map, handle.key_size(), key)?;
        check_size(map, handle.value_size(), value)?;
        handle.update(key, value, MapFlags::ANY).map_err(|error| refused("update", map, &error))
    }

    fn map_delete(&mut self, map: &str, key: &[u8]) -> Result<bool, SeamError> {
        let handle = self.map(map)?;
        check_size(map, handle.key_size(), key)?;
        match handle.delete(key) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == libbpf_rs::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(refused("delete", map, &error)),
        }
    }

    fn run_syscall(&mut self, program: &str, context: &mut [u8]) -> Result<i32, SeamError> {
        let handle = self.programs.get(program).ok_or_else(|| missing("program", program))?;
        if handle.prog_type() != ProgramType::Syscall {
            let reason = format!("its type is {:?}, not Syscall", handle.prog_type());
            return Err(SeamError::Refused {
                operation: "run",
                name: program.to_owned(),
                errno: None,
                reason,
            });
        }
        if context.len() > MAX_CONTEXT_BYTES {
            let (expected, found) = (MAX_CONTEXT_BYTES, context.len());
            return Err(SeamError::Size { what: program.to_owned(), expected, found });
        }
        // The kernel takes no separate output buffer for this program type: it copies the context back in place.
        let context_in = (!context.is_empty()).then_some(context);
        let input = ProgramInput { context_in, ..ProgramInput::default() };
        let output = handle.test_run(input).map_err(|error| refused("run", program, &error))?;
        Ok(output.return_value.cast_signed())
    }
}

/// All elements by one batched look-up, which no change of the map disturbs; nothing if the map is too large for that.
fn whole_map(map: &Map<'_>) -> libbpf_rs::Result<Vec<Entry>> {
    let count = map.max_entries();
    let largest = map.key_size().max(map.value_size()).max(4);
    if u64::from(count) * u64::from(largest) > MAX_BATCH_BYTES {
        return Ok(Vec::new());
    }
    Ok(map.lookup_batch(count, MapFlags::ANY, MapFlags::ANY)?.collect())
}

/// All elements key by key, for maps that have no batched look-up or are too large for it. The kernel starts again at
/// the first key when the one it stood on was deleted meanwhile: known keys are skipped, and a map that changes so fast
/// that the walk gets nowhere is an error.
fn walk(name: &str, map: &Map<'_>) -> Result<Vec<Entry>, SeamError> {
    let limit = (map.max_entries() as usize).saturating_mul(4).saturating_add(64);
    let mut seen = HashSet::new();
    let mut entries = Vec::new();
    for (step, key) in map.keys().enumerate() {
        if step >= limit {
            let reason = "it changes faster than it can be read".to_owned();
            return Err(SeamError::Refused { operation: "walk", name: name.to_owned(), errno: None, reason });
        }
        if !seen.insert(key.clone()) {
            continue;
        }
        let value = map.lookup(&key, MapFlags::ANY).map_err(|error| refused("look-up", name, &error))?;
        if let Some(value) = value {
            entries.push((key, value));
        }
    }
    Ok(entries)
}

/// Puts variables and map sizes into an object that is opened and not yet loaded. The ops themselves are the caller's: their
/// type belongs to its skeleton.
///
/// # Errors
/// [`SeamError::Missing`] or [`SeamError::Refused`] when the object has no such variable or map, or one of another size.
pub fn apply(object: &mut OpenObject, setup: &Setup) -> Result<(), SeamError> {
    for (name, bytes) in &setup.read_only {
        let found =
            scx_utils::compat::set_rodata_var(object, name, bytes).map_err(|error| SeamError::Refused {
                operation: "setting",
                name: (*name).to_owned(),
                errno: None,
                reason: format!("{error:#}"),
            })?;
        if !found {
            return Err(missing("variable", name));
        }
    }
    for (name, entries) in &setup.map_entries {
        let mut map = object
            .maps_mut()
            .find(|map| map.name() == OsStr::new(name))
            .ok_or_else(|| missing("map", name))?;
        map.set_max_entries(*entries).map_err(|error| refused("sizing", name, &error))?;
    }
    Ok(())
}

/// The value of [`Setup::ops_flags`] on the running kernel; a flag that it does not know has no bit to set.
pub fn ops_flags(setup: &Setup) -> u64 {
    let bit = |name: &&str| scx_utils::compat::read_enum("scx_ops_flags", name).unwrap_or(0);
    setup.ops_flags.iter().map(bit).fold(0, |flags, bit| flags | bit)
}

/// Sends libbpf's own words to the log from now on: its warnings matter when a load fails, the rest only to a developer.
pub fn log_while_loading() {
    libbpf_rs::set_print(Some((PrintLevel::Debug, log)));
}

/// The same once everything is loaded: libbpf then warns of things that are as they should be, such as a struct_ops link
/// that is not part of the skeleton; what fails comes back as an error anyway.
pub fn log_while_attaching() {
    libbpf_rs::set_print(Some((PrintLevel::Debug, |level, text| {
        log(if level == PrintLevel::Warn { PrintLevel::Info } else { level }, text);
    })));
}

fn log(level: PrintLevel, text: String) {
    let text = text.trim_end();
    match level {
        PrintLevel::Warn => tracing::warn!("{text}"),
        PrintLevel::Info => tracing::debug!("{text}"),
        PrintLevel::Debug => tracing::trace!("{text}"),
    }
}

fn check_size(map: &str, expected: u32, bytes: &[u8]) -> Result<(), SeamError> {
    if bytes.len() == expected as usize {
        return Ok(());
    }
    Err(SeamError::Size { what: map.to_owned(), expected: expected as usize, found: bytes.len() })
}

fn missing(kind: &'static str, name: &str) -> SeamError {
    SeamError::Missing { kind, name: name.to_owned() }
}

fn refused(operation: &'static str, name: &str, error: &libbpf_rs::Error) -> SeamError {
    use libbpf_rs::ErrorKind as Kind;
    let errno = match error.kind() {
        Kind::PermissionDenied => Some(Errno::EPERM),
        Kind::TooBig => Some(Errno::E2BIG),
        Kind::NotFound => Some(Errno::ENOENT),
        Kind::AlreadyExists => Some(Errno::EEXIST),
        Kind::InvalidInput => Some(Errno::EINVAL),
        Kind::OutOfMemory => Some(Errno::ENOMEM),
        Kind::WouldBlock => Some(Errno::EAGAIN),
        _ => None,
    };
    let errno = errno.map(|errno| errno as i32);
    SeamError::Refused { operation, name: name.to_owned(), errno, reason: format!("{error:#}") }
}

fn text(name: &OsStr) -> String {
    name.to_string_lossy().into_owned()
}
