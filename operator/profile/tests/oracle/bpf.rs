//! Runs the classic BPF that libseccomp writes.

/// `struct sock_filter` of linux/filter.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Instruction {
    pub(crate) code: u16,
    pub(crate) jt: u8,
    pub(crate) jf: u8,
    pub(crate) k: u32,
}

pub(crate) const LOAD: u16 = 0x20;
pub(crate) const JUMP: u16 = 0x05;
pub(crate) const JUMP_EQUAL: u16 = 0x15;
pub(crate) const JUMP_GREATER: u16 = 0x25;
pub(crate) const JUMP_GREATER_OR_EQUAL: u16 = 0x35;
pub(crate) const JUMP_SET: u16 = 0x45;
pub(crate) const AND: u16 = 0x54;
pub(crate) const RETURN: u16 = 0x06;

/// Reads a program as `seccomp_export_bpf` writes it.
pub(crate) fn parse(bytes: &[u8]) -> Vec<Instruction> {
    assert_eq!(bytes.len() % 8, 0, "half an instruction");
    bytes
        .chunks_exact(8)
        .map(|one| Instruction {
            code: u16::from_ne_bytes([one[0], one[1]]),
            jt: one[2],
            jf: one[3],
            k: u32::from_ne_bytes([one[4], one[5], one[6], one[7]]),
        })
        .collect()
}

/// The return value for `struct seccomp_data` of linux/seccomp.h, on a little-endian machine.
pub(crate) fn run(program: &[Instruction], arch: u32, number: u32, arguments: &[u64; 6]) -> u32 {
    let mut data = [0; 16];
    (data[0], data[1]) = (number, arch);
    for (index, argument) in arguments.iter().enumerate() {
        (data[4 + 2 * index], data[5 + 2 * index]) = (*argument as u32, (argument >> 32) as u32);
    }
    let (mut at, mut accumulator) = (0, 0u32);
    loop {
        let Instruction { code, jt, jf, k } = program[at];
        at += 1;
        let mut jump = |holds: bool| at += usize::from(if holds { jt } else { jf });
        match code {
            LOAD => accumulator = data[k as usize / 4],
            AND => accumulator &= k,
            JUMP => at += k as usize,
            JUMP_EQUAL => jump(accumulator == k),
            JUMP_GREATER => jump(accumulator > k),
            JUMP_GREATER_OR_EQUAL => jump(accumulator >= k),
            JUMP_SET => jump(accumulator & k != 0),
            RETURN => return k,
            other => panic!("libseccomp doesn't write instruction {other:#x}"),
        }
    }
}
