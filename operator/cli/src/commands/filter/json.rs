//! Filters for programs.

use std::io::Write;

use anyhow::Result;
use portcullis_profile::{
    Arch,
    filter::{Reading, Standing, TooComplex},
};
use serde::Serialize;

use super::{Beside, Chain};
use crate::{commands::diff, output};

#[derive(Serialize)]
struct Document<'a> {
    source: &'a str,
    architecture: Arch,
    /// The oldest first.
    filters: Vec<Filter>,
    /// What they do together.
    together: Read,
    /// `asCommitted`, `looser`, `stricter`, `other` or `unknown`, where there is a profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    standing: Option<&'static str>,
    /// What differs: A is the profile, B the filters.
    #[serde(skip_serializing_if = "Option::is_none")]
    difference: Option<diff::json::Document<'a>>,
}

#[derive(Serialize)]
struct Filter {
    instructions: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    logs: Option<bool>,
    #[serde(flatten)]
    read: Read,
}

/// What was read of filters.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Read {
    /// Why nothing was.
    #[serde(skip_serializing_if = "Option::is_none")]
    too_complex: Option<String>,
    /// By architecture; calls through any other one kill the thread.
    architectures: Vec<Architecture>,
    /// Calls of which it can't be said exactly what happens to them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reservations: Vec<String>,
}

#[derive(Serialize)]
struct Architecture {
    architecture: Arch,
    calls: Vec<Call>,
    others: Vec<Others>,
}

#[derive(Serialize)]
struct Call {
    call: &'static str,
    number: u32,
    /// Conditions on arguments.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rules: Vec<Rule>,
    /// What happens otherwise.
    action: String,
    #[serde(skip_serializing_if = "is_true")]
    certain: bool,
}

#[derive(Serialize)]
struct Rule {
    arguments: String,
    action: String,
}

#[derive(Serialize)]
struct Others {
    from: u32,
    to: u32,
    action: String,
    #[serde(skip_serializing_if = "is_true")]
    certain: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_true(value: &bool) -> bool {
    *value
}

pub(super) fn write(chain: &Chain<'_>, beside: Option<&Beside>, out: &mut dyn Write) -> Result<()> {
    let filters = chain.source.filters.iter().zip(&chain.each).map(|(filter, reading)| Filter {
        instructions: filter.program.instructions().len(),
        logs: filter.logs,
        read: read(reading),
    });
    let document = Document {
        source: &chain.source.name,
        architecture: chain.arch,
        filters: filters.collect(),
        together: read(&chain.together),
        standing: beside.map(|beside| match beside.standing() {
            _ if !beside.is_known() => "unknown",
            Standing::Equal => "asCommitted",
            Standing::Looser => "looser",
            Standing::Stricter => "stricter",
            Standing::Incomparable => "other",
        }),
        difference: beside
            .map(|beside| diff::json::document([&beside.name, &chain.source.name], &beside.changes)),
    };
    output::json(&document, out)
}

fn read(reading: &Result<Reading, TooComplex>) -> Read {
    let reading = match reading {
        Ok(reading) => reading,
        Err(error) => {
            return Read {
                too_complex: Some(error.to_string()),
                architectures: Vec::new(),
                reservations: Vec::new(),
            };
        }
    };
    let architectures = reading.summaries().into_iter().map(|summary| Architecture {
        architecture: summary.arch,
        calls: summary
            .calls
            .into_iter()
            .map(|call| Call {
                call: call.name,
                number: call.number,
                rules: call
                    .rules
                    .into_iter()
                    .map(|(arguments, outcome)| Rule { arguments, action: outcome.to_string() })
                    .collect(),
                action: call.otherwise.to_string(),
                certain: call.certain,
            })
            .collect(),
        others: summary
            .others
            .into_iter()
            .map(|one| Others {
                from: one.from,
                to: one.to,
                action: one.outcome.to_string(),
                certain: one.certain,
            })
            .collect(),
    });
    Read {
        too_complex: None,
        architectures: architectures.collect(),
        reservations: reading.reservations().iter().map(ToString::to_string).collect(),
    }
}
