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
    // Most profiles are far from the limit, and rendering takes longer than half of all the checks.
    let bytes = if at_most(subject) > MAX_REVISION_BYTES { subject.profile.render().len() } else { 0 };
    if bytes > MAX_REVISION_BYTES {
        findings.push(Code::DocumentTooLong, String::new(), || {
            format!("the rendered document has {bytes} bytes, over {MAX_REVISION_BYTES}")
        });
    }
    artifact(subject, findings);
}

/// More bytes than the rendered document has: what stands around names, values and words is taken for longer than it is, and each
/// byte of a text for an escape.
fn at_most(subject: &Subject<'_>) -> usize {
    const ESCAPE: usize = 6;
    const DOCUMENT: usize = 4096;
    const RULE: usize = 256;
    let profile = subject.profile;
    let listener = [&profile.listener_path, &profile.listener_metadata];
    let rules = profile.syscalls.iter().map(|rule| {
        // The canonical form may give each name a rule of its own, with all conditions.
        let around = (1 + rule.args.len()) * RULE;
        around + rule.names.iter().map(|name| ESCAPE * name.len() + around).sum::<usize>()
    });
    DOCUMENT
        + listener.into_iter().flatten().map(|text| ESCAPE * text.len()).sum::<usize>()
        + (profile.architectures.len() + profile.flags.len()) * RULE
        + rules.sum::<usize>()
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
