// SPDX-License-Identifier: GPL-2.0-only
//! A path into a type: as the compiler recorded it (by index), and found again in the target (by name).

use super::types;
use crate::btf::{Btf, Kind};

/// Most steps of a path, as in libbpf.
const MAX_STEPS: usize = 64;

#[derive(Debug, Clone)]
enum Step {
    /// A named member.
    Member(String),
    /// An element of an array (the first step: of the root type itself).
    Element(u32),
}

/// A path and where it leads.
#[derive(Debug, Clone)]
pub(super) struct Spec {
    pub root: u32,
    steps: Vec<Step>,
    /// Type at the end.
    pub type_id: u32,
    pub bit_offset: u32,
    /// Width if it ends at a bit field.
    pub bit_size: u32,
}

/// Moves `spec` to element `index` of what it points at now.
fn element(btf: &Btf, spec: &mut Spec, id: u32, index: u32) -> Option<()> {
    let bits = btf.size_of(id)?.checked_mul(index)?.checked_mul(8)?;
    spec.bit_offset = spec.bit_offset.checked_add(bits)?;
    spec.type_id = id;
    spec.bit_size = 0;
    spec.steps.push(Step::Element(index));
    Some(())
}

impl Spec {
    fn start(btf: &Btf, type_id: u32) -> Spec {
        let root = btf.skip_modifiers(type_id);
        Spec { root, steps: Vec::new(), type_id: root, bit_offset: 0, bit_size: 0 }
    }

    /// Reads an access string such as `0:4:1` of the local type.
    pub(super) fn parse(btf: &Btf, type_id: u32, access: &str) -> Option<Spec> {
        let mut spec = Spec::start(btf, type_id);
        let mut indices = access.split(':').map(|index| index.parse::<u32>().ok());
        let (root, first) = (spec.root, indices.next()??);
        element(btf, &mut spec, root, first)?;
        for index in indices {
            let index = index?;
            if spec.steps.len() >= MAX_STEPS {
                return None;
            }
            match &btf.resolved(spec.type_id).kind {
                Kind::Struct(members) | Kind::Union(members) => {
                    let member = members.get(index as usize)?;
                    spec.bit_offset = spec.bit_offset.checked_add(member.bit_offset)?;
                    spec.type_id = member.type_id;
                    spec.bit_size = member.bit_size;
                    if !member.name.is_empty() {
                        spec.steps.push(Step::Member(member.name.clone()));
                    }
                }
                Kind::Array { elem, .. } => element(btf, &mut spec, *elem, index)?,
                _ => return None,
            }
        }
        Some(spec)
    }

    /// The same path in the target type `id`, if it has one.
    pub(super) fn matching(&self, local: &Btf, target: &Btf, id: u32) -> Option<Spec> {
        let mut spec = Spec::start(target, id);
        // Follows the local path as well: members must be of the same sort.
        let mut here = Spec::start(local, self.root);
        for (position, step) in self.steps.iter().enumerate() {
            match step {
                Step::Element(index) if position == 0 => {
                    let (root, here_root) = (spec.root, here.root);
                    element(target, &mut spec, root, *index)?;
                    element(local, &mut here, here_root, *index)?;
                }
                Step::Element(index) => {
                    let Kind::Array { elem, len } = target.resolved(spec.type_id).kind else { return None };
                    // An array of length 0 may be a flexible one.
                    if *index >= len && len != 0 {
                        return None;
                    }
                    element(target, &mut spec, elem, *index)?;
                    let Kind::Array { elem, .. } = local.resolved(here.type_id).kind else { return None };
                    element(local, &mut here, elem, *index)?;
                }
                Step::Member(name) => {
                    let (_, own) = local.member(here.type_id, name)?;
                    let (offset, member) = target.member(spec.type_id, name)?;
                    if !types::fields_are_compatible(local, own.type_id, target, member.type_id) {
                        return None;
                    }
                    here.type_id = own.type_id;
                    spec.bit_offset = spec.bit_offset.checked_add(offset)?;
                    spec.type_id = member.type_id;
                    spec.bit_size = member.bit_size;
                    spec.steps.push(Step::Member(name.clone()));
                }
            }
        }
        Some(spec)
    }

    /// `task_struct.scx.slice`.
    pub(super) fn name(&self, btf: &Btf) -> String {
        let mut name = btf.get(self.root).name.clone();
        for (position, step) in self.steps.iter().enumerate() {
            match step {
                Step::Member(member) => {
                    name.push('.');
                    name.push_str(member);
                }
                Step::Element(0) if position == 0 => {}
                Step::Element(index) => name.push_str(&format!("[{index}]")),
            }
        }
        name
    }
}
