// SPDX-License-Identifier: GPL-2.0-only
//! Build configuration and kernel version as variables in a read-only section of their own.

use super::{Access, BtfError, KconfigValue, Kind, Linker, LoadError, no_memory};

const VERSION: &str = "LINUX_KERNEL_VERSION";

/// The bytes of a value in a variable of `size` bytes.
fn bytes(value: &KconfigValue, size: u32, is_tristate: bool) -> Vec<u8> {
    let number = match value {
        // The enumeration of libbpf's `enum libbpf_tristate`: no, yes, module.
        KconfigValue::No => 0,
        KconfigValue::Yes => 1,
        KconfigValue::Module if is_tristate => 2,
        KconfigValue::Module => 1,
        KconfigValue::Number(number) => *number,
        KconfigValue::Text(text) => {
            let mut bytes = text.as_bytes().to_vec();
            bytes.resize(size as usize, 0);
            if let Some(last) = bytes.last_mut() {
                *last = 0;
            }
            return bytes;
        }
    };
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.resize(size as usize, 0);
    bytes
}

impl<S> Linker<'_, S> {
    /// Places every extern of the `.kconfig` section.
    pub(super) fn lay_out_kconfig(&mut self) -> Result<(), LoadError> {
        let (object, options) = (self.object, self.options);
        let btf = &object.btf;
        let mut contents = Vec::new();
        let mut offsets = Vec::new();
        for (_, section) in btf.types().filter(|(_, ty)| ty.name == ".kconfig") {
            let Kind::DataSec(vars) = &section.kind else { continue };
            for var in vars {
                let Kind::Var { type_id, .. } = btf.get(var.type_id).kind else { continue };
                let name = &btf.get(var.type_id).name;
                let size = btf.size_of(type_id).filter(|size| (1..=4096).contains(size));
                let size = size.ok_or_else(|| BtfError::Damaged(format!("'{name}' has no usable size")))?;
                let is_tristate = matches!(btf.resolved(type_id).kind, Kind::Enum { .. });
                let weak = object.symbols.iter().any(|symbol| symbol.name == *name && symbol.weak);
                let version = KconfigValue::Number(options.kernel_version.into());
                let value = match options.kconfig.get(name) {
                    Some(value) => value,
                    None if name == VERSION => &version,
                    None if weak => &KconfigValue::No,
                    None => return Err(LoadError::MissingSymbol(name.clone())),
                };
                contents.resize(contents.len().next_multiple_of(8), 0);
                offsets.push((name.clone(), contents.len() as u64));
                contents.extend(bytes(value, size, is_tristate));
            }
        }
        let len = contents.len() as u32;
        let base = self.memory.alloc_bytes(".kconfig", len, Access::ReadOnly).map_err(no_memory)?;
        self.memory.write_bytes(base, &contents).map_err(no_memory)?;
        self.frozen.push(base);
        self.kconfig = offsets.into_iter().map(|(name, offset)| (name, base.offset(offset))).collect();
        Ok(())
    }
}
