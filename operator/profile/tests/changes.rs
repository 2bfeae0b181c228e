//! Changes between two profiles against evaluation and the one-sided comparison.

#![cfg(target_arch = "x86_64")]

#[expect(dead_code, reason = "only the generators are used here")]
mod oracle;

use std::collections::BTreeSet;

use oracle::{NATIVE, generate};
use portcullis_profile::{
    Arch, Profile,
    compare::{Change, Relation, changes, looser, reachable},
    evaluate::{Evaluator, Runtime},
};
use proptest::{prelude::*, sample::select, test_runner::TestRunner};

/// Two profiles that share most of their rules, and calls with arguments near their values.
type Case = (Profile, Profile, Vec<(Arch, u32, [u64; 6])>);

fn case() -> impl Strategy<Value = Case> {
    let pair = (generate::profile(), generate::profile(), prop::collection::vec(any::<bool>(), 24)).prop_map(
        |(profile, other, keep)| {
            let mut changed = profile.clone();
            let mut keep = keep.into_iter().chain(std::iter::repeat(true));
            changed.syscalls.retain(|_| keep.next().unwrap_or(true));
            changed.syscalls.extend(other.syscalls.into_iter().take(1));
            (profile, changed)
        },
    );
    pair.prop_flat_map(|(a, b)| {
        let call =
            select(reachable(NATIVE)).prop_flat_map(|arch| (Just(arch), select(generate::numbers(arch))));
        let calls = prop::collection::vec((call, generate::arguments(&[&a, &b])), 60).prop_map(|all| {
            all.into_iter().map(|((arch, number), arguments)| (arch, number, arguments)).collect()
        });
        (Just(a), Just(b), calls)
    })
}

#[test]
fn changes_are_what_evaluation_shows() {
    let config = ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() };
    let result = TestRunner::new(config).run(&case(), |(a, b, calls)| {
        let found = changes(&a, &b, Runtime::Crun, NATIVE).expect("no such profile is generated");
        let compiled = [&a, &b].map(|one| Evaluator::new(one, Runtime::Crun, NATIVE).expect("as above"));
        for call in &found.calls {
            for difference in call.differences.iter().filter(|difference| difference.certain) {
                let arguments = difference.arguments.expect("a certain one has arguments");
                let [one, other] =
                    compiled.each_ref().map(|one| one.evaluate(call.arch, call.number, arguments));
                prop_assert_eq!((one.outcome, other.outcome), (difference.mine, difference.theirs));
                prop_assert_ne!(one.outcome, other.outcome);
            }
        }
        let changed: BTreeSet<_> = found.calls.iter().map(|call| (call.arch, call.name)).collect();
        let unlisted: BTreeSet<_> = found.architectures.iter().map(|one| one.arch).collect();
        for (arch, number, arguments) in calls.into_iter().filter(|(_, number, _)| *number < 1 << 30) {
            let number = if arch == Arch::X32 { number | 1 << 30 } else { number };
            let name = portcullis_profile::syscalls::name(arch, number);
            let [one, other] = compiled.each_ref().map(|one| one.evaluate(arch, number, arguments));
            let sure = !one.is_contested() && !other.is_contested();
            if sure && one.outcome != other.outcome && !unlisted.contains(&arch) {
                prop_assert!(changed.contains(&(arch, name)), "{arch} {number}: {one:?} {other:?}");
            }
        }
        // Both ways of asking agree on which calls get further; rules that are the same are left out of one of them.
        let further = looser(&b, &a, Runtime::Crun, NATIVE, Relation::Passage).expect("as above");
        let further: BTreeSet<_> = further.iter().map(|one| (one.arch, one.number)).collect();
        for call in found.calls.iter().filter(|call| call.change.is_looser()) {
            prop_assert!(further.contains(&(call.arch, call.number)), "{call:?}");
        }
        for call in found.calls.iter().filter(|call| !call.change.is_looser()) {
            prop_assert!(!further.contains(&(call.arch, call.number)), "{call:?}");
        }
        prop_assert!(changes(&a, &a, Runtime::Crun, NATIVE).expect("as above").is_empty());
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}

fn profile(json: &str) -> Profile {
    Profile::parse(json.as_bytes()).expect("a profile")
}

#[test]
fn each_kind_of_change_is_told_apart() {
    let a = profile(
        r#"{"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"], "syscalls": [
            {"names": ["read", "write", "close"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["socket", "prctl"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]},
            {"names": ["lseek"], "action": "SCMP_ACT_KILL"}]}"#,
    );
    let b = profile(
        r#"{"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64"], "flags": ["SECCOMP_FILTER_FLAG_LOG"],
            "syscalls": [
            {"names": ["read", "bpf", "socket"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["prctl"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 2, "op": "SCMP_CMP_EQ"}]},
            {"names": ["close"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 3, "op": "SCMP_CMP_GE"}]}]}"#,
    );
    let changes = changes(&a, &b, Runtime::Crun, Arch::X86_64).expect("crun takes both");
    let kinds: Vec<_> =
        changes.calls.iter().map(|call| (call.name.unwrap_or_default(), call.change)).collect();
    assert_eq!(
        kinds,
        [
            ("write", Change::OnlyInA),
            ("close", Change::Stricter),
            ("lseek", Change::Otherwise),
            ("socket", Change::Looser),
            ("prctl", Change::Mixed),
            ("bpf", Change::OnlyInB),
        ]
    );
    assert!(changes.is_looser());
    let [x86] = &changes.architectures[..] else { panic!("{:?}", changes.architectures) };
    assert_eq!((x86.arch, x86.in_b), (Arch::X86, false));
    assert_eq!((changes.fields[0].field, changes.fields[0].b.as_str()), ("flags", "SECCOMP_FILTER_FLAG_LOG"));
}
