//! Sizes: the kernel's, our own, and those of OCI artifacts.

use super::{Code, Findings, shortened, subject::Subject};
use crate::{
    Action, Arch, MAX_DOCUMENT_BYTES, Operator, Rule,
    syscalls::{self, Lookup},
};

/// `BPF_MAXINSNS` of Linux' include/uapi/linux/bpf_common.h.
const MAX_INSTRUCTIONS: usize = 4096;

/// Entries for one call in an artifact (KEP-6061).
const MAX_ARTIFACT_ENTRIES: usize = 128;

pub(super) fn check(subject: &Subject<'_>, findings: &mut Findings) {
    let estimate = instructions(subject);
    if estimate > MAX_INSTRUCTIONS {
        findings.push(Code::ProgramTooLong, "syscalls".to_owned(), || {
            format!("the filter is estimated at {estimate} instructions at most, over {MAX_INSTRUCTIONS}")
        });
    }
    let bytes = subject.profile.render().len();
    if bytes > MAX_DOCUMENT_BYTES {
        findings.push(Code::DocumentTooLong, String::new(), || {
            format!("the rendered document has {bytes} bytes, over {MAX_DOCUMENT_BYTES}")
        });
    }
    artifact(subject, findings);
}

fn artifact(subject: &Subject<'_>, findings: &mut Findings) {
    let profile = subject.profile;
    if let Some((position, _)) = subject.rules().find(|(_, rule)| rule.action == Action::Notify) {
        findings.push(Code::NoArtifact, format!("syscalls[{position}].action"), || {
            "is SCMP_ACT_NOTIFY".to_owned()
        });
    }
    for (field, value) in
        [("listenerPath", &profile.listener_path), ("listenerMetadata", &profile.listener_metadata)]
    {
        if value.is_some() {
            findings.push(Code::NoArtifact, field.to_owned(), || "is a listener's field".to_owned());
        }
    }
    for (name, rules) in subject.calls().filter(|(_, rules)| rules.len() > MAX_ARTIFACT_ENTRIES) {
        findings.push(Code::NoArtifact, "syscalls".to_owned(), || {
            format!("{} has {} entries, over {MAX_ARTIFACT_ENTRIES}", shortened(name), rules.len())
        });
    }
}

/// The most instructions that libseccomp makes of the profile, and runc's stub adds; the tests hold it against libseccomp.
///
/// Source: libseccomp's `src/gen_bpf.c`: for each architecture a prologue and a branch for each call, for each
/// condition a load, a mask and a branch for each half; runc's `libcontainer/seccomp/patchbpf/enosys_linux.go`.
fn instructions(subject: &Subject<'_>) -> usize {
    const PROLOGUE: usize = 16;
    const CALL: usize = 2;
    const CONDITION: usize = 6;
    let profile = subject.profile;
    let mut architectures: Vec<Arch> = profile.architectures.clone();
    if architectures.is_empty() {
        // Whichever the node has, these are the largest tables.
        architectures.push(Arch::X86);
    }
    architectures.sort_unstable();
    architectures.dedup();
    let rule_size = |rule: &Rule| {
        let conditions =
            rule.args.iter().map(|arg| if arg.op == Operator::MaskedEq { CONDITION } else { CONDITION - 1 });
        1 + conditions.sum::<usize>()
    };
    let mut sizes = 0;
    for (name, rules) in subject.calls() {
        let size: usize = match subject.decider(rules) {
            Some(_) => CALL,
            None => CALL + rules.iter().filter_map(|&rule| subject.rule(rule)).map(rule_size).sum::<usize>(),
        };
        for &arch in &architectures {
            sizes += match syscalls::lookup(arch, name) {
                // Once by number, and once through the carrier, where its number has to be compared too.
                Lookup::Known { number, multiplexed } => {
                    size * usize::from(number.is_some())
                        + (size + CONDITION) * usize::from(multiplexed.is_some())
                }
                Lookup::NoTable => size,
                Lookup::Elsewhere | Lookup::Unknown => 0,
            };
        }
    }
    PROLOGUE * architectures.len() + sizes
}

#[cfg(test)]
mod tests;
