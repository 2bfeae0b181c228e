//! A recording merged into a profile that is there: what it adds, and what the profile allows besides.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use portcullis_api::{
    ProfileToMake, RecordedFrom, RecordingBase, SeccompDocument, SeccompProfile, SeccompRecording,
};
use portcullis_profile::{
    Arg, Baseline, Profile,
    compare::{CallChange, Change, Changes, changes_on},
    compose::{NamedProfile, union},
    evaluate::{Outcome, Passage, Runtime},
    recording::{Tally, recorded_argument},
};

use super::companions;
use crate::platform;

/// The errno that a runtime takes where the default denies and none is given: `EPERM`.
const UNSAID_ERRNO: u32 = 1;

/// What a profile and a recording come to.
#[derive(Debug)]
pub(super) struct Merged {
    /// The profile that allows both.
    pub(super) profile: Profile,
    /// What it lets through that the committed one doesn't.
    pub(super) gained: Changes,
    /// What it lets through that was not recorded: the committed one did, and it stays.
    pub(super) kept: Vec<CallChange>,
    /// What it was recorded from.
    pub(super) recorded_from: RecordedFrom,
    /// Whether that names something new.
    pub(super) origin_is_new: bool,
    /// What whoever reviews it has to know.
    pub(super) notes: Vec<String>,
}

/// What is wanted of a merge.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    /// What is recorded is bounded by this where it keeps to it.
    pub(super) baseline: &'a Baseline,
    /// Whether what goes with recorded calls is allowed as well.
    pub(super) companions: bool,
}

/// Merges what was recorded into a committed profile, which keeps its default, its bases and what it allows.
pub(super) fn merge(
    recording: &SeccompRecording,
    tally: &Tally,
    committed: &SeccompProfile,
    bases: &[RecordingBase],
    wanted: Wanted<'_>,
) -> Result<Merged> {
    let spec = &committed.spec.profile;
    let document = spec.profile.as_ref().map(Profile::try_from).transpose().context("spec.profile")?;
    let mut asked = recording.clone();
    let made = |asked: &SeccompRecording| {
        asked.profile_of(tally, bases, wanted.baseline).map_err(anyhow::Error::msg)
    };
    asked.spec.profile = Some(wishes(recording, document.as_ref(), committed));
    let plain = made(&asked)?;
    let narrowed = document.iter().flat_map(|document| narrowed(document, plain.spec.profile.as_ref()));
    let narrowed: BTreeSet<String> = narrowed.collect();
    let mut made = if narrowed.is_empty() {
        plain
    } else {
        asked.spec.profile.get_or_insert_default().argument_rules = narrow(&asked, narrowed);
        made(&asked)?
    };
    if wanted.companions {
        companions::allow(&mut made);
    }
    let recorded = made.spec.profile.as_ref().context("a recording makes a profile")?;
    let recorded = Profile::try_from(recorded)?;
    let before = document.clone().unwrap_or_else(|| Profile { syscalls: Vec::new(), ..recorded.clone() });
    let (before, recorded) = alike(before, recorded);

    let united = both("the file", &before, "the recording", &recorded)?;
    // A document in canonical form stays in it; another one keeps its rules where they are.
    let is_canonical = document.as_ref().is_none_or(|document| *document == document.canonical());
    let profile = if is_canonical { united.canonical() } else { united };

    let bases = read(bases)?;
    let whole = |profile: &Profile| whole(profile, &bases);
    let as_committed = Profile { architectures: architectures(document.as_ref(), &before), ..before };
    let (before, after, seen) = (whole(&as_committed)?, whole(&profile)?, whole(&recorded)?);
    let mut kept = compare(&after, &seen)?.calls;
    kept.retain(|call| matches!(call.change, Change::OnlyInA | Change::Stricter | Change::Mixed));
    // Companions are kept for what was recorded.
    let goes_with = |name: &str| made.companions.iter().any(|one| one.calls.contains(&name));
    kept.retain(|call| !call.name.is_some_and(goes_with));

    let earlier = spec.recorded_from.clone().unwrap_or_default();
    let later = made.spec.recorded_from.unwrap_or_default();
    let recorded_from = earlier.with_later(&later);
    let untimed = |from: &RecordedFrom| RecordedFrom { last_new_call_time: None, ..from.clone() };
    let origin_is_new = untimed(&earlier) != untimed(&recorded_from);
    Ok(Merged {
        profile,
        gained: compare(&before, &after)?,
        kept,
        recorded_from,
        origin_is_new,
        notes: made.notes,
    })
}

