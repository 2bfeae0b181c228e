//! runc's prologue, as instructions: `libcontainer/seccomp/patchbpf/enosys_linux.go`, v1.5.1.

use std::collections::BTreeMap;

use libseccomp::ScmpSyscall;
use portcullis_profile::{Action, Arch, Profile};

use super::{
    NATIVE, audit_arch,
    bpf::{Instruction, JUMP, JUMP_EQUAL, JUMP_GREATER, JUMP_SET, LOAD, RETURN},
    scmp_arch,
};

const ENOSYS: u32 = 0x0005_0026;
const X32_BIT: u32 = 1 << 30;

/// `generatePatch`.
pub(crate) fn generate(profile: &Profile) -> Vec<Instruction> {
    if profile.default_errno_ret == Some(ENOSYS)
        || matches!(profile.default_action, Action::Allow | Action::Log | Action::Trace)
    {
        return Vec::new();
    }
    let mut program = vec![plain(LOAD, 4)];
    for (audit, last) in last_syscalls(profile) {
        let section = section(&last);
        program.push(Instruction { code: JUMP_EQUAL, jt: 0, jf: section.len() as u8, k: audit });
        program.extend(section);
    }
    program
}

/// `findLastSyscalls`: the native architecture is always among them, names that an architecture makes through
/// another call have negative numbers.
fn last_syscalls(profile: &Profile) -> BTreeMap<u32, BTreeMap<Arch, u32>> {
    let mut all: BTreeMap<u32, BTreeMap<Arch, u32>> = BTreeMap::new();
    for &arch in profile.architectures.iter().chain([&NATIVE]) {
        let numbers = profile.syscalls.iter().flat_map(|rule| &rule.names).filter_map(|name| {
            let number = ScmpSyscall::from_name_by_arch(name, scmp_arch(arch)).ok()?;
            u32::try_from(i32::from(number)).ok()
        });
        let largest = numbers.max().unwrap_or(0);
        if largest != 0 {
            all.entry(audit_arch(arch)).or_default().insert(arch, largest);
        }
    }
    all
}

/// `generateEnosysStub`, with plain jumps: the section of one audit architecture; it falls through to the filter.
fn section(last: &BTreeMap<Arch, u32>) -> Vec<Instruction> {
    let mut section = vec![plain(LOAD, 0)];
    match (last.get(&Arch::X86_64), last.get(&Arch::X32), last.values().next()) {
        (Some(&x86_64), Some(&x32), _) => section.extend([
            jump(JUMP_SET, X32_BIT, 1, 0),
            jump(JUMP_GREATER, x86_64, 1, 2),
            jump(JUMP_GREATER, x32, 0, 1),
            plain(RETURN, ENOSYS),
        ]),
        (Some(&x86_64), None, _) => section.extend([
            jump(JUMP_SET, X32_BIT, 2, 0),
            jump(JUMP_GREATER, x86_64, 0, 1),
            plain(RETURN, ENOSYS),
        ]),
        (None, Some(&x32), _) => section.extend([
            jump(JUMP_SET, X32_BIT, 0, 2),
            jump(JUMP_GREATER, x32, 0, 1),
            plain(RETURN, ENOSYS),
        ]),
        (None, None, Some(&other)) => {
            section.extend([jump(JUMP_GREATER, other, 0, 1), plain(RETURN, ENOSYS)])
        }
        (None, None, None) => {}
    }
    section.push(plain(JUMP, 0));
    section
}

const fn plain(code: u16, k: u32) -> Instruction {
    Instruction { code, jt: 0, jf: 0, k }
}

const fn jump(code: u16, k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction { code, jt, jf, k }
}
