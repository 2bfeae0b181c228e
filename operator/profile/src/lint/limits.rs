//! Sizes: the kernel's, our own, and those of OCI artifacts.

use super::{Code, Findings, shortened, subject::Subject};
use crate::{
    Action, Arch, MAX_REVISION_BYTES,
    program::{self, MAX_INSTRUCTIONS},
};

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
    if bytes > MAX_REVISION_BYTES {
        findings.push(Code::DocumentTooLong, String::new(), || {
            format!("the rendered document has {bytes} bytes, over {MAX_REVISION_BYTES}")
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

/// The most instructions that libseccomp makes of the profile, and runc's stub adds.
fn instructions(subject: &Subject<'_>) -> usize {
    let profile = subject.profile;
    let architectures = match &profile.architectures[..] {
        // Whichever the node has, these are the largest tables.
        [] => &[Arch::X86],
        listed => listed,
    };
    program::bound(profile, architectures).instructions
}

#[cfg(test)]
mod tests;
