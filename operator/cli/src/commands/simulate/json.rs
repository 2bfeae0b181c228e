//! The answer for programs.

use std::{collections::BTreeMap, io::Write};

use anyhow::Result;
use portcullis_profile::{
    Arch, Profile,
    evaluate::{ARGUMENTS, Decision, Outcome, Reason, Runtime},
    program::{MAX_INSTRUCTIONS, MAX_STACK, ProgramBound},
    simulate::{Made, Stopped, Summary},
};
use serde::Serialize;

use super::{
    Answer, Simulated,
    one::{self, Decided},
    trace::{self, Group},
    words,
};
use crate::output;

#[derive(Serialize)]
struct Document<'a> {
    profile: &'a str,
    /// The node's.
    architecture: Arch,
    /// Whether every call passes, and the filter fits.
    passes: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    filter: Option<Size>,
    #[serde(flatten)]
    simulated: Option<Simulation>,
}

/// What the filter can take at most of the kernel's limits, in instructions.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Size {
    instructions: usize,
    max_instructions: usize,
    stack: usize,
    max_stack: usize,
    longest_path: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Simulation {
    Call {
        #[serde(flatten)]
        call: Call,
        decisions: Vec<Decides>,
    },
    Traces(Vec<Trace>),
}

#[derive(Serialize)]
struct Call {
    /// As people read it: names for numbers, as far as there are any.
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'static str>,
    number: u32,
    architecture: Arch,
    /// Decimal strings, as many readers of JSON keep 53 bits of a number; `null` where the trace doesn't tell.
    arguments: [Option<String>; ARGUMENTS],
}

/// What runtimes' filters do with a call.
#[derive(Serialize)]
struct Decides {
    runtimes: Vec<&'static str>,
    #[serde(flatten)]
    what: What,
}

#[derive(Serialize)]
struct What {
    action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    errno: Option<u16>,
    passes: bool,
    reason: &'static str,
    /// The rule that decides, its index in `syscalls`.
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<usize>,
    /// What may happen besides, where rules leave it open.
    #[serde(skip_serializing_if = "Option::is_none")]
    strictest: Option<String>,
    text: String,
}

/// What runtimes' filters do to an application.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Trace {
    runtimes: Vec<&'static str>,
    passes: bool,
    calls: u64,
    /// Calls that depend on arguments which the trace doesn't tell.
    untold: u64,
    actions: BTreeMap<&'static str, u64>,
    /// Distinct calls that don't pass, or may not.
    stopped: Vec<StoppedCall>,
    /// Calls that don't pass and were not told apart.
    more: u64,
}

#[derive(Serialize)]
struct StoppedCall {
    count: u64,
    /// The line of the first one.
    line: u64,
    #[serde(flatten)]
    call: Call,
    /// Absent where it depends on arguments that the trace doesn't tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<What>,
}

pub(super) fn write(answer: &Answer<'_>, out: &mut dyn Write) -> Result<()> {
    let profile = &answer.loaded.profile;
    let document = Document {
        profile: &answer.loaded.name,
        architecture: answer.native,
        passes: answer.passes(),
        filter: answer.bound.as_ref().map(size),
        simulated: match &answer.simulated {
            Simulated::Nothing => None,
            Simulated::One(decided) => Some(decided_call(decided, profile)),
            Simulated::Traces(groups) => {
                Some(Simulation::Traces(groups.iter().map(|group| traced(group, profile)).collect()))
            }
        },
    };
    output::json(&document, out)
}

fn size(bound: &ProgramBound) -> Size {
    Size {
        instructions: bound.instructions,
        max_instructions: MAX_INSTRUCTIONS,
        stack: bound.instructions + super::STACKED_WITH,
        max_stack: MAX_STACK,
        longest_path: bound.longest_path,
    }
}

fn runtimes(runtimes: &[Runtime]) -> Vec<&'static str> {
    runtimes.iter().copied().map(words::runtime).collect()
}

fn call(arch: Arch, number: u32, arguments: [Option<u64>; ARGUMENTS]) -> Call {
    Call {
        text: words::call_with(arch, number, &arguments),
        name: portcullis_profile::syscalls::name(arch, number),
        number,
        architecture: arch,
        arguments: arguments.map(|value| value.map(|value| value.to_string())),
    }
}

fn what(decision: &Decision, profile: &Profile, name: &str) -> What {
    let (reason, rule, strictest) = match decision.reason {
        Reason::Default => ("default", None, None),
        Reason::Rule(index) => ("rule", Some(index), None),
        Reason::UnlistedArchitecture => ("unlistedArchitecture", None, None),
        Reason::EnosysStub => ("enosysStub", None, None),
        Reason::Contested { strictest } => ("contested", None, Some(strictest.to_string())),
    };
    let outcome: Outcome = decision.outcome;
    What {
        action: outcome.action().as_str(),
        errno: outcome.errno(),
        passes: one::passes(decision),
        reason,
        rule,
        strictest,
        text: words::reason(decision, profile, name),
    }
}

fn decided_call(decided: &Decided, profile: &Profile) -> Simulation {
    let Decided { arch, number, arguments, decisions } = decided;
    let name = words::call(*arch, *number);
    let decisions = decisions
        .iter()
        .map(|(by, decision)| Decides { runtimes: runtimes(by), what: what(decision, profile, &name) });
    Simulation::Call { call: call(*arch, *number, arguments.map(Some)), decisions: decisions.collect() }
}

fn traced(group: &Group, profile: &Profile) -> Trace {
    let Group { runtimes: by, summary } = group;
    let Summary { calls, outcomes, untold, more, .. } = summary;
    let actions =
        outcomes.values().filter_map(|(outcome, count)| Some((outcome.as_ref()?.action().as_str(), *count)));
    let stopped = trace::stopped(summary).into_iter().map(|stopped| {
        let Stopped { count, first: Made { line, arch, number, arguments }, decision } = stopped;
        let name = words::call(*arch, *number);
        StoppedCall {
            count: *count,
            line: *line,
            call: call(*arch, *number, *arguments),
            decision: decision.as_ref().map(|decision| what(decision, profile, &name)),
        }
    });
    Trace {
        runtimes: runtimes(by),
        passes: summary.lives(),
        calls: *calls,
        untold: *untold,
        actions: actions.collect(),
        stopped: stopped.collect(),
        more: *more,
    }
}
