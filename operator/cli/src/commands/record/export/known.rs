//! What whoever reviews a profile of a recording has to know.

use std::collections::BTreeSet;

use portcullis_profile::recording::{COMPLETE, Call, Observation, verdict};

use crate::{
    cluster::recordings::{self, Recorded},
    layout::counted,
};

/// Denied calls that are named; the rest are counted.
const NAMED: usize = 16;

/// What it is of, what is not complete, and what the profile lacks or has besides.
pub(super) fn of(recorded: &Recorded, notes: &[String]) -> Vec<String> {
    let total = recorded.tally.total();
    let mut known = vec![summary(recorded, &total)];
    known.extend(recorded.problems.iter().map(|problem| format!("Not complete: {problem}")));
    let verdict = verdict(&recorded.tally).expecting(&recorded.containers);
    known.extend(verdict.gaps.iter().map(|gap| format!("Not complete: {gap}")));
    if verdict.is_complete() && recorded.problems.is_empty() {
        known.push(COMPLETE.to_owned());
    }
    known.extend(verdict.not_seen());
    known.extend(lost(&total));
    known.extend(recordings::refused(&recorded.refused).map(|refused| format!("Refused: {refused}")));
    known.extend(denied(&total));
    known.extend(notes.iter().cloned());
    known
}

fn summary(recorded: &Recorded, total: &Observation) -> String {
    let subjects = || recorded.tally.subjects.keys();
    let runs: BTreeSet<&str> = subjects().map(|subject| subject.run.as_str()).collect();
    let containers: BTreeSet<&str> = subjects().map(|subject| subject.container.as_str()).collect();
    let containers: Vec<&str> = containers.into_iter().collect();
    let named: Vec<&str> = runs.into_iter().filter(|run| !run.is_empty()).collect();
    let runs = match named.len() {
        0 => "outside of any named run".to_owned(),
        count => format!("in {} ({})", counted(count, "run"), named.join(", ")),
    };
    format!("{} of {}, {runs}", counted(total.calls.len(), "call"), containers.join(", "))
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

/// What the containers' present filters denied: a profile that is made from under them lacks it.
fn denied(total: &Observation) -> Option<String> {
    let made = |call: &Call| total.calls.contains_key(call);
    let names: BTreeSet<String> =
        total.denied.keys().filter(|call| !made(call)).map(|call| named(*call)).collect();
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
        observation.denied = saw(&["mount", "read"]).calls;
        observation.losses.calls = 3;
        let recorded = Recorded { refused: vec!["n1".to_owned(), "n2".to_owned()], ..recorded(observation) };
        let known = of(&recorded, &["a note".to_owned()]);
        assert_eq!(known[0], "2 calls of web, in 1 run (suite)");
        for words in [
            "Not complete: web: events lost: more was called than is known",
            "Not complete: web: graceful stop never seen; delete its pod while recording",
            "web: not seen: Start, Steady, SignalHandled, LogReopened, GracefulStop, NonZeroExit",
            "Lost: 3 calls",
            "Refused: n1, n2: the recorder asked to write, and no pod of the recording was there; what one called that lived for a moment \
             is missing",
            "a note",
        ] {
            assert!(known.iter().any(|said| said == words), "{words:?} is missing: {known:#?}");
        }
        let denied = known.iter().find(|said| said.starts_with("Denied")).unwrap();
        assert!(denied.contains("profile: mount; "), "what was also made is in the profile: {denied}");
    }

    #[test]
    fn that_nothing_is_missing_is_said_only_where_everything_could_be_read() {
        let mut observation = saw(&["read"]);
        observation.marks.extend([Mark::StartSeen, Mark::Steady]);
        observation.handled = Signals::of(&["SIGTERM"]);
        observation.ended(Exit::Status(0));
        let mut recorded = recorded(observation);
        assert!(of(&recorded, &[]).iter().any(|said| said == COMPLETE));
        recorded.problems.push("SeccompRecordingPart web.n1 can't be read: x".to_owned());
        let known = of(&recorded, &[]);
        assert!(!known.iter().any(|said| said == COMPLETE), "{known:#?}");
        assert!(known.contains(&"Not complete: SeccompRecordingPart web.n1 can't be read: x".to_owned()));
    }
}
