//! An explanation for a pull request.

use std::io::{self, Write};

use super::document::{Call, Document, Named};
use crate::layout::counted;

/// How many calls of a list are named.
const NAMED: usize = 60;

pub(super) fn write(document: &Document<'_>, out: &mut dyn Write) -> io::Result<()> {
    let calls = &document.calls;
    writeln!(out, "### Seccomp profile `{}`\n", document.profile.replace('`', "'"))?;
    writeln!(
        out,
        "On `{}` {} allowed, {} by arguments, {} denied. By default a call {}.\n",
        document.architecture,
        counted(calls.allowed, "call"),
        calls.by_arguments,
        calls.denied,
        document.default
    )?;
    if let Some(against) = &document.runtime_default {
        writeln!(out, "Compared with {}:\n", against.source)?;
        writeln!(out, "- **Allows beyond it**: {}", names(&against.beyond))?;
        writeln!(out, "- Denies besides: {}\n", names(&against.less))?;
    }
    if !document.keeps_privileges.is_empty() {
        writeln!(
            out,
            "**Keeps privileges that the pod gave up**, unless it has `allowPrivilegeEscalation: false`:\n"
        )?;
        for kept in &document.keeps_privileges {
            writeln!(out, "- {kept}")?;
        }
        writeln!(out)?;
    }
    writeln!(out, "| what reviewers look for | allowed | why it matters |\n|---|---|---|")?;
    for group in document.groups.iter().filter(|group| !group.calls.is_empty()) {
        let calls: Vec<String> = group.calls.iter().map(call).collect();
        writeln!(out, "| {} | {} | {} |", group.name, calls.join(", "), group.why)?;
    }
    let none: Vec<&str> =
        document.groups.iter().filter(|group| group.calls.is_empty()).map(|group| group.name).collect();
    if !none.is_empty() {
        writeln!(out, "\nNothing of: {}.", none.join(", "))?;
    }
    writeln!(out, "\n**Bold** is beyond what it is compared with; `?` depends on arguments.")?;
    if !document.arguments.is_empty() {
        writeln!(out, "\n| call | arguments decide |\n|---|---|")?;
        for restriction in &document.arguments {
            writeln!(out, "| `{}` | {} |", restriction.call, restriction.words.replace('|', "\\|"))?;
        }
    }
    writeln!(out)
}

fn call(call: &Call) -> String {
    let question = if call.reach == "byArguments" { "?" } else { "" };
    match call.beyond {
        true => format!("**`{}`{question}**", call.name),
        false => format!("`{}`{question}", call.name),
    }
}

fn names(calls: &[Named]) -> String {
    if calls.is_empty() {
        return "nothing".to_owned();
    }
    let shown: Vec<String> = calls
        .iter()
        .take(NAMED)
        .map(|named| match named.when.first() {
            None => format!("`{}`", named.call),
            Some(when) => format!("`{}` ({})", named.call, when.replace('|', "\\|")),
        })
        .collect();
    let more = match calls.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}: {}{more}", counted(calls.len(), "call"), shown.join(", "))
}
