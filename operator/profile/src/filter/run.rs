//! Runs programs as the kernel does.

use super::{
    Program,
    check::{DATA_BYTES, SCRATCH},
    instruction::{Operation, Source},
    returned::{ACTION, ALLOW},
};
use crate::evaluate::ARGUMENTS;

/// `struct seccomp_data` of Linux' include/uapi/linux/seccomp.h: the call that a filter is asked about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Data {
    /// The call's number; x32's carry bit 30.
    pub number: u32,
    /// `AUDIT_ARCH_*` of include/uapi/linux/audit.h.
    pub arch: u32,
    /// The address of the instruction that makes the call.
    pub instruction_pointer: u64,
    /// The call's arguments.
    pub arguments: [u64; ARGUMENTS],
    /// Whether the machine has the high word of a 64-bit number first.
    pub big_endian: bool,
}

impl Data {
    /// The words as they lie in memory.
    fn words(&self) -> [u32; DATA_BYTES as usize / 4] {
        let mut words = [0; DATA_BYTES as usize / 4];
        (words[0], words[1]) = (self.number, self.arch);
        let long = [self.instruction_pointer].into_iter().chain(self.arguments);
        for (pair, value) in words[2..].as_chunks_mut::<2>().0.iter_mut().zip(long) {
            let (low, high) = (value as u32, (value >> 32) as u32);
            *pair = if self.big_endian { [high, low] } else { [low, high] };
        }
        words
    }
}

impl Program {
    /// The return value for a call.
    #[must_use]
    pub fn run(&self, data: &Data) -> u32 {
        self.run_on(&data.words())
    }

    fn run_on(&self, words: &[u32; DATA_BYTES as usize / 4]) -> u32 {
        let (mut at, mut a, mut x) = (0, 0u32, 0u32);
        let mut scratch = [0u32; SCRATCH];
        loop {
            let (operation, one) = self.operation(at);
            at += 1;
            let operand = |source| match source {
                Source::K => one.k,
                Source::X => x,
            };
            match operation {
                Operation::Load => a = words[one.k as usize / 4],
                Operation::LoadLength => a = DATA_BYTES,
                Operation::LoadLengthToX => x = DATA_BYTES,
                Operation::LoadConstant => a = one.k,
                Operation::LoadConstantToX => x = one.k,
                Operation::LoadScratch => a = scratch[one.k as usize],
                Operation::LoadScratchToX => x = scratch[one.k as usize],
                Operation::Store => scratch[one.k as usize] = a,
                Operation::StoreX => scratch[one.k as usize] = x,
                Operation::ToX => x = a,
                Operation::FromX => a = x,
                Operation::Negate => a = a.wrapping_neg(),
                Operation::Compute(alu, source) => match alu.apply(a, operand(source)) {
                    Some(value) => a = value,
                    // A division by 0 ends the program with 0: bpf_convert_filter in Linux' net/core/filter.c.
                    None => return 0,
                },
                Operation::Jump => at += one.k as usize,
                Operation::Branch(comparison, source) => {
                    at += usize::from(if comparison.holds(a, operand(source)) { one.jt } else { one.jf });
                }
                Operation::ReturnConstant => return one.k,
                Operation::Return => return a,
            }
        }
    }
}

/// The return value of which two the kernel goes by, where the first is the newer filter's: that of the stricter action, and the newer one
/// where they are equal.
///
/// Source: `seccomp_run_filters` in Linux' kernel/seccomp.c, which compares actions as signed numbers.
pub(super) const fn stricter(newer: u32, older: u32) -> u32 {
    if ((older & ACTION) as i32) < ((newer & ACTION) as i32) { older } else { newer }
}

/// What the kernel goes by for a task with several filters, the oldest first. `SECCOMP_RET_ALLOW` where there is none.
#[must_use]
pub fn enforced(filters: &[Program], data: &Data) -> u32 {
    let words = data.words();
    // What all allow is ALLOW without data.
    filters.iter().rev().fold(ALLOW, |so_far, filter| stricter(so_far, filter.run_on(&words)))
}

#[cfg(test)]
mod tests {
    use super::super::Instruction;
    use super::*;

