//! Observations as a few short strings, for objects of bounded size.
//!
//! # The format
//! Groups, one an architecture, parted by a space; each begins with the architecture and `=`; its items are parted by commas and sorted.
//! - Calls: `number:count:seconds`, all decimal, the seconds counted from the entry's `since`: `SCMP_ARCH_X86_64=0:15:0,257:40:2`.
//! - Values: `number.index:value/value/...`, in hexadecimal, or `*` for too many: `SCMP_ARCH_X86_64=41.0:1/2/a,16.1:*`.
//!
//! What is too long says less: counts become 0 (not known), the longest sets of values become `*`, and calls that still find no room
//! (there are no so many names: somebody makes up numbers) are counted as lost.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    str::FromStr,
};

use super::{Argument, Call, Losses, MAX_VALUES, Mark, Observation, Seen, Signals, Values};
use crate::Arch;

/// Longest text of an entry's calls, in bytes.
pub const MAX_CALLS_TEXT: usize = 10240;
/// Longest text of an entry's denied calls, in bytes.
pub const MAX_DENIED_TEXT: usize = 1024;
/// Longest text of an entry's values, in bytes.
pub const MAX_VALUES_TEXT: usize = 3072;

/// An observation as it is written down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// How many containers this is of.
    pub containers: u64,
    /// Seconds since the epoch, from which times are counted.
    pub since: u64,
    /// The calls.
    pub calls: String,
    /// The denied calls.
    pub denied: String,
    /// The argument values.
    pub values: String,
    /// The marks' words.
    pub marks: Vec<String>,
    /// Bits of the handled signals.
    pub handled: u64,
    /// Bits of the signals that came from outside.
    pub outside: u64,
    /// What could not be kept.
    pub losses: Losses,
}

/// A text that is not in the format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {item:?} is not {expected}")]
pub struct InvalidText {
    /// `calls`, `denied`, `values` or `marks`.
    pub field: &'static str,
    /// The part that can't be read, at most 80 characters of it.
    pub item: String,
    /// What should be there.
    pub expected: &'static str,
}

/// Writes an observation down.
#[must_use]
pub fn encode_entry(observation: &Observation) -> Entry {
    let Observation { containers, calls, denied, values, marks, handled, outside, losses } = observation;
    let since = calls.values().chain(denied.values()).map(|seen| seen.first_at).min().unwrap_or(0);
    let (calls, calls_lost) = bounded_calls(calls, since, MAX_CALLS_TEXT);
    let (denied, denials_lost) = bounded_calls(denied, since, MAX_DENIED_TEXT);
    Entry {
        containers: *containers,
        since,
        calls,
        denied,
        values: bounded_values(values),
        marks: marks.iter().map(|mark| mark.as_str().to_owned()).collect(),
        handled: handled.bits(),
        outside: outside.bits(),
        losses: Losses {
            calls: losses.calls.saturating_add(calls_lost),
            denials: losses.denials.saturating_add(denials_lost),
            ..*losses
        },
    }
}

/// Reads an observation.
///
/// # Errors
/// Where a text is not in the format; the text itself is bounded by the resource's schema.
pub fn decode_entry(entry: &Entry) -> Result<Observation, InvalidText> {
    let Entry { containers, since, calls, denied, values, marks, handled, outside, losses } = entry;
    Ok(Observation {
        containers: *containers,
        calls: read_calls("calls", calls, *since)?,
        denied: read_calls("denied", denied, *since)?,
        values: read_values(values)?,
        marks: marks.iter().map(|word| read_mark(word)).collect::<Result<_, _>>()?,
        handled: Signals::from_bits(*handled),
        outside: Signals::from_bits(*outside),
        losses: *losses,
    })
}

fn bounded_calls(calls: &BTreeMap<Call, Seen>, since: u64, limit: usize) -> (String, u64) {
    let whole = write_calls(calls, since);
    if whole.len() <= limit {
        return (whole, 0);
    }
    let mut kept: BTreeMap<_, _> =
        calls.iter().map(|(call, seen)| (*call, Seen { count: 0, ..*seen })).collect();
    let mut text = write_calls(&kept, since);
    // Calls that have a name go last, because a profile can be made of them alone.
    let mut order: Vec<Call> = kept.keys().copied().collect();
    order.sort_by_key(|call| (call.name().is_none(), *call));
    let mut lost = 0;
    while text.len() > limit {
        let spare = (text.len() - limit).div_ceil(32).max(1);
        for call in order.split_off(order.len().saturating_sub(spare)) {
            kept.remove(&call);
            lost += 1;
        }
        text = write_calls(&kept, since);
    }
    (text, lost)
}

