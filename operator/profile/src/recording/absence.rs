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
    /// Until when: seconds since the epoch.
    pub until: u64,
    /// Names of the recording's pods that lived then and had ended when the recorder was back, the first ones.
    pub pods: Vec<String>,
    /// How many of those are not named, and of pods that are not in the API any more, so that nobody knows whose they were.
    pub others: u64,
}

impl fmt::Display for Absence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, since, until, pods, others } = self;
        write!(f, "the recorder of node {node} was away from {} to {}", time(*since), time(*until))?;
        match (pods.as_slice(), others) {
            ([], 0) => Ok(()),
            ([], 1) => write!(f, ": 1 pod came and went there meanwhile"),
            ([], others) => write!(f, ": {others} pods came and went there meanwhile"),
            (pods, 0) => write!(f, ": pod {} lived and ended there meanwhile", pods.join(", ")),
            (pods, others) => {
                write!(f, ": pod {} and {others} more lived and ended there meanwhile", pods.join(", "))
            }
        }
    }
}

/// Keeps the latest absences.
pub(super) fn fit_absences(absences: &mut BTreeSet<Absence>) {
    while absences.len() > MAX_ABSENCES {
        let Some(earliest) = absences.iter().min_by_key(|absence| absence.until).cloned() else { return };
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
        let mut absence = Absence { node: "n1".to_owned(), since: 0, until: 30, ..Absence::default() };
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
    fn the_latest_absences_are_kept() {
        let mut absences = (0..100).map(|until| Absence { until, ..Absence::default() }).collect();
        fit_absences(&mut absences);
        assert_eq!(absences.iter().map(|one| one.until).collect::<Vec<_>>(), (84..100).collect::<Vec<_>>());
    }
}
