//! A custom resource's document into the model, and back.

use std::{collections::BTreeMap, fmt};

use portcullis_profile::{Action, Arch, Arg, Flag, Operator, Profile, Rule};
use serde_json::Value;

use crate::{ArgValue, SeccompArg, SeccompDocument, SeccompRule};

/// Where a document stands in its object.
const ROOT: &str = "spec.profile";

/// Everything that keeps a document from being an OCI seccomp profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidDocument {
    problems: Vec<DocumentProblem>,
}

/// One thing that is wrong with a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentProblem {
    /// The field, for example `spec.profile.syscalls[3].args[0].value`.
    pub path: String,
    /// What is wrong with it, and what would be right.
    pub problem: String,
}

impl InvalidDocument {
    /// The problems in the document's order; at least one.
    #[must_use]
    pub fn problems(&self) -> &[DocumentProblem] {
        &self.problems
    }
}

impl fmt::Display for DocumentProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.problem)
    }
}

impl fmt::Display for InvalidDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.problems.iter().enumerate() {
            write!(f, "{}{problem}", if number == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

impl std::error::Error for InvalidDocument {}

impl TryFrom<&SeccompDocument> for Profile {
    type Error = InvalidDocument;

    /// Reads the document strictly: what the schema refuses is refused here too, in case an older schema let it through.
    fn try_from(document: &SeccompDocument) -> Result<Self, InvalidDocument> {
        let mut reader = Reader::default();
        let profile = reader.document(document);
        match profile {
            Some(profile) if reader.problems.is_empty() => Ok(profile),
            _ => Err(InvalidDocument { problems: reader.problems }),
        }
    }
}

/// Collects every problem. A part that can't be read is `None` and has left a problem.
#[derive(Default)]
struct Reader {
    problems: Vec<DocumentProblem>,
}

impl Reader {
    fn problem(&mut self, path: impl Into<String>, problem: impl Into<String>) {
        self.problems.push(DocumentProblem { path: path.into(), problem: problem.into() });
    }

    fn document(&mut self, document: &SeccompDocument) -> Option<Profile> {
        let SeccompDocument {
            default_action,
            default_errno_ret,
            architectures,
            flags,
            listener_path,
            listener_metadata,
            syscalls,
            unknown,
        } = document;
        self.unknown(ROOT, unknown);
        let default_action =
            self.word(format!("{ROOT}.defaultAction"), default_action, Action::ALL, Action::as_str);
        let architectures = self.words("architectures", architectures, Arch::ALL, Arch::as_str);
        let flags = self.words("flags", flags, Flag::ALL, Flag::as_str);
        let rules: Vec<_> = syscalls
            .iter()
            .enumerate()
            .filter_map(|(index, rule)| self.rule(&format!("{ROOT}.syscalls[{index}]"), rule))
            .collect();
        Some(Profile {
            default_action: default_action?,
            default_errno_ret: *default_errno_ret,
            architectures,
            flags,
            listener_path: listener_path.clone(),
            listener_metadata: listener_metadata.clone(),
            syscalls: rules,
        })
    }

    fn rule(&mut self, path: &str, rule: &SeccompRule) -> Option<Rule> {
        let SeccompRule { names, action, errno_ret, args, unknown } = rule;
        self.unknown(path, unknown);
        if names.is_empty() {
            self.problem(format!("{path}.names"), "is empty: list the system calls that the rule is for");
        }
        let action = self.word(format!("{path}.action"), action, Action::ALL, Action::as_str);
        let args: Vec<_> = args
            .iter()
            .enumerate()
            .filter_map(|(index, arg)| self.arg(&format!("{path}.args[{index}]"), arg))
            .collect();
        Some(Rule { names: names.clone(), action: action?, errno_ret: *errno_ret, args })
    }

    fn arg(&mut self, path: &str, arg: &SeccompArg) -> Option<Arg> {
        let SeccompArg { index, value, value_two, op, unknown } = arg;
        self.unknown(path, unknown);
        if *index > 5 {
            self.problem(format!("{path}.index"), format!("{index} is no argument: use 0 to 5"));
        }
        let value = self.value(format!("{path}.value"), value);
        let value_two =
            value_two.as_ref().map_or(Some(0), |value| self.value(format!("{path}.valueTwo"), value));
        let op = self.word(format!("{path}.op"), op, Operator::ALL, Operator::as_str);
        Some(Arg { index: *index, value: value?, value_two: value_two?, op: op? })
    }

    fn value(&mut self, path: String, value: &ArgValue) -> Option<u64> {
        let read = value.to_u64();
        if read.is_none() {
            let written = match value {
                ArgValue::Integer(number) => number.to_string(),
                ArgValue::Text(text) => format!("{text:?}"),
            };
            self.problem(path, format!("{written} is no whole number from 0 to 2^64-1, decimal or with 0x"));
        }
        read
    }

    fn words<T: Copy>(
        &mut self,
        field: &str,
        texts: &[String],
        all: &[T],
        name: fn(T) -> &'static str,
    ) -> Vec<T> {
        texts
            .iter()
            .enumerate()
            .filter_map(|(index, text)| self.word(format!("{ROOT}.{field}[{index}]"), text, all, name))
            .collect()
    }

    fn word<T: Copy>(
        &mut self,
        path: String,
        text: &str,
        all: &[T],
        name: fn(T) -> &'static str,
    ) -> Option<T> {
        let word = all.iter().copied().find(|word| name(*word) == text);
        if word.is_none() {
            let names: Vec<_> = all.iter().copied().map(name).collect();
            self.problem(path, format!("{text:?} is not one of {}", names.join(", ")));
        }
        word
    }

    fn unknown(&mut self, path: &str, unknown: &BTreeMap<String, Value>) {
        for key in unknown.keys() {
            self.problem(
                format!("{path}.{key}"),
                "is no key of an OCI seccomp document; container runtimes would ignore it, so remove it",
            );
        }
    }
}

impl ArgValue {
    /// The value, if it is one that the schema takes: an integer from 0, or a string that is decimal without leading zeros (which
    /// some read as octal) or hexadecimal with `0x`.
    #[must_use]
    pub fn to_u64(&self) -> Option<u64> {
        match self {
            Self::Integer(number) => u64::try_from(*number).ok(),
            Self::Text(text) => match text.strip_prefix("0x") {
                Some(digits) if digits.starts_with(|c: char| c.is_ascii_hexdigit()) => {
                    (digits.len() <= 16).then(|| u64::from_str_radix(digits, 16).ok()).flatten()
                }
                Some(_) => None,
                None if text == "0" || text.starts_with(|c: char| matches!(c, '1'..='9')) => {
                    text.parse().ok()
                }
                None => None,
            },
        }
    }
}

impl From<u64> for ArgValue {
    /// An integer where the API server keeps it exactly, else a decimal string.
    fn from(value: u64) -> Self {
        i64::try_from(value).map_or_else(|_| Self::Text(value.to_string()), Self::Integer)
    }
}

impl From<&Profile> for SeccompDocument {
    fn from(profile: &Profile) -> Self {
        let Profile {
            default_action,
            default_errno_ret,
            architectures,
            flags,
            listener_path,
            listener_metadata,
            syscalls,
        } = profile;
        Self {
            default_action: default_action.to_string(),
            default_errno_ret: *default_errno_ret,
            architectures: architectures.iter().map(ToString::to_string).collect(),
            flags: flags.iter().map(ToString::to_string).collect(),
            listener_path: listener_path.clone(),
            listener_metadata: listener_metadata.clone(),
            syscalls: syscalls.iter().map(SeccompRule::from).collect(),
            unknown: BTreeMap::new(),
        }
    }
}

impl From<&Rule> for SeccompRule {
    fn from(rule: &Rule) -> Self {
        let Rule { names, action, errno_ret, args } = rule;
        Self {
            names: names.clone(),
            action: action.to_string(),
            errno_ret: *errno_ret,
            args: args.iter().map(SeccompArg::from).collect(),
            unknown: BTreeMap::new(),
        }
    }
}

impl From<&Arg> for SeccompArg {
    fn from(arg: &Arg) -> Self {
        let Arg { index, value, value_two, op } = arg;
        Self {
            index: *index,
            value: (*value).into(),
            value_two: (*value_two != 0).then(|| (*value_two).into()),
            op: op.to_string(),
            unknown: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(document: Value) -> Result<Profile, InvalidDocument> {
        Profile::try_from(&serde_json::from_value::<SeccompDocument>(document).unwrap())
    }

    fn problems(document: Value) -> Vec<String> {
        read(document).unwrap_err().problems().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_field_survives_there_and_back() {
        let profile = Profile {
            default_action: Action::Errno,
            default_errno_ret: Some(38),
            architectures: Arch::ALL.to_vec(),
            flags: Flag::ALL.to_vec(),
            listener_path: Some("/run/listener.sock".to_owned()),
            listener_metadata: Some("x=y".to_owned()),
            syscalls: vec![Rule {
                names: vec!["personality".to_owned()],
                action: Action::Trace,
                errno_ret: Some(7),
                args: [0, 1, i64::MAX as u64, i64::MAX as u64 + 1, u64::MAX]
                    .into_iter()
                    .zip(Operator::ALL.iter().rev())
                    .zip(0..)
                    .map(|((value, op), index)| Arg { index, value, value_two: u64::MAX - value, op: *op })
                    .collect(),
            }],
        };
        let document = SeccompDocument::from(&profile);
        let written = serde_json::to_value(&document).unwrap();
        assert_eq!(written["syscalls"][0]["args"][4]["value"], "18446744073709551615");
        assert_eq!(written["syscalls"][0]["args"][2]["value"], i64::MAX);
        assert_eq!(read(written), Ok(profile));
    }

    #[test]
    fn values_are_decimal_or_hexadecimal_and_never_octal() {
        for (written, value) in [
            (json!(0), Some(0)),
            (json!(-1), None),
            (json!("0"), Some(0)),
            (json!("18446744073709551615"), Some(u64::MAX)),
            (json!("18446744073709551616"), None),
            (json!("0xffffffffffffffff"), Some(u64::MAX)),
            (json!("0x0ffffffffffffffff"), None),
            (json!("0x"), None),
            (json!("0x+1"), None),
            (json!("+1"), None),
            (json!("010"), None),
            (json!("1_000"), None),
            (json!(""), None),
            (json!("CLONE_NEWUSER"), None),
        ] {
            let parsed: ArgValue = serde_json::from_value(written.clone()).unwrap();
            assert_eq!(parsed.to_u64(), value, "{written}");
        }
    }

    #[test]
    fn every_problem_is_named_with_its_path() {
        let document = json!({
            "defaultAction": "deny",
            "architectures": ["SCMP_ARCH_X86_64", "x86"],
            "syscalls": [
                {"names": ["read"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_BPF"]}},
                {"action": "SCMP_ACT_ALLOW", "args": [
                    {"index": 9, "value": "x", "valueTwo": -2, "op": "EQ"},
                ]},
            ],
        });
        let problems = problems(document);
        let paths: Vec<_> = problems.iter().filter_map(|problem| problem.split(": ").next()).collect();
        assert_eq!(
            paths,
            [
                "spec.profile.defaultAction",
                "spec.profile.architectures[1]",
                "spec.profile.syscalls[0].includes",
                "spec.profile.syscalls[1].names",
                "spec.profile.syscalls[1].args[0].index",
                "spec.profile.syscalls[1].args[0].value",
                "spec.profile.syscalls[1].args[0].valueTwo",
                "spec.profile.syscalls[1].args[0].op",
            ]
        );
        assert!(problems[0].contains("\"deny\" is not one of SCMP_ACT_ALLOW, "), "{}", problems[0]);
    }

    #[test]
    fn an_empty_document_is_refused() {
        assert!(problems(json!({}))[0].starts_with("spec.profile.defaultAction: \"\" is not one of "));
    }
}
