//! Measuring everything there is to measure of a runtime.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicUsize, Ordering},
};

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use portcullis_profile::Arch;

use crate::{
    answer::{Answer, Target},
    observed::Effect,
    pool::{Effects, Expected, Pool},
    request::Request,
    runtime::Runtime,
    setting::{Setting, Way},
    table::{Place, Table},
    targets,
};

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Depth {
    /// The errnos that somebody's source asks for.
    Named,
    /// Every errno, for the first request under which a runtime makes the call.
    Full,
}

/// An answer that shows whether a call is made: nothing goes on after it.
const PROOF: Answer = Answer::KillProcess;
const ENOSYS: Answer = Answer::Errno(38);

/// A runtime's settings, in the order in which a call that is made gets all its errnos.
fn settings(runtime: &Runtime) -> Vec<Setting> {
    let setting = |no_new_privs, request| Setting { runtime: runtime.clone(), no_new_privs, request };
    [false, true]
        .into_iter()
        .flat_map(|no_new_privs| Request::ALL.map(|request| setting(no_new_privs, request)))
        .collect()
}

/// Measures a runtime, or some calls of it, and says how far it is.
///
/// # Errors
/// Where a container doesn't get what it asks for under the runtime default, or can't be tried.
pub fn sweep(
    pool: &Pool,
    runtime: &Runtime,
    calls: &[String],
    depth: Depth,
    say: impl Fn(&str) + Sync,
) -> Result<Table> {
    let settings = settings(runtime);
    let expected = pool.each(&settings, |setting| pool.expected(setting))?;
    let places: Vec<One<'_>> = settings
        .iter()
        .zip(&expected)
        .map(|(setting, expected)| One { pool, setting, expected, given: None })
        .collect();
    let mut targets = targets::all(native());
    let some = !calls.is_empty();
    targets.retain(|(whole, _)| !some || calls.contains(&whole.call));
    let calls = made_or_not(&places, &targets)?;
    say(&format!("{runtime}: makes {} of {} calls", made(&calls).len(), targets.len()));
    let mut table = Table::default();
    let tasks = tasks(&calls, depth);
    let done = AtomicUsize::new(0);
    let measured = pool.each(&tasks, |(call, answers)| {
        let effects = call.one.measure(&call.target, &call.proof, answers);
        let effects = effects.with_context(|| format!("{} {}", call.one.setting, call.target))?;
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        say(&format!("{done} of {}: {} {}", tasks.len(), call.one.setting, call.target));
        Ok(effects)
    })?;
    for call in &calls {
        call.note_not_made(&mut table);
    }
    for ((call, _), effects) in tasks.iter().zip(&measured) {
        call.note(&mut table, effects);
    }
    if some {
        return Ok(table);
    }
    let ignored = ignored(&tasks, &measured);
    say(&format!("{runtime}: goes on after {} answers, maybe by another call", ignored.len()));
    let behind = pool.each(&ignored, |(one, (target, answer))| {
        let behind = One { given: Some((target, *answer)), ..*one };
        behind.measure_what_is_made_behind(&targets, &calls)
    })?;
    for (call, effects) in behind.iter().flatten() {
        let kept = |one: &Effects| Way::ALL.iter().any(|way| one.of(*way).is_some_and(differs));
        // Of the rest nothing is told: it is what happens without the other answer too.
        if effects.values().any(kept) {
            call.note(&mut table, effects);
        }
    }
    Ok(table)
}

fn native() -> Arch {
    if cfg!(target_arch = "aarch64") { Arch::Aarch64 } else { Arch::X86_64 }
}

fn differs(effect: &Effect) -> bool {
    !matches!(effect, Effect::Same | Effect::Fails)
}

/// A call in a setting, and what becomes of a container that can't make it.
struct Call<'a> {
    one: One<'a>,
    target: Target,
    proof: Effects,
}

impl Call<'_> {
    /// Whether the call is made, or can't be known not to be, for the container doesn't get so far.
    fn is_made(&self, way: Way) -> bool {
        self.proof.of(way).is_none_or(|effect| *effect != Effect::Same)
    }

    fn is_made_at_all(&self) -> bool {
        Way::ALL.into_iter().any(|way| self.is_made(way))
    }

    fn note_not_made(&self, table: &mut Table) {
        for way in Way::ALL.into_iter().filter(|way| !self.is_made(*way)) {
            table.note_not_made(self.one.place(&self.target, way));
        }
    }

    fn note(&self, table: &mut Table, effects: &BTreeMap<Answer, Effects>) {
        for way in Way::ALL.into_iter().filter(|way| self.is_made(*way)) {
            for (&answer, one) in effects {
                if let Some(effect) = one.of(way) {
                    table.note(self.one.place(&self.target, way), answer, effect.to_string());
                }
            }
        }
    }
}

