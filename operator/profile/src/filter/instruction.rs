//! One instruction of classic BPF.

use std::fmt;

/// How many bytes a `struct sock_filter` has.
pub const INSTRUCTION_BYTES: usize = 8;

/// `struct sock_filter` of Linux' include/uapi/linux/filter.h.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Instruction {
    /// What it does.
    pub code: u16,
    /// How many instructions a jump skips where its comparison holds.
    pub jt: u8,
    /// How many where it doesn't.
    pub jf: u8,
    /// The constant, the place that is loaded, or the distance of an unconditional jump.
    pub k: u32,
}

impl Instruction {
    /// Reads one as it lies in the memory of a machine.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; INSTRUCTION_BYTES], big_endian: bool) -> Self {
        let [a, b, jt, jf, c, d, e, f] = bytes;
        if big_endian {
            Self { code: u16::from_be_bytes([a, b]), jt, jf, k: u32::from_be_bytes([c, d, e, f]) }
        } else {
            Self { code: u16::from_le_bytes([a, b]), jt, jf, k: u32::from_le_bytes([c, d, e, f]) }
        }
    }

    /// How it lies in the memory of a machine.
    #[must_use]
    pub const fn to_bytes(self, big_endian: bool) -> [u8; INSTRUCTION_BYTES] {
        let ([a, b], [c, d, e, f]) = if big_endian {
            (self.code.to_be_bytes(), self.k.to_be_bytes())
        } else {
            (self.code.to_le_bytes(), self.k.to_le_bytes())
        };
        [a, b, self.jt, self.jf, c, d, e, f]
    }

    /// What it does; `None` where seccomp(2) takes no such instruction.
    pub(super) const fn operation(self) -> Option<Operation> {
        operation(self.code)
    }
}

/// Where an operation has its second operand from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Source {
    /// The constant of the instruction.
    K,
    /// The index register.
    X,
}

/// What is done to the accumulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Alu {
    Add,
    Sub,
    Mul,
    Div,
    And,
    Or,
    Xor,
    ShiftLeft,
    ShiftRight,
}

impl Alu {
    /// What the kernel computes: a shift looks at five bits, a division by 0 ends the program and is none here.
    ///
    /// Source: `bpf_convert_filter` in Linux' net/core/filter.c, and `___bpf_prog_run` in kernel/bpf/core.c.
    pub(super) const fn apply(self, a: u32, b: u32) -> Option<u32> {
        Some(match self {
            Self::Add => a.wrapping_add(b),
            Self::Sub => a.wrapping_sub(b),
            Self::Mul => a.wrapping_mul(b),
            Self::Div => return a.checked_div(b),
            Self::And => a & b,
            Self::Or => a | b,
            Self::Xor => a ^ b,
            Self::ShiftLeft => a.wrapping_shl(b),
            Self::ShiftRight => a.wrapping_shr(b),
        })
    }
}

/// How the accumulator is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Comparison {
    Equal,
    Greater,
    GreaterOrEqual,
    /// Any bit is set in both.
    AnyBit,
}

impl Comparison {
    pub(super) const fn holds(self, a: u32, b: u32) -> bool {
        match self {
            Self::Equal => a == b,
            Self::Greater => a > b,
            Self::GreaterOrEqual => a >= b,
            Self::AnyBit => a & b != 0,
        }
    }
}

/// What an instruction does, of those that seccomp(2) takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Operation {
    /// A word of `struct seccomp_data` into the accumulator.
    Load,
    /// The size of `struct seccomp_data`.
    LoadLength,
    LoadLengthToX,
    LoadConstant,
    LoadConstantToX,
    LoadScratch,
    LoadScratchToX,
    Store,
    StoreX,
    ToX,
    FromX,
    Negate,
    Compute(Alu, Source),
    Jump,
    Branch(Comparison, Source),
    ReturnConstant,
    Return,
}

/// The instructions that seccomp(2) takes.
///
/// Source: `seccomp_check_filter` in Linux' kernel/seccomp.c, and include/uapi/linux/bpf_common.h. There is no `BPF_MOD` among them.
const fn operation(code: u16) -> Option<Operation> {
    use Operation as O;
    use Source::{K, X};
    Some(match code {
        0x20 => O::Load,
        0x80 => O::LoadLength,
        0x81 => O::LoadLengthToX,
        0x00 => O::LoadConstant,
        0x01 => O::LoadConstantToX,
        0x60 => O::LoadScratch,
        0x61 => O::LoadScratchToX,
        0x02 => O::Store,
        0x03 => O::StoreX,
        0x07 => O::ToX,
        0x87 => O::FromX,
        0x84 => O::Negate,
        0x04 => O::Compute(Alu::Add, K),
        0x0c => O::Compute(Alu::Add, X),
        0x14 => O::Compute(Alu::Sub, K),
        0x1c => O::Compute(Alu::Sub, X),
        0x24 => O::Compute(Alu::Mul, K),
        0x2c => O::Compute(Alu::Mul, X),
        0x34 => O::Compute(Alu::Div, K),
        0x3c => O::Compute(Alu::Div, X),
        0x44 => O::Compute(Alu::Or, K),
        0x4c => O::Compute(Alu::Or, X),
        0x54 => O::Compute(Alu::And, K),
        0x5c => O::Compute(Alu::And, X),
        0x64 => O::Compute(Alu::ShiftLeft, K),
        0x6c => O::Compute(Alu::ShiftLeft, X),
        0x74 => O::Compute(Alu::ShiftRight, K),
        0x7c => O::Compute(Alu::ShiftRight, X),
        0xa4 => O::Compute(Alu::Xor, K),
        0xac => O::Compute(Alu::Xor, X),
        0x05 => O::Jump,
        0x15 => O::Branch(Comparison::Equal, K),
        0x1d => O::Branch(Comparison::Equal, X),
        0x25 => O::Branch(Comparison::Greater, K),
        0x2d => O::Branch(Comparison::Greater, X),
        0x35 => O::Branch(Comparison::GreaterOrEqual, K),
        0x3d => O::Branch(Comparison::GreaterOrEqual, X),
        0x45 => O::Branch(Comparison::AnyBit, K),
        0x4d => O::Branch(Comparison::AnyBit, X),
        0x06 => O::ReturnConstant,
        0x16 => O::Return,
        _ => return None,
    })
}

impl fmt::Display for Alu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::And => "&",
            Self::Or => "|",
            Self::Xor => "^",
            Self::ShiftLeft => "<<",
            Self::ShiftRight => ">>",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seccomp_takes_41_instructions() {
        assert_eq!((0..=u16::MAX).filter(|&code| operation(code).is_some()).count(), 41);
        // BPF_MOD, and a load of half a word.
        assert_eq!((operation(0x94), operation(0x28)), (None, None));
    }

    #[test]
    fn bytes_are_read_in_either_order() {
        let one = Instruction { code: 0x15, jt: 1, jf: 2, k: 0xc000_003e };
        assert_eq!(one.to_bytes(false), [0x15, 0, 1, 2, 0x3e, 0, 0, 0xc0]);
        for big_endian in [false, true] {
            assert_eq!(Instruction::from_bytes(one.to_bytes(big_endian), big_endian), one);
        }
    }
}
