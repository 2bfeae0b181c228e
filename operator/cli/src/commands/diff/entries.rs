//! Changes, those of one call through several architectures together.

use portcullis_profile::{
    Arch,
    compare::{CallChange, Change, Difference},
};

/// What became of one call.
pub(in crate::commands) struct Entry<'a> {
    pub(in crate::commands) change: Change,
    /// The call; a number where it has no name.
    pub(in crate::commands) call: String,
    /// The architectures through which exactly this is so.
    pub(in crate::commands) arches: Vec<Arch>,
    /// With which arguments, and what A and B do then.
    pub(in crate::commands) differences: &'a [Difference],
}

impl Entry<'_> {
    /// The one difference of a call whose arguments don't matter.
    pub(in crate::commands) fn whole(&self) -> Option<&Difference> {
        match self.differences {
            [only] if only.in_words == "any arguments" => Some(only),
            _ => None,
        }
    }
}

/// The changes of calls, by what became of them and by name.
pub(in crate::commands) fn entries(calls: &[CallChange]) -> Vec<Entry<'_>> {
    let mut entries: Vec<Entry<'_>> = Vec::new();
    for call in calls {
        let name = call.name.map_or_else(|| format!("numbers like {}", call.number), str::to_owned);
        let same = |entry: &&mut Entry<'_>| {
            entry.change == call.change && entry.call == name && is_same(entry.differences, &call.differences)
        };
        match entries.iter_mut().find(same) {
            Some(entry) => entry.arches.push(call.arch),
            None => entries.push(Entry {
                change: call.change,
                call: name,
                arches: vec![call.arch],
                differences: &call.differences,
            }),
        }
    }
    entries.sort_by(|one, other| (one.change, &one.call).cmp(&(other.change, &other.call)));
    entries
}

fn is_same(one: &[Difference], other: &[Difference]) -> bool {
    let key = |difference: &Difference| (difference.in_words.clone(), difference.mine, difference.theirs);
    one.iter().map(key).eq(other.iter().map(key))
}

/// An example of a difference: `clone(0x10000000)`, zeros at the end left out.
pub(in crate::commands) fn example(call: &str, difference: &Difference) -> Option<String> {
    let arguments = difference.arguments?;
    let last = arguments.iter().rposition(|&argument| argument != 0).map_or(0, |last| last + 1);
    let shown: Vec<String> = arguments[..last.max(1)]
        .iter()
        .map(|argument| if *argument < 1024 { argument.to_string() } else { format!("{argument:#x}") })
        .collect();
    Some(format!("{call}({})", shown.join(", ")))
}

/// What a change is called.
pub(in crate::commands) const fn title(change: Change) -> &'static str {
    match change {
        Change::OnlyInB => "only in B",
        Change::Looser => "looser in B",
        Change::Mixed => "looser for some arguments, stricter for others",
        Change::Stricter => "stricter in B",
        Change::OnlyInA => "only in A",
        Change::Otherwise => "another action or errno",
    }
}
