//! What is wrong with a profile that reads well: stable codes, and for each finding where it is, what a runtime
//! does with it, and what to do.

mod actions;
mod calls;
mod code;
mod conditions;
mod disputes;
mod limits;
mod platform;
mod reference;
mod startup;
mod subject;

pub use code::{Code, Severity};
pub use reference::reference_markdown;

use std::{collections::BTreeSet, fmt};

use crate::{Arch, Profile, parse::join};
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
    let subject = Subject::new(profile, context);
    let mut findings = Findings::default();
    conditions::check(&subject, &mut findings);
    disputes::check(&subject, &mut findings);
    calls::check(&subject, &mut findings);
    actions::check(&subject, &mut findings);
    platform::check(&subject, &mut findings);
    startup::check(&subject, &mut findings);
    limits::check(&subject, &mut findings);
    findings.finish()
}

/// Findings as they are made, bounded for each code.
#[derive(Default)]
struct Findings {
    listed: Vec<Finding>,
    omitted: Vec<(Code, usize)>,
}

impl Findings {
    /// Adds a finding. `message` is only made where there is room: a hostile profile has a hundred thousand.
    fn push(&mut self, code: Code, path: String, message: impl FnOnce() -> String) {
        if self.listed.iter().filter(|finding| finding.code == code).count() < MAX_OF_A_CODE {
            self.listed.push(Finding {
                code,
                severity: code.severity(),
                path,
                message: message(),
                consequence: code.consequence(),
                remedy: code.remedy(),
            });
        } else if let Some((_, count)) = self.omitted.iter_mut().find(|(other, _)| *other == code) {
            *count += 1;
        } else {
            self.omitted.push((code, 1));
        }
    }

    fn finish(mut self) -> Vec<Finding> {
        for (code, count) in self.omitted {
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
