//! Sets of argument vectors, each given by tests that all hold.

use std::fmt;

use crate::{
    Arch, arguments,
    evaluate::{ARGUMENTS, Answer, Budget, Condition, Test, Width, value},
};

/// The argument vectors that pass all tests, and one of them.
#[derive(Clone, Debug)]
pub(crate) struct Region {
    tests: [Vec<Test>; ARGUMENTS],
    pub(crate) witness: [u64; ARGUMENTS],
}

/// Looks for arguments that meet every list of conditions `within` and none of those `outside`.
pub(crate) fn find(
    within: &[&[Condition]],
    outside: &[&[Condition]],
    width: Width,
    budget: &Budget,
) -> Answer<Region> {
    if !budget.step(within.len() + outside.len()) {
        return Answer::TooHard;
    }
    let mut region = Region { tests: Default::default(), witness: [0; ARGUMENTS] };
    for condition in within.iter().copied().flatten() {
        region.tests[condition.index].push(condition.test);
    }
    for index in (0..ARGUMENTS).filter(|&index| !region.tests[index].is_empty()) {
        match value(&region.tests[index], width, budget) {
            Answer::Found(found) => region.witness[index] = found,
            Answer::Nothing => return Answer::Nothing,
            Answer::TooHard => return Answer::TooHard,
        }
    }
    exclude(region, outside, width, budget)
}

/// Leaves the lists of conditions that the witness meets, one condition after the other.
fn exclude(region: Region, outside: &[&[Condition]], width: Width, budget: &Budget) -> Answer<Region> {
    let tests: usize = region.tests.iter().map(Vec::len).sum();
    if !budget.step(outside.len() + tests) {
        return Answer::TooHard;
    }
    let meets = |list: &&&[Condition]| list.iter().all(|condition| condition.holds(&region.witness));
    let Some(met) = outside.iter().find(meets) else { return Answer::Found(region) };
    let mut kept = region;
    for condition in *met {
        let mut smaller = kept.clone();
        let tests = &mut smaller.tests[condition.index];
        tests.push(condition.test.negated());
        match value(tests, width, budget) {
            Answer::Found(found) => {
                smaller.witness[condition.index] = found;
                match exclude(smaller, outside, width, budget) {
                    Answer::Nothing => {}
                    answer => return answer,
                }
            }
            Answer::Nothing => {}
            Answer::TooHard => return Answer::TooHard,
        }
        // Where this condition doesn't hold was just searched.
        kept.tests[condition.index].push(condition.test);
    }
    Answer::Nothing
}

impl Region {
    /// The tests with the names of well-known arguments and values; `None` where there are none.
    pub(crate) fn in_words(&self, arch: Arch, call: &str) -> Option<String> {
        let mut tests: Vec<String> = Vec::new();
        for (index, one) in self.tests.iter().enumerate() {
            for test in one {
                let text = arguments::test(arch, call, index, *test);
                if !tests.contains(&text) {
                    tests.push(text);
                }
            }
        }
        (!tests.is_empty()).then(|| tests.join(" and "))
    }
}

/// For people: `arg0 == 40 and arg1 & 3 != 0`; `any arguments` where no test is left.
impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut tests: Vec<String> = Vec::new();
        for (index, one) in self.tests.iter().enumerate() {
            for test in one {
                let text = format!("arg{index} {test}");
                if !tests.contains(&text) {
                    tests.push(text);
                }
            }
        }
        if tests.is_empty() { f.write_str("any arguments") } else { f.write_str(&tests.join(" and ")) }
    }
}
