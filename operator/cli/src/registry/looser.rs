//! What a profile of somebody else's allows that the runtime default denies, or another baseline.
//!
//! A digest says that a profile is the one that an index or a tag names, not that it does any good: neither is signed.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use clap::Args;
use portcullis_profile::{
    Arch, Baseline, Profile,
    compare::{self, Relation, looser_unknown, reachable},
    docker::Context,
    evaluate::Runtime,
    runtime_defaults,
};

use crate::{
    baseline::Chosen,
    console::{self, Console},
};

/// Most calls that are named.
const MAX_NAMED: usize = 20;

/// How far a profile is trusted.
#[derive(Clone, Debug, Args)]
pub(crate) struct Trust {
    /// Take it although it allows what the runtime default denies; without this nothing is written, and the exit code is 1
    #[arg(long)]
    allow_looser: bool,
    #[command(flatten)]
    baseline: Chosen,
}

impl Trust {
    /// What profiles are compared with.
    ///
    /// # Errors
    /// Where it can't be read.
    pub(crate) fn baseline(&self, container: &Context) -> Result<Baseline> {
        self.baseline.read(None, container)
    }

    /// Says what a profile allows beyond the baseline, and whether it may be written. `None` is a document that can't be read.
    pub(crate) fn permits(
        &self,
        name: &str,
        profile: Option<&Profile>,
        baseline: &Baseline,
        console: &mut Console,
    ) -> bool {
        let beyond = profile.map_or_else(
            || vec!["whatever the runtime reads in it".to_owned()],
            |profile| beyond(profile, baseline),
        );
        if beyond.is_empty() {
            return true;
        }
        let shown: String = beyond.iter().take(MAX_NAMED).map(|line| format!("\n  {line}")).collect();
        let more = match beyond.len().saturating_sub(MAX_NAMED) {
            0 => String::new(),
            more => format!("\n  and {more} more: `explain` names all"),
        };
        console::note(&format!("{name} allows what {baseline} denies:{shown}{more}"));
        if !self.allow_looser {
            console.say("Nothing is written. Look at each of these, and say --allow-looser where the container needs it.");
        }
        self.allow_looser
    }
}

/// What a profile lets through and the baseline doesn't, on nodes of x86-64 and aarch64 and of every other architecture that it lists.
fn beyond(profile: &Profile, baseline: &Baseline) -> Vec<String> {
    let mut lines = BTreeSet::new();
    let mut calls: BTreeMap<(String, String), BTreeSet<&str>> = BTreeMap::new();
    let mut natives: Vec<Arch> = runtime_defaults().iter().map(|default| default.arch).collect();
    for &listed in &profile.architectures {
        if natives.iter().all(|&native| !reachable(native).contains(&listed)) {
            natives.push(listed);
        }
    }
    for arch in natives {
        let Some(theirs) = baseline.on(arch) else {
            lines.insert(format!("what can't be told of nodes of {arch}: {baseline} is not known of them"));
            continue;
        };
        match compare::looser(profile, theirs, Runtime::Runc, arch, Relation::Passage) {
            Ok(differences) => {
                for one in differences {
                    let call = one.name.map_or_else(|| format!("call {}", one.number), str::to_owned);
                    calls.entry((call, one.in_words)).or_default().insert(one.arch.as_str());
                }
            }
            Err(refusal) => {
                lines.insert(format!("what can't be told: {refusal}"));
            }
        }
        let unknown = looser_unknown(profile, theirs);
        lines.extend(unknown.into_iter().map(|name| format!("{name}, which is not known here")));
    }
    let listener =
        [("listenerPath", &profile.listener_path), ("listenerMetadata", &profile.listener_metadata)];
    for (field, _) in listener.iter().filter(|(_, value)| value.is_some()) {
        lines.insert(format!("{field}: a socket of the node gets the container's calls"));
    }
    let calls = calls.into_iter().map(|((call, words), arches)| {
        let when = if words == "any arguments" { String::new() } else { format!(" where {words}") };
        format!("{call}{when} ({})", Vec::from_iter(arches).join(", "))
    });
    lines.into_iter().chain(calls).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(document: &str) -> Vec<String> {
        beyond(&Profile::parse(document.as_bytes()).unwrap(), &Baseline::strictest())
    }

    #[test]
    fn every_way_beyond_the_runtime_default_is_told() {
        let allows = |call: &str| {
            format!(
                r#"{{"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64"], "syscalls": [
                    {{"names": ["read", "{call}"], "action": "SCMP_ACT_ALLOW"}}]}}"#
            )
        };
        assert_eq!(of(&allows("write")), [""; 0]);
        // A filter covers the architecture of the node that it is loaded on, listed or not.
        assert_eq!(of(&allows("bpf")), ["bpf (SCMP_ARCH_AARCH64, SCMP_ARCH_X86_64)"]);
        assert!(of(&allows("clone"))[0].starts_with("clone where flags"), "{:?}", of(&allows("clone")));
        assert_eq!(of(&allows("frobnicate")), ["frobnicate, which is not known here"]);
        let elsewhere = allows("write").replace("X86_64", "S390X");
        assert!(of(&elsewhere)[0].contains("nodes of SCMP_ARCH_S390X"), "{:?}", of(&elsewhere));
        assert!(of(r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#).len() > 50);
        for default in runtime_defaults() {
            assert_eq!(beyond(&default.profile, &Baseline::strictest()), [""; 0], "{}", default.arch);
        }
    }
}
