//! Answers of a filter: which call gets what.

use std::fmt;

use anyhow::{Context as _, Result, bail};
use portcullis_profile::{Action, Arg, Operator, Profile, Rule};
use serde::{Deserialize, Serialize};

/// A call with some arguments.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Target {
    /// The call's name.
    pub call: String,
    /// Index and value of each argument that it is about; none for any.
    pub arguments: Vec<(u8, u64)>,
}

impl Target {
    /// A call with whatever arguments.
    #[must_use]
    pub fn whole(call: &str) -> Self {
        Self { call: call.to_owned(), arguments: Vec::new() }
    }

    /// A call with some arguments.
    #[must_use]
    pub fn with(call: &str, arguments: &[(u8, u64)]) -> Self {
        Self { call: call.to_owned(), arguments: arguments.to_vec() }
    }

    /// The arguments as the table has them: `0=24`, or `-` for any.
    #[must_use]
    pub fn argument(&self) -> String {
        if self.arguments.is_empty() {
            return "-".to_owned();
        }
        let arguments = self.arguments.iter().map(|(index, value)| format!("{index}={value}"));
        arguments.collect::<Vec<_>>().join(",")
    }

    /// What [`Self::argument`] writes.
    ///
    /// # Errors
    /// Where it is something else.
    pub fn parse(call: &str, argument: &str) -> Result<Self> {
        let mut target = Self::whole(call);
        for one in argument.split(',').filter(|_| argument != "-") {
            let (index, value) = one.split_once('=').with_context(|| format!("{one:?} is no argument"))?;
            target.arguments.push((index.parse()?, value.parse()?));
        }
        Ok(target)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.call)?;
        if self.arguments.is_empty() { Ok(()) } else { write!(f, "({})", self.argument()) }
    }
}

/// What a call gets instead of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Answer {
    /// An errno; 0 is success.
    Errno(u16),
    /// The end of its thread.
    KillThread,
    /// The end of its process.
    KillProcess,
    /// SIGSYS.
    Trap,
}

impl Answer {
    pub(crate) const ACTIONS: [(Self, &'static str); 3] =
        [(Self::KillThread, "KILL_THREAD"), (Self::KillProcess, "KILL_PROCESS"), (Self::Trap, "TRAP")];

    fn action(self) -> (Action, Option<u32>) {
        match self {
            Self::Errno(errno) => (Action::Errno, Some(errno.into())),
            Self::KillThread => (Action::KillThread, None),
            Self::KillProcess => (Action::KillProcess, None),
            Self::Trap => (Action::Trap, None),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Errno(errno) => write!(f, "ERRNO {errno}"),
            _ => f.write_str(Self::ACTIONS.iter().find(|(action, _)| action == self).map_or("", |one| one.1)),
        }
    }
}

/// The filter of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Filter {
    /// The runtime default, but for some answers.
    Default(Vec<(Target, Answer)>),
    /// These calls alone; any other fails with `ENOSYS`.
    Only(Vec<String>),
}

impl Filter {
    /// As a profile, beside the runtime default.
    ///
    /// # Errors
    /// As of [`answering`].
    pub(crate) fn profile(&self, default: &Profile) -> Result<Profile> {
        match self {
            Self::Default(answers) => answering(default, answers),
            Self::Only(names) => Ok(Profile {
                default_action: Action::Errno,
                default_errno_ret: Some(ENOSYS),
                syscalls: vec![Rule {
                    names: names.clone(),
                    action: Action::Allow,
                    errno_ret: None,
                    args: Vec::new(),
                }],
                ..default.clone()
            }),
        }
    }
}

const ENOSYS: u32 = 38;

/// A profile that does what another one does, but for some answers.
///
/// # Errors
/// Where two answers are about one call, or the other profile lets a call through under conditions alone.
pub fn answering(profile: &Profile, answers: &[(Target, Answer)]) -> Result<Profile> {
    let mut profile = profile.clone();
    for (position, (target, answer)) in answers.iter().enumerate() {
        let Target { call, arguments } = target;
        if answers[..position].iter().any(|(other, _)| other.call == *call) {
            bail!("{call} has two answers");
        }
        let unconditional = profile
            .syscalls
            .iter()
            .any(|rule| rule.action == Action::Allow && rule.args.is_empty() && rule.names.contains(call));
        if !arguments.is_empty() && !unconditional {
            bail!("{target}: the runtime default doesn't let {call} through whatever its arguments");
        }
        for rule in &mut profile.syscalls {
            rule.names.retain(|name| name != call);
        }
        profile.syscalls.retain(|rule| !rule.names.is_empty());
        profile.syscalls.extend(rules(target, *answer));
    }
    Ok(profile)
}

/// No two of these hold for one call: what libseccomp makes of rules that overlap is not what is measured.
fn rules(Target { call, arguments }: &Target, answer: Answer) -> Vec<Rule> {
    let rule = |(action, errno_ret), args| Rule { names: vec![call.clone()], action, errno_ret, args };
    let is = |op| move |&(index, value): &(u8, u64)| Arg { index, value, value_two: 0, op };
    let mut rules: Vec<Rule> = Vec::new();
    for (position, last) in arguments.iter().enumerate() {
        let mut args: Vec<Arg> = arguments[..position].iter().map(is(Operator::Equal)).collect();
        args.push(is(Operator::NotEqual)(last));
        rules.push(rule((Action::Allow, None), args));
    }
    rules.push(rule(answer.action(), arguments.iter().map(is(Operator::Equal)).collect()));
    rules
}

#[cfg(test)]
mod tests {
    use portcullis_profile::{
        Arch,
        evaluate::{Evaluator, Runtime},
        runtime_default,
    };

