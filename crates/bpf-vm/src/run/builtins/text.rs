// SPDX-License-Identifier: GPL-2.0-only
//! Texts: comparison and formatting.

use crate::error::Fault;
use crate::memory::{Addr, Memory};
use crate::registry::{Ctx, Registry};

/// Longest text that a format is expanded to.
const MAX_TEXT: u32 = 4096;

pub(super) fn register<S>(registry: &mut Registry<S>) {
    registry.helpers(&[(182, "bpf_strncmp", strncmp), (165, "bpf_snprintf", snprintf)]);
}

/// `(s1, length of s1, s2)`.
fn strncmp<S>(ctx: &mut Ctx<'_, S>, [first, len, second, ..]: [u64; 5]) -> Result<u64, Fault> {
    let first = ctx.mem.readable(Addr(first), len as u32)?.to_vec();
    let mut second = ctx.mem.text(Addr(second), len as u32)?.to_vec();
    second.resize(first.len(), 0);
    for (a, b) in first.iter().zip(&second) {
        if a != b {
            return Ok((i64::from(*a) - i64::from(*b)).cast_unsigned());
        }
        if *a == 0 {
            break;
        }
    }
    Ok(0)
}

/// `(dst, size, format, arguments, bytes of arguments)`: returns the length of the whole text with its NUL.
fn snprintf<S>(ctx: &mut Ctx<'_, S>, [dst, size, format, data, len]: [u64; 5]) -> Result<u64, Fault> {
    let text = ctx.mem.format(Addr(format), Addr(data), len as u32)?;
    let size = size as usize;
    let place = ctx.mem.writable(Addr(dst), size as u32)?;
    if size > 0 {
        let kept = text.len().min(size - 1);
        place[..kept].copy_from_slice(&text.as_bytes()[..kept]);
        place[kept] = 0;
    }
    Ok(text.len() as u64 + 1)
}

impl Memory {
    /// Expands a kernel format (as for `bpf_snprintf`, `scx_bpf_error`, `bpf_trace_printk`) with `len` bytes of 64-bit
    /// arguments at `data`.
    ///
    /// Knows `%d %i %u %x %X %p %c %s %%` with flags, width, precision and the lengths `h l ll z`; an unknown
    /// conversion prints its argument as hexadecimal.
    ///
    /// # Errors
    /// An access fault when the format, the arguments or a text they point to cannot be read.
    pub fn format(&self, format: Addr, data: Addr, len: u32) -> Result<String, Fault> {
        let format = self.read_str(format, MAX_TEXT)?;
        let arguments = if len == 0 { &[] } else { self.readable(data, len)? };
        let mut arguments = arguments
            .chunks_exact(8)
            .map(|chunk| u64::from_le_bytes(chunk.try_into().expect("chunks of eight bytes")));
        let mut text = String::new();
        let mut rest = format.chars().peekable();
        while let Some(character) = rest.next() {
            if character != '%' {
                text.push(character);
                continue;
            }
            let mut spec = Spec::default();
            let conversion = loop {
                match rest.next() {
                    Some('-') => spec.left = true,
                    Some('0') if spec.width == 0 && !spec.in_precision => spec.zeros = true,
                    Some(digit @ '0'..='9') => spec.digit(digit as usize - '0' as usize),
                    Some('.') => spec.in_precision = true,
                    Some('l') => spec.wide = true,
                    Some('z' | 'j' | 't') => spec.wide = true,
                    Some('#' | '+' | ' ' | 'h') => {}
                    other => break other,
                }
            };
            let word = match conversion {
                Some('%') => "%".to_owned(),
                Some(conversion) => {
                    let argument = arguments.next().unwrap_or(0);
                    self.convert(conversion, &spec, argument)?
                }
                None => String::new(),
            };
            spec.pad(&word, &mut text);
        }
        text.truncate(text.floor_char_boundary(MAX_TEXT as usize));
        Ok(text)
    }

    fn convert(&self, conversion: char, spec: &Spec, argument: u64) -> Result<String, Fault> {
        let narrow = argument as u32;
        Ok(match conversion {
            'd' | 'i' if spec.wide => argument.cast_signed().to_string(),
            'd' | 'i' => narrow.cast_signed().to_string(),
            'u' if spec.wide => argument.to_string(),
            'u' => narrow.to_string(),
            'x' if spec.wide => format!("{argument:x}"),
            'x' => format!("{narrow:x}"),
            'X' if spec.wide => format!("{argument:X}"),
            'X' => format!("{narrow:X}"),
            'c' => char::from(argument as u8).to_string(),
            's' if argument == 0 => "(null)".to_owned(),
            's' => {
                let max = if spec.in_precision { spec.precision as u32 } else { MAX_TEXT };
                self.read_str(Addr(argument), max.clamp(1, MAX_TEXT))?
            }
            _ => format!("{argument:x}"),
        })
    }
}

/// One conversion of a format.
#[derive(Debug, Default)]
struct Spec {
    left: bool,
    zeros: bool,
    wide: bool,
    in_precision: bool,
    width: usize,
    precision: usize,
}

impl Spec {
    fn digit(&mut self, digit: usize) {
        let number = if self.in_precision { &mut self.precision } else { &mut self.width };
        *number = (*number * 10 + digit).min(MAX_TEXT as usize);
    }

    fn pad(&self, word: &str, text: &mut String) {
        let missing = self.width.saturating_sub(word.chars().count());
        let (sign, digits) = match word.strip_prefix('-') {
            Some(digits) if self.zeros => ("-", digits),
            _ => ("", word),
        };
        if self.left {
            text.push_str(word);
            text.extend(std::iter::repeat_n(' ', missing));
        } else if self.zeros {
            text.push_str(sign);
            text.extend(std::iter::repeat_n('0', missing));
            text.push_str(digits);
        } else {
            text.extend(std::iter::repeat_n(' ', missing));
            text.push_str(word);
        }
    }
}
