//! What is said of a profile, in whatever form.

use std::collections::BTreeMap;

use portcullis_profile::{
    Arch,
    compare::Difference,
    explain::{self, Explanation, GROUPS, Reach},
};
use serde::Serialize;

/// Everything that is said of one profile.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document<'a> {
    pub(super) profile: &'a str,
    pub(super) architecture: Arch,
    /// What becomes of a call that no rule matches.
    pub(super) default: String,
    /// Architectures besides, through which calls can be made.
    pub(super) companions: Vec<Arch>,
    pub(super) calls: Calls,
    pub(super) runtime_default: Option<Against>,
    /// The denials on which a container keeps privileges that its pod gave up.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) keeps_privileges: Vec<String>,
    pub(super) groups: Vec<Group>,
    pub(super) arguments: Vec<Restriction>,
}

#[derive(Serialize)]
pub(super) struct Calls {
    pub(super) allowed: usize,
    #[serde(rename = "byArguments")]
    pub(super) by_arguments: usize,
    #[serde(rename = "leftToAnotherProcess")]
    pub(super) delegated: usize,
    pub(super) denied: usize,
}

#[derive(Serialize)]
pub(super) struct Against {
    /// Which one, in words.
    pub(super) source: String,
    /// What the profile lets through and the default doesn't, what matters most first.
    pub(super) beyond: Vec<Named>,
    /// What the default lets through and the profile doesn't, through the node's own architecture.
    pub(super) less: Vec<Named>,
}

/// A call that differs.
#[derive(Serialize)]
pub(super) struct Named {
    pub(super) call: String,
    /// With which arguments; empty for any.
    pub(super) when: Vec<String>,
    /// Through which architectures.
    pub(super) architectures: Vec<Arch>,
}

#[derive(Serialize)]
pub(super) struct Group {
    pub(super) name: &'static str,
    pub(super) why: &'static str,
    pub(super) calls: Vec<Call>,
}

#[derive(Serialize)]
pub(super) struct Call {
    pub(super) name: &'static str,
    /// `allowed`, `logged`, `byArguments` or `leftToAnotherProcess`.
    pub(super) reach: &'static str,
    /// Whether the runtime default denies it, or some of its arguments.
    pub(super) beyond: bool,
}

#[derive(Serialize)]
pub(super) struct Restriction {
    pub(super) call: &'static str,
    pub(super) words: String,
    /// Whether the filter is sure to do so.
    pub(super) certain: bool,
}

impl<'a> Document<'a> {
    pub(super) fn new(profile: &'a str, explanation: Explanation) -> Self {
        let Explanation { arch, default, companions, counts, groups, restrictions, against, kept } =
            explanation;
        let groups = groups.into_iter().map(|one| Group {
            name: one.group.name,
            why: one.group.why,
            calls: one
                .calls
                .into_iter()
                .map(|call| Call { name: call.name, reach: word(call.reach), beyond: call.beyond })
                .collect(),
        });
        Self {
            profile,
            architecture: arch,
            default: explain::outcome(default),
            companions,
            calls: Calls {
                allowed: counts.allowed,
                by_arguments: counts.depends,
                delegated: counts.delegated,
                denied: counts.denied,
            },
            runtime_default: against.map(|against| Against {
                source: against.with,
                beyond: named(&against.beyond),
                less: named(&of_node(&against.less, arch)),
            }),
            keeps_privileges: kept.iter().map(ToString::to_string).collect(),
            groups: groups.collect(),
            arguments: restrictions
                .into_iter()
                .map(|one| Restriction { call: one.name, words: one.words, certain: one.certain })
                .collect(),
        }
    }
}

/// Those through the node's own architecture: of another one that isn't listed every call is denied.
fn of_node(differences: &[Difference], arch: Arch) -> Vec<Difference> {
    differences.iter().filter(|difference| difference.arch == arch).cloned().collect()
}

fn word(reach: Reach) -> &'static str {
    match reach {
        Reach::Denied => "denied",
        Reach::Delegated => "leftToAnotherProcess",
        Reach::Depends => "byArguments",
        Reach::Logged => "logged",
        Reach::Allowed => "allowed",
    }
}

/// Differences by call: the gravest group first, then by name.
fn named(differences: &[Difference]) -> Vec<Named> {
    let mut calls: BTreeMap<(usize, String), Named> = BTreeMap::new();
    for difference in differences {
        let call = difference.name.map_or_else(|| "calls without a name".to_owned(), str::to_owned);
        let group = GROUPS.iter().position(|group| group.calls.contains(&call.as_str()));
        let entry = calls.entry((group.unwrap_or(GROUPS.len()), call.clone())).or_insert_with(|| Named {
            call,
            when: Vec::new(),
            architectures: Vec::new(),
        });
        if !entry.architectures.contains(&difference.arch) {
            entry.architectures.push(difference.arch);
        }
        if difference.in_words != "any arguments" && !entry.when.contains(&difference.in_words) {
            entry.when.push(difference.in_words.clone());
        }
    }
    calls.into_values().collect()
}
