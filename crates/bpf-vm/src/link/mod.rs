// SPDX-License-Identifier: GPL-2.0-only
//! Turns an opened object into a machine: lays out memory, answers relocations, connects calls.
//!
//! Only code that can run is linked: starting from the programs to load, constants are followed through each function
//! as a verifier does, so code for kernels other than the target's may need what the target lacks.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::btf::{Btf, BtfError, Kind, essential_name};
use crate::error::{Fault, LoadError};
use crate::insn::{FP, Insn, Op, ZERO};
use crate::memory::{Access, Addr, Memory};
use crate::object::{KconfigValue, LoadOptions, Object};
use crate::registry::Registry;
use crate::relocate::are_compatible;
use crate::run::{
    Entry, LinkedFunction, Machine, Place, Program, ProgramId, ProgramType, STACK_BYTES, UNLINKED,
};

mod function;
mod kconfig;
mod reach;
mod symbols;

use function::Translated;

/// Programs of these sections hook into kernel code, which nobody runs here unless asked to.
const HOOKS: [&str; 14] = [
    "fentry",
    "fexit",
    "fmod_ret",
    "freplace",
    "iter",
    "kprobe",
    "kretprobe",
    "lsm",
    "raw_tp",
    "tp",
    "tp_btf",
    "tracepoint",
    "uprobe",
    "usdt",
];

/// What is kept while linking.
struct Linker<'a, S> {
    object: &'a Object,
    target: &'a Btf,
    registry: &'a Registry<S>,
    options: &'a LoadOptions,
    memory: Memory,
    /// Address of each data section; NULL for callback tables.
    data: Vec<Addr>,
    /// Regions whose contents are constants.
    frozen: Vec<Addr>,
    code_base: Addr,
    extern_base: Addr,
    program: Program<S>,
    /// Index of a registered function by the name the object uses.
    extern_index: HashMap<String, usize>,
    kconfig: HashMap<String, Addr>,
    ksyms: BTreeMap<String, Addr>,
    /// Function by section and offset.
    places: HashMap<(usize, u32), u32>,
    /// CO-RE relocations by section and offset.
    core: HashMap<(usize, u32), usize>,
    queue: Vec<u32>,
}

/// Bytes of the stack frame that code names: by accesses through the frame pointer, and by pointers made from it.
fn stack_named(code: &[Insn]) -> u32 {
    let mut lowest = 0i64;
    for (index, insn) in code.iter().enumerate() {
        let is_load = insn.writes_dst() && (insn.op as u8) > Op::MayGoto as u8;
        if insn.op == Op::Mov64 && insn.src == FP {
            // A pointer that does not get a constant distance at once may go anywhere.
            let ends = |next: &Insn| next.op.is_branch() || next.op >= Op::CallLocal;
            let next = code[index + 1..].iter().take_while(|next| !ends(next));
            let mut next = next.filter(|next| next.dst == insn.dst || next.src == insn.dst);
            match next.next() {
                Some(next) if next.op == Op::Add64 && next.dst == insn.dst && next.src == ZERO => {
                    lowest = lowest.min(next.imm);
                }
                _ => return STACK_BYTES,
            }
        } else if insn.src == FP && !is_load {
            return STACK_BYTES;
        } else if insn.src == FP || insn.dst == FP {
            lowest = lowest.min(insn.off.into());
        }
    }
    u32::try_from(-lowest).map_or(STACK_BYTES, |bytes| bytes.next_multiple_of(8).min(STACK_BYTES))
}

fn no_memory(fault: Fault) -> LoadError {
    LoadError::Unsupported(fault.to_string())
}

impl Object {
    /// Links the object against the functions of `registry` and the kernel types of `target`.
    ///
    /// # Errors
    /// [`LoadError`] names what is missing or not supported.
    pub fn load<S>(
        &self,
        target: &Arc<Btf>,
        registry: &Registry<S>,
        options: &LoadOptions,
    ) -> Result<Machine<S>, LoadError> {
        let mut linker = Linker::new(self, target, registry, options)?;
        let entries = linker.select_programs()?;
        linker.queue.extend(entries.iter().map(|entry| entry.function));
        linker.program.entries = entries;
        while let Some(function) = linker.queue.pop() {
            linker.link(function)?;
        }
        linker.connect();
        linker.finish()
    }
}

