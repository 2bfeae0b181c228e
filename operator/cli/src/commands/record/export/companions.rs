//! Companions of what was recorded: named, or allowed in a block of their own.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use portcullis_api::{RecordedProfile, SeccompDocument, SeccompRule};
use portcullis_profile::{Action, Profile, recording::Companions};

use crate::manifest;

/// Allows them by a rule of their own, the last one.
pub(super) fn allow(made: &mut RecordedProfile) {
    let rule = rule(&made.companions);
    if let (Some(rule), Some(document)) = (rule, &mut made.spec.profile) {
        document.syscalls.push(rule);
    }
}

/// Their rule, if a document ends with it.
pub(super) fn allowed(companions: &[Companions], document: &SeccompDocument) -> Option<SeccompRule> {
    rule(companions).filter(|rule| document.syscalls.last() == Some(rule))
}

/// A profile without that rule.
pub(super) fn without(mut profile: Profile, rule: Option<&SeccompRule>) -> Profile {
    if rule.is_some() {
        profile.syscalls.pop();
    }
    profile
}

/// That rule as the end of a manifest, with a reason for each kind.
pub(super) fn block(companions: &[Companions], rule: Option<&SeccompRule>, manifest: &str) -> Result<String> {
    let Some(rule) = rule else { return Ok(String::new()) };
    let item = manifest.lines().rfind(|line| line.trim_start().starts_with("- action:"));
    let item = item.context("the manifest has no rule")?;
    let indent = &item[..item.len() - item.trim_start().len()];
    let title = "Companions (--companions): not recorded, harmless, and made under another load.".to_owned();
    let reasons = companions.iter().map(|one| format!("- {}", reason(one)));
    let comments = std::iter::once(title).chain(reasons).map(|line| format!("{indent}# {line}\n"));
    let yaml = manifest::rule(rule)?;
    Ok(comments.chain(yaml.lines().map(|line| format!("{indent}{line}\n"))).collect())
}

/// Those that a profile lacks, in a sentence; none where there are none.
pub(super) fn named(companions: &[Companions]) -> Option<String> {
    let named: Vec<String> = companions.iter().map(reason).collect();
    (!named.is_empty()).then(|| {
        format!(
            "Not recorded, and likely to be made under another load (--companions allows them): {}",
            named.join("; ")
        )
    })
}

fn reason(one: &Companions) -> String {
    let Companions { kind, calls, with, depends_on } = one;
    format!("{} ({kind}, with {}: it depends on {depends_on})", calls.join(", "), with.join(", "))
}

fn rule(companions: &[Companions]) -> Option<SeccompRule> {
    let names: BTreeSet<&str> = companions.iter().flat_map(|one| one.calls.iter().copied()).collect();
    (!names.is_empty()).then(|| SeccompRule {
        names: names.into_iter().map(str::to_owned).collect(),
        action: Action::Allow.as_str().to_owned(),
        ..SeccompRule::default()
    })
}
