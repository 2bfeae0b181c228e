//! Which revisions to write and which to collect: pure, from what exists and what is wanted.

use portcullis_profile::Digest;

/// A revision that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    /// Digest of its content.
    pub(crate) digest: Digest,
    /// Its place in the order.
    pub(crate) sequence: i64,
    /// UID of the profile that it was written for.
    pub(crate) owner_uid: String,
    /// An administrator revoked it.
    pub(crate) revoked: bool,
}

/// What to do about an owner's revisions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The sequence to write the wanted content with, where it has to be written: created, made the current one again, or
    /// taken over from a namesake.
    pub(crate) write: Option<i64>,
    /// Revisions that neither the history nor the profile needs, the oldest first. A pod may still name one.
    pub(crate) collect: Vec<Digest>,
}

/// Plans for a profile of this UID that wants this content served.
///
/// - Content is written only where it is not the current revision already.
/// - Going back to an earlier content raises that revision's sequence above all others.
/// - A revision that was written for an earlier profile of the same name is not this profile's history: it is collected,
///   unless it holds the very content that is wanted; then it is taken over.
/// - A revoked revision stays, so that its content stays revoked, and has no place in the history.
pub(crate) fn plan(known: &[Known], wanted: &Digest, owner_uid: &str, history_limit: usize) -> Plan {
    // The same order by which every node chooses: the highest sequence, then the highest digest.
    let mut newest_first: Vec<&Known> = known.iter().collect();
    newest_first.sort_by_key(|known| std::cmp::Reverse((known.sequence, known.digest)));
    let highest = newest_first.first().map(|known| known.sequence);
    let write = match newest_first.first() {
        Some(current) if current.digest == *wanted && current.owner_uid == owner_uid => None,
        Some(current) if current.digest == *wanted => Some(current.sequence),
        _ => Some(highest.unwrap_or(0).saturating_add(1)),
    };
    let mut kept = 0;
    let mut collect = Vec::new();
    for known in newest_first {
        if known.digest == *wanted || known.revoked {
            continue;
        }
        if known.owner_uid == owner_uid && kept < history_limit {
            kept += 1;
        } else {
            collect.push(known.digest);
        }
    }
    collect.reverse();
    Plan { write, collect }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(content: &str) -> Digest {
        Digest::of(content.as_bytes())
    }

    fn known(content: &str, sequence: i64, uid: &str) -> Known {
        Known { digest: digest(content), sequence, owner_uid: uid.to_owned(), revoked: false }
    }

    #[test]
    fn the_first_content_gets_sequence_one() {
        assert_eq!(plan(&[], &digest("a"), "u", 3), Plan { write: Some(1), collect: vec![] });
    }

    #[test]
    fn an_unchanged_content_is_not_written() {
        assert_eq!(plan(&[known("a", 4, "u")], &digest("a"), "u", 3), Plan::default());
    }

    #[test]
    fn going_back_raises_the_sequence_of_the_earlier_revision() {
        let revisions = [known("a", 1, "u"), known("b", 2, "u")];
        assert_eq!(plan(&revisions, &digest("a"), "u", 3), Plan { write: Some(3), collect: vec![] });
    }

    #[test]
    fn the_history_keeps_the_newest_besides_the_current_one() {
        let revisions = [known("a", 1, "u"), known("b", 2, "u"), known("c", 3, "u"), known("d", 4, "u")];
        let plan_of_e = plan(&revisions, &digest("e"), "u", 2);
        assert_eq!(plan_of_e, Plan { write: Some(5), collect: vec![digest("a"), digest("b")] });
        assert_eq!(plan(&revisions, &digest("d"), "u", 0).collect, [digest("a"), digest("b"), digest("c")]);
    }

    #[test]
    fn a_revoked_one_takes_no_place_in_the_history_and_is_never_collected() {
        let revoked = |content, sequence| Known { revoked: true, ..known(content, sequence, "u") };
        let revisions = [known("a", 1, "u"), known("b", 2, "u"), revoked("c", 3), revoked("d", 4)];
        assert_eq!(
            plan(&revisions, &digest("e"), "u", 1),
            Plan { write: Some(5), collect: vec![digest("a")] }
        );
    }

    #[test]
    fn a_namesake_is_no_history_but_its_order_is_continued() {
        let revisions = [known("a", 7, "old"), known("b", 8, "old")];
        let planned = plan(&revisions, &digest("c"), "new", 3);
        assert_eq!(planned, Plan { write: Some(9), collect: vec![digest("a"), digest("b")] });
    }

    #[test]
    fn a_namesakes_equal_content_is_taken_over() {
        let current = [known("a", 7, "old")];
        assert_eq!(plan(&current, &digest("a"), "new", 3), Plan { write: Some(7), collect: vec![] });
        let earlier = [known("a", 7, "old"), known("b", 8, "old")];
        let planned = plan(&earlier, &digest("a"), "new", 3);
        assert_eq!(planned, Plan { write: Some(9), collect: vec![digest("b")] });
    }

    #[test]
    fn a_revision_restored_with_a_higher_sequence_is_overtaken() {
        let revisions = [known("old", 9, "u"), known("new", 4, "u")];
        assert_eq!(plan(&revisions, &digest("new"), "u", 3), Plan { write: Some(10), collect: vec![] });
    }

    #[test]
    fn of_equal_sequences_the_wanted_one_is_made_the_highest_unless_nodes_choose_it_anyway() {
        let (low, high) = if digest("a") < digest("b") { ("a", "b") } else { ("b", "a") };
        let revisions = [known("a", 3, "u"), known("b", 3, "u")];
        assert_eq!(plan(&revisions, &digest(high), "u", 3).write, None);
        assert_eq!(plan(&revisions, &digest(low), "u", 3).write, Some(4));
    }
}