/// What is to be made of the recording: it must fit the committed profile, so that one goes before what the recording asks for.
fn wishes(
    recording: &SeccompRecording,
    document: Option<&Profile>,
    committed: &SeccompProfile,
) -> ProfileToMake {
    let mut wishes = recording.spec.profile.clone().unwrap_or_default();
    wishes.bases.clone_from(&committed.spec.profile.bases);
    let Some(document) = document else { return wishes };
    wishes.default_action = Some(document.default_action.as_str().to_owned());
    wishes.default_errno_ret = Some(document.default_errno_ret.unwrap_or(UNSAID_ERRNO));
    wishes
}

/// The argument rules that a recording asks for, and those of some calls more.
fn narrow(recording: &SeccompRecording, calls: BTreeSet<String>) -> Vec<String> {
    let asked = recording.spec.profile.iter().flat_map(|profile| &profile.argument_rules);
    if asked.clone().any(|name| name == "*") {
        return asked.cloned().collect();
    }
    asked.cloned().chain(calls).collect::<BTreeSet<_>>().into_iter().collect()
}

/// The calls that a profile allows with some values of a recorded argument alone: a recording must not open them. Where the recording has the
/// very rules of the profile, it does not.
fn narrowed(document: &Profile, recorded: Option<&SeccompDocument>) -> impl Iterator<Item = String> {
    let recorded = recorded.and_then(|recorded| Profile::try_from(recorded).ok());
    let conditions = |profile: &Profile, name: &str| -> BTreeSet<Vec<Arg>> {
        let rules = profile.syscalls.iter().filter(|rule| rule.names.iter().any(|one| one == name));
        rules.map(|rule| rule.args.clone()).collect()
    };
    let is_same = |name: &str| {
        recorded.as_ref().is_some_and(|recorded| conditions(recorded, name) == conditions(document, name))
    };
    let permits = |action, errno| Outcome::new(action, errno).passage() == Passage::Permitted;
    let rules = || document.syscalls.iter().filter(move |rule| permits(rule.action, rule.errno_ret));
    let open: BTreeSet<&str> = rules()
        .filter(|rule| rule.args.is_empty())
        .flat_map(|rule| &rule.names)
        .map(String::as_str)
        .collect();
    let narrow: BTreeSet<&str> = rules()
        .filter(|rule| !rule.args.is_empty())
        .flat_map(|rule| &rule.names)
        .map(String::as_str)
        .collect();
    let narrow: Vec<String> = narrow
        .difference(&open)
        .filter(|name| recorded_argument(name).is_some() && !is_same(name))
        .map(|name| (*name).to_owned())
        .collect();
    narrow.into_iter()
}

/// Both with one default and one list of architectures, without which they could not be united.
fn alike(mut before: Profile, mut recorded: Profile) -> (Profile, Profile) {
    recorded.default_action = before.default_action;
    recorded.default_errno_ret = before.default_errno_ret;
    if before.architectures.is_empty() && recorded.architectures.len() == 1 {
        // A filter without a list is for the node's own architecture.
        recorded.architectures.clear();
    }
    let mut all = before.architectures.clone();
    all.extend(recorded.architectures.iter().filter(|arch| !before.architectures.contains(arch)));
    before.architectures.clone_from(&all);
    recorded.architectures = all;
    (before, recorded)
}

/// The architectures as they stand in the file, if a document does.
fn architectures(document: Option<&Profile>, otherwise: &Profile) -> Vec<portcullis_profile::Arch> {
    document.map_or_else(|| otherwise.architectures.clone(), |document| document.architectures.clone())
}

fn read(bases: &[RecordingBase]) -> Result<Vec<(String, Profile)>> {
    let with_documents = bases.iter().filter_map(|base| Some((base, base.document.as_ref()?)));
    with_documents
        .map(|(base, document)| {
            let profile = Profile::try_from(document).with_context(|| base.name.clone())?;
            Ok((base.name.clone(), profile))
        })
        .collect()
}

/// What nodes get: the profile with its bases.
fn whole(profile: &Profile, bases: &[(String, Profile)]) -> Result<Profile> {
    let named = bases.iter().map(|(name, profile)| NamedProfile { name, profile });
    let all: Vec<NamedProfile<'_>> =
        std::iter::once(NamedProfile { name: "the file", profile }).chain(named).collect();
    Ok(union(&all)?)
}

fn both(name: &str, one: &Profile, other_name: &str, other: &Profile) -> Result<Profile> {
    let profiles = [NamedProfile { name, profile: one }, NamedProfile { name: other_name, profile: other }];
    union(&profiles).context("they contradict each other, and one must be changed by hand")
}

/// On nodes of all architectures that either is for.
fn compare(one: &Profile, other: &Profile) -> Result<Changes> {
    changes_on(one, other, Runtime::Runc, &platform::natives([one, other]))
        .map_err(|(_, refusal)| anyhow::anyhow!("{refusal}"))
}
