//! What whoever reviews a profile of a recording has to know.

use std::collections::BTreeSet;

use portcullis_profile::{
    Fallback, fallback,
    recording::{COMPLETE, Call, Observation, verdict},
};

use crate::{
    cluster::recordings::{self, Recorded},
    console::Console,
    layout::counted,
};

/// Denied calls that are named; the rest are counted.
const NAMED: usize = 16;

/// What there is to know of a recording, and of the profile that is made of it.
#[derive(Debug)]
pub(super) struct Known {
    /// What it is of.
    summary: String,
    /// What is missing, a sentence each; or that nothing is.
    missing: Vec<String>,
    is_complete: bool,
    /// What the profile lacks or has besides.
    besides: Vec<String>,
}

impl Known {
    pub(super) fn of(recorded: &Recorded, notes: &[String]) -> Self {
        let total = recorded.tally.total();
        let verdict = verdict(&recorded.tally).expecting(&recorded.containers);
        let is_complete = verdict.is_complete() && recorded.problems.is_empty();
        let mut missing = recorded.problems.clone();
        missing.extend(verdict.gaps.iter().map(ToString::to_string));
        missing.extend(verdict.not_seen());
        let refused = recordings::refused(&recorded.refused).map(|refused| format!("Refused: {refused}"));
        let besides = [lost(&total), refused, falls_back(&total), denied(&total)];
        Self {
            summary: summary(recorded, &total),
            missing,
            is_complete,
            besides: besides.into_iter().flatten().chain(notes.iter().cloned()).collect(),
        }
    }

    /// Takes in one thing more.
    pub(super) fn add(&mut self, said: String) {
        self.besides.push(said);
    }

    /// In lines: what is missing in one block.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = vec![self.summary.clone()];
        lines.extend(self.gaps());
        lines.extend(self.besides.iter().cloned());
        lines
    }

    /// What is missing, in one block.
    pub(super) fn gaps(&self) -> Vec<String> {
        let title = if self.is_complete { COMPLETE } else { "Not complete:" };
        let listed = self.missing.iter().map(|missing| format!("- {missing}"));
        std::iter::once(title.to_owned()).chain(listed).collect()
    }

    /// Says it beside a profile that has no place for it.
    pub(super) fn note(&self, console: &mut Console) {
        console.note(&self.summary);
        console.note(self.gaps().join("\n"));
        self.besides.iter().for_each(|said| console.note(said));
    }
}

fn summary(recorded: &Recorded, total: &Observation) -> String {
    let subjects = || recorded.tally.subjects.keys();
    let runs: BTreeSet<&str> = subjects().map(|subject| subject.run.as_str()).collect();
    let containers: BTreeSet<&str> = subjects().map(|subject| subject.container.as_str()).collect();
    let containers: Vec<&str> = containers.into_iter().collect();
    let named: Vec<&str> = runs.into_iter().filter(|run| !run.is_empty()).collect();
    let runs = match named.len() {
        0 => String::new(),
        count => format!(", in {} ({})", counted(count, "run"), named.join(", ")),
    };
    format!("{} of {}{runs}", counted(total.calls.len(), "call"), containers.join(", "))
}

fn lost(total: &Observation) -> Option<String> {
    let losses = total.losses;
    let counts = [(losses.calls, "call"), (losses.values, "argument value"), (losses.denials, "denial")];
    let said: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| counted(usize::try_from(*count).unwrap_or(usize::MAX), what))
        .collect();
    (!said.is_empty()).then(|| format!("Lost: {}", said.join(", ")))
}

/// The calls that were denied and never made.
fn never_made(total: &Observation) -> impl Iterator<Item = Call> {
    total.denied.keys().filter(|call| !total.calls.contains_key(call)).copied()
}

/// What a runtime's default denies so that programs make another call.
fn falls_back(total: &Observation) -> Option<String> {
    let of = |call: Call| fallback(call.name()?);
    let mut fallbacks: Vec<&Fallback> = never_made(total).filter_map(of).collect();
    fallbacks.dedup_by_key(|fallback| fallback.call);
    let said = fallbacks.iter().map(|Fallback { call, instead, why, .. }| {
        format!("{call} was answered with ENOSYS on purpose, so that the program makes {instead}: {why}. Leave it so")
    });
    (!fallbacks.is_empty()).then(|| said.collect::<Vec<_>>().join("; "))
}