/// Which calls are made in each setting: arguments are asked for only where the call is made at all.
fn made_or_not<'a>(places: &[One<'a>], targets: &[(Target, Vec<Target>)]) -> Result<Vec<Call<'a>>> {
    let Some(pool) = places.first().map(|one| one.pool) else { return Ok(Vec::new()) };
    let pairs: Vec<_> =
        places.iter().flat_map(|one| targets.iter().map(move |target| (one, target))).collect();
    let found = pool.each(&pairs, |(one, (whole, several))| {
        let prove = |target: &Target| {
            let proof = one.try_answer(target, PROOF)?;
            Ok(Call { one: **one, target: target.clone(), proof })
        };
        let whole = prove(whole)?;
        if !whole.is_made_at_all() {
            let same =
                |target: &Target| Call { one: **one, target: target.clone(), proof: whole.proof.clone() };
            return Ok(several
                .iter()
                .map(same)
                .chain([Call { target: whole.target.clone(), ..same(&whole.target) }])
                .collect());
        }
        let several = several.iter().map(prove).collect::<Result<Vec<_>>>()?;
        Ok(several.into_iter().chain([whole]).collect())
    })?;
    Ok(found.into_iter().flat_map(|found: Vec<Call<'a>>| found).collect())
}

/// The calls that are made somewhere.
fn made(calls: &[Call<'_>]) -> BTreeSet<String> {
    calls.iter().filter(|call| call.is_made_at_all()).map(|call| call.target.call.clone()).collect()
}

/// Which answers are tried where. Every errno once is enough: what a runtime does after one depends little on what it was asked for.
fn tasks<'c, 'a>(calls: &'c [Call<'a>], depth: Depth) -> Vec<(&'c Call<'a>, Vec<Answer>)> {
    let mut deep = BTreeSet::new();
    let made = calls.iter().filter(|call| call.is_made_at_all());
    made.map(|call| {
        let first = deep.insert((call.one.setting.no_new_privs, &call.target));
        let full = depth == Depth::Full && first;
        (call, if full { targets::every() } else { targets::named() })
    })
    .collect()
}

/// One errno for each target that changes nothing although the call is made: a runtime may then do the same by another call, which
/// it doesn't make otherwise. `ENOSYS` rather than any other, for it makes most callers look for another way.
fn ignored<'a>(
    tasks: &[(&Call<'a>, Vec<Answer>)],
    measured: &[BTreeMap<Answer, Effects>],
) -> Vec<(One<'a>, (Target, Answer))> {
    let mut found = Vec::new();
    for ((call, _), effects) in tasks.iter().zip(measured) {
        let ignored = |(answer, one): (&Answer, &Effects)| {
            let failure = matches!(answer, Answer::Errno(1..));
            (failure && one.start == Effect::Same).then_some(*answer)
        };
        let mut all = effects.iter().filter_map(ignored);
        let first = all.next();
        let one = if all.any(|answer| answer == ENOSYS) { Some(ENOSYS) } else { first };
        if let Some(answer) = one.filter(|_| call.one.setting.request == Request::User) {
            found.push((call.one, (call.target.clone(), answer)));
        }
    }
    found
}

/// One setting, perhaps with an answer beforehand.
#[derive(Clone, Copy)]
struct One<'a> {
    pool: &'a Pool,
    setting: &'a Setting,
    expected: &'a Expected,
    given: Option<(&'a Target, Answer)>,
}

impl<'a> One<'a> {
    fn try_answer(&self, target: &Target, answer: Answer) -> Result<Effects> {
        let mut answers = vec![(target.clone(), answer)];
        answers.extend(self.given.map(|(given, answer)| (given.clone(), answer)));
        self.pool.effects(self.setting, self.expected, &answers)
    }

    fn place(&self, target: &Target, way: Way) -> Place {
        let given = self.given.map(|(given, answer)| format!("{given} {answer}"));
        Place { given: given.unwrap_or_else(|| "-".to_owned()), ..self.setting.place(target, way) }
    }

    /// What comes of each answer.
    fn measure(
        &self,
        target: &Target,
        proof: &Effects,
        answers: &[Answer],
    ) -> Result<BTreeMap<Answer, Effects>> {
        let mut effects: BTreeMap<Answer, Effects> = [(PROOF, proof.clone())].into();
        for &answer in answers {
            effects.insert(answer, self.try_answer(target, answer)?);
        }
        self.doubt(target, &mut effects)?;
        Ok(effects)
    }

    /// Tries those answers again whose effect few others have, so that a machine that was busy for once becomes no finding.
    fn doubt(&self, target: &Target, effects: &mut BTreeMap<Answer, Effects>) -> Result<()> {
        const FEW: usize = 3;
        let alike = |one: &Effects| effects.values().filter(|other| *other == one).count();
        let rare: Vec<Answer> =
            effects.iter().filter(|(_, one)| alike(one) <= FEW).map(|(&answer, _)| answer).collect();
        for answer in rare {
            let again = self.try_answer(target, answer)?;
            if effects.get(&answer) != Some(&again) {
                // Of three the last decides, for one of the others was wrong.
                effects.insert(answer, self.try_answer(target, answer)?);
            }
        }
        Ok(())
    }

    /// The calls that are made under the answer beforehand alone, and what comes of answers to them.
    fn measure_what_is_made_behind(
        self,
        targets: &[(Target, Vec<Target>)],
        calls: &[Call<'_>],
    ) -> Result<Vec<(Call<'a>, BTreeMap<Answer, Effects>)>> {
        let known = |target: &Target| {
            calls.iter().any(|call| {
                call.one.setting == self.setting && call.target == *target && call.is_made(Way::Start)
            })
        };
        let given = self.given.map(|(given, _)| given.call.as_str());
        let mut found = Vec::new();
        for (whole, _) in
            targets.iter().filter(|(whole, _)| Some(whole.call.as_str()) != given && !known(whole))
        {
            let call = Call { one: self, target: whole.clone(), proof: self.try_answer(whole, PROOF)? };
            if call.is_made(Way::Start) {
                let effects = self.measure(whole, &call.proof, &targets::named())?;
                found.push((call, effects));
            }
        }
        Ok(found)
    }
}
