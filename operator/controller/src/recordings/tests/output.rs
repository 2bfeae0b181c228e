//! What is written of a recording's profile, given the one that is there.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use portcullis_api::{Mode, RecordingStatus, SeccompProfile};
use portcullis_profile::{Baseline, recording::Tally};
use serde_json::json;
use tokio::time::Instant;

use super::{
    super::output::{Basis, Output, Write, write},
    at, read, recording, saw,
};

/// What there is to make a profile of, having seen these calls.
fn basis(calls: &[(&str, u64)], ended: bool) -> Basis {
    let mut tally = Tally::default();
    tally.add_one(portcullis_profile::recording::Subject::default(), &saw(calls, 0));
    let mut recording = read(&recording(&json!({"output": {"create": true}})));
    recording.status =
        ended.then(|| RecordingStatus { ended_at: Some(Time(at(60))), ..RecordingStatus::default() });
    Output::default().next(&recording, &tally, Instant::now()).unwrap().expect("a reason to make it")
}

fn decide(basis: &Basis, existing: Option<SeccompProfile>) -> Write {
    write(
        basis,
        existing,
        basis.recording.profile_of(&basis.tally, &[], &Baseline::strictest()).unwrap().spec,
    )
}

fn created(basis: &Basis) -> SeccompProfile {
    let Write::Create(profile) = decide(basis, None) else { panic!() };
    assert_eq!(profile.spec.profile.mode, Mode::Audit);
    *profile
}

#[test]
fn the_mode_that_a_user_set_stays() {
    let mut profile = created(&basis(&[("read", 1)], false));
    profile.spec.profile.mode = Mode::Enforce;
    assert!(matches!(decide(&basis(&[("read", 9)], false), Some(profile.clone())), Write::Nothing));
    let grown = basis(&[("read", 1), ("write", 1)], false);
    let Write::Replace(updated) = decide(&grown, Some(profile.clone())) else { panic!() };
    assert_eq!(updated.spec.profile.mode, Mode::Enforce);
    assert_ne!(updated.spec.profile.profile, profile.spec.profile.profile);
    assert!(matches!(decide(&grown, Some(*updated)), Write::Nothing));
}

#[test]
fn once_the_recording_has_ended_and_all_is_told_the_profile_is_its_users() {
    let mut profile = created(&basis(&[("read", 1)], false));
    profile.spec.profile.profile.as_mut().unwrap().syscalls.clear();
    // A controller that starts anew knows no more than what the profile says.
    assert!(matches!(decide(&basis(&[("read", 3)], true), Some(profile.clone())), Write::Nothing));
    // The last calls come in after the end, and that is the last write.
    let last = basis(&[("read", 3), ("exit_group", 1)], true);
    let Write::Replace(mut told) = decide(&last, Some(profile)) else { panic!() };
    told.spec.profile.profile = None;
    assert!(matches!(decide(&last, Some(*told)), Write::Nothing));
}

#[test]
fn what_changes_no_profile_is_told_as_well() {
    let mut going = basis(&[("read", 1)], false);
    let profile = created(&going);
    let subjects = &mut going.tally.subjects;
    let observation = subjects.values_mut().next().unwrap();
    observation.denied = saw(&[("mount", 1)], 0).calls;
    let Write::Replace(mut told) = decide(&going, Some(profile.clone())) else { panic!() };
    assert_eq!(told.spec, profile.spec);
    told.spec.profile.profile = None;
    let ended = Basis { ended: true, ..going };
    assert!(matches!(decide(&ended, Some(*told)), Write::Nothing), "so the end finds nothing new to say");
}

#[test]
fn a_profile_without_the_recordings_mark_is_left_alone() {
    let mut profile = created(&basis(&[("read", 1)], false));
    profile.metadata.annotations = None;
    assert!(matches!(decide(&basis(&[("read", 1), ("write", 1)], false), Some(profile)), Write::Leave));
}
