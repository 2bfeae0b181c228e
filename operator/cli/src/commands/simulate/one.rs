//! One call.

use anyhow::{Result, anyhow};
use portcullis_profile::{
    Arch, Profile,
    evaluate::Passage,
    import::trace::{self, Call},
};

use super::{Filter, words};
use crate::{console::Console, verdict::Verdict};

pub(super) fn run(
    profile: &Profile,
    filters: &[Filter],
    native: Arch,
    typed: &[String],
    console: &mut Console,
) -> Result<Verdict> {
    let Call { arch, number, arguments, .. } =
        trace::one(native, typed).map_err(|problem| anyhow!(problem))?;
    let name = words::call(arch, number);
    let shown = words::call_with(arch, number, &arguments.map(Some));
    writeln!(console.out(), "{shown}, call {number} of {arch}")?;
    let mut decisions: Vec<(Vec<&str>, _)> = Vec::new();
    for filter in filters {
        let decision = filter.evaluator.evaluate(arch, number, arguments);
        let runtime = words::runtime(filter.runtime);
        match decisions.iter_mut().find(|(_, other)| *other == decision) {
            Some((runtimes, _)) => runtimes.push(runtime),
            None => decisions.push((vec![runtime], decision)),
        }
    }
    let mut passes = true;
    for (runtimes, decision) in decisions {
        let runtimes = runtimes.join(", ");
        writeln!(
            console.out(),
            "{runtimes}: {}: {}",
            decision.outcome,
            words::consequence(decision.outcome)
        )?;
        writeln!(console.out(), "  {}", words::reason(&decision, profile, &name))?;
        passes &= decision.strictest().passage() == Passage::Permitted;
    }
    Ok(if passes { Verdict::Yes } else { Verdict::No })
}
