//! What a document that is no profile seems to be, and what to write instead.

use portcullis_profile::syscalls;
use serde_json::Value;

use super::tree::{Content, Node};

const ANYTHING: &str = "is no object: a profile is one, in JSON or YAML";
const RULES: &str = "is a list of rules, and a profile is an object that has it: write {\"defaultAction\": \"SCMP_ACT_ERRNO\", \
                     \"defaultErrnoRet\": 38, \"syscalls\": [RULES]} with these rules, and the action that all other calls get";
const RULE: &str = "is a rule, and a profile is an object that has a list of them: write {\"defaultAction\": \"SCMP_ACT_ERRNO\", \
                    \"defaultErrnoRet\": 38, \"syscalls\": [RULE]} with this rule, and the action that all other calls get";
const CALLS: &str = "is a list of calls, and a profile says what happens to them: write {\"defaultAction\": \"SCMP_ACT_ERRNO\", \
                     \"defaultErrnoRet\": 38, \"syscalls\": [{\"names\": [CALLS], \"action\": \"SCMP_ACT_ALLOW\"}]} to allow these \
                     and no others";
const PROFILES: &str = "is a list of profiles: write each into a file of its own";

/// What to do about a document that can be no profile, and has none; `None` of any other.
pub(super) fn advice(root: &Node) -> Option<&'static str> {
    match &root.content {
        Content::Map(_) => is_rule(root).then_some(RULE),
        Content::List(items) if items.is_empty() => Some(ANYTHING),
        Content::List(items) if items.iter().all(is_rule) => Some(RULES),
        Content::List(items) if items.iter().all(|item| item.get("defaultAction").is_some()) => {
            Some(PROFILES)
        }
        Content::List(items) if items.iter().all(is_word) => Some(CALLS),
        Content::List(_) => Some(ANYTHING),
        Content::Scalar(Value::String(text)) if are_calls(text) => Some(CALLS),
        Content::Scalar(_) => Some(ANYTHING),
    }
}

/// Whether something is a rule, and no profile.
fn is_rule(node: &Node) -> bool {
    let has = |key| node.get(key).is_some();
    (has("names") || has("name") && has("action"))
        && !["defaultAction", "syscalls", "apiVersion", "kind"].into_iter().any(has)
}

fn is_word(node: &Node) -> bool {
    matches!(&node.content, Content::Scalar(Value::String(text)) if !text.contains(char::is_whitespace))
}

/// Whether a text names calls and nothing else: `read, write`, or one a line.
fn are_calls(text: &str) -> bool {
    let mut words =
        text.split(|one: char| one.is_whitespace() || one == ',').filter(|word| !word.is_empty()).peekable();
    words.peek().is_some() && words.all(syscalls::is_known_anywhere)
}
