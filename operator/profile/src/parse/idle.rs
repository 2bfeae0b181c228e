//! Keys of a file that say nothing to a runtime.

use serde_json::{Map, Value};

use super::{
    error::{join, shown},
    keys::{ARG, Keys, PROFILE, RULE},
};

/// How many letters at the beginning make a key resemble another.
const BEGINNING: usize = 3;

/// Takes the keys out of a document that say nothing to a runtime (`$schema`, `description`), and gives their paths. Keys that may
/// be misspelt stay, and so does everything where no key is known at all: [`Profile::from_value`](crate::Profile::from_value)
/// refuses them.
#[must_use]
pub fn take_idle_keys(document: &mut Value) -> Vec<String> {
    let mut paths = Vec::new();
    let is_profile =
        |object: &Map<String, Value>| PROFILE.known.iter().any(|known| object.contains_key(*known));
    if !document.as_object().is_some_and(is_profile) {
        return paths;
    }
    take(document, &PROFILE, "", &mut paths);
    for (rule, value) in items(document, "syscalls").enumerate() {
        let path = format!("syscalls[{rule}]");
        take(value, &RULE, &path, &mut paths);
        for (arg, value) in items(value, "args").enumerate() {
            take(value, &ARG, &format!("{path}.args[{arg}]"), &mut paths);
        }
    }
    paths
}

fn items<'v>(value: &'v mut Value, key: &str) -> impl Iterator<Item = &'v mut Value> {
    value.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten()
}

fn take(value: &mut Value, keys: &Keys, path: &str, paths: &mut Vec<String>) {
    let Some(object) = value.as_object_mut() else { return };
    object.retain(|key, _| {
        let idle = is_idle(keys, key);
        if idle {
            paths.push(join(path, &shown(key)));
        }
        !idle
    });
}

/// Whether a key is none of any format, and hardly a known one misspelt.
fn is_idle(keys: &Keys, key: &str) -> bool {
    let foreign = keys.foreign.iter().map(|(foreign, _)| foreign);
    !keys.known.iter().chain(foreign).any(|known| key == *known || resembles(key, known))
}

/// Whether a key may be another one misspelt: few edits away, or with the same beginning (`arguments` for `args`).
fn resembles(key: &str, known: &str) -> bool {
    let plain = |text: &str| {
        text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase()
    };
    let key = plain(&shown(key));
    let known = plain(known);
    let edits = if key.len() <= 4 { 1 } else { 2 };
    let same_beginning = key.bytes().zip(known.bytes()).take_while(|(one, other)| one == other).count();
    same_beginning >= BEGINNING || strsim::damerau_levenshtein(&key, &known) <= edits
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{Dialect, Profile};

    #[test]
    fn keys_that_say_nothing_are_taken_out() {
        let mut document = json!({
            "$schema": "https://example.org/s.json", "description": "of the shop", "defaultAction": "SCMP_ACT_ERRNO",
            "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW", "case": 7,
                "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ", "why": "stdout"}]}],
        });
        let paths = take_idle_keys(&mut document);
        assert_eq!(paths, ["$schema", "description", "syscalls[0].case", "syscalls[0].args[0].why"]);
        Profile::from_value(&document, Dialect::Oci).expect("a profile");
    }

    #[test]
    fn misspelt_keys_and_those_of_other_formats_stay() {
        for (key, rule) in [
            ("default_action", false),
            ("archtectures", false),
            ("Flags", false),
            ("archMap", false),
            ("listener", false),
            ("arguments", true),
            ("arg", true),
            ("Names", true),
            ("errNo", true),
            ("includes", true),
            ("action_", true),
        ] {
            let mut document = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"]}]});
            let place = if rule { &mut document["syscalls"][0] } else { &mut document };
            place[key] = json!([]);
            assert_eq!(take_idle_keys(&mut document), [""; 0], "{key}");
        }
        let mut other = json!({"kind": "Pod", "description": "no profile"});
        assert_eq!(take_idle_keys(&mut other), [""; 0]);
    }
}