fn write_calls(calls: &BTreeMap<Call, Seen>, since: u64) -> String {
    let items = calls.iter().map(|(call, Seen { count, first_at })| {
        (call.arch, format!("{}:{count}:{}", call.number, first_at.saturating_sub(since)))
    });
    groups(items)
}

fn bounded_values(values: &BTreeMap<Argument, Values>) -> String {
    let mut values = values.clone();
    loop {
        let text = write_values(&values);
        if text.len() <= MAX_VALUES_TEXT {
            return text;
        }
        let size = |values: &Values| match values {
            Values::These(values) => values.iter().map(|value| format!("{value:x}/").len()).sum(),
            Values::TooMany => 0,
        };
        match values.values_mut().max_by_key(|values| size(values)) {
            Some(longest @ Values::These(_)) => *longest = Values::TooMany,
            // Nobody records so many arguments; without values there is no rule on any.
            _ => return String::new(),
        }
    }
}

fn write_values(values: &BTreeMap<Argument, Values>) -> String {
    let items = values.iter().map(|(Argument { call, index }, values)| {
        let mut text = format!("{}.{index}:", call.number);
        match values {
            Values::TooMany => text.push('*'),
            Values::These(values) => {
                for (place, value) in values.iter().enumerate() {
                    let part = if place == 0 { "" } else { "/" };
                    // Writing into a string can't fail.
                    let _ = write!(text, "{part}{value:x}");
                }
            }
        }
        (call.arch, text)
    });
    groups(items)
}

/// Items, sorted by architecture, in one group for each.
fn groups(items: impl Iterator<Item = (Arch, String)>) -> String {
    let mut text = String::new();
    let mut group = None;
    for (arch, item) in items {
        if group == Some(arch) {
            text.push(',');
        } else {
            if group.is_some() {
                text.push(' ');
            }
            text.push_str(arch.as_str());
            text.push('=');
            group = Some(arch);
        }
        text.push_str(&item);
    }
    text
}

fn wrong(field: &'static str, item: &str, expected: &'static str) -> InvalidText {
    InvalidText { field, item: item.chars().take(80).collect(), expected }
}

/// The items of a text with their architectures.
fn items<'t>(field: &'static str, text: &'t str) -> Result<Vec<(Arch, &'t str)>, InvalidText> {
    let mut all = Vec::new();
    for group in text.split(' ').filter(|group| !group.is_empty()) {
        let read = group.split_once('=').and_then(|(arch, items)| {
            Some((Arch::ALL.iter().copied().find(|known| known.as_str() == arch)?, items))
        });
        let (arch, items) = read.ok_or_else(|| wrong(field, group, "an architecture, '=' and items"))?;
        all.extend(items.split(',').map(|item| (arch, item)));
    }
    Ok(all)
}

fn number<T: FromStr>(text: Option<&str>) -> Option<T> {
    text.filter(|text| text.starts_with(|c: char| c.is_ascii_digit()))?.parse().ok()
}

fn read_calls(field: &'static str, text: &str, since: u64) -> Result<BTreeMap<Call, Seen>, InvalidText> {
    let read = |arch, item: &str| {
        let mut parts = item.splitn(3, ':');
        let call = Call { arch, number: number(parts.next())? };
        let count = number(parts.next())?;
        Some((call, Seen { count, first_at: since.saturating_add(number(parts.next())?) }))
    };
    items(field, text)?
        .into_iter()
        .map(|(arch, item)| {
            read(arch, item).ok_or_else(|| wrong(field, item, "a call as number:count:seconds"))
        })
        .collect()
}

fn read_values(text: &str) -> Result<BTreeMap<Argument, Values>, InvalidText> {
    let read = |arch, item: &str| {
        let (place, values) = item.split_once(':')?;
        let (call, index) = place.split_once('.')?;
        let call = Call { arch, number: number(Some(call))? };
        let index = number(Some(index)).filter(|index| *index < 6)?;
        let hex = |text: &str| u64::from_str_radix(text, 16).ok().filter(|_| !text.starts_with('+'));
        let values = match values {
            "*" => Values::TooMany,
            values => {
                let these = values.split('/').map(hex).collect::<Option<BTreeSet<u64>>>()?;
                if these.len() > MAX_VALUES { Values::TooMany } else { Values::These(these) }
            }
        };
        Some((Argument { call, index }, values))
    };
    items("values", text)?
        .into_iter()
        .map(|(arch, item)| {
            read(arch, item).ok_or_else(|| wrong("values", item, "values as number.index:hex/hex"))
        })
        .collect()
}

