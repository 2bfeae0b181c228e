//! Explanations against evaluation.

#![cfg(target_arch = "x86_64")]

#[expect(dead_code, reason = "only the generators are used here")]
mod oracle;

use oracle::{NATIVE, generate};
use portcullis_profile::{
    Baseline,
    evaluate::{Evaluator, Passage, Runtime},
    explain::{Reach, explain},
    syscalls,
};
use proptest::{prelude::*, test_runner::TestRunner};

#[test]
fn every_call_gets_as_far_as_evaluation_says() {
    let case = generate::profile().prop_flat_map(|profile| {
        let arguments = prop::collection::vec(generate::arguments(&[&profile]), 8);
        (Just(profile), arguments)
    });
    let config = ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() };
    let result = TestRunner::new(config).run(&case, |(profile, arguments)| {
        let explanation = explain(&profile, Runtime::Runc, NATIVE, &Baseline::strictest())
            .expect("no such profile is generated");
        let counts = explanation.counts;
        let all = syscalls::calls(NATIVE).expect("a table").count();
        prop_assert_eq!(counts.allowed + counts.depends + counts.delegated + counts.denied, all);
        prop_assert!(explanation.restrictions.len() <= all);
        let evaluator = Evaluator::new(&profile, Runtime::Runc, NATIVE).expect("as above");
        for group in &explanation.groups {
            for name in group.group.calls {
                let reach = group
                    .calls
                    .iter()
                    .find(|call| call.name == *name)
                    .map_or(Reach::Denied, |call| call.reach);
                for arguments in &arguments {
                    let Some(decision) = evaluator.evaluate_name(NATIVE, name, *arguments) else { continue };
                    let passage = decision.outcome.passage();
                    let possible = match reach {
                        Reach::Denied => passage == Passage::Denied,
                        Reach::Delegated => passage <= Passage::Delegated,
                        Reach::Depends => true,
                        Reach::Logged | Reach::Allowed => passage == Passage::Permitted,
                    };
                    prop_assert!(possible, "{name}: {reach:?}, {decision:?}");
                }
            }
        }
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}
