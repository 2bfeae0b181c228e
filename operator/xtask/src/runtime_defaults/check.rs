//! Whether the committed documents are still those of the newest releases.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use portcullis_profile::{
    Arch, Profile, RuntimeDefault,
    compare::{Relation, looser},
    evaluate::Runtime,
    runtime_defaults, supported_runtime_defaults,
};

use super::{Generated, Version, containerd, crio, newest, of_containerd, of_crio};

/// What to do about a document that is out of date.
const REMEDY: &str = "run `cargo run -p xtask -- runtime-defaults` and see what changes";

/// Everything that is out of date, in words; what has a newer release with the same default is only said.
///
/// # Errors
/// Where Go, the module proxy or apt is missing, or a default can't be made.
pub fn check(mut say: impl FnMut(&str)) -> Result<Vec<String>> {
    let released = containerd::released()?;
    let mut wrong = Vec::new();
    for branch in containerd::BRANCHES {
        let generated = of_containerd(branch, newest(&released, branch)?)?;
        wrong.extend(out_of_date(&generated, &mut say)?);
    }
    wrong.extend(out_of_date(&of_crio(&crio::Packaged::newest()?)?, &mut say)?);
    for (module, version) in newer_branches(&released) {
        for default in runtime_defaults() {
            let newer = containerd::default(module, version, default.arch)?;
            let denied = calls_that_only(&default.profile, &newer, default.arch)?;
            let what =
                format!("containerd {version}, of a branch that is not listed here, on {}", default.arch);
            if denied.is_empty() {
                say(&format!("{what}: its default denies nothing that the strictest one here allows"));
            } else {
                wrong.push(format!(
                    "{what}: its default denies what the strictest one here allows: {}. Add the branch to xtask's runtime_defaults/containerd.rs",
                    denied.join(", ")
                ));
            }
        }
    }
    Ok(wrong)
}

/// The newest release of each branch after the last that is listed.
fn newer_branches(released: &[(&'static str, Version)]) -> Vec<(&'static str, Version)> {
    let listed = containerd::BRANCHES.last().map(|branch| branch.name);
    let last = released.iter().rposition(|(_, version)| Some(version.branch().as_str()) == listed);
    let mut newer: Vec<(&'static str, Version)> = Vec::new();
    for &(module, version) in &released[last.map_or(0, |last| last + 1)..] {
        match newer.last_mut() {
            Some((_, other)) if other.branch() == version.branch() => *other = version,
            _ => newer.push((module, version)),
        }
    }
    newer
}

/// Where a newly generated default differs from the committed one of its name.
fn out_of_date(generated: &Generated, say: &mut impl FnMut(&str)) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for (arch, profile) in &generated.profiles {
        let committed =
            supported_runtime_defaults().find(|one| one.name == generated.name && one.arch == *arch);
        let Some(committed) = committed else {
            wrong.push(format!("{} is not committed: {REMEDY}", generated.words));
            continue;
        };
        let RuntimeDefault { source, profile: before, .. } = committed;
        if before.render() == profile.render() {
            if *source != generated.words {
                say(&format!("{} is out, with the default of {source} on {arch}", generated.words));
            }
            continue;
        }
        let [denied, allowed] =
            [calls_that_only(before, profile, *arch)?, calls_that_only(profile, before, *arch)?];
        wrong.push(format!(
            "{}: its default on {arch} is not the committed one of {source}: it denies {} and allows {} besides. {REMEDY}",
            generated.words,
            listed(&denied),
            listed(&allowed),
        ));
    }
    Ok(wrong)
}

fn listed(calls: &[String]) -> String {
    if calls.is_empty() { "nothing".to_owned() } else { calls.join(", ") }
}

/// The calls that one profile lets further than another, with their arguments.
fn calls_that_only(one: &Profile, other: &Profile, arch: Arch) -> Result<Vec<String>> {
    let differences = looser(one, other, Runtime::Runc, arch, Relation::Passage)
        .with_context(|| format!("a default that no container starts with on {arch}"))?;
    let calls = differences.iter().map(|difference| {
        let call = difference.name.map_or_else(|| difference.number.to_string(), str::to_owned);
        format!("{call} with {}", difference.in_words)
    });
    Ok(calls.collect::<BTreeSet<String>>().into_iter().collect())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use portcullis_profile::runtime_default;

    fn generated(name: &str, words: &str, profile: Profile) -> Generated {
        Generated {
            name: name.to_owned(),
            words: words.to_owned(),
            file: String::new(),
            origin: String::new(),
            profiles: vec![(Arch::X86_64, profile)],
        }
    }

    #[test]
    fn another_default_is_named_with_its_version_and_calls() {
        let committed = supported_runtime_defaults().find(|one| one.arch == Arch::X86_64).unwrap();
        let said = RefCell::new(Vec::new());
        let check = |words: &str, profile: &Profile| {
            let mut say = |line: &str| said.borrow_mut().push(line.to_owned());
            out_of_date(&generated(committed.name, words, profile.clone()), &mut say).unwrap()
        };
        assert_eq!(check(&committed.source, &committed.profile), Vec::<String>::new());
        assert_eq!(check("containerd 9.9.9", &committed.profile), Vec::<String>::new());
        let mut other = committed.profile.clone();
        for rule in &mut other.syscalls {
            rule.names.retain(|name| name != "ptrace");
        }
        let wrong = check("containerd 9.9.9", &other);
        assert!(wrong[0].starts_with("containerd 9.9.9: "), "{wrong:?}");
        assert!(
            wrong[0].contains("it denies ptrace with any arguments and allows nothing besides"),
            "{wrong:?}"
        );
        assert_eq!(
            *said.borrow(),
            [format!(
                "containerd 9.9.9 is out, with the default of {} on SCMP_ARCH_X86_64",
                committed.source
            )]
        );
        assert!(check("x", &runtime_default(Arch::X86_64).unwrap().profile).len() == 1);
    }

    #[test]
    fn branches_after_the_last_listed_one_are_found_by_their_newest_release() {
        let version = |text: &str| ("m", Version::parse(text).unwrap());
        let last = containerd::BRANCHES.last().unwrap().name;
        let released = [
            version("v1.7.9"),
            version(&format!("v{last}.1")),
            version("v9.0.0"),
            version("v9.0.1"),
            version("v9.1.0"),
        ];
        assert_eq!(newer_branches(&released), [version("v9.0.1"), version("v9.1.0")]);
        assert_eq!(newer_branches(&released[..2]), []);
        assert_eq!(Version::parse("v2.5.0-rc.1"), None);
    }
}
