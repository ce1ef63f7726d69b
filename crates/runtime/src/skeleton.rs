// SPDX-License-Identifier: GPL-2.0-only
//! Opening, configuring, loading and attaching a scheduler's skeleton: the same for each, but for the skeleton's own types.
//!
//! [`skeleton!`](crate::skeleton!) writes that code into a scheduler's `kernel.rs`, where its types stop.

/// Includes the generated skeleton of `main.bpf.c` (as module `skel`) and defines `with_scheduler`, `object_bytes` and
/// `apply` for it.
///
/// Takes the name of the struct_ops variable and that of the skeleton's method for it, as in
/// `runtime::skeleton!(domain_balancer, domain_balancer_mut);`. The scheduler depends on `anyhow`, `libbpf-rs` and
/// `scx_utils`: macros of the latter ask for them by these names.
#[macro_export]
macro_rules! skeleton {
    ($ops:ident, $ops_mut:ident) => {
        #[allow(
            missing_docs,
            clippy::all,
            clippy::undocumented_unsafe_blocks,
            clippy::allow_attributes_without_reason,
            dead_code,
            reason = "generated from the BPF object"
        )]
        mod skel {
            include!(concat!(env!("OUT_DIR"), "/bpf_skel.rs"));
        }

        /// Loads and attaches the scheduler as `setup` says, hands its BPF object to `work`, and detaches when `work` is
        /// done. If this process dies inside, the kernel detaches by itself.
        ///
        /// # Errors
        /// When the kernel refuses the object, its configuration or the attachment; whatever `work` fails with.
        pub fn with_scheduler<R>(
            setup: &$crate::setup::Setup,
            work: impl FnOnce(&mut dyn $crate::seam::BpfObject) -> ::anyhow::Result<R>,
        ) -> ::anyhow::Result<R> {
            use ::libbpf_rs::skel::Skel as _;
            use ::scx_utils::{scx_ops_attach, scx_ops_load, scx_ops_open};

            $crate::libbpf::log_while_loading();
            let mut place = ::std::mem::MaybeUninit::uninit();
            let begin = ::std::time::Instant::now();
            let mut skel = scx_ops_open!(skel::BpfSkelBuilder::default(), &mut place, $ops, None)?;
            apply(&mut skel, setup)?;
            let opened = begin.elapsed();
            let mut skel = scx_ops_load!(skel, $ops, uei)?;
            $crate::verifier::log_load(skel.object(), opened, begin.elapsed() - opened);
            $crate::libbpf::log_while_attaching();
            let link = scx_ops_attach!(skel, $ops)?;
            let result = $crate::libbpf::LibbpfObject::new(skel.object())
                .map_err(Into::into)
                .and_then(|mut object| work(&mut object));
            drop(link);
            result
        }

        /// The compiled BPF object, as the skeleton embeds it.
        pub fn object_bytes() -> &'static [u8] {
            include_bytes!(concat!(env!("OUT_DIR"), "/bpf.bpf.o"))
        }

        fn apply(skel: &mut skel::OpenBpfSkel<'_>, setup: &$crate::setup::Setup) -> ::anyhow::Result<()> {
            use ::libbpf_rs::skel::OpenSkel as _;

            $crate::libbpf::apply(skel.open_object_mut(), setup)?;
            let ops = skel.struct_ops.$ops_mut();
            ops.flags = $crate::libbpf::ops_flags(setup);
            ops.exit_dump_len = setup.exit_dump_len;
            if setup.timeout_ms > 0 {
                ops.timeout_ms = setup.timeout_ms;
            }
            Ok(())
        }
    };
}

/// Includes the bindings of `abi.h` and declares the named structs as plain bytes, as in
/// `runtime::abi!(db_config, db_task_snapshot);`. The scheduler depends on `bytemuck`, and a test of it compares each size
/// with the sum of the fields: the header promises integers and arrays of integers without padding.
#[macro_export]
macro_rules! abi {
    ($($name:ident),+ $(,)?) => {
        include!(concat!(env!("OUT_DIR"), "/bpf_abi.rs"));
        $(
            // SAFETY: abi.h keeps these structs to integers and arrays of integers, so all-zero is a value.
            unsafe impl ::bytemuck::Zeroable for $name {}
            // SAFETY: repr(C), Copy, integers only, and free of padding (a test compares the size with the fields' sum).
            unsafe impl ::bytemuck::Pod for $name {}
        )+
    };
}
