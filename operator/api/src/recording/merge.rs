//! What all parts of a recording come to.

use portcullis_profile::recording::Tally;

use super::{Archive, InvalidPart, SeccompRecordingPartSpec};

/// What a part holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartContent {
    /// What a node's recorder saw.
    Node(Tally),
    /// What nodes saw that are gone.
    Archive(Archive),
}

impl SeccompRecordingPartSpec {
    /// What it holds.
    ///
    /// # Errors
    /// Where an entry is not in the format.
    pub fn content(&self) -> Result<PartContent, InvalidPart> {
        if self.node.is_some() {
            self.ledger().map(|ledger| PartContent::Node(ledger.total()))
        } else {
            Archive::from_spec(self).map(PartContent::Archive)
        }
    }
}

/// The union of a recording's parts, given by their UIDs: every part that is there, those that can't be read as well, because what was
/// taken over from one of them counts only once it is gone.
#[must_use]
pub fn merge_parts<'p, E: 'p>(
    parts: impl Iterator<Item = (&'p str, &'p Result<PartContent, E>)> + Clone,
) -> Tally {
    let is_there = |uid: &str| parts.clone().any(|(there, _)| there == uid);
    let mut tally = Tally::default();
    for (_, content) in parts.clone() {
        match content {
            Ok(PartContent::Node(seen)) => tally.add(seen),
            Ok(PartContent::Archive(archive)) => tally.add(&archive.tally(is_there)),
            Err(_) => {}
        }
    }
    tally
}

#[cfg(test)]
mod tests {
    use portcullis_profile::{
        Arch,
        recording::{Call, Observation, Seen, Subject},
    };

    use super::*;

    fn saw(number: u32) -> Tally {
        let call = Call { arch: Arch::X86_64, number };
        let calls = [(call, Seen { count: 1, first_at: 1 })].into();
        let mut tally = Tally::default();
        tally.add_one(Subject::default(), &Observation { containers: 1, calls, ..Observation::default() });
        tally
    }

    #[test]
    fn what_was_taken_over_counts_once_whether_its_part_is_still_there_or_not() {
        let archive =
            Archive::default()
                .take_over("gone", &saw(1), |_| false)
                .take_over("going", &saw(2), |uid| uid == "going");
        let content = archive.to_spec("web", "uid").content();
        assert_eq!(content, Ok(PartContent::Archive(archive)), "a part without a node is an archive");
        let count = |parts: &[(&str, Result<PartContent, InvalidPart>)]| {
            merge_parts(parts.iter().map(|(uid, content)| (*uid, content))).total()
        };
        let archive = ("archive", content);
        let whole = count(std::slice::from_ref(&archive));
        assert_eq!((whole.containers, whole.calls.len()), (2, 2));
        let node = ("going", Ok(PartContent::Node(saw(2))));
        assert_eq!(count(&[node, archive.clone()]), whole);
        let problem = portcullis_profile::recording::InvalidText {
            field: "calls",
            item: "?".to_owned(),
            expected: "a call",
        };
        let unreadable = ("going", Err(InvalidPart { index: 0, problem }));
        assert_eq!(count(&[archive, unreadable]).containers, 1, "it is there, so nothing is told of it");
    }
}
