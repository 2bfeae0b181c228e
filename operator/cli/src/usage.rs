//! What to do about a flag that a command hasn't.

use clap::{
    Command, Error,
    builder::StyledStr,
    error::{ContextKind, ContextValue, ErrorKind},
};

/// How many commands are named that have a flag.
const NAMED: usize = 6;

/// An error of usage, with advice of this program's own about an unknown flag: clap takes it for a file's name.
pub(crate) fn advised(mut error: Error, root: &Command) -> Error {
    if error.kind() != ErrorKind::UnknownArgument {
        return error;
    }
    let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg) else { return error };
    let Some(flag) = flag(argument) else { return error };
    // `record` has a command behind its flags, which may have flags of its own.
    if error.get(ContextKind::Usage).is_some_and(|usage| usage.to_string().contains("-- <COMMAND>")) {
        return error;
    }
    let tip = tip(&flag, root);
    error.remove(ContextKind::Suggested);
    if let Some(tip) = tip {
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![StyledStr::from(tip)]));
    }
    error
}

/// `--cap` of `--cap=BPF`, `-o` of `-ojson`.
fn flag(argument: &str) -> Option<String> {
    let is_long = argument.starts_with("--");
    let name = if is_long { argument.split('=').next()? } else { argument.get(..2)? };
    (argument.starts_with('-') && name.len() > if is_long { 2 } else { 1 }).then(|| name.to_owned())
}

fn tip(flag: &str, root: &Command) -> Option<String> {
    if ["-o", "--output"].contains(&flag) {
        return Some("the answer is standard output: write it into a file with '> FILE'".to_owned());
    }
    let mut having = Vec::new();
    for command in root.get_subcommands().filter(|command| !command.is_hide_set()) {
        let has = |command: &Command| {
            command.get_arguments().filter(|argument| !argument.is_hide_set()).any(|argument| {
                let long = argument.get_long().is_some_and(|long| flag.strip_prefix("--") == Some(long));
                let short = argument
                    .get_short()
                    .is_some_and(|short| flag.strip_prefix('-') == Some(&short.to_string()));
                long || short
            })
        };
        having.extend(has(command).then(|| command.get_name().to_owned()));
        let below = command.get_subcommands().filter(|below| has(below));
        having.extend(below.map(|below| format!("{} {}", command.get_name(), below.get_name())));
    }
    let more = having.len().saturating_sub(NAMED);
    having.truncate(NAMED);
    match (having.is_empty(), more) {
        (true, _) => None,
        (false, 0) => Some(format!("'{flag}' is a flag of {}", having.join(", "))),
        (false, more) => Some(format!("'{flag}' is a flag of {} and {more} more", having.join(", "))),
    }
}
