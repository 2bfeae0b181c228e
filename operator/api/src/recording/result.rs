//! The profile that a recording makes.

use kube::ResourceExt as _;
use portcullis_profile::{
    Baseline, Profile,
    compose::NamedProfile,
    recording::{Companions, Tally, Wishes, make},
};

use super::{RecordedFrom, SeccompRecording};
use crate::{MAX_WARNINGS, Mode, ProfileSpec, SeccompDocument, bounded_message};

/// A profile that the recording names as a base, as it was read.
#[derive(Clone, Debug)]
pub struct RecordingBase {
    /// For people: `ClusterSeccompProfile base`.
    pub name: String,
    /// Its document; none where it only has bases itself, so that nothing is left to it.
    pub document: Option<SeccompDocument>,
}

/// The profile that a recording makes.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedProfile {
    /// Its spec: in Audit mode, with the recording's bases, and saying what it was recorded from.
    pub spec: ProfileSpec,
    /// What whoever reviews it has to know, at most 20 texts.
    pub notes: Vec<String>,
    /// Calls that it does not allow, and that the containers may make under another load.
    pub companions: Vec<Companions>,
}

impl SeccompRecording {
    /// The profile of what was seen, no looser than a baseline where what was seen lets it.
    ///
    /// # Errors
    /// In words, where none can be made: nothing was seen, or a base can't be read or contradicts it.
    pub fn profile_of(
        &self,
        tally: &Tally,
        bases: &[RecordingBase],
        baseline: &Baseline,
    ) -> Result<RecordedProfile, String> {
        let wished = self.spec.profile.clone().unwrap_or_default();
        let read = |base: &RecordingBase| -> Result<Option<(String, Profile)>, String> {
            let Some(document) = &base.document else { return Ok(None) };
            let profile = Profile::try_from(document).map_err(|error| format!("{}: {error}", base.name))?;
            Ok(Some((base.name.clone(), profile)))
        };
        let bases: Vec<(String, Profile)> =
            bases.iter().filter_map(|base| read(base).transpose()).collect::<Result<_, _>>()?;
        let wishes = Wishes {
            default_action: wished.action(),
            default_errno_ret: wished.errno(),
            argument_rules: wished.argument_rules.iter().cloned().collect(),
            bases: bases.iter().map(|(name, profile)| NamedProfile { name, profile }).collect(),
            baseline,
        };
        let made = make(tally, &wishes).map_err(|error| error.to_string())?;
        let notes = made.notes.iter().take(MAX_WARNINGS);
        Ok(RecordedProfile {
            spec: ProfileSpec {
                mode: Mode::Audit,
                profile: Some(SeccompDocument::from(&made.profile.canonical())),
                bases: wished.bases,
                recorded_from: Some(RecordedFrom::of(Some(self.name_any()), tally)),
                ..ProfileSpec::default()
            },
            notes: notes.map(|note| bounded_message(note.to_string())).collect(),
            companions: made.companions,
        })
    }
}