impl<'a, S> Linker<'a, S> {
    fn new(
        object: &'a Object,
        target: &'a Arc<Btf>,
        registry: &'a Registry<S>,
        options: &'a LoadOptions,
    ) -> Result<Self, LoadError> {
        let mut memory = Memory::new(Arc::clone(target), options.nr_cpus.max(1));
        memory.null_reads_zero = options.null_reads_zero;
        let code_base = memory.alloc_bytes("BPF functions", 0, Access::None).map_err(no_memory)?;
        let extern_base = memory.alloc_bytes("kernel functions", 0, Access::None).map_err(no_memory)?;
        let (mut data, mut frozen) = (Vec::new(), Vec::new());
        for section in &object.data {
            if section.name.starts_with(".struct_ops") {
                data.push(Addr::NULL);
                continue;
            }
            let access = if section.read_only { Access::ReadOnly } else { Access::ReadWrite };
            let addr =
                memory.alloc_bytes(&section.name, section.data.len() as u32, access).map_err(no_memory)?;
            memory.write_bytes(addr, &section.data).map_err(no_memory)?;
            memory.fix(addr);
            if section.read_only {
                frozen.push(addr);
            }
            data.push(addr);
        }
        for (_, def) in &object.maps {
            memory.add_map(def.clone())?;
        }
        let functions = object.functions.iter();
        let functions = functions
            .map(|f| LinkedFunction { name: f.name.clone(), entry: UNLINKED, len: 0, stack: 0 })
            .collect();
        let places =
            (0u32..).zip(&object.functions).map(|(index, f)| ((f.section, f.offset), index)).collect();
        let program = Program::new(functions, code_base);
        let mut linker = Linker {
            object,
            target,
            registry,
            options,
            memory,
            data,
            frozen,
            code_base,
            extern_base,
            program,
            extern_index: HashMap::new(),
            kconfig: HashMap::new(),
            ksyms: BTreeMap::new(),
            places,
            core: HashMap::new(),
            queue: Vec::new(),
        };
        linker.index_relocations();
        linker.lay_out_kconfig()?;
        Ok(linker)
    }

    fn index_relocations(&mut self) {
        for (index, section) in self.object.sections.iter().enumerate() {
            let relocations = self.object.ext.relocations.get(&section.name);
            for (number, relocation) in relocations.into_iter().flatten().enumerate() {
                self.core.insert((index, relocation.offset), number);
            }
        }
    }

    /// The programs to load.
    fn select_programs(&self) -> Result<Vec<Entry>, LoadError> {
        let tables = self.object.struct_ops();
        let is_callback =
            |name: &str| tables.iter().any(|ops| ops.programs.iter().any(|(_, program)| program == name));
        let mut wanted: Vec<&str> = self.options.programs.iter().map(String::as_str).collect();
        let mut entries = Vec::new();
        for (index, function) in (0u32..).zip(&self.object.functions) {
            let section = self.object.sections[function.section].name.as_str();
            let asked = wanted.iter().position(|name| *name == function.name);
            if let Some(position) = asked {
                wanted.remove(position);
            }
            let base = section.trim_end_matches('/').split('/').next().unwrap_or(section);
            let base = base.strip_suffix(".s").unwrap_or(base);
            let usual = match base {
                ".text" => false,
                "struct_ops" | "?struct_ops" => is_callback(&function.name),
                base => !base.starts_with('?') && !HOOKS.contains(&base),
            };
            if !usual && asked.is_none() {
                continue;
            }
            let hook = HOOKS.contains(&base.trim_start_matches('?'));
            let kind = if base.ends_with("struct_ops") || hook {
                ProgramType::Arguments
            } else {
                ProgramType::Bytes
            };
            let (name, section) = (function.name.clone(), section.to_owned());
            entries.push(Entry { name, section, function: index, kind });
        }
        if let Some(name) = wanted.first() {
            return Err(
                crate::error::UsageError::Missing { kind: "program", name: (*name).to_owned() }.into()
            );
        }
        Ok(entries)
    }

