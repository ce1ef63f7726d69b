// SPDX-License-Identifier: GPL-2.0-only
//! Questions about types: sizes, members by path, enumerators.

use super::{Btf, BtfError, Kind, Member, Type};

/// Longest chain of typedefs, modifiers and nested anonymous types that is followed; damaged data may hold cycles.
const MAX_DEPTH: u32 = 64;
/// Most anonymous members looked into for one name: far more than any real type has, few enough to stop at a cycle.
const MAX_MEMBER_STEPS: u32 = 512;

/// The name without its last flavour suffix: `___` between other characters, and what follows.
pub(crate) fn essential_name(name: &str) -> &str {
    let bytes = name.as_bytes();
    let is_separator = |at: usize| {
        bytes[at] != b'_'
            && bytes[at + 1..at + 4] == *b"___"
            && bytes.get(at + 4).is_some_and(|&next| next != b'_')
    };
    let last = (0..bytes.len().saturating_sub(4)).rev().find(|&at| is_separator(at));
    last.and_then(|at| name.get(..=at)).unwrap_or(name)
}

/// Where a field lies inside its outermost struct, and how to read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Bytes from the start of the struct.
    pub offset: u32,
    /// Bytes the field has; for a bit field, the bytes to read to get all of it.
    pub size: u32,
    /// Bits to shift right after reading `size` bytes; 0 for an ordinary field.
    pub bit_shift: u32,
    /// Width of a bit field; 0 for an ordinary field.
    pub bit_size: u32,
    /// The value is signed.
    pub signed: bool,
}

impl Btf {
    pub(crate) fn get(&self, id: u32) -> &Type {
        // Ids come from checked references; one made up by a caller reads as void.
        self.types.get(id as usize).unwrap_or(&self.types[0])
    }

    pub(crate) fn types(&self) -> impl Iterator<Item = (u32, &Type)> {
        (0u32..).zip(&self.types)
    }

    /// Follows typedefs and modifiers.
    pub(crate) fn skip_modifiers(&self, mut id: u32) -> u32 {
        for _ in 0..MAX_DEPTH {
            match self.get(id).kind {
                Kind::Typedef(target) | Kind::Modifier(target) => id = target,
                _ => return id,
            }
        }
        0
    }

    pub(crate) fn resolved(&self, id: u32) -> &Type {
        self.get(self.skip_modifiers(id))
    }

    /// Bytes a value of the type takes; `None` for types without a size.
    pub(crate) fn size_of(&self, mut id: u32) -> Option<u32> {
        let mut count = 1u32;
        for _ in 0..MAX_DEPTH {
            id = self.skip_modifiers(id);
            let ty = self.get(id);
            match &ty.kind {
                Kind::Int { .. } | Kind::Struct(_) | Kind::Union(_) | Kind::Enum { .. } | Kind::Float => {
                    return ty.size.checked_mul(count);
                }
                Kind::DataSec(_) => return Some(ty.size),
                Kind::Ptr(_) => return count.checked_mul(8),
                Kind::Array { elem, len } => {
                    count = count.checked_mul(*len)?;
                    id = *elem;
                }
                Kind::Var { type_id, .. } => id = *type_id,
                _ => return None,
            }
        }
        None
    }

    /// Ids whose name without flavour is `essential`.
    pub(crate) fn named(&self, essential: &str) -> &[u32] {
        self.by_name.get(essential).map_or(&[], Vec::as_slice)
    }

    /// The struct or union of that name (typedefs of one count).
    pub(crate) fn composite(&self, name: &str) -> Option<u32> {
        let ids = self.named(essential_name(name)).iter().copied().filter(|&id| self.get(id).name == name);
        ids.map(|id| self.skip_modifiers(id)).find(|&id| self.get(id).kind.members().is_some())
    }

    /// Bytes of the struct or union `type_name`.
    ///
    /// # Errors
    /// [`BtfError::NoType`].
    pub fn struct_size(&self, type_name: &str) -> Result<u32, BtfError> {
        self.composite(type_name)
            .map(|id| self.get(id).size)
            .ok_or_else(|| BtfError::NoType(type_name.to_owned()))
    }

    /// The value of an enumerator, whatever enumeration it is in.
    #[must_use]
    pub fn enumerator(&self, name: &str) -> Option<i64> {
        self.enumerators.get(name).copied()
    }

    /// All enumerators, sorted by name.
    pub fn enumerators(&self) -> impl Iterator<Item = (&str, i64)> {
        self.enumerators.iter().map(|(name, value)| (name.as_str(), *value))
    }

