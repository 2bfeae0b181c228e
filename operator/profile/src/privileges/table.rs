//! The measured table, `data/privileges.tsv`, as far as it says that something is kept.

use std::{collections::BTreeSet, sync::LazyLock};

use crate::{Action, evaluate::Outcome, syscalls};

pub(super) static TABLE: LazyLock<Table> = LazyLock::new(|| {
    // The text is part of the program, and a test reads it.
    Table::parse(include_str!("../../data/privileges.tsv")).expect("the committed table can be read")
});

const COLUMNS: [&str; 10] = [
    "runtime",
    "version",
    "no_new_privs",
    "way",
    "request",
    "given",
    "call",
    "argument",
    "outcomes",
    "effect",
];

/// Everything measured, by call.
pub(super) struct Table {
    rows: Vec<Measurement>,
    calls: Vec<&'static str>,
    /// Each version of each runtime, without `no_new_privs` and with it.
    cases: BTreeSet<(String, String, bool)>,
}

/// What became of containers whose runtime got some answers. Versions and cases that came to the same share one.
pub(super) struct Measurement {
    runtime: String,
    versions: Vec<String>,
    /// Whether the container could get no privileges by `execve`; both where that made no difference.
    no_new_privs: Vec<bool>,
    /// The answer under which this was the second one.
    pub(super) given: Option<Given>,
    pub(super) target: Target,
    outcomes: Outcomes,
    effect: String,
}

/// An answer.
pub(super) struct Given {
    pub(super) target: Target,
    pub(super) outcomes: Outcomes,
}

/// A call with some arguments.
pub(super) struct Target {
    pub(super) call: String,
    /// Index and value; none for any.
    pub(super) arguments: Vec<(usize, u64)>,
}

/// Some of `ERRNO`, `KILL_THREAD`, `KILL_PROCESS` and `TRAP`.
#[derive(Default)]
pub(super) struct Outcomes {
    /// First and last errno of each stretch.
    errnos: Vec<(u16, u16)>,
    actions: Vec<Action>,
}

impl Table {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut lines = text.lines().filter(|line| !line.starts_with('#'));
        if lines.next().map(|line| line.split('\t').collect::<Vec<_>>()) != Some(COLUMNS.to_vec()) {
            return Err(format!("its columns are not {}", COLUMNS.join(", ")));
        }
        let rows = lines.map(|line| Measurement::parse(line).ok_or_else(|| line.to_owned()));
        let rows = rows.collect::<Result<Vec<_>, _>>()?;
        let calls = syscalls::names().filter(|name| rows.iter().any(|row| row.target.call == *name));
        let calls = calls.collect();
        let cases = rows.iter().flat_map(Measurement::cases).collect();
        Ok(Self { rows, calls, cases })
    }

    /// The calls that something was measured of.
    pub(super) fn calls(&self) -> impl Iterator<Item = &'static str> {
        self.calls.iter().copied()
    }

    pub(super) fn of_call(&self, call: &str) -> impl Iterator<Item = &Measurement> {
        self.rows.iter().filter(move |row| row.target.call == call)
    }

    /// Whether it was tried with every runtime what becomes of such an answer, or that it doesn't make the call.
    pub(super) fn is_measured(&self, call: &str, outcome: Outcome) -> bool {
        self.cases.iter().all(|(runtime, version, no_new_privs)| {
            let here: Vec<&Measurement> = self
                .of_call(call)
                .filter(|row| row.given.is_none() && row.target.arguments.is_empty())
                .filter(|row| row.runtime == *runtime && row.versions.contains(version))
                .filter(|row| row.no_new_privs.contains(no_new_privs))
                .collect();
            let not_made = !here.is_empty() && here.iter().all(|row| row.is_not_made());
            not_made || here.iter().any(|row| row.outcomes.has(outcome))
        })
    }
}

impl Measurement {
    fn parse(line: &str) -> Option<Self> {
        let cells: Vec<&str> = line.split('\t').collect();
        let [runtime, versions, no_new_privs, _, _, given, call, argument, outcomes, effect] = cells[..]
        else {
            return None;
        };
        let given = match given.split_once(' ') {
            Some((target, outcomes)) => {
                let (call, argument) =
                    match target.strip_suffix(')').and_then(|target| target.split_once('(')) {
                        Some(parts) => parts,
                        None => (target, "-"),
                    };
                Some(Given { target: Target::parse(call, argument)?, outcomes: Outcomes::parse(outcomes)? })
            }
            None => None,
        };
        Some(Self {
            runtime: runtime.to_owned(),
            versions: versions.split(',').map(str::to_owned).collect(),
            no_new_privs: no_new_privs.split(',').map(str::parse).collect::<Result<_, _>>().ok()?,
            given,
            target: Target::parse(call, argument)?,
            outcomes: Outcomes::parse(outcomes)?,
            effect: effect.to_owned(),
        })
    }

    /// The runtime, with the first of the versions.
    pub(super) fn first_version(&self) -> String {
        format!("{} {}", self.runtime, self.versions.first().map_or("", String::as_str))
    }

    /// Whether it was so with `no_new_privs` too.
    pub(super) fn with_no_new_privs(&self) -> bool {
        self.no_new_privs.contains(&true)
    }

    fn cases(&self) -> impl Iterator<Item = (String, String, bool)> {
        self.versions.iter().flat_map(|version| {
            self.no_new_privs.iter().map(|&value| (self.runtime.clone(), version.clone(), value))
        })
    }

    fn is_not_made(&self) -> bool {
        self.effect == "not made"
    }

    /// Whether the container ran with more than it asked for after such an answer.
    pub(super) fn keeps(&self, outcome: Outcome) -> bool {
        !self.kept().is_empty() && self.outcomes.has(outcome)
    }

    /// What was kept, empty where nothing was.
    pub(super) fn kept(&self) -> &str {
        self.effect.strip_prefix("keeps ").unwrap_or_default()
    }
}

impl Target {
    pub(super) fn whole(call: &str) -> Self {
        Self { call: call.to_owned(), arguments: Vec::new() }
    }

    fn parse(call: &str, argument: &str) -> Option<Self> {
        let mut target = Self::whole(call);
        for one in argument.split(',').filter(|_| argument != "-") {
            let (index, value) = one.split_once('=')?;
            target.arguments.push((index.parse().ok()?, value.parse().ok()?));
        }
        Some(target)
    }
}

impl Outcomes {
    fn parse(text: &str) -> Option<Self> {
        let mut outcomes = Self::default();
        let mut words = text.split(' ').filter(|word| *word != "-");
        while let Some(word) = words.next() {
            match word {
                "ERRNO" => {
                    for range in words.next()?.split(',') {
                        let (first, last) = range.split_once('-').unwrap_or((range, range));
                        outcomes.errnos.push((first.parse().ok()?, last.parse().ok()?));
                    }
                }
                "KILL_THREAD" => outcomes.actions.push(Action::KillThread),
                "KILL_PROCESS" => outcomes.actions.push(Action::KillProcess),
                "TRAP" => outcomes.actions.push(Action::Trap),
                _ => return None,
            }
        }
        Some(outcomes)
    }

    pub(super) fn has(&self, outcome: Outcome) -> bool {
        match (outcome.action(), outcome.errno()) {
            (Action::Errno, Some(errno)) => {
                self.errnos.iter().any(|&(first, last)| (first..=last).contains(&errno))
            }
            (action, _) => self.actions.contains(&action),
        }
    }
}