    /// Translates one function, unless it is done already, and queues what it calls.
    fn link(&mut self, function: u32) -> Result<(), LoadError> {
        if self.program.functions[function as usize].entry != UNLINKED {
            return Ok(());
        }
        let mut translated = self.translate(function)?;
        let reached = self.reachable(&translated.code);
        self.check(function, &translated, &reached)?;
        let base = self.program.code.len() as u32;
        for (index, insn) in translated.code.iter_mut().enumerate() {
            if reached[index] {
                if insn.op == Op::CallLocal {
                    self.queue.push(insn.imm as u32);
                }
                if let Some(callback) = translated.callbacks.get(&index) {
                    self.queue.push(*callback);
                }
            }
            if insn.op.is_branch() {
                insn.off += base as i32;
            }
        }
        let linked = &mut self.program.functions[function as usize];
        linked.entry = base;
        linked.len = translated.code.len() as u32;
        linked.stack = stack_named(&translated.code);
        self.add_lines(function, base, &translated);
        self.program.code.append(&mut translated.code);
        self.program.slots.append(&mut translated.slots);
        self.program.reached.extend(reached);
        Ok(())
    }

    /// Refuses code that is reached and cannot work.
    fn check(&self, function: u32, translated: &Translated, reached: &[bool]) -> Result<(), LoadError> {
        let location = |index: usize| self.describe(function, translated.slots[index]);
        for (index, insn) in translated.code.iter().enumerate().filter(|(index, _)| reached[*index]) {
            match insn.op {
                Op::CallMissing if self.options.strict || translated.required.contains(&index) => {
                    return Err(LoadError::MissingFunction {
                        function: self.program.messages[insn.imm as usize].clone(),
                        caller: location(index),
                    });
                }
                Op::Poison if translated.invalid.contains(&index) => {
                    let what = &self.program.messages[insn.imm as usize];
                    return Err(LoadError::Damaged(format!("{what} in {}", location(index))));
                }
                Op::Poison if self.options.strict => {
                    let what = self.program.messages[insn.imm as usize].clone();
                    return Err(LoadError::MissingField { what, location: location(index) });
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn describe(&self, function: u32, slot: u32) -> String {
        let code = &self.object.functions[function as usize];
        let section = &self.object.sections[code.section].name;
        let line = self.object.ext.line(section, code.offset + slot * 8);
        let source = line
            .and_then(|line| Some(format!(" ({}:{})", self.object.btf.string(line.file).ok()?, line.line)));
        format!("{} at instruction {slot}{}", code.name, source.unwrap_or_default())
    }

    fn add_lines(&mut self, function: u32, base: u32, translated: &Translated) {
        let code = &self.object.functions[function as usize];
        let section = &self.object.sections[code.section].name;
        let mut last = None;
        for (pc, slot) in (base..).zip(&translated.slots) {
            let line = self.object.ext.line(section, code.offset + slot * 8);
            let key = line.map(|line| (line.file, line.line, line.text));
            if key == last {
                continue;
            }
            last = key;
            let mut intern = |offset: u32| {
                let text = self.object.btf.string(offset).unwrap_or_default();
                let strings = &mut self.program.lines.strings;
                let known = strings.iter().rposition(|string| *string == text);
                known.unwrap_or_else(|| {
                    strings.push(text);
                    strings.len() - 1
                }) as u32
            };
            let entry =
                key.map_or((pc, 0, 0, 0), |(file, line, text)| (pc, intern(file), line, intern(text)));
            self.program.lines.lines.push(entry);
        }
    }

    /// Fills in where local calls go.
    fn connect(&mut self) {
        let Program { code, functions, .. } = &mut self.program;
        for insn in code.iter_mut().filter(|insn| insn.op == Op::CallLocal) {
            insn.off = functions[insn.imm as usize].entry.cast_signed();
        }
    }

    fn finish(self) -> Result<Machine<S>, LoadError> {
        let mut globals = BTreeMap::new();
        for (name, variable) in self.object.all_variables() {
            let base = self.data[variable.data];
            if !base.is_null() {
                let addr = base.offset(variable.offset.into());
                globals.insert(name.clone(), Place { addr, size: variable.size });
            }
        }
        let mut ops = Vec::new();
        for table in self.object.struct_ops() {
            for (member, program) in &table.programs {
                let index = self.program.entries.iter().position(|entry| entry.name == *program);
                let index = index.ok_or_else(|| {
                    LoadError::Damaged(format!(
                        "'{}.{member}' is '{program}', which is no program",
                        table.name
                    ))
                })?;
                ops.push((table.name.clone(), member.clone(), ProgramId(index as u32)));
            }
        }
        Machine::new(self.program, self.memory, globals, self.ksyms, ops).map_err(no_memory)
    }
}
