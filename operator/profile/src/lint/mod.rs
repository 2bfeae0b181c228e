//! What is wrong with a profile that reads well: stable codes, and for each finding where it is, what a runtime
//! does with it, and what to do.

mod actions;
mod calls;
mod code;
mod conditions;
mod disputes;
mod limits;
mod platform;
mod privileges;
mod reference;
mod siblings;
mod startup;
mod subject;

pub use code::{Code, Severity};
pub use reference::reference_markdown;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use crate::{Arch, Profile, compare::Budget, parse::join};
use subject::Subject;

/// The most findings of one code that are listed; more are counted in the last one's message.
const MAX_OF_A_CODE: usize = 20;

/// What is known of the cluster that a profile is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LintContext {
    /// The architectures of the nodes; empty where nothing is known of them.
    pub node_architectures: BTreeSet<Arch>,
    /// The oldest runc (major, minor) on the nodes; `None` where nothing is known of it.
    pub oldest_runc: Option<(u32, u32)>,
    /// The profile is a container's whole filter, and enforced. Others may be a part of one, or be audited.
    pub is_whole: bool,
}

/// One thing that is wrong with a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What kind of thing.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// Where, as a JSON path such as `syscalls[3].args[0]`; empty for the profile as a whole.
    pub path: String,
    /// What is wrong there.
    pub message: String,
    /// What a runtime or the kernel does with it.
    pub consequence: &'static str,
    /// What to do about it.
    pub remedy: &'static str,
}

impl Finding {
    /// A finding of a code; some are of the file that a profile is in, which [`lint`] does not see.
    #[must_use]
    pub fn new(code: Code, path: String, message: String) -> Self {
        Self {
            code,
            severity: code.severity(),
            path,
            message,
            consequence: code.consequence(),
            remedy: code.remedy(),
        }
    }

    /// The same finding of a profile that is a part of another document, see
    /// [`ParseErrors::within`](crate::ParseErrors::within).
    #[must_use]
    pub fn within(mut self, prefix: &str) -> Self {
        self.path = join(prefix, &self.path);
        self
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        write!(f, "{} ({}). {} {}", self.message, self.code.as_str(), self.consequence, self.remedy)
    }
}

/// Looks for everything that is wrong with a profile; the worst first, then by code and place.
///
/// An [`Severity::Error`] refuses the profile.
#[must_use]
pub fn lint(profile: &Profile, context: &LintContext) -> Vec<Finding> {
    lint_within(profile, context, &Budget::default())
}

/// [`lint`], for at most so much work. [`Code::TooHard`] refuses what is left unsaid.
#[must_use]
pub fn lint_within(profile: &Profile, context: &LintContext, budget: &Budget) -> Vec<Finding> {
    let subject = Subject::new(profile, context);
    let mut findings = Findings::default();
    conditions::check(&subject, &mut findings);
    disputes::check(&subject, budget, &mut findings);
    calls::check(&subject, &mut findings);
    siblings::check(&subject, &mut findings);
    actions::check(&subject, &mut findings);
    platform::check(&subject, &mut findings);
    startup::check(&subject, &mut findings);
    privileges::check(&subject, budget, &mut findings);
    limits::check(&subject, &mut findings);
    findings.finish()
}

/// Findings as they are made, bounded for each code.
#[derive(Default)]
struct Findings {
    listed: Vec<Finding>,
    /// How many there are of each code, listed or not.
    counts: BTreeMap<Code, usize>,
}

impl Findings {
    /// Whether there is one of a code at a place.
    fn has(&self, code: Code, path: &str) -> bool {
        self.listed.iter().any(|finding| finding.code == code && finding.path == path)
    }

    /// Adds a finding. `message` is only made where there is room: a hostile profile has a hundred thousand.
    fn push(&mut self, code: Code, path: String, message: impl FnOnce() -> String) {
        let count = self.counts.entry(code).or_default();
        *count += 1;
        if *count <= MAX_OF_A_CODE {
            self.listed.push(Finding::new(code, path, message()));
        }
    }

    fn finish(mut self) -> Vec<Finding> {
        for (code, count) in self.counts.into_iter().filter(|(_, count)| *count > MAX_OF_A_CODE) {
            let count = count - MAX_OF_A_CODE;
            if let Some(last) = self.listed.iter_mut().rev().find(|finding| finding.code == code) {
                last.message += &format!(" (and {count} more of {})", code.as_str());
            }
        }
        // Stable, so findings of a code stay in the document's order.
        self.listed.sort_by_key(|finding| (std::cmp::Reverse(finding.severity), finding.code));
        self.listed
    }
}

/// Some names for a message: the first five, and how many more.
fn list(names: &[&str]) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<String> = names.iter().take(SHOWN).map(|name| shortened(name)).collect();
    match names.len().checked_sub(SHOWN) {
        None | Some(0) => shown.join(", "),
        Some(more) => format!("{} and {more} more", shown.join(", ")),
    }
}

/// A name for a message: one of a hostile document may be as long as the document.
fn shortened(name: &str) -> String {
    name.chars().take(60).collect()
}

#[cfg(test)]
mod tests;
