//! Programs that the kernel takes.

use std::fmt;

use super::instruction::{Alu, INSTRUCTION_BYTES, Instruction, Operation, Source};
use crate::program::MAX_INSTRUCTIONS;

/// How many bytes a `struct seccomp_data` has: include/uapi/linux/seccomp.h.
pub(super) const DATA_BYTES: u32 = 64;
/// How many words of scratch memory there are: `BPF_MEMWORDS` of include/uapi/linux/filter.h.
pub(super) const SCRATCH: usize = 16;

/// A program that the kernel takes as a filter: it ends whatever it is given, and reads nothing but `struct seccomp_data`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Program {
    instructions: Vec<Instruction>,
}

/// Why the kernel doesn't take a program (`EINVAL`).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reject {
    /// No instruction.
    #[error("the program is empty")]
    Empty,
    /// Too many.
    #[error("the program has {0} instructions, and the kernel takes {MAX_INSTRUCTIONS}")]
    TooLong(usize),
    /// The bytes are no whole number of instructions.
    #[error(
        "the program has {0} bytes, and each instruction has {INSTRUCTION_BYTES}: it is cut off, or no program of classic BPF"
    )]
    Cut(usize),
    /// One that it doesn't take.
    #[error("instruction {at}: {fault}")]
    Instruction {
        /// Its index, from 0.
        at: usize,
        /// What is wrong with it.
        fault: Fault,
    },
}

/// What is wrong with an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// seccomp(2) takes no such instruction.
    Code(u16),
    /// A place that `struct seccomp_data` doesn't have, or not a whole word's.
    Load(u32),
    /// A word that the scratch memory doesn't have.
    Scratch(u32),
    /// A word of scratch memory that not every way here has written.
    Unwritten(u32),
    /// A division by 0.
    Division,
    /// A shift by more bits than there are.
    Shift(u32),
    /// A jump beyond the last instruction.
    Jump,
    /// The last instruction doesn't return.
    NoReturn,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "{code:#06x} is no instruction that seccomp takes"),
            Self::Load(k) => write!(
                f,
                "it loads from byte {k}, and seccomp_data has whole words at 0, 4 and so on to {}",
                DATA_BYTES - 4
            ),
            Self::Scratch(k) => write!(f, "it uses scratch word {k}, and there are {SCRATCH}"),
            Self::Unwritten(k) => {
                write!(f, "it reads scratch word {k}, which not every way here has written")
            }
            Self::Division => write!(f, "it divides by 0"),
            Self::Shift(k) => write!(f, "it shifts by {k} bits, and a word has 32"),
            Self::Jump => write!(f, "it jumps beyond the last instruction"),
            Self::NoReturn => write!(f, "the last instruction doesn't return"),
        }
    }
}

impl Program {
    /// Takes instructions for a program.
    ///
    /// # Errors
    /// Where the kernel doesn't take it. Source: `bpf_check_basics_ok`, `bpf_check_classic` and `check_load_and_stores` in Linux'
    /// net/core/filter.c, `seccomp_check_filter` in kernel/seccomp.c.
    pub fn new(instructions: Vec<Instruction>) -> Result<Self, Reject> {
        match instructions.len() {
            0 => return Err(Reject::Empty),
            length if length > MAX_INSTRUCTIONS => return Err(Reject::TooLong(length)),
            _ => {}
        }
        for (at, one) in instructions.iter().enumerate() {
            check(*one, instructions.len() - 1 - at).map_err(|fault| Reject::Instruction { at, fault })?;
        }
        let at = instructions.len() - 1;
        let last = instructions[at].operation();
        if !matches!(last, Some(Operation::Return | Operation::ReturnConstant)) {
            return Err(Reject::Instruction { at, fault: Fault::NoReturn });
        }
        check_scratch(&instructions)?;
        Ok(Self { instructions })
    }

    /// Reads a program as it lies in memory, and as libseccomp's `seccomp_export_bpf` writes it.
    ///
    /// # Errors
    /// As [`Program::new`], and where the bytes are no whole number of instructions.
    pub fn from_bytes(bytes: &[u8], big_endian: bool) -> Result<Self, Reject> {
        let (whole, rest) = bytes.as_chunks::<INSTRUCTION_BYTES>();
        if !rest.is_empty() {
            return Err(Reject::Cut(bytes.len()));
        }
        if whole.len() > MAX_INSTRUCTIONS {
            return Err(Reject::TooLong(whole.len()));
        }
        Self::new(whole.iter().map(|one| Instruction::from_bytes(*one, big_endian)).collect())
    }

    /// How it lies in the memory of a machine.
    #[must_use]
    pub fn to_bytes(&self, big_endian: bool) -> Vec<u8> {
        self.instructions.iter().flat_map(|one| one.to_bytes(big_endian)).collect()
    }

    /// Its instructions, of which there are 1 to 4096.
    #[must_use]
    pub fn instructions(&self) -> &[Instruction] {
        &self.instructions
    }

    /// What the instruction at a place does.
    pub(super) fn operation(&self, at: usize) -> (Operation, Instruction) {
        let one = self.instructions[at];
        // `Program::new` takes no other.
        (one.operation().unwrap_or(Operation::ReturnConstant), one)
    }
}

