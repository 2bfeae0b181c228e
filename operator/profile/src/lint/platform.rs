//! Architectures and flags.

use super::{Code, Findings, subject::Subject};
use crate::{Arch, Flag, evaluate, syscalls};

/// Architectures whose kernels run the programs of others, as runtimes' own defaults list them.
///
/// Source: `arches` in containerd's contrib/seccomp/seccomp_default.go.
const COMPANIONS: &[(Arch, &[Arch])] = &[
    (Arch::X86_64, &[Arch::X86, Arch::X32]),
    (Arch::Aarch64, &[Arch::Arm]),
    (Arch::S390x, &[Arch::S390]),
    (Arch::Mips64, &[Arch::Mips, Arch::Mips64n32]),
    (Arch::Mipsel64, &[Arch::Mipsel, Arch::Mipsel64n32]),
];

pub(super) fn check(subject: &Subject<'_>, findings: &mut Findings) {
    architectures(subject, findings);
    byte_order(subject, findings);
    flags(subject, findings);
}

fn architectures(subject: &Subject<'_>, findings: &mut Findings) {
    let listed = &subject.profile.architectures;
    let path = || "architectures".to_owned();
    if listed.is_empty() {
        findings.push(Code::NoArchitectures, path(), || "is empty".to_owned());
        return;
    }
    for arch in subject.context.node_architectures.iter().filter(|arch| !listed.contains(arch)) {
        findings.push(Code::NodeArchitectureMissing, path(), || format!("{arch} of some nodes isn't listed"));
    }
    for (arch, companions) in COMPANIONS.iter().filter(|(arch, _)| listed.contains(arch)) {
        let missing: Vec<&str> =
            companions.iter().filter(|arch| !listed.contains(arch)).map(|arch| arch.as_str()).collect();
        if !missing.is_empty() {
            findings.push(Code::CompanionMissing, path(), || {
                let are = if missing.len() == 1 { "isn't" } else { "aren't" };
                format!("{} {are} listed beside {arch}", missing.join(" and "))
            });
        }
    }
    for (position, arch) in listed.iter().enumerate().filter(|(_, arch)| !syscalls::has_table(**arch)) {
        findings.push(Code::NoTable, format!("architectures[{position}]"), || {
            format!("there is no table of {arch}'s calls")
        });
    }
}

fn byte_order(subject: &Subject<'_>, findings: &mut Findings) {
    let listed = &subject.profile.architectures;
    let big = listed.iter().find(|&&arch| evaluate::is_big_endian(arch));
    let little = listed.iter().find(|&&arch| !evaluate::is_big_endian(arch));
    if let (Some(big), Some(little)) = (big, little) {
        findings.push(Code::MixedByteOrder, "architectures".to_owned(), || {
            format!("{big} is big-endian and {little} is not")
        });
    }
}

fn flags(subject: &Subject<'_>, findings: &mut Findings) {
    for (position, flag) in subject.profile.flags.iter().enumerate() {
        let needed = if *flag == Flag::WaitKillableRecv { (1, 5) } else { (1, 2) };
        if subject.context.oldest_runc.is_none_or(|oldest| oldest < needed) {
            findings.push(Code::FlagNeedsRunc, format!("flags[{position}]"), || {
                let (major, minor) = needed;
                format!("{flag} needs runc {major}.{minor}")
            });
        }
    }
}
