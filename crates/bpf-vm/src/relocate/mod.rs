// SPDX-License-Identifier: GPL-2.0-only
//! CO-RE relocations: what a program asks about kernel types, answered from the target types.
//!
//! The questions and the rules for matching types are those of the kernel's `Documentation/bpf/llvm_reloc.rst` and
//! libbpf: types match by name without flavour, members by name, anonymous members are looked through.

use crate::btf::{Btf, CoreRelo, Kind, essential_name};
use crate::error::LoadError;

mod spec;
mod types;

use spec::Spec;
pub(crate) use types::are_compatible;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The number to patch in.
    Value(u64),
    /// A byte offset, with the size of the field here and in the target: a load may have to change its width.
    Offset { value: u64, local_size: u32, target_size: u32, widens: bool },
    /// Nothing fits; says what is missing.
    Missing(String),
}

/// Questions by number, from `enum bpf_core_relo_kind` of `linux/bpf.h`.
mod kind {
    pub(super) const FIELD_BYTE_OFFSET: u32 = 0;
    pub(super) const FIELD_BYTE_SIZE: u32 = 1;
    pub(super) const FIELD_EXISTS: u32 = 2;
    pub(super) const FIELD_SIGNED: u32 = 3;
    pub(super) const FIELD_LSHIFT_U64: u32 = 4;
    pub(super) const FIELD_RSHIFT_U64: u32 = 5;
    pub(super) const TYPE_ID_LOCAL: u32 = 6;
    pub(super) const TYPE_ID_TARGET: u32 = 7;
    pub(super) const TYPE_EXISTS: u32 = 8;
    pub(super) const TYPE_SIZE: u32 = 9;
    pub(super) const ENUMVAL_EXISTS: u32 = 10;
    pub(super) const ENUMVAL_VALUE: u32 = 11;
    pub(super) const TYPE_MATCHES: u32 = 12;
}

fn damaged(relo: &CoreRelo) -> LoadError {
    LoadError::Damaged(format!("CO-RE relocation of type {} with access '{}'", relo.type_id, relo.access))
}

/// Answers one relocation.
///
/// # Errors
/// When the relocation contradicts the object's own types.
pub(crate) fn resolve(local: &Btf, target: &Btf, relo: &CoreRelo) -> Result<Answer, LoadError> {
    match relo.kind {
        kind::FIELD_BYTE_OFFSET..=kind::FIELD_RSHIFT_U64 => field(local, target, relo),
        kind::TYPE_ID_LOCAL => Ok(Answer::Value(relo.type_id.into())),
        kind::TYPE_ID_TARGET | kind::TYPE_EXISTS | kind::TYPE_SIZE | kind::TYPE_MATCHES => {
            Ok(whole_type(local, target, relo))
        }
        kind::ENUMVAL_EXISTS | kind::ENUMVAL_VALUE => enumerator(local, target, relo),
        other => Err(LoadError::Unsupported(format!("CO-RE relocation of kind {other}"))),
    }
}

/// Target types with the name of the local type `id`.
fn candidates<'a>(local: &'a Btf, target: &'a Btf, id: u32) -> impl Iterator<Item = u32> + 'a {
    let ty = local.get(id);
    let ids = if ty.name.is_empty() { &[] } else { target.named(essential_name(&ty.name)) };
    let same_kind =
        move |&id: &u32| std::mem::discriminant(&target.get(id).kind) == std::mem::discriminant(&ty.kind);
    ids.iter().copied().filter(same_kind)
}

fn field(local: &Btf, target: &Btf, relo: &CoreRelo) -> Result<Answer, LoadError> {
    let here = Spec::parse(local, relo.type_id, &relo.access).ok_or_else(|| damaged(relo))?;
    let there = candidates(local, target, here.root).find_map(|id| here.matching(local, target, id));
    if relo.kind == kind::FIELD_EXISTS {
        return Ok(Answer::Value(there.is_some().into()));
    }
    let Some(there) = there else {
        return Ok(Answer::Missing(format!("field '{}'", here.name(local))));
    };
    let missing = || Answer::Missing(format!("a readable field '{}'", here.name(local)));
    let Some(field) = target.field_at(there.type_id, there.bit_offset, there.bit_size) else {
        return Ok(missing());
    };
    let bits = if field.bit_size > 0 { field.bit_size } else { field.size.saturating_mul(8) };
    Ok(match relo.kind {
        kind::FIELD_BYTE_OFFSET => {
            let Some(own) = local.field_at(here.type_id, here.bit_offset, here.bit_size) else {
                return Ok(missing());
            };
            let unsigned = |btf: &Btf, id| match btf.resolved(id).kind {
                Kind::Int { signed, .. } => !signed,
                Kind::Ptr(_) => true,
                _ => false,
            };
            let widens =
                unsigned(local, here.type_id) && unsigned(target, there.type_id) && field.bit_size == 0;
            let value = field.offset.into();
            Answer::Offset { value, local_size: own.size, target_size: field.size, widens }
        }
        kind::FIELD_BYTE_SIZE => Answer::Value(field.size.into()),
        kind::FIELD_SIGNED => Answer::Value(field.signed.into()),
        // The field is loaded as `size` bytes, shifted left to the top and right to the bottom.
        kind::FIELD_LSHIFT_U64 => Answer::Value(64u32.saturating_sub(field.bit_shift + bits).into()),
        _ => Answer::Value(64u32.saturating_sub(bits).into()),
    })
}

fn whole_type(local: &Btf, target: &Btf, relo: &CoreRelo) -> Answer {
    let matching = |&id: &u32| match relo.kind {
        kind::TYPE_MATCHES => types::matches(local, relo.type_id, target, id),
        _ => are_compatible(local, relo.type_id, target, id),
    };
    let found = candidates(local, target, relo.type_id).find(matching);
    match (relo.kind, found) {
        (kind::TYPE_EXISTS | kind::TYPE_MATCHES, found) => Answer::Value(found.is_some().into()),
        (kind::TYPE_SIZE, Some(id)) => Answer::Value(target.size_of(id).unwrap_or(0).into()),
        (_, Some(id)) => Answer::Value(id.into()),
        (_, None) => Answer::Missing(format!("type '{}'", local.get(relo.type_id).name)),
    }
}

fn enumerator(local: &Btf, target: &Btf, relo: &CoreRelo) -> Result<Answer, LoadError> {
    let id = local.skip_modifiers(relo.type_id);
    let Kind::Enum { values, .. } = &local.get(id).kind else { return Err(damaged(relo)) };
    let index = relo.access.parse::<usize>().map_err(|_| damaged(relo))?;
    let name = essential_name(&values.get(index).ok_or_else(|| damaged(relo))?.name);
    let found = candidates(local, target, id).find_map(|id| match &target.get(id).kind {
        Kind::Enum { values, .. } => values.iter().find(|value| essential_name(&value.name) == name),
        _ => None,
    });
    Ok(match (relo.kind, found) {
        (kind::ENUMVAL_EXISTS, found) => Answer::Value(found.is_some().into()),
        (_, Some(found)) => Answer::Value(found.value.cast_unsigned()),
        (_, None) => Answer::Missing(format!("enumerator '{name}'")),
    })
}
