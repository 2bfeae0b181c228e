//! What nodes saw that are gone: the controller's own part of a recording.
//!
//! # Why nothing is lost or counted twice
//! A node's part is taken over in three steps, each of which may be repeated: it is written here as pending, with its UID; it is
//! deleted, provided that it is still the version that was taken over; then pending is settled, in the same write that takes over the
//! next one. While the part is there, it counts and pending does not; once it is gone, pending counts.

use portcullis_profile::recording::{MAX_SUBJECTS, Tally};

use super::{InvalidPart, RecordedEntry, SeccompRecordingPartSpec};

/// A node's part that is being taken over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// The part's UID.
    pub part: String,
    /// What it holds.
    pub tally: Tally,
}

/// What nodes saw that are gone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Archive {
    /// From parts that are deleted.
    pub settled: Tally,
    /// From one that may still be there.
    pub pending: Option<Pending>,
}

impl Archive {
    /// What counts, given whether a part of a UID is still there.
    #[must_use]
    pub fn tally(&self, is_there: impl Fn(&str) -> bool) -> Tally {
        let mut tally = self.settled.clone();
        if let Some(Pending { tally: pending, .. }) =
            self.pending.as_ref().filter(|pending| !is_there(&pending.part))
        {
            tally.add(pending);
        }
        tally
    }

    /// Takes a part over, given whether another part is still there. What one left pending that is gone is settled; what one left that
    /// is there is dropped, because the part itself counts; and what an earlier version of this one left is replaced.
    #[must_use]
    pub fn take_over(&self, part: &str, tally: &Tally, is_there: impl Fn(&str) -> bool) -> Self {
        let pending = Pending { part: part.to_owned(), tally: tally.fit(MAX_SUBJECTS) };
        let settled = self.tally(|earlier| earlier == part || is_there(earlier));
        Self { settled: settled.fit(MAX_SUBJECTS), pending: Some(pending) }
    }

    /// Writes it down.
    #[must_use]
    pub fn to_spec(&self, recording: &str, recording_uid: &str) -> SeccompRecordingPartSpec {
        let mut both = self.settled.clone();
        if let Some(pending) = &self.pending {
            // Where it was recorded is a set, so it may be told at once.
            both.platforms.extend(pending.tally.platforms.iter().cloned());
            both.absences.extend(pending.tally.absences.iter().cloned());
        }
        let mut spec = SeccompRecordingPartSpec::with_settled(recording, recording_uid, &both);
        if let Some(Pending { part, tally }) = &self.pending {
            spec.entries.extend(tally.subjects.iter().map(|(subject, observation)| RecordedEntry {
                part: Some(part.clone()),
                ..RecordedEntry::of(subject, observation)
            }));
        }
        spec
    }

    /// Reads it.
    ///
    /// # Errors
    /// Where an entry is not in the format.
    pub fn from_spec(spec: &SeccompRecordingPartSpec) -> Result<Self, InvalidPart> {
        let mut archive = Self::default();
        archive.settled.platforms = spec.read_platforms();
        archive.settled.absences = spec.read_absences();
        for (index, entry) in spec.entries.iter().enumerate() {
            let observation = entry.read(index)?;
            match &entry.part {
                None => archive.settled.add_one(entry.subject(), &observation),
                Some(part) => archive
                    .pending
                    .get_or_insert_with(|| Pending { part: part.clone(), tally: Tally::default() })
                    .tally
                    .add_one(entry.subject(), &observation),
            }
        }
        Ok(archive)
    }
}
