//! Lengths of time as Kubernetes writes them.

use std::time::Duration;

use schemars::{Schema, SchemaGenerator, json_schema};

/// Hours, minutes and seconds, of which at least one is there.
pub(super) fn schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "minLength": 2,
        "maxLength": 20,
        "pattern": "^([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,5}s)?$",
    })
}

/// Reads a length of time such as `1h30m`: the schema's pattern. None where it is none.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut seconds = 0;
    for (unit, length) in [('h', 3600), ('m', 60), ('s', 1)] {
        if let Some((number, after)) = rest.split_once(unit) {
            if number.is_empty() || number.len() > 5 || !number.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            seconds += number.parse::<u64>().ok()? * length;
            rest = after;
        }
    }
    (rest.is_empty() && !text.is_empty()).then(|| Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_schema_takes() {
        for (text, seconds) in [
            ("30m", 1800),
            ("1h30m", 5400),
            ("90s", 90),
            ("1h1m1s", 3661),
            ("0s", 0),
            ("99999h", 359_996_400),
        ] {
            assert_eq!(parse_duration(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "30", "m", "1d", "1.5h", "-1m", "1m1h", "1m 1s", "+1s", "123456s", "1h1h"] {
            assert_eq!(parse_duration(text), None, "{text:?}");
        }
    }
}
