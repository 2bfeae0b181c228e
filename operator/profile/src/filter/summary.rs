//! What filters do, call by call.

use super::Reading;
use crate::{
    Arch, arguments,
    compare::Side,
    evaluate::{Outcome, X32_BIT},
    explain, syscalls,
};

/// What filters do with one named call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// The call.
    pub name: &'static str,
    /// Its number; x32's carry bit 30.
    pub number: u32,
    /// Conditions on arguments, in words, and what happens where they hold; none where arguments don't matter.
    pub rules: Vec<(String, Outcome)>,
    /// What happens otherwise.
    pub otherwise: Outcome,
    /// The same in one sentence; `None` where arguments don't matter.
    pub words: Option<String>,
    /// Whether it is exactly so; otherwise one of what is named happens.
    pub certain: bool,
}

/// Numbers without names, one after the other, with which filters do the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Others {
    /// The first one.
    pub from: u32,
    /// The last one.
    pub to: u32,
    /// What happens; where arguments matter, if they are none that a rule names.
    pub outcome: Outcome,
    /// Whether it is exactly so, whatever the arguments.
    pub certain: bool,
}

/// What filters do with the calls of one architecture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The architecture.
    pub arch: Arch,
    /// Its named calls, by number.
    pub calls: Vec<Decided>,
    /// All other numbers below 2^31, in order.
    pub others: Vec<Others>,
}

impl Reading {
    /// What the filters do with the calls of each architecture, but for those of which they kill every call's thread.
    #[must_use]
    pub fn summaries(&self) -> Vec<Summary> {
        self.evaluator().architectures().map(|arch| self.summary(arch)).collect()
    }

    fn summary(&self, arch: Arch) -> Summary {
        let bit = if arch == Arch::X32 { X32_BIT } else { 0 };
        let named: Vec<(&'static str, u32)> = syscalls::calls(arch).into_iter().flatten().collect();
        let calls = named
            .iter()
            .map(|&(name, number)| decided(arch, name, number, &self.evaluator().side(arch, number & !bit)));
        let calls = calls.collect();
        let mut numbers: Vec<u32> = named.iter().map(|(_, number)| number & !bit).collect();
        numbers.sort_unstable();
        let mut others = Vec::new();
        let starts: Vec<u32> =
            self.evaluator().table(arch).into_iter().flat_map(|table| table.starts()).collect();
        let greatest = if matches!(arch, Arch::X86_64 | Arch::X32) { X32_BIT - 1 } else { i32::MAX as u32 };
        for (at, &from) in starts.iter().enumerate() {
            let to = starts.get(at + 1).map_or(greatest, |next| next - 1);
            let side = self.evaluator().side(arch, from);
            self.gaps(&numbers, (from, to), &mut |from, to| {
                others.push(unnamed(&side, from | bit, to | bit));
            });
        }
        Summary { arch, calls, others: joined(others) }
    }

    /// The stretches of numbers without names.
    fn gaps(&self, named: &[u32], (from, to): (u32, u32), found: &mut dyn FnMut(u32, u32)) {
        let mut start = from;
        let first = named.partition_point(|number| *number < from);
        for &number in named[first..].iter().take_while(|number| **number <= to) {
            if start < number {
                found(start, number - 1);
            }
            start = number + 1;
        }
        if start <= to {
            found(start, to);
        }
    }
}

fn decided(arch: Arch, name: &'static str, number: u32, side: &Side<'_>) -> Decided {
    match side {
        Side::Always(decision) => Decided {
            name,
            number,
            rules: Vec::new(),
            otherwise: decision.outcome,
            words: None,
            certain: true,
        },
        Side::Depends(group) => {
            let certain = group.is_exact();
            let rules = group.rows.iter().map(|row| {
                let conditions: Vec<String> =
                    row.conditions.iter().map(|one| arguments::condition(arch, name, one)).collect();
                let text = if certain { conditions.join(" and ") } else { "some arguments".to_owned() };
                (text, row.outcome)
            });
            let words = if certain {
                explain::restriction(group, arch, name)
            } else {
                let spans = group.rows.iter().map(|row| row.outcome).chain([group.default]);
                let spans: Vec<String> = spans.map(explain::outcome).collect();
                format!("one of: {}", spans.join(", "))
            };
            Decided {
                name,
                number,
                rules: rules.collect(),
                otherwise: group.default,
                words: Some(words),
                certain,
            }
        }
    }
}

fn unnamed(side: &Side<'_>, from: u32, to: u32) -> Others {
    match side {
        Side::Always(decision) => Others { from, to, outcome: decision.outcome, certain: true },
        Side::Depends(group) => Others { from, to, outcome: group.default, certain: false },
    }
}

/// One after the other with the same outcome make one, whatever named calls are between.
fn joined(others: Vec<Others>) -> Vec<Others> {
    let mut all: Vec<Others> = Vec::new();
    for one in others {
        match all.last_mut() {
            Some(last) if (last.outcome, last.certain) == (one.outcome, one.certain) => last.to = one.to,
            _ => all.push(one),
        }
    }
    all
}