/// Checks one instruction, which `left` others follow.
fn check(one: Instruction, left: usize) -> Result<(), Fault> {
    let operation = one.operation().ok_or(Fault::Code(one.code))?;
    let beyond = |distance: usize| distance >= left;
    match operation {
        Operation::Load if one.k >= DATA_BYTES || !one.k.is_multiple_of(4) => Err(Fault::Load(one.k)),
        Operation::LoadScratch | Operation::LoadScratchToX | Operation::Store | Operation::StoreX
            if one.k as usize >= SCRATCH =>
        {
            Err(Fault::Scratch(one.k))
        }
        Operation::Compute(Alu::Div, Source::K) if one.k == 0 => Err(Fault::Division),
        Operation::Compute(Alu::ShiftLeft | Alu::ShiftRight, Source::K) if one.k >= 32 => {
            Err(Fault::Shift(one.k))
        }
        Operation::Jump if beyond(one.k as usize) => Err(Fault::Jump),
        Operation::Branch(..) if beyond(one.jt.into()) || beyond(one.jf.into()) => Err(Fault::Jump),
        _ => Ok(()),
    }
}

/// Checks that every word of scratch memory is written before it is read, along every way. As the kernel does it: what stands behind a
/// jump and is reached by no other counts as reached with everything written.
fn check_scratch(instructions: &[Instruction]) -> Result<(), Reject> {
    let mut reached = vec![u16::MAX; instructions.len()];
    let mut written = 0;
    for (at, one) in instructions.iter().enumerate() {
        written &= reached[at];
        match one.operation() {
            Some(Operation::Store | Operation::StoreX) => written |= 1 << one.k,
            Some(Operation::LoadScratch | Operation::LoadScratchToX) if written & 1 << one.k == 0 => {
                return Err(Reject::Instruction { at, fault: Fault::Unwritten(one.k) });
            }
            Some(Operation::Jump) => {
                reached[at + 1 + one.k as usize] &= written;
                written = u16::MAX;
            }
            Some(Operation::Branch(..)) => {
                reached[at + 1 + usize::from(one.jt)] &= written;
                reached[at + 1 + usize::from(one.jf)] &= written;
                written = u16::MAX;
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(code: u16, jt: u8, jf: u8, k: u32) -> Instruction {
        Instruction { code, jt, jf, k }
    }

    const ALLOW: Instruction = Instruction { code: 0x06, jt: 0, jf: 0, k: 0x7fff_0000 };

    #[test]
    fn what_the_kernel_refuses_is_refused_by_its_place() {
        let at = |program: Vec<Instruction>| match Program::new(program) {
            Err(Reject::Instruction { at, fault }) => (at, fault),
            other => panic!("{other:?}"),
        };
        assert_eq!(at(vec![one(0x94, 0, 0, 3), ALLOW]), (0, Fault::Code(0x94)));
        assert_eq!(at(vec![one(0x20, 0, 0, 64), ALLOW]), (0, Fault::Load(64)));
        assert_eq!(at(vec![one(0x20, 0, 0, 2), ALLOW]), (0, Fault::Load(2)));
        assert_eq!(at(vec![ALLOW, one(0x02, 0, 0, 16), ALLOW]), (1, Fault::Scratch(16)));
        assert_eq!(at(vec![one(0x60, 0, 0, 3), ALLOW]), (0, Fault::Unwritten(3)));
        assert_eq!(at(vec![one(0x34, 0, 0, 0), ALLOW]), (0, Fault::Division));
        assert_eq!(at(vec![one(0x64, 0, 0, 32), ALLOW]), (0, Fault::Shift(32)));
        assert_eq!(at(vec![one(0x05, 0, 0, 1), ALLOW]), (0, Fault::Jump));
        assert_eq!(at(vec![one(0x15, 0, 1, 1), ALLOW]), (0, Fault::Jump));
        assert_eq!(at(vec![ALLOW, one(0x20, 0, 0, 0)]), (1, Fault::NoReturn));
        // The last instruction's own jump leads nowhere.
        assert_eq!(at(vec![ALLOW, one(0x15, 0, 0, 0)]), (1, Fault::Jump));
    }

    #[test]
    fn lengths_are_the_kernels() {
        assert_eq!(Program::new(Vec::new()), Err(Reject::Empty));
        assert!(Program::new(vec![ALLOW; 4096]).is_ok());
        assert_eq!(Program::new(vec![ALLOW; 4097]), Err(Reject::TooLong(4097)));
        assert_eq!(Program::from_bytes(&[0; 12], false), Err(Reject::Cut(12)));
    }

    #[test]
    fn scratch_is_written_on_every_way_to_a_read() {
        let read = [one(0x60, 0, 0, 0), ALLOW];
        let store = one(0x02, 0, 0, 0);
        // One way jumps over the store.
        let over = [&[one(0x15, 1, 0, 0), store][..], &read].concat();
        assert_eq!(Program::new(over), Err(Reject::Instruction { at: 2, fault: Fault::Unwritten(0) }));
        let both = [&[store, one(0x15, 1, 0, 0), store][..], &read].concat();
        assert!(Program::new(both).is_ok());
        // Nothing reaches what stands behind a jump.
        let unreached = [&[one(0x05, 0, 0, 1), one(0x61, 0, 0, 5), ALLOW][..]].concat();
        assert!(Program::new(unreached).is_ok());
    }
}