    /// Finds a field by path: `"scx.slice"`, `"bits[2]"`; members of anonymous structs need no step of their own.
    ///
    /// # Errors
    /// [`BtfError::NoType`], or [`BtfError::NoField`] for a path that does not exist or leads through a pointer.
    pub fn field(&self, type_name: &str, path: &str) -> Result<Field, BtfError> {
        let id = self.composite(type_name).ok_or_else(|| BtfError::NoType(type_name.to_owned()))?;
        self.field_of(id, path)
            .ok_or_else(|| BtfError::NoField { type_name: type_name.to_owned(), field: path.to_owned() })
    }

    pub(crate) fn field_of(&self, mut id: u32, path: &str) -> Option<Field> {
        let mut bits = 0u32;
        let mut bit_size = 0;
        for step in path.split('.') {
            let (name, indices) = split_indices(step)?;
            let (offset, member) = self.member(id, name)?;
            bits = bits.checked_add(offset)?;
            bit_size = member.bit_size;
            id = member.type_id;
            for index in indices {
                let Kind::Array { elem, len } = self.resolved(id).kind else { return None };
                if index >= len {
                    return None;
                }
                bits = bits.checked_add(index.checked_mul(self.size_of(elem)?)?.checked_mul(8)?)?;
                id = elem;
            }
        }
        self.field_at(id, bits, bit_size)
    }

    /// Describes a field of type `id` at `bits`.
    pub(crate) fn field_at(&self, id: u32, bits: u32, bit_size: u32) -> Option<Field> {
        let ty = self.resolved(id);
        let signed = match ty.kind {
            Kind::Int { signed, .. } | Kind::Enum { signed, .. } => signed,
            _ => false,
        };
        let mut size = self.size_of(id)?;
        if bit_size == 0 {
            return bits.is_multiple_of(8).then_some(Field {
                offset: bits / 8,
                size,
                bit_shift: 0,
                bit_size: 0,
                signed,
            });
        }
        if size == 0 {
            return None;
        }
        // The smallest aligned unit of the declared type that holds all bits, as a compiler would load it.
        while size < 8 && (bits % (size * 8)) + bit_size > size * 8 {
            size *= 2;
        }
        let unit = size.checked_mul(8)?;
        if unit == 0 || (bits % unit) + bit_size > unit {
            return None;
        }
        Some(Field { offset: bits / unit * size, size, bit_shift: bits % unit, bit_size, signed })
    }

    /// Whether a pointer to `id` is one of those that own a kernel object (`__kptr`).
    pub(crate) fn is_kptr(&self, mut id: u32) -> bool {
        for _ in 0..MAX_DEPTH {
            let ty = self.get(id);
            match ty.kind {
                Kind::Modifier(_)
                    if matches!(ty.name.as_str(), "kptr" | "kptr_untrusted" | "percpu_kptr") =>
                {
                    return true;
                }
                Kind::Typedef(target) | Kind::Modifier(target) => id = target,
                _ => return false,
            }
        }
        false
    }

    /// Path of the member that covers byte `offset`; empty if none does.
    pub(crate) fn member_at(&self, id: u32, offset: u32) -> String {
        let mut path = String::new();
        let (mut id, mut offset) = (id, offset);
        for _ in 0..MAX_DEPTH {
            let Some(members) = self.resolved(id).kind.members() else { break };
            let covering = members.iter().rev().find(|member| {
                let (start, size) = (member.bit_offset / 8, self.size_of(member.type_id).unwrap_or(0));
                offset >= start && offset - start < size
            });
            let Some(member) = covering else { break };
            if !member.name.is_empty() {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(&member.name);
            }
            offset -= member.bit_offset / 8;
            id = member.type_id;
        }
        path
    }

    /// The member `name` of a struct or union, looked for inside anonymous members too, with its bit offset.
    pub(crate) fn member(&self, id: u32, name: &str) -> Option<(u32, &Member)> {
        let mut steps = MAX_MEMBER_STEPS;
        self.member_within(id, name, &mut steps)
    }

    fn member_within(&self, id: u32, name: &str, steps: &mut u32) -> Option<(u32, &Member)> {
        let members = self.resolved(id).kind.members()?;
        // A name of this level wins over one inside an anonymous member.
        if let Some(member) = members.iter().find(|member| member.name == name && !name.is_empty()) {
            return Some((member.bit_offset, member));
        }
        for member in members.iter().filter(|member| member.name.is_empty()) {
            *steps = steps.checked_sub(1)?;
            if let Some((offset, found)) = self.member_within(member.type_id, name, steps) {
                return Some((member.bit_offset.checked_add(offset)?, found));
            }
        }
        None
    }
}

/// Splits `"bits[2]"` into the name and its indices.
fn split_indices(step: &str) -> Option<(&str, Vec<u32>)> {
    let Some((name, rest)) = step.split_once('[') else { return Some((step, Vec::new())) };
    let indices =
        rest.strip_suffix(']')?.split("][").map(|index| index.parse().ok()).collect::<Option<_>>()?;
    Some((name, indices))
}
