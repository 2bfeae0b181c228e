//! Times in which a node's recorder was away.

use std::{collections::BTreeSet, fmt};

use jiff::Timestamp;

/// Most absences that a tally is written down with.
pub const MAX_ABSENCES: usize = 16;
/// Most pods that an absence names.
pub const MAX_ABSENT_PODS: usize = 10;

/// A time in which pods came to a node and no recorder was there to ask for them. The kernel goes on counting only what it was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Absence {
    /// The node.
    pub node: String,
    /// From when on: seconds since the epoch.
    pub since: u64,
    /// Until when: seconds since the epoch; none where it is not back.
    pub until: Option<u64>,
    /// Names of the recording's pods that lived then and had ended when the recorder was back, the first ones.
    pub pods: Vec<String>,
    /// How many of those are not named, and of pods that are not in the API any more, so that nobody knows whose they were.
    pub others: u64,
    /// Whether pods may have come and gone of which nobody took note.
    pub unnoted: bool,
}

impl Absence {
    /// Whether it had ended by then, in seconds since the epoch.
    #[must_use]
    pub fn is_over_at(&self, time: u64) -> bool {
        self.until.is_some_and(|until| until < time)
    }

    /// Whether pods are known that lived meanwhile.
    #[must_use]
    pub fn has_pods(&self) -> bool {
        !self.pods.is_empty() || self.others > 0
    }
}

/// When it was, the pods that lived meanwhile, and whether others may have.
impl fmt::Display for Absence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, since, until, unnoted, .. } = self;
        match until {
            Some(until) => {
                write!(f, "the recorder of node {node} was away from {} to {}", time(*since), time(*until))?;
            }
            None => write!(f, "no recorder runs on node {node} since {}", time(*since))?,
        }
        match (self.has_pods(), unnoted) {
            (false, false) => Ok(()),
            (false, true) => f.write_str(": whether pods came and went there meanwhile, nobody can know"),
            (true, false) => write!(f, ": {}", self.lived()),
            (true, true) => write!(f, ": {}; whether others did, nobody can know", self.lived()),
        }
    }
}

impl Absence {
    /// Which pods lived meanwhile, in words.
    fn lived(&self) -> String {
        let (named, others) = (self.pods.join(", "), self.others);
        let did = if self.until.is_some() { "lived and ended there meanwhile" } else { "ran there" };
        match (self.pods.as_slice(), others) {
            ([], 1) => "1 pod came and went there meanwhile".to_owned(),
            ([], others) => format!("{others} pods came and went there meanwhile"),
            (_, 0) => format!("pod {named} {did}"),
            (_, others) => format!("pod {named} and {others} more {did}"),
        }
    }
}

/// Keeps the latest absences.
pub(super) fn fit_absences(absences: &mut BTreeSet<Absence>) {
    while absences.len() > MAX_ABSENCES {
        let Some(earliest) = absences.iter().min_by_key(|absence| absence.until.unwrap_or(u64::MAX)).cloned()
        else {
            return;
        };
        absences.remove(&earliest);
    }
}

/// A time in UTC, `2026-01-31T08:05:09Z`.
fn time(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    time.map_or_else(|| format!("second {seconds}"), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absence_names_the_node_the_time_and_the_pods() {
        let mut absence = Absence { node: "n1".to_owned(), since: 0, until: Some(30), ..Absence::default() };
        let when = "the recorder of node n1 was away from 1970-01-01T00:00:00Z to 1970-01-01T00:00:30Z";
        absence.others = 2;
        assert_eq!(absence.to_string(), format!("{when}: 2 pods came and went there meanwhile"));
        absence.pods = vec!["a".to_owned(), "b".to_owned()];
        assert_eq!(
            absence.to_string(),
            format!("{when}: pod a, b and 2 more lived and ended there meanwhile")
        );
    }

    #[test]
    fn what_nobody_noted_is_said_to_be_unknown() {
        let mut absence =
            Absence { node: "n1".to_owned(), until: Some(30), unnoted: true, ..Absence::default() };
        let when = "the recorder of node n1 was away from 1970-01-01T00:00:00Z to 1970-01-01T00:00:30Z";
        assert_eq!(
            absence.to_string(),
            format!("{when}: whether pods came and went there meanwhile, nobody can know")
        );
        absence.others = 1;
        assert_eq!(
            absence.to_string(),
            format!("{when}: 1 pod came and went there meanwhile; whether others did, nobody can know")
        );
    }

    #[test]
    fn a_recorder_that_is_not_back_has_no_end() {
        let pods = vec!["a".to_owned()];
        let absence = Absence { node: "n1".to_owned(), pods, ..Absence::default() };
        assert_eq!(
            absence.to_string(),
            "no recorder runs on node n1 since 1970-01-01T00:00:00Z: pod a ran there"
        );
        assert!(!absence.is_over_at(u64::MAX));
    }

    #[test]
    fn the_latest_absences_are_kept() {
        let mut absences =
            (0..100).map(|until| Absence { until: Some(until), ..Absence::default() }).collect();
        fit_absences(&mut absences);
        assert_eq!(
            absences.iter().filter_map(|one| one.until).collect::<Vec<_>>(),
            (84..100).collect::<Vec<_>>()
        );
    }
}
