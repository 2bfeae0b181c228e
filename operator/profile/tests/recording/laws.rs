//! The laws by which reports may come in any order, again, and in pieces.

use std::collections::BTreeMap;

use portcullis_profile::{
    Arch,
    recording::{
        Argument, Call, Ledger, Losses, Mark, Observation, Platform, Seen, Signals, Source, Subject, Tally,
        Values, decode_entry, encode_entry,
    },
};
use proptest::{collection, prelude::*, sample::select};

fn call() -> impl Strategy<Value = Call> {
    (select(&[Arch::X86_64, Arch::X86][..]), 0..6_u32).prop_map(|(arch, number)| Call { arch, number })
}

fn seen() -> impl Strategy<Value = Seen> {
    let count = prop_oneof![4 => 0..5_u64, 1 => Just(u64::MAX)];
    (count, 100..200_u64).prop_map(|(count, first_at)| Seen { count, first_at })
}

fn values() -> impl Strategy<Value = Values> {
    let few = collection::btree_set(0..9_u64, 1..4);
    // Sets that are too large only together.
    let many = (0..40_u64).prop_map(|from| (from..from + 20).collect());
    prop_oneof![4 => few.prop_map(Values::These), 2 => many.prop_map(Values::These), 1 => Just(Values::TooMany)]
}

fn observation() -> impl Strategy<Value = Observation> {
    let argument = (call(), 0..2_u8).prop_map(|(call, index)| Argument { call, index });
    (
        0..3_u64,
        collection::btree_map(call(), seen(), 0..5),
        collection::btree_map(call(), seen(), 0..3),
        collection::btree_map(argument, values(), 0..3),
        collection::btree_set(select(Mark::ALL), 0..4),
        (any::<u64>(), any::<u64>()),
        (0..3_u64, 0..3_u64, 0..3_u64),
    )
        .prop_map(
            |(containers, calls, denied, values, marks, (handled, outside), (lost, missed, denials))| {
                Observation {
                    containers,
                    calls,
                    denied,
                    values,
                    marks,
                    handled: Signals::from_bits(handled),
                    outside: Signals::from_bits(outside),
                    losses: Losses { calls: lost, values: missed, denials },
                }
            },
        )
}

fn subject() -> impl Strategy<Value = Subject> {
    (select(&["", "sha256:1"][..]), select(&["web", "sidecar"][..]), select(&["", "suite"][..])).prop_map(
        |(image, container, run)| Subject {
            image: image.to_owned(),
            container: container.to_owned(),
            run: run.to_owned(),
        },
    )
}

fn tally() -> impl Strategy<Value = Tally> {
    let platform = select(&["6.1", "6.18"][..])
        .prop_map(|kernel| Platform { kernel: kernel.to_owned(), runtime: "containerd://2".to_owned() });
    (collection::btree_map(subject(), observation(), 0..4), collection::btree_set(platform, 0..3))
        .prop_map(|(subjects, platforms)| Tally { subjects, platforms, ..Tally::default() })
}

fn joined(one: &Observation, other: &Observation) -> Observation {
    let mut joined = one.clone();
    joined.join(other);
    joined
}

fn added(one: &Observation, other: &Observation) -> Observation {
    let mut sum = one.clone();
    sum.add(other);
    sum
}

fn united(one: &Tally, other: &Tally) -> Tally {
    let mut both = one.clone();
    both.add(other);
    both
}

/// Sources with the reports that each made one after the other: counters that only grow.
fn histories() -> impl Strategy<Value = Vec<(Source, Subject, Vec<Observation>)>> {
    let history = (subject(), collection::vec(observation(), 1..4)).prop_map(|(subject, steps)| {
        let grown = steps.into_iter().scan(Observation::default(), |now, step| {
            now.join(&step);
            Some(now.clone())
        });
        (subject, grown.collect())
    });
    collection::vec(history, 0..4).prop_map(|histories| {
        let source = |number: usize| Source { container: format!("c{number}"), instance: "i".to_owned() };
        let numbered = histories.into_iter().enumerate();
        numbered.map(|(number, (subject, reports))| (source(number), subject, reports)).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn reports_of_one_source_join(a in observation(), b in observation(), c in observation()) {
        prop_assert_eq!(joined(&a, &b), joined(&b, &a));
        prop_assert_eq!(joined(&joined(&a, &b), &c), joined(&a, &joined(&b, &c)));
        prop_assert_eq!(joined(&joined(&a, &b), &b), joined(&a, &b));
        prop_assert_eq!(joined(&Observation::default(), &a), a);
    }

    #[test]
    fn sources_add_up(a in observation(), b in observation(), c in observation()) {
        prop_assert_eq!(added(&a, &b), added(&b, &a));
        prop_assert_eq!(added(&added(&a, &b), &c), added(&a, &added(&b, &c)));
        prop_assert_eq!(added(&Observation::default(), &a), a.clone());
        let (sum, join) = (added(&a, &b), joined(&a, &b));
        prop_assert_eq!(sum.without_counts(), join.without_counts(), "they differ in counters alone");
    }

    #[test]
    fn tallies_add_up(a in tally(), b in tally(), c in tally()) {
        prop_assert_eq!(united(&a, &b), united(&b, &a));
        prop_assert_eq!(united(&united(&a, &b), &c), united(&a, &united(&b, &c)));
    }

    /// However often, in whatever order and however late reports come, and wherever a source is settled, each counts once.
    #[test]
    fn a_ledger_counts_each_source_once(
        (histories, order) in histories().prop_flat_map(|histories| {
            let reports: Vec<(usize, usize)> = histories
                .iter()
                .enumerate()
                .flat_map(|(source, (_, _, reports))| (0..reports.len()).map(move |report| (source, report)))
                .collect();
            let twice = [reports.clone(), reports].concat();
            (Just(histories), Just(twice).prop_shuffle())
        }),
        settled in collection::vec(any::<bool>(), 4),
    ) {
        let mut expected = Tally::default();
        for (_, subject, reports) in &histories {
            expected.add_one(subject.clone(), &reports[reports.len() - 1]);
        }
        let mut ledger = Ledger::default();
        for (source, report) in order {
            let (source, subject, reports) = &histories[source];
            ledger.report(source.clone(), subject.clone(), &reports[report]);
        }
        prop_assert_eq!(ledger.total(), expected.clone());
        for ((source, _, _), settle) in histories.iter().zip(settled) {
            prop_assert!(!settle || ledger.settle(source));
        }
        prop_assert_eq!(ledger.total(), expected.clone());
        // Read back after a restart, and reported once more.
        let mut again = Ledger::with_settled(ledger.settled().clone());
        for (source, subject, observation) in ledger.open() {
            again.report(source.clone(), subject.clone(), observation);
            again.report(source.clone(), subject.clone(), observation);
        }
        prop_assert_eq!(again.total(), expected);
    }

    #[test]
    fn what_is_written_down_is_read_back(observation in observation()) {
        prop_assert_eq!(decode_entry(&encode_entry(&observation)), Ok(observation));
    }

    #[test]
    fn what_does_not_fit_is_told_apart_less_and_adds_up_to_the_same(tally in tally(), limit in 1..8_usize) {
        let fitted = tally.fit(limit);
        prop_assert!(fitted.subjects.len() <= limit.max(1));
        prop_assert_eq!(fitted.total(), tally.total());
        let whole: BTreeMap<_, _> = tally.subjects.clone();
        prop_assert!(whole.len() > limit || fitted.subjects == whole);
    }
}