    fn program(codes: &[(u16, u8, u8, u32)]) -> Program {
        let instructions = codes.iter().map(|&(code, jt, jf, k)| Instruction { code, jt, jf, k }).collect();
        Program::new(instructions).expect("the kernel takes it")
    }

    fn returns(value: u32) -> Program {
        program(&[(0x06, 0, 0, value)])
    }

    #[test]
    fn every_kind_of_instruction_does_what_the_kernel_does() {
        let data = Data {
            number: 7,
            arch: 0xc000_003e,
            instruction_pointer: 0x1122_3344_5566_7788,
            arguments: [0xaabb_ccdd_0000_0005, 2, 3, 4, 5, 6],
            big_endian: false,
        };
        let load = |k| (0x20, 0, 0, k);
        let ret = (0x16, 0, 0, 0);
        for (codes, expected) in [
            (vec![load(0), ret], 7),
            (vec![load(8), ret], 0x5566_7788),
            (vec![load(12), ret], 0x1122_3344),
            (vec![load(16), ret], 5),
            (vec![load(20), ret], 0xaabb_ccdd),
            (vec![(0x80, 0, 0, 0), ret], 64),
            (vec![(0x81, 0, 0, 0), (0x87, 0, 0, 0), ret], 64),
            (vec![(0x00, 0, 0, 9), (0x04, 0, 0, u32::MAX), ret], 8),
            (vec![(0x01, 0, 0, 9), load(0), (0x1c, 0, 0, 0), ret], 7u32.wrapping_sub(9)),
            (vec![load(0), (0x02, 0, 0, 3), (0x00, 0, 0, 1), (0x61, 0, 0, 3), (0x0c, 0, 0, 0), ret], 8),
            (vec![load(0), (0x07, 0, 0, 0), (0x03, 0, 0, 2), (0x60, 0, 0, 2), (0x24, 0, 0, 3), ret], 21),
            (vec![load(0), (0x34, 0, 0, 2), ret], 3),
            // X is 0: the program ends with 0.
            (vec![load(0), (0x3c, 0, 0, 0), (0x00, 0, 0, 1), ret], 0),
            (vec![load(0), (0x84, 0, 0, 0), ret], 7u32.wrapping_neg()),
            (vec![load(0), (0x44, 0, 0, 8), (0xa4, 0, 0, 1), (0x54, 0, 0, 0xe), ret], 14),
            (vec![load(0), (0x64, 0, 0, 4), (0x74, 0, 0, 1), ret], 56),
            (vec![(0x01, 0, 0, 33), load(0), (0x6c, 0, 0, 0), ret], 14),
            (vec![load(0), (0x25, 0, 1, 7), (0x06, 0, 0, 1), (0x35, 0, 1, 7), (0x06, 0, 0, 2), ret], 2),
            (vec![load(0), (0x45, 1, 0, 8), (0x05, 0, 0, 1), (0x06, 0, 0, 1), (0x06, 0, 0, 2)], 2),
        ] {
            assert_eq!(program(&codes).run(&data), expected, "{codes:x?}");
        }
        let big = Data { big_endian: true, ..data };
        assert_eq!(program(&[load(16), ret]).run(&big), 0xaabb_ccdd);
    }

    #[test]
    fn the_strictest_filter_decides_and_the_newest_among_equals() {
        const ORDER: [u32; 8] = [
            0x8000_0000,
            0x0000_0000,
            0x0003_0000,
            0x0005_0000,
            0x7fc0_0000,
            0x7ff0_0000,
            0x7ffc_0000,
            0x7fff_0000,
        ];
        let data = Data::default();
        for (at, &strict) in ORDER.iter().enumerate() {
            for &loose in &ORDER[at..] {
                for chain in [[strict, loose], [loose, strict]] {
                    assert_eq!(enforced(&chain.map(returns), &data), strict, "{chain:x?}");
                }
            }
        }
        let equal = [0x0005_0001, 0x0005_0026].map(returns);
        assert_eq!(enforced(&equal, &data), 0x0005_0026);
        assert_eq!(enforced(&[], &data), 0x7fff_0000);
    }
}