    use super::*;

    fn decide(profile: &Profile, name: &str, arguments: [u64; 6]) -> String {
        let evaluator = Evaluator::new(profile, Runtime::Runc, Arch::X86_64).unwrap();
        evaluator.evaluate_name(Arch::X86_64, name, arguments).unwrap().outcome.to_string()
    }

    #[test]
    fn one_answer_alone_is_changed() {
        let default = &runtime_default(Arch::X86_64).unwrap().profile;
        let target = Target::with("prctl", &[(0, 24)]);
        let profile = answering(default, &[(target, Answer::Errno(22))]).unwrap();
        assert_eq!(decide(&profile, "prctl", [24, 2, 9, 0, 0, 0]), "SCMP_ACT_ERRNO(22)");
        assert_eq!(decide(&profile, "prctl", [47, 2, 9, 0, 0, 0]), "SCMP_ACT_ALLOW");
        assert_eq!(decide(&profile, "capset", [0; 6]), "SCMP_ACT_ALLOW");
        let profile = answering(default, &[(Target::whole("capset"), Answer::KillProcess)]).unwrap();
        assert_eq!(decide(&profile, "capset", [0; 6]), "SCMP_ACT_KILL_PROCESS");
    }

    /// The model trusts no two conditions of which one is `NE`; that libseccomp tells such calls apart shows in the table, where some of
    /// them are not made.
    #[test]
    fn rules_for_one_answer_never_overlap() {
        let rules = rules(&Target::with("prctl", &[(0, 47), (1, 2)]), Answer::Errno(22));
        let holds = |rule: &Rule, arguments: [u64; 2]| {
            rule.args
                .iter()
                .all(|arg| (arguments[usize::from(arg.index)] == arg.value) == (arg.op == Operator::Equal))
        };
        for (arguments, action) in
            [([47, 2], Action::Errno), ([47, 3], Action::Allow), ([24, 2], Action::Allow)]
        {
            let matching: Vec<_> = rules.iter().filter(|rule| holds(rule, arguments)).collect();
            assert!(matching.len() == 1 && matching[0].action == action, "{arguments:?}: {matching:?}");
        }
    }

    #[test]
    fn what_would_not_be_one_answer_is_refused() {
        let default = &runtime_default(Arch::X86_64).unwrap().profile;
        let conditional = Target::with("socket", &[(0, 1)]);
        assert!(answering(default, &[(conditional, Answer::Errno(1))]).is_err());
        let twice = [Target::whole("capset"), Target::with("capset", &[(0, 1)])];
        assert!(answering(default, &twice.map(|target| (target, Answer::Errno(1)))).is_err());
    }

    #[test]
    fn targets_are_read_as_they_are_written() {
        for target in [Target::whole("capset"), Target::with("prctl", &[(0, 47), (1, 2)])] {
            assert_eq!(Target::parse(&target.call, &target.argument()).unwrap(), target);
        }
        assert_eq!(Target::with("prctl", &[(0, 24)]).to_string(), "prctl(0=24)");
        assert!(Target::parse("prctl", "24").is_err());
    }
}
