//! One call.

use std::io::Write;

use anyhow::{Result, anyhow};
use portcullis_profile::{
    Arch, Profile,
    evaluate::{ARGUMENTS, Decision, Passage, Runtime},
    import::trace::{self, Call},
};

use super::{Filter, words};

/// A call, and what each runtime's filter does with it.
pub(super) struct Decided {
    pub(super) arch: Arch,
    pub(super) number: u32,
    pub(super) arguments: [u64; ARGUMENTS],
    /// Runtimes that do the same for the same reason stand together.
    pub(super) decisions: Vec<(Vec<Runtime>, Decision)>,
}

pub(super) fn decide(filters: &[Filter], native: Arch, typed: &[String]) -> Result<Decided> {
    let Call { arch, number, arguments, .. } =
        trace::one(native, typed).map_err(|problem| anyhow!(problem))?;
    let mut decisions: Vec<(Vec<Runtime>, Decision)> = Vec::new();
    for filter in filters {
        let decision = filter.evaluator.evaluate(arch, number, arguments);
        match decisions.iter_mut().find(|(_, other)| *other == decision) {
            Some((runtimes, _)) => runtimes.push(filter.runtime),
            None => decisions.push((vec![filter.runtime], decision)),
        }
    }
    Ok(Decided { arch, number, arguments, decisions })
}

/// Whether the call is made, whatever a decision leaves open.
pub(super) fn passes(decision: &Decision) -> bool {
    decision.strictest().passage() == Passage::Permitted
}

impl Decided {
    pub(super) fn passes(&self) -> bool {
        self.decisions.iter().all(|(_, decision)| passes(decision))
    }

    pub(super) fn write(&self, profile: &Profile, out: &mut dyn Write) -> Result<()> {
        let Self { arch, number, arguments, decisions } = self;
        let shown = words::call_with(*arch, *number, &arguments.map(Some));
        writeln!(out, "{shown}, call {number} of {arch}")?;
        let name = words::call(*arch, *number);
        for (runtimes, decision) in decisions {
            let (outcome, runtimes) = (decision.outcome, words::runtimes(runtimes));
            writeln!(out, "{runtimes}: {outcome}: {}", words::consequence(outcome))?;
            writeln!(out, "  {}", words::reason(decision, profile, &name))?;
        }
        Ok(())
    }
}
