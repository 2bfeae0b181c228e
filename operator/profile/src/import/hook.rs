//! The output of oci-seccomp-bpf-hook.
//!
//! Source: `generateProfile` in oci-seccomp-bpf-hook.go (github.com/containers/oci-seccomp-bpf-hook, 1.2.10) writes
//! `Seccomp` of pkg/seccomp/types.go (github.com/containers/common): its input file's content as it was, with the default
//! action ERRNO, and one more rule at the end that allows what was seen and the input does not name. Every rule has the
//! keys `args`, `comment`, `includes` and `excludes`, mostly empty. The hook lists no architecture, and lists the calls
//! whose number it can't name as `""`.

use serde_json::{Map, Value};

use super::Generation;
use crate::{
    Action, Dialect, MAX_DOCUMENT_BYTES, ParseErrors, Profile, Rule, parse::json, runtime_base::ALWAYS,
};

/// What the hook wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// The profile as it stands there.
    pub profile: Profile,
    /// How many calls the hook saw and could not name.
    pub nameless: usize,
}

impl Hook {
    /// Reads the hook's output, of at most [`MAX_DOCUMENT_BYTES`].
    ///
    /// # Errors
    /// What is wrong with it. Where the hook's input had rules for capabilities or architectures, these are among it:
    /// they have to be resolved first.
    pub fn parse(document: &[u8]) -> Result<Self, ParseErrors> {
        if document.len() > MAX_DOCUMENT_BYTES {
            return Err(ParseErrors::of_document(format!(
                "the document has {} bytes, more than the {MAX_DOCUMENT_BYTES} (1 MiB) that a profile may have",
                document.len()
            )));
        }
        let mut errors = ParseErrors::default();
        let mut value = json::read(document, &mut errors)?;
        if !errors.is_empty() {
            return Err(errors);
        }
        let mut nameless = 0;
        if let Some(rules) = value.get_mut("syscalls").and_then(Value::as_array_mut) {
            for rule in rules.iter_mut().filter_map(Value::as_object_mut) {
                nameless += plain(rule);
            }
            // Where all that was seen was in the input already, the last rule names nothing.
            rules.retain(|rule| !names_nothing(rule));
        }
        let profile = Profile::from_value(&value, Dialect::Oci)?;
        Ok(Self { profile, nameless })
    }

    /// The profile with what it lacks: the default action and errno asked for, architectures, and calls that a run may
    /// not show.
    #[must_use]
    pub fn complete(&self, generation: &Generation) -> Profile {
        let mut profile = self.profile.clone();
        profile.default_action = generation.default_action;
        profile.default_errno_ret = generation.default_errno;
        profile.architectures.extend(&generation.architectures);
        profile.architectures.sort_unstable();
        profile.architectures.dedup();
        let allowed = |name: &str| {
            let of_all = |rule: &Rule| rule.args.is_empty() && rule.action == Action::Allow;
            profile.syscalls.iter().any(|rule| of_all(rule) && rule.names.iter().any(|known| known == name))
        };
        let names: Vec<String> = ALWAYS
            .iter()
            .chain(&generation.base)
            .filter(|name| !allowed(name))
            .map(|&name| name.to_owned())
            .collect();
        if !names.is_empty() {
            profile.syscalls.push(Rule { names, action: Action::Allow, errno_ret: None, args: Vec::new() });
        }
        profile.canonical()
    }
}

/// Takes out of a rule what says nothing, and gives how many names were empty.
fn plain(rule: &mut Map<String, Value>) -> usize {
    let empty = |value: &Value| match value {
        Value::Null => true,
        Value::Object(filter) => filter.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    };
    rule.remove("comment");
    rule.retain(|key, value| !(matches!(key.as_str(), "includes" | "excludes" | "args") && empty(value)));
    if !rule.contains_key("names")
        && let Some(name) = rule.remove("name")
    {
        rule.insert("names".to_owned(), Value::Array(vec![name]));
    }
    let Some(names) = rule.get_mut("names").and_then(Value::as_array_mut) else { return 0 };
    let before = names.len();
    names.retain(|name| name != "");
    before - names.len()
}

fn names_nothing(rule: &Value) -> bool {
    rule.get("name").is_none()
        && rule.get("names").is_none_or(|names| names.as_array().is_some_and(Vec::is_empty))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::Arch;

    const WRITTEN: &str = r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["","brk","close"],"action":"SCMP_ACT_ALLOW",
        "args":[],"comment":"","includes":{},"excludes":{}}]}"#;

    #[test]
    fn what_the_hook_writes_is_read() {
        let hook = Hook::parse(WRITTEN.as_bytes()).expect("the hook's form");
        assert_eq!(hook.nameless, 1);
        let generation =
            Generation { architectures: BTreeSet::from([Arch::X86_64]), ..Generation::default() };
        let profile = hook.complete(&generation);
        assert_eq!(profile.default_errno_ret, Some(38));
        assert_eq!(profile.architectures, [Arch::X86_64]);
        assert_eq!(
            profile.syscalls[0].names,
            ["brk", "close", "exit", "exit_group", "restart_syscall", "rt_sigreturn"]
        );
    }

    #[test]
    fn an_input_of_single_names_and_a_run_that_added_nothing() {
        let text = r#"{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_X86_64"],"syscalls":[
            {"name":"personality","action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":8,"valueTwo":0,"op":"SCMP_CMP_EQ"}],
             "comment":"","includes":{},"excludes":{}},
            {"action":"SCMP_ACT_ALLOW","args":[],"comment":"","includes":{},"excludes":{}}]}"#;
        let hook = Hook::parse(text.as_bytes()).expect("the hook's form");
        assert_eq!(hook.profile.syscalls.len(), 1);
        assert_eq!(hook.profile.syscalls[0].names, ["personality"]);
    }

    #[test]
    fn what_depends_on_capabilities_is_refused() {
        let text = WRITTEN.replace(r#""includes":{}"#, r#""includes":{"caps":["CAP_SYS_ADMIN"]}"#);
        let errors = Hook::parse(text.as_bytes()).expect_err("a rule for a capability").to_string();
        assert!(errors.contains("syscalls[0].includes"), "{errors}");
        let errors = Hook::parse(b"{").expect_err("no JSON").to_string();
        assert!(errors.contains("not JSON"), "{errors}");
    }
}
