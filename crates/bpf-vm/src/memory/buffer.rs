// SPDX-License-Identifier: GPL-2.0-only
//! The bytes of a region: a `Vec<u8>` with a layout that compiled code can rely on.
#![allow(
    unsafe_code,
    reason = "compiled code reads and writes the bytes where they are, which a Vec does not promise"
)]

use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// Bytes that stay where they are until they grow or are dropped.
#[repr(C)]
pub(crate) struct Buffer {
    start: NonNull<u8>,
    len: u32,
    capacity: u32,
}

// SAFETY: the bytes belong to the buffer alone, as those of a `Vec` do.
unsafe impl Send for Buffer {}
// SAFETY: as above; shared references only read.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// Where the parts are, for compiled code.
    pub(crate) const START: usize = std::mem::offset_of!(Buffer, start);
    pub(crate) const LEN: usize = std::mem::offset_of!(Buffer, len);

    /// The first byte, for compiled code; valid until the buffer grows or is dropped.
    pub(crate) fn start(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// Makes it at least so long; new bytes are 0.
    pub(crate) fn grow(&mut self, len: usize) {
        if len > self.len as usize {
            let mut bytes = Vec::from(std::mem::take(self));
            bytes.resize(len, 0);
            *self = bytes.into();
        }
    }
}

impl Default for Buffer {
    fn default() -> Buffer {
        Buffer { start: NonNull::dangling(), len: 0, capacity: 0 }
    }
}

impl From<Vec<u8>> for Buffer {
    /// # Panics
    /// More than 4 GiB; regions are smaller.
    fn from(mut bytes: Vec<u8>) -> Buffer {
        if u32::try_from(bytes.capacity()).is_err() {
            bytes.shrink_to_fit();
        }
        let narrow = |size: usize| u32::try_from(size).expect("regions have less than 4 GiB");
        let (len, capacity) = (narrow(bytes.len()), narrow(bytes.capacity()));
        let mut bytes = ManuallyDrop::new(bytes);
        let start = NonNull::new(bytes.as_mut_ptr()).expect("the pointer of a Vec is never null");
        Buffer { start, len, capacity }
    }
}

impl From<Buffer> for Vec<u8> {
    fn from(buffer: Buffer) -> Vec<u8> {
        let buffer = ManuallyDrop::new(buffer);
        // SAFETY: the parts come from a `Vec<u8>` that was not dropped (an empty one allocates nothing), and the buffer
        // that held them is forgotten.
        unsafe { Vec::from_raw_parts(buffer.start.as_ptr(), buffer.len as usize, buffer.capacity as usize) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        drop(Vec::from(std::mem::take(self)));
    }
}

impl Deref for Buffer {
    type Target = [u8];

    #[inline(always)]
    fn deref(&self) -> &[u8] {
        // SAFETY: `start` and `len` are those of a live `Vec<u8>`, whose bytes are all initialised.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len as usize) }
    }
}

impl DerefMut for Buffer {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and the buffer is borrowed mutably for as long as the slice lives.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len as usize) }
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.len)
    }
}
