//! Differences for programs.

use std::{collections::BTreeSet, io::Write};

use anyhow::Result;
use portcullis_profile::{
    Arch,
    compare::{Change, Changes},
};
use serde::Serialize;

use super::{entries::entries, text::in_words};
use crate::output;

/// The whole answer.
#[derive(Serialize)]
pub(in crate::commands) struct Document<'a> {
    a: &'a str,
    b: &'a str,
    /// Whether B lets a call, or an argument, get further.
    looser: bool,
    calls: Vec<Call>,
    /// Names that no table here has.
    #[serde(rename = "unknownNames", skip_serializing_if = "Vec::is_empty")]
    names: Vec<Name<'a>>,
    /// Denials of B on which a container keeps privileges that its pod gave up.
    #[serde(rename = "keepsPrivileges", skip_serializing_if = "BTreeSet::is_empty")]
    keeps_privileges: BTreeSet<String>,
    architectures: Vec<Architecture>,
    fields: Vec<Field<'a>>,
    same: usize,
}

#[derive(Serialize)]
struct Call {
    call: String,
    relation: &'static str,
    architectures: Vec<Arch>,
    differences: Vec<Difference>,
}

#[derive(Serialize)]
struct Name<'a> {
    name: &'a str,
    relation: &'static str,
}

#[derive(Serialize)]
struct Difference {
    arguments: String,
    /// Decimal strings: many readers of JSON keep 53 bits of a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    example: Option<Vec<String>>,
    a: String,
    b: String,
    certain: bool,
}

#[derive(Serialize)]
struct Architecture {
    architecture: Arch,
    #[serde(rename = "onlyIn")]
    only_in: &'static str,
    calls: usize,
}

#[derive(Serialize)]
struct Field<'a> {
    field: &'static str,
    a: &'a str,
    b: &'a str,
}

pub(super) fn write(names: [&str; 2], changes: &Changes, out: &mut dyn Write) -> Result<()> {
    output::json(&document(names, changes), out)
}

/// What A and B are called, and do differently.
pub(in crate::commands) fn document<'a>([a, b]: [&'a str; 2], changes: &'a Changes) -> Document<'a> {
    let calls = entries(&changes.calls).into_iter().map(|entry| Call {
        relation: relation(entry.change),
        differences: entry
            .differences
            .iter()
            .map(|one| Difference {
                arguments: one.in_words.clone(),
                example: one.arguments.map(|arguments| arguments.iter().map(u64::to_string).collect()),
                a: one.mine.to_string(),
                b: one.theirs.to_string(),
                certain: one.certain,
            })
            .collect(),
        call: entry.call,
        architectures: entry.arches,
    });
    Document {
        a,
        b,
        looser: changes.is_looser(),
        calls: calls.collect(),
        keeps_privileges: in_words(changes),
        names: changes
            .names
            .iter()
            .map(|one| Name { name: &one.name, relation: relation(one.change) })
            .collect(),
        architectures: changes
            .architectures
            .iter()
            .map(|one| Architecture {
                architecture: one.arch,
                only_in: if one.in_b { "b" } else { "a" },
                calls: one.calls,
            })
            .collect(),
        fields: changes
            .fields
            .iter()
            .map(|field| Field { field: field.field, a: &field.a, b: &field.b })
            .collect(),
        same: changes.same,
    }
}

const fn relation(change: Change) -> &'static str {
    match change {
        Change::OnlyInB => "onlyInB",
        Change::Looser => "looser",
        Change::Mixed => "mixed",
        Change::Stricter => "stricter",
        Change::OnlyInA => "onlyInA",
        Change::Otherwise => "otherwise",
    }
}
