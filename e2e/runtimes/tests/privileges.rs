//! What the machine's own runtimes do, against the committed table and against what profiles are judged by. Needs root, runc and crun.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use portcullis_profile::{
    Arch, Profile,
    compare::Budget,
    evaluate::{Evaluator, Runtime as Way},
    lint::{Code, LintContext, Severity, lint},
    privileges::kept_privileges,
    runtime_default,
};
use portcullis_runtimes::{
    Answer, Effect, Effects, Pool, Request, Setting, Source, Table, Target, answering, differences,
    measure_sample, workspace_root,
};

/// The machine's architecture, which a runtime's own calls are of.
const NATIVE: Arch = if cfg!(target_arch = "aarch64") { Arch::Aarch64 } else { Arch::X86_64 };

fn pool() -> Result<Pool> {
    Pool::new(Path::new(env!("CARGO_BIN_EXE_portcullis-runtimes")), 2)
}

#[test]
fn a_sample_of_the_table_is_what_the_runtimes_of_this_machine_do() -> Result<()> {
    let table = fs::read_to_string(workspace_root().join("operator/profile/data/privileges.tsv"))?;
    let table = Table::parse(&table)?;
    let pool = pool()?;
    for source in Source::INSTALLED {
        let runtime = source.obtain()?;
        if !table.has(&runtime) {
            eprintln!("skipped: {runtime} is none of those that were measured; `make privileges` adds it");
            continue;
        }
        let wrong = differences(&table, &measure_sample(&pool, &runtime)?);
        ensure!(
            wrong.is_empty(),
            "privileges.tsv is wrong, `make privileges` makes it anew:\n{}",
            wrong.join("\n")
        );
    }
    Ok(())
}

/// What success says without anything being done.
fn faked() -> Vec<(Target, Answer)> {
    let calls = ["capset", "setuid", "setgid", "setgroups", "prctl", "setresuid", "setresgid"];
    calls.map(|call| (Target::whole(call), Answer::Errno(0))).to_vec()
}

/// An error that says that there is no such capability, which ends the dropping of capabilities.
fn ended_early() -> Vec<(Target, Answer)> {
    vec![(Target::with("prctl", &[(0, 24)]), Answer::Errno(22))]
}

/// The gate of namespaced profiles, and the linter.
fn refused(profile: &Profile) -> Result<()> {
    let default = &runtime_default(NATIVE).context("no default")?.profile;
    let compiled = |profile| Evaluator::new(profile, Way::Runc, NATIVE).context("it doesn't load");
    let kept = kept_privileges(&compiled(profile)?, Some(&compiled(default)?), NATIVE, &Budget::default());
    ensure!(!kept.is_empty(), "the gate lets it through");
    let findings = lint(profile, &LintContext::default());
    let named =
        findings.iter().any(|one| one.code == Code::KeepsPrivileges || one.severity == Severity::Error);
    ensure!(named, "the linter says nothing of it: {findings:?}");
    Ok(())
}

fn kept(effects: &Effects, what: &str) -> bool {
    matches!(&effects.start, Effect::Keeps(kept) if kept.split(", ").any(|one| one == what))
}

/// A filter that is nowhere looser than the runtime default makes the container root, or leaves it capabilities for a
/// set-uid program to take. Portcullis refuses both.
#[test]
fn filters_that_keep_privileges_do_so_and_are_refused() -> Result<()> {
    let pool = pool()?;
    for source in Source::INSTALLED {
        let runtime = source.obtain()?;
        let setting =
            |no_new_privs| Setting { runtime: runtime.clone(), no_new_privs, request: Request::User };
        let early = setting(false);
        let expected = pool.expected(&early)?;
        for (answers, wanted) in
            [(faked(), &["uid", "gid", "bounding", "effective"][..]), (ended_early(), &["bounding"])]
        {
            let effects = pool.effects(&early, &expected, &answers)?;
            for what in wanted {
                ensure!(kept(&effects, what), "{early}: {answers:?} comes to {effects:?}, without {what}");
            }
            let default = &runtime_default(NATIVE).context("no default")?.profile;
            refused(&answering(default, &answers)?).with_context(|| format!("{answers:?}"))?;
        }
        // Where the filter comes last there is nothing left to keep.
        let late = setting(true);
        let effects = pool.effects(&late, &pool.expected(&late)?, &ended_early())?;
        ensure!(effects.start == Effect::Same, "{late}: {effects:?}");
    }
    Ok(())
}
