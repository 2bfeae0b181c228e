//! What a profile was recorded from.

use std::collections::BTreeSet;

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use portcullis_profile::{
    Arch,
    recording::{Platform, Tally},
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::{
    constants::{MAX_IMAGE_LENGTH, MAX_PLATFORM_LENGTH},
    schema,
};

/// Where a profile comes from: the images, machines and test runs that it was recorded from. Changes nothing of what it allows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecordedFrom {
    /// The name of the SeccompRecording.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub recording: Option<String>,
    /// Digests of the images, at most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "images")]
    pub images: Vec<String>,
    /// Releases of the kernels, at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "platforms")]
    pub kernels: Vec<String>,
    /// The container runtimes with their versions, at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "platforms")]
    pub runtimes: Vec<String>,
    /// The architectures that calls were made through.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::architectures")]
    pub architectures: Vec<String>,
    /// The test runs, at most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "runs")]
    pub runs: Vec<String>,
    /// When the last call that was new then was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_new_call_time: Option<Time>,
}

impl RecordedFrom {
    /// What a recording's tally says of itself.
    #[must_use]
    pub fn of(recording: Option<String>, tally: &Tally) -> Self {
        let total = tally.total();
        let arches: BTreeSet<Arch> = total.calls.keys().map(|call| call.arch).collect();
        let subjects = || tally.subjects.keys();
        let platforms =
            |field: fn(&Platform) -> &str| bounded(tally.platforms.iter().map(field), crate::MAX_PLATFORMS);
        Self {
            recording,
            images: bounded(subjects().map(|subject| subject.image.as_str()), crate::MAX_ORIGINS),
            kernels: platforms(|platform| &platform.kernel),
            runtimes: platforms(|platform| &platform.runtime),
            architectures: arches.iter().map(ToString::to_string).collect(),
            runs: bounded(subjects().map(|subject| subject.run.as_str()), crate::MAX_ORIGINS),
            last_new_call_time: total.last_new_at().and_then(time_of),
        }
    }

    /// What a profile was recorded from that a later recording was merged into. Where both name more than there is room for, the later
    /// one's go first.
    #[must_use]
    pub fn with_later(&self, later: &Self) -> Self {
        let both = |field: fn(&Self) -> &[String], limit: usize| {
            let (new, old) = (field(later), field(self));
            let room = limit.saturating_sub(new.len());
            let kept = old.iter().filter(|one| !new.contains(one)).take(room);
            bounded(new.iter().chain(kept).map(String::as_str), limit)
        };
        Self {
            recording: later.recording.clone().or_else(|| self.recording.clone()),
            images: both(|from| &from.images, crate::MAX_ORIGINS),
            kernels: both(|from| &from.kernels, crate::MAX_PLATFORMS),
            runtimes: both(|from| &from.runtimes, crate::MAX_PLATFORMS),
            architectures: both(|from| &from.architectures, Arch::ALL.len()),
            runs: both(|from| &from.runs, crate::MAX_ORIGINS),
            last_new_call_time: self.last_new_call_time.clone().max(later.last_new_call_time.clone()),
        }
    }
}

/// A time of the model's; none where it is beyond what a timestamp can say.
pub(super) fn time_of(seconds: u64) -> Option<Time> {
    Timestamp::from_second(i64::try_from(seconds).ok()?).ok().map(Time)
}

/// The first of them by name, each once; what has no name is left out.
fn bounded<'a>(all: impl Iterator<Item = &'a str>, limit: usize) -> Vec<String> {
    let sorted: BTreeSet<&str> = all.filter(|one| !one.is_empty()).collect();
    sorted.into_iter().take(limit).map(str::to_owned).collect()
}

fn images(_: &mut SchemaGenerator) -> Schema {
    list(crate::MAX_ORIGINS, MAX_IMAGE_LENGTH)
}

fn platforms(_: &mut SchemaGenerator) -> Schema {
    list(crate::MAX_PLATFORMS, MAX_PLATFORM_LENGTH)
}

fn runs(_: &mut SchemaGenerator) -> Schema {
    list(crate::MAX_ORIGINS, 63)
}

fn list(max_items: usize, max_length: usize) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": max_items,
        "items": {"type": "string", "minLength": 1, "maxLength": max_length},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_recording_is_added_and_goes_first_where_there_is_no_room() {
        let images =
            |range: std::ops::Range<usize>| range.map(|number| format!("sha256:{number:03}")).collect();
        let at = |seconds| time_of(seconds);
        let earlier =
            RecordedFrom { images: images(0..20), last_new_call_time: at(9), ..RecordedFrom::default() };
        let later = RecordedFrom {
            recording: Some("web".to_owned()),
            images: images(15..40),
            runs: vec!["smoke".to_owned()],
            last_new_call_time: at(5),
            ..RecordedFrom::default()
        };
        let both = earlier.with_later(&later);
        assert_eq!(both.images.len(), crate::MAX_ORIGINS);
        assert!(later.images.iter().all(|image| both.images.contains(image)));
        assert_eq!((both.recording.as_deref(), both.runs.len()), (Some("web"), 1));
        assert_eq!(both.last_new_call_time, at(9));
        assert_eq!(both.with_later(&later), both, "again does nothing");
        assert_eq!(both.with_later(&RecordedFrom::default()), both);
    }
}
