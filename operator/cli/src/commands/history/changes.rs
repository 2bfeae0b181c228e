//! What changed between two revisions, call by call.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use anyhow::{Context as _, Result};
use portcullis_profile::{
    Profile,
    compare::{self, Difference, Relation},
    evaluate::{Passage, Runtime},
};

use crate::platform;

/// Names that a line of the summary shows; the rest are counted.
const NAMED: usize = 8;

/// What changed.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// The default action, where it changed: before and after.
    default: Option<(String, String)>,
    /// Where the newer one is looser.
    loosened: Vec<Difference>,
    /// Where the older one is.
    tightened: Vec<Difference>,
}

impl Changes {
    /// Compares two revisions, as runc loads them on nodes of the architectures that they list.
    pub(super) fn between(older: &str, newer: &str) -> Result<Self> {
        let parse = |content: &str| Profile::parse(content.as_bytes()).context("a revision can't be read");
        let (older, newer) = (parse(older)?, parse(newer)?);
        let mut changes = Self::default();
        let described = |profile: &Profile| match profile.default_errno_ret {
            Some(errno) => format!("{} with errno {errno}", profile.default_action),
            None => profile.default_action.to_string(),
        };
        let default = (described(&older), described(&newer));
        changes.default = (default.0 != default.1).then_some(default);
        for native in platform::natives([&older, &newer]) {
            let looser = |one, other| {
                compare::looser(one, other, Runtime::Runc, native, Relation::Strictness)
                    .context("the revisions can't be compared")
            };
            extend(&mut changes.loosened, looser(&newer, &older)?);
            extend(&mut changes.tightened, looser(&older, &newer)?);
        }
        Ok(changes)
    }

    /// In a line or a few.
    pub(super) fn summary(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some((before, after)) = &self.default {
            lines.push(format!("default: {before} -> {after}"));
        }
        let (loosened, tightened) = (by_name(&self.loosened), by_name(&self.tightened));
        let mut added = Vec::new();
        let (mut looser, mut stricter, mut changed) = (Vec::new(), Vec::new(), Vec::new());
        let mut removed = Vec::new();
        let names: BTreeSet<&String> = loosened.keys().chain(tightened.keys()).collect();
        for name in names {
            match (loosened.get(name), tightened.get(name)) {
                (Some(found), None) if wholly(found, |one| (one.mine.passage(), one.theirs.passage())) => {
                    added.push(name)
                }
                (None, Some(found)) if wholly(found, |one| (one.mine.passage(), one.theirs.passage())) => {
                    removed.push(name)
                }
                (Some(_), None) => looser.push(name),
                (None, Some(_)) => stricter.push(name),
                _ => changed.push(name),
            }
        }
        let parts = [
            ("allows", added),
            ("denies", removed),
            ("looser", looser),
            ("stricter", stricter),
            ("other arguments", changed),
        ];
        lines.extend(
            parts.into_iter().filter(|(_, names)| !names.is_empty()).map(|(what, names)| list(what, &names)),
        );
        if lines.is_empty() {
            lines.push(
                "no call is treated otherwise: the texts differ in errnos, flags or architectures".to_owned(),
            );
        }
        lines
    }

    /// Every difference, `+` where the newer one is looser and `-` where the older one is.
    pub(super) fn full(&self) -> Vec<String> {
        let mut lines: Vec<String> =
            self.default.iter().map(|(before, after)| format!("default: {before} -> {after}")).collect();
        lines.extend(self.loosened.iter().map(|difference| format!("+ {difference}")));
        // What the older one does stands first in its difference; people want to read what is done now.
        lines.extend(self.tightened.iter().map(|one| {
            let name = one.name.map_or_else(|| format!("call {}", one.number), str::to_owned);
            format!("- {name} on {} with {}: {} instead of {}", one.arch, one.condition, one.theirs, one.mine)
        }));
        lines
    }
}

/// An architecture can be reached from nodes of several kinds.
fn extend(all: &mut Vec<Difference>, more: Vec<Difference>) {
    for difference in more {
        if !all.contains(&difference) {
            all.push(difference);
        }
    }
}

fn by_name(differences: &[Difference]) -> BTreeMap<String, Vec<&Difference>> {
    let mut found: BTreeMap<String, Vec<&Difference>> = BTreeMap::new();
    for one in differences {
        let name = one.name.map_or_else(|| "calls without a name".to_owned(), str::to_owned);
        found.entry(name).or_default().push(one);
    }
    found
}

/// Whether the call was denied whatever its arguments, and is now permitted so.
fn wholly(differences: &[&Difference], passages: impl Fn(&Difference) -> (Passage, Passage)) -> bool {
    differences
        .iter()
        .all(|one| one.condition == "any arguments" && passages(one) == (Passage::Permitted, Passage::Denied))
}

fn list(what: &str, names: &[&String]) -> String {
    let mut line = format!("{what}: ");
    for (position, name) in names.iter().take(NAMED).enumerate() {
        // Writing to a String can't fail.
        let _ = write!(line, "{}{name}", if position == 0 { "" } else { ", " });
    }
    if names.len() > NAMED {
        let _ = write!(line, " and {} more", names.len() - NAMED);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(rules: &str) -> String {
        format!(
            r#"{{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_X86_64"],"syscalls":[{rules}]}}"#
        )
    }

    fn allow(names: &str, args: &str) -> String {
        format!(r#"{{"names":[{names}],"action":"SCMP_ACT_ALLOW","args":[{args}]}}"#)
    }

    #[test]
    fn calls_come_and_go_and_their_arguments_change() {
        let equals = |value: u32| format!(r#"{{"index":0,"value":{value},"op":"SCMP_CMP_EQ"}}"#);
        let older = profile(&[allow(r#""read","mount""#, ""), allow(r#""socket""#, &equals(1))].join(","));
        let newer =
            profile(&[allow(r#""read","mkdir","rmdir""#, ""), allow(r#""socket""#, &equals(2))].join(","));
        let changes = Changes::between(&older, &newer).unwrap();
        assert_eq!(changes.summary(), ["allows: mkdir, rmdir", "denies: mount", "other arguments: socket"]);
        let full = changes.full();
        assert!(
            full.contains(&"- mount on SCMP_ARCH_X86_64 with any arguments: SCMP_ACT_ERRNO(1) instead of SCMP_ACT_ALLOW".to_owned())
                || full.iter().any(|line| line.starts_with("- mount on SCMP_ARCH_X86_64 with any arguments: ")),
            "{full:#?}"
        );
        assert_eq!(full.iter().filter(|line| line.starts_with("+ mkdir")).count(), 1, "{full:#?}");
    }

    #[test]
    fn a_change_of_the_default_is_said_and_its_calls_are_counted() {
        let older = profile("");
        let newer = older.replace("SCMP_ACT_ERRNO", "SCMP_ACT_ALLOW");
        let summary = Changes::between(&older, &newer).unwrap().summary();
        assert_eq!(summary[0], "default: SCMP_ACT_ERRNO -> SCMP_ACT_ALLOW");
        assert!(summary[1].starts_with("allows: ") && summary[1].ends_with(" more"), "{summary:?}");
    }

    #[test]
    fn texts_can_differ_where_nothing_else_does() {
        let newer = profile("").replace('}', r#","flags":["SECCOMP_FILTER_FLAG_LOG"]}"#);
        assert!(
            Changes::between(&profile(""), &newer).unwrap().summary()[0]
                .starts_with("no call is treated otherwise")
        );
    }
}
