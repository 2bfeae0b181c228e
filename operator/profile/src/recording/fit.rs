//! Bounds on what an object can hold, and what becomes of more: less is said of it, and no call is lost.

use std::collections::BTreeMap;

use super::{Ledger, Observation, Subject, Tally, absence::fit_absences};

/// Most subjects of a tally that is written down.
pub const MAX_SUBJECTS: usize = 32;
/// Most sources of a ledger that are written down each by itself.
pub const MAX_OPEN: usize = 32;
/// What stands for the runs, images or containers that there was no room to tell apart; and for the container of what was lost that can't
/// be told of any.
pub const OTHERS: &str = "(others)";

impl Tally {
    /// The same in at most `limit` subjects, at least one: beyond that runs are told apart no more, then images, then containers. The
    /// first ones by name keep their own.
    #[must_use]
    pub fn fit(&self, limit: usize) -> Self {
        let coarser: [fn(&mut Subject); 3] = [
            |subject| OTHERS.clone_into(&mut subject.run),
            |subject| OTHERS.clone_into(&mut subject.image),
            |subject| OTHERS.clone_into(&mut subject.container),
        ];
        let mut fitted = self.clone();
        fit_absences(&mut fitted.absences);
        for (step, _) in coarser.iter().enumerate() {
            if fitted.subjects.len() <= limit {
                break;
            }
            fitted.subjects = regroup(fitted.subjects, limit, |subject| {
                coarser[..=step].iter().for_each(|coarsen| coarsen(subject));
            });
        }
        fitted
    }
}

/// Keeps as many subjects as leave room for the coarser ones of the rest.
fn regroup(
    subjects: BTreeMap<Subject, Observation>,
    limit: usize,
    coarsen: impl Fn(&mut Subject),
) -> BTreeMap<Subject, Observation> {
    let coarse = |subject: &Subject| {
        let mut subject = subject.clone();
        coarsen(&mut subject);
        subject
    };
    let groups: std::collections::BTreeSet<Subject> = subjects.keys().map(coarse).collect();
    let room = limit.saturating_sub(groups.len());
    let mut tally = Tally::default();
    for (index, (subject, observation)) in subjects.into_iter().enumerate() {
        let subject = if index < room { subject } else { coarse(&subject) };
        tally.add_one(subject, &observation);
    }
    tally.subjects
}

impl Ledger {
    /// The same in at most [`MAX_SUBJECTS`] subjects and [`MAX_OPEN`] open sources. What the other open ones saw is in it at once,
    /// and how often only when they are settled: this is for writing down, and the ledger itself goes on.
    #[must_use]
    pub fn fit(&self) -> Self {
        let mut settled = self.settled.clone();
        for (subject, observation) in self.open.values().skip(MAX_OPEN) {
            settled.add_one(subject.clone(), &observation.without_counts());
        }
        let open = self.open.iter().take(MAX_OPEN).map(|(source, kept)| (source.clone(), kept.clone()));
        Self { settled: settled.fit(MAX_SUBJECTS), open: open.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Arch,
        recording::{Call, Losses, Seen, Source},
    };

    fn saw(number: u32) -> Observation {
        let call = Call { arch: Arch::X86_64, number };
        let seen = Seen { count: 1, first_at: 1 };
        Observation { containers: 1, calls: [(call, seen)].into(), ..Observation::default() }
    }

    fn subject(image: usize, container: usize, run: usize) -> Subject {
        let name = |what: &str, number: usize| format!("{what}{number:03}");
        Subject { image: name("i", image), container: name("c", container), run: name("r", run) }
    }

    #[test]
    fn what_does_not_fit_is_told_apart_no_more_and_not_lost() {
        for (subjects, kept) in [
            ((0..100).map(|n| subject(0, 0, n)).collect::<Vec<_>>(), "c000"),
            ((0..100).map(|n| subject(n, 0, 0)).collect(), "c000"),
            ((0..100).map(|n| subject(0, n, 0)).collect(), "c000"),
        ] {
            let mut tally = Tally::default();
            for (number, subject) in (0..).zip(&subjects) {
                tally.add_one(subject.clone(), &saw(number));
            }
            let fitted = tally.fit(10);
            assert!(fitted.subjects.len() <= 10, "{:?}", fitted.subjects.keys());
            assert_eq!(fitted.total(), tally.total());
            assert!(fitted.subjects.keys().any(|subject| subject.container == kept));
            assert_eq!(fitted.fit(10), fitted, "what fits stays as it is");
        }
    }

    #[test]
    fn that_a_source_beyond_the_limit_lost_something_is_written_down() {
        let mut ledger = Ledger::default();
        for number in 0..=MAX_OPEN {
            let source = Source { container: format!("{number:03}"), instance: "1".to_owned() };
            let calls = if number == MAX_OPEN { 7 } else { 0 };
            let losses = Losses { calls, ..Losses::default() };
            ledger.report(source, subject(0, 0, 0), &Observation { losses, ..saw(0) });
        }
        assert_eq!(ledger.fit().total().total().losses.calls, 1);
    }

    #[test]
    fn sources_beyond_the_limit_are_counted_once_they_are_settled() {
        let mut ledger = Ledger::default();
        let source = |number: u32| Source { container: format!("{number:03}"), instance: "1".to_owned() };
        for number in 0..40 {
            ledger.report(source(number), subject(0, 0, 0), &saw(0));
        }
        let fitted = ledger.fit();
        assert_eq!(fitted.open().count(), MAX_OPEN);
        assert_eq!(fitted.total().total().containers, 32);
        assert!((0..40).all(|number| ledger.settle(&source(number))));
        assert_eq!(ledger.fit().total().total().containers, 40);
        assert!(!ledger.settle(&source(0)), "it is settled already");
    }
}