/// What the containers' present filters denied: a profile that is made from under them lacks it.
fn denied(total: &Observation) -> Option<String> {
    let names: BTreeSet<String> =
        never_made(total).filter(|call| call.name().and_then(fallback).is_none()).map(named).collect();
    let shown: Vec<&str> = names.iter().take(NAMED).map(String::as_str).collect();
    let more = match names.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    (!names.is_empty()).then(|| {
        format!(
            "Denied by the containers' present filters, so not in the profile: {}{more}; if the program needs them, allow them by hand \
             or record under a looser profile",
            shown.join(", ")
        )
    })
}

fn named(call: Call) -> String {
    call.name().map_or_else(|| format!("{} {}", call.arch, call.number), str::to_owned)
}

#[cfg(test)]
mod tests {
    use portcullis_profile::{
        Arch,
        recording::{Exit, Mark, Seen, Signals, Subject, Tally},
        syscalls,
    };

    use super::*;

    fn recorded(observation: Observation) -> Recorded {
        let mut tally = Tally::default();
        let subject = Subject { container: "web".to_owned(), run: "suite".to_owned(), ..Subject::default() };
        tally.add_one(subject, &observation);
        Recorded { tally, problems: Vec::new(), refused: Vec::new(), containers: Vec::new() }
    }

    fn saw(names: &[&str]) -> Observation {
        let call = |name: &&str| {
            let number = syscalls::number(Arch::X86_64, name).unwrap();
            (Call { arch: Arch::X86_64, number }, Seen { count: 1, first_at: 1 })
        };
        Observation { containers: 1, calls: names.iter().map(call).collect(), ..Observation::default() }
    }

    #[test]
    fn what_is_missing_comes_with_what_to_do_about_it() {
        let mut observation = saw(&["read", "write"]);
        observation.denied = saw(&["mount", "read", "clone3"]).calls;
        observation.losses.calls = 3;
        let recorded = Recorded { refused: vec!["n1".to_owned(), "n2".to_owned()], ..recorded(observation) };
        let known = Known::of(&recorded, &["a note".to_owned()]).lines();
        assert_eq!(known[..2], ["2 calls of web, in 1 run (suite)", "Not complete:"]);
        for words in [
            "- web: more was called than is known; record again in another recording",
            "- web: no graceful stop was seen; delete its pod while recording",
            "- web: not seen: Exec, SignalHandled, LogReopened, NonZeroExit; cause those that it has while recording",
            "Lost: 3 calls",
            "Refused: n1, n2: the recorder asked to write, and no pod of the recording was there; what one called that lived for a moment \
             is missing",
            "a note",
        ] {
            assert!(known.iter().any(|said| said == words), "{words:?} is missing: {known:#?}");
        }
        let denied = known.iter().find(|said| said.starts_with("Denied")).unwrap();
        assert!(denied.contains("profile: mount; "), "what was also made is in the profile: {denied}");
        let clone3: Vec<_> = known.iter().filter(|said| said.contains("clone3")).collect();
        assert_eq!(
            clone3,
            [
                "clone3 was answered with ENOSYS on purpose, so that the program makes clone: no filter sees clone3's flags. Leave it so"
            ]
        );
    }

    #[test]
    fn that_nothing_is_missing_is_said_only_where_everything_could_be_read() {
        let mut observation = saw(&["read"]);
        observation.marks.extend([Mark::StartSeen, Mark::Steady]);
        observation.handled = Signals::of(&["SIGTERM"]);
        observation.outside = observation.handled;
        observation.ended(Exit::Status(0));
        let mut recorded = recorded(observation);
        let lines = |recorded: &Recorded| Known::of(recorded, &[]).lines();
        assert!(lines(&recorded).iter().any(|said| said == COMPLETE));
        recorded.problems.push("SeccompRecordingPart web.n1 can't be read: x".to_owned());
        let known = lines(&recorded);
        assert!(!known.iter().any(|said| said == COMPLETE), "{known:#?}");
        assert!(known.contains(&"- SeccompRecordingPart web.n1 can't be read: x".to_owned()));
    }

    #[test]
    fn a_recording_without_runs_is_not_said_to_be_outside_of_one() {
        let mut tally = Tally::default();
        tally.add_one(Subject { container: "web".to_owned(), ..Subject::default() }, &saw(&["read"]));
        let recorded = Recorded { tally, problems: Vec::new(), refused: Vec::new(), containers: Vec::new() };
        assert_eq!(Known::of(&recorded, &[]).lines()[0], "1 call of web");
    }
}
