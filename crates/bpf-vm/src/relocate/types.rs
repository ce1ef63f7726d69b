// SPDX-License-Identifier: GPL-2.0-only
//! When two types from different objects count as the same.

use crate::btf::{Btf, Kind, essential_name};

/// Nesting beyond which types count as different, as in libbpf.
const MAX_DEPTH: u32 = 32;
/// Types compared at most for one answer.
const MAX_STEPS: u32 = 4096;

/// Whether a member of one type may stand for a member of the other: same sort, whatever the width.
pub(super) fn fields_are_compatible(local: &Btf, id: u32, target: &Btf, target_id: u32) -> bool {
    let (mut id, mut target_id) = (id, target_id);
    for _ in 0..MAX_DEPTH {
        let (here, there) = (local.resolved(id), target.resolved(target_id));
        match (&here.kind, &there.kind) {
            (Kind::Array { elem, .. }, Kind::Array { elem: other, .. }) => (id, target_id) = (*elem, *other),
            (Kind::Struct(_) | Kind::Union(_), Kind::Struct(_) | Kind::Union(_)) => return true,
            (Kind::Ptr(_), Kind::Ptr(_)) | (Kind::Float, Kind::Float) => return true,
            (Kind::Int { bit_offset, .. }, Kind::Int { bit_offset: other, .. }) => {
                return *bit_offset == 0 && *other == 0;
            }
            (Kind::Enum { .. }, Kind::Enum { .. }) | (Kind::Fwd { .. }, Kind::Fwd { .. }) => {
                let (here, there) = (essential_name(&here.name), essential_name(&there.name));
                return here.is_empty() || there.is_empty() || here == there;
            }
            _ => return false,
        }
    }
    false
}

/// Whether two types are of the same sort all the way down, for "does this type exist" and for signatures.
pub(crate) fn are_compatible(local: &Btf, id: u32, target: &Btf, target_id: u32) -> bool {
    Comparison { local, target, steps: MAX_STEPS }.compatible(id, target_id, MAX_DEPTH)
}

/// A comparison under way; counts its steps, because damaged types may refer to themselves many times over.
struct Comparison<'a> {
    local: &'a Btf,
    target: &'a Btf,
    steps: u32,
}

impl Comparison<'_> {
    fn compatible(&mut self, id: u32, target_id: u32, depth: u32) -> bool {
        if depth == 0 || self.steps == 0 {
            return false;
        }
        self.steps -= 1;
        let (here, there) = (self.local.resolved(id), self.target.resolved(target_id));
        match (&here.kind, &there.kind) {
            (Kind::Ptr(a), Kind::Ptr(b)) => self.compatible(*a, *b, depth - 1),
            (Kind::Array { elem: a, .. }, Kind::Array { elem: b, .. }) => self.compatible(*a, *b, depth - 1),
            (Kind::Int { bit_offset: a, .. }, Kind::Int { bit_offset: b, .. }) => *a == 0 && *b == 0,
            (Kind::FuncProto { result: a, params }, Kind::FuncProto { result: b, params: others }) => {
                params.len() == others.len()
                    && self.compatible(*a, *b, depth - 1)
                    && params.iter().zip(others).all(|(a, b)| self.compatible(*a, *b, depth - 1))
            }
            (Kind::Func { proto: a, .. }, Kind::Func { proto: b, .. }) => self.compatible(*a, *b, depth - 1),
            // A type that is only declared stands for its definition.
            (Kind::Fwd { union }, Kind::Struct(_)) | (Kind::Struct(_), Kind::Fwd { union }) => !union,
            (Kind::Fwd { union }, Kind::Union(_)) | (Kind::Union(_), Kind::Fwd { union }) => *union,
            (a, b) => std::mem::discriminant(a) == std::mem::discriminant(b),
        }
    }
}

/// Whether the target has everything the local type names: members and enumerators, each of a compatible type.
pub(super) fn matches(local: &Btf, id: u32, target: &Btf, target_id: u32) -> bool {
    let (here, there) = (local.resolved(id), target.resolved(target_id));
    match (&here.kind, &there.kind) {
        (Kind::Struct(members), Kind::Struct(_)) | (Kind::Union(members), Kind::Union(_)) => {
            members.iter().filter(|member| !member.name.is_empty()).all(|member| {
                target.member(target_id, &member.name).is_some_and(|(_, other)| {
                    fields_are_compatible(local, member.type_id, target, other.type_id)
                })
            })
        }
        (Kind::Enum { values, .. }, Kind::Enum { values: others, .. }) => {
            values.iter().all(|value| others.iter().any(|other| other.name == value.name))
        }
        _ => are_compatible(local, id, target, target_id),
    }
}
