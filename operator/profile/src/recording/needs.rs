//! Who needed which call.

use std::collections::{BTreeMap, BTreeSet};

use super::{Call, Seen, Tally};

/// Who needed a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need<'t> {
    /// The test runs; one without a name is the empty string.
    pub runs: BTreeSet<&'t str>,
    /// The containers, by name.
    pub containers: BTreeSet<&'t str>,
    /// The images, by digest.
    pub images: BTreeSet<&'t str>,
    /// How often, and since when.
    pub seen: Seen,
}

/// For each call that was made, who needed it.
#[must_use]
pub fn needs(tally: &Tally) -> BTreeMap<Call, Need<'_>> {
    let mut needs: BTreeMap<Call, Need<'_>> = BTreeMap::new();
    for (subject, observation) in &tally.subjects {
        for (call, seen) in &observation.calls {
            let need = needs.entry(*call).or_insert_with(|| Need {
                runs: BTreeSet::new(),
                containers: BTreeSet::new(),
                images: BTreeSet::new(),
                seen: Seen { count: 0, first_at: seen.first_at },
            });
            need.runs.insert(&subject.run);
            need.containers.insert(&subject.container);
            need.images.insert(&subject.image);
            need.seen.count = need.seen.count.saturating_add(seen.count);
            need.seen.first_at = need.seen.first_at.min(seen.first_at);
        }
    }
    needs
}

/// The calls that this run alone needed: what a recording without it would lack.
#[must_use]
pub fn only_in(tally: &Tally, run: &str) -> BTreeSet<Call> {
    let of = |mine: bool| {
        let subjects = tally.subjects.iter().filter(move |(subject, _)| (subject.run == run) == mine);
        subjects.flat_map(|(_, observation)| observation.calls.keys().copied()).collect::<BTreeSet<_>>()
    };
    of(true).difference(&of(false)).copied().collect()
}
