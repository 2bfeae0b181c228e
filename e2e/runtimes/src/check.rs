//! The committed table, held to what runtimes do now.

use anyhow::Result;

use crate::{
    answer::{Answer, Target},
    pool::Pool,
    request::Request,
    runtime::Runtime,
    setting::{Setting, Way},
    table::{Measured, Table},
};

/// What is tried of every runtime: of each kind of answer one.
fn sample() -> Vec<(bool, Request, Target, Answer)> {
    let bounding = || Target::with("prctl", &[(0, 24)]);
    let mut all = Vec::new();
    for (call, errno) in [
        ("setuid", 0),
        ("setresuid", 0),
        ("setgroups", 0),
        ("setgroups", 22),
        ("capset", 0),
        ("capset", 1),
        ("capget", 38),
        ("close_range", 0),
        ("fstat", 38),
    ] {
        all.push((false, Request::User, Target::whole(call), Answer::Errno(errno)));
    }
    for errno in [0, 1, 22] {
        all.push((false, Request::Root, bounding(), Answer::Errno(errno)));
    }
    all.push((true, Request::User, bounding(), Answer::Errno(22)));
    all.push((true, Request::User, Target::whole("close_range"), Answer::Errno(0)));
    all.push((true, Request::Some, Target::whole("write"), Answer::Trap));
    all
}

/// Measures a sample of a runtime.
///
/// # Errors
/// Where a container doesn't get what it asks for under the runtime default, or can't be tried.
pub fn measure_sample(pool: &Pool, runtime: &Runtime) -> Result<Table> {
    let tried = pool.each(&sample(), |(no_new_privs, request, target, answer)| {
        let setting = Setting { runtime: runtime.clone(), no_new_privs: *no_new_privs, request: *request };
        let expected = pool.expected(&setting)?;
        let effects = pool.effects(&setting, &expected, &[(target.clone(), *answer)])?;
        Ok((setting, target.clone(), *answer, effects))
    })?;
    let mut table = Table::default();
    for (setting, target, answer, effects) in tried {
        for way in Way::ALL {
            if let Some(effect) = effects.of(way) {
                table.note(setting.place(&target, way), answer, effect.to_string());
            }
        }
    }
    Ok(table)
}

/// What a fresh measurement says that the committed table doesn't, in words.
#[must_use]
pub fn differences(committed: &Table, fresh: &Table) -> Vec<String> {
    let mut found = Vec::new();
    for (place, measured) in fresh.iter() {
        let Measured::Effects(effects) = measured else {
            if committed.at(place) != Some(&Measured::NotMade) {
                found.push(format!("{place}: the call is not made, and the table says otherwise"));
            }
            continue;
        };
        for (answer, effect) in effects {
            let said = match committed.at(place) {
                Some(Measured::NotMade) => Some("same"),
                Some(Measured::Effects(effects)) => effects.get(answer).map(String::as_str),
                None => None,
            };
            if said != Some(effect) {
                let said = said.map_or_else(|| "nothing".to_owned(), |said| format!("{said:?}"));
                found.push(format!("{place}: {answer} comes to {effect:?}, and the table says {said}"));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Place;

    fn place(call: &str) -> Place {
        Place {
            runtime: "runc".to_owned(),
            version: "1.3.7".to_owned(),
            no_new_privs: false,
            way: "start".to_owned(),
            request: "user".to_owned(),
            given: "-".to_owned(),
            target: Target::whole(call),
        }
    }

    fn table(effect: &str) -> Table {
        let mut table = Table::default();
        table.note(place("setuid"), Answer::Errno(0), effect.to_owned());
        table.note_not_made(place("setresuid"));
        table
    }

    #[test]
    fn a_wrong_row_is_named() {
        let fresh = table("keeps uid");
        assert_eq!(differences(&fresh, &fresh), [""; 0]);
        let wrong = differences(&table("fails"), &fresh);
        assert_eq!(
            wrong,
            [
                "runc 1.3.7 no_new_privs=false user start setuid: ERRNO 0 comes to \"keeps uid\", and the table says \"fails\""
            ]
        );
    }

    #[test]
    fn so_is_a_row_that_is_missing() {
        let wrong = differences(&Table::default(), &table("keeps uid"));
        assert_eq!(wrong.len(), 2, "{wrong:?}");
        assert!(wrong.iter().any(|line| line.ends_with("and the table says nothing")), "{wrong:?}");
    }

    #[test]
    fn a_call_that_is_not_made_changes_nothing() {
        let mut fresh = Table::default();
        fresh.note(place("setresuid"), Answer::Errno(0), "same".to_owned());
        assert_eq!(differences(&table("fails"), &fresh), [""; 0]);
        fresh.note(place("setresuid"), Answer::Errno(22), "keeps uid".to_owned());
        assert_eq!(differences(&table("fails"), &fresh).len(), 1);
    }

    #[test]
    fn the_sample_has_what_keeps_and_what_fails() {
        let calls: Vec<String> = sample().iter().map(|(_, _, target, _)| target.to_string()).collect();
        assert!(
            calls.contains(&"setuid".to_owned()) && calls.contains(&"prctl(0=24)".to_owned()),
            "{calls:?}"
        );
    }
}