fn read_mark(word: &str) -> Result<Mark, InvalidText> {
    let mark = Mark::ALL.iter().copied().find(|mark| mark.as_str() == word);
    mark.ok_or_else(|| wrong("marks", word, "a mark that this version knows"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(number: u32) -> Call {
        Call { arch: Arch::X86_64, number }
    }

    #[test]
    fn is_short_and_can_be_read_by_people() {
        let i386 = Call { arch: Arch::X86, number: 4 };
        let observation = Observation {
            containers: 2,
            calls: [
                (call(257), Seen { count: 40, first_at: 1002 }),
                (call(0), Seen { count: 15, first_at: 1000 }),
                (i386, Seen { count: 1, first_at: 1009 }),
            ]
            .into(),
            values: [
                (Argument { call: call(41), index: 0 }, Values::These([1, 2, 10].into())),
                (Argument { call: call(16), index: 1 }, Values::TooMany),
            ]
            .into(),
            marks: [Mark::Steady, Mark::StartSeen].into(),
            handled: Signals::of(&["SIGHUP"]),
            outside: Signals::of(&["SIGINT"]),
            ..Observation::default()
        };
        let entry = encode_entry(&observation);
        assert_eq!(entry.calls, "SCMP_ARCH_X86=4:1:9 SCMP_ARCH_X86_64=0:15:0,257:40:2");
        assert_eq!(entry.values, "SCMP_ARCH_X86_64=16.1:*,41.0:1/2/a");
        assert_eq!(entry.marks, ["StartSeen", "Steady"]);
        assert_eq!((entry.since, entry.handled, entry.outside, entry.denied.as_str()), (1000, 1, 2, ""));
        assert_eq!(decode_entry(&entry), Ok(observation));
    }

    #[test]
    fn what_is_too_long_says_less_and_loses_no_named_call() {
        let seen = Seen { count: u64::MAX, first_at: u64::MAX };
        let calls = (0..5000).map(|number| (call(number), seen)).collect();
        let mut observation = Observation { calls, ..Observation::default() };
        observation.calls.insert(call(3), Seen { count: 1, first_at: 0 });
        for index in 0..6 {
            let values = (0..32).map(|value| u64::MAX - value).collect();
            observation.values.insert(Argument { call: call(16), index }, Values::These(values));
            let values = (0..32).map(|value| u64::MAX - value).collect();
            observation.values.insert(Argument { call: call(41), index }, Values::These(values));
        }
        observation.denied = observation.calls.clone();
        let entry = encode_entry(&observation);
        assert!(entry.calls.len() <= MAX_CALLS_TEXT && entry.calls.len() > MAX_CALLS_TEXT * 3 / 4);
        assert!(entry.denied.len() <= MAX_DENIED_TEXT);
        assert!(entry.values.len() <= MAX_VALUES_TEXT);
        let read = decode_entry(&entry).unwrap();
        assert_eq!(read.calls.len() as u64 + read.losses.calls, 5000);
        assert!(read.losses.denials > 0);
        assert!(read.values.len() == 12 && read.values.values().any(|values| *values == Values::TooMany));
        assert!(read.values.values().any(|values| *values != Values::TooMany), "as few as need be");
    }

    #[test]
    fn every_named_call_of_both_architectures_fits() {
        let seen = Seen { count: 1_000_000, first_at: 1_795_000_000 };
        let mut observation = Observation::default();
        for arch in [Arch::X86_64, Arch::Aarch64] {
            for (_, number) in crate::syscalls::calls(arch).unwrap() {
                observation.calls.insert(Call { arch, number }, seen);
            }
        }
        observation.calls.insert(call(0), Seen { first_at: 1_795_000_000 - 86_400 * 30, ..seen });
        let read = decode_entry(&encode_entry(&observation)).unwrap();
        assert_eq!(read.losses, Losses::default());
        assert_eq!(read.calls.len(), observation.calls.len());
    }

    #[test]
    fn says_which_part_can_not_be_read() {
        for (calls, item) in [
            ("SCMP_ARCH_X86_64=0:1", "0:1"),
            ("SCMP_ARCH_X86_64=0:1:2,-1:1:1", "-1:1:1"),
            ("SCMP_ARCH_X86_64=0:1:2:3", "0:1:2:3"),
            ("SCMP_ARCH_PDP11=0:1:2", "SCMP_ARCH_PDP11=0:1:2"),
            ("0:1:2", "0:1:2"),
        ] {
            let entry = Entry { calls: calls.to_owned(), ..Entry::default() };
            let error = decode_entry(&entry).unwrap_err();
            assert_eq!((error.field, error.item.as_str()), ("calls", item), "{calls}");
        }
        let entry = Entry { values: "SCMP_ARCH_X86_64=41.6:1".to_owned(), ..Entry::default() };
        let error = decode_entry(&entry).unwrap_err().to_string();
        assert_eq!(error, "values: \"41.6:1\" is not values as number.index:hex/hex");
        let entry = Entry { marks: vec!["Asleep".to_owned()], ..Entry::default() };
        assert!(decode_entry(&entry).unwrap_err().to_string().contains("Asleep"));
    }
}
