//! What containers were seen to call: observations, their union over pods, nodes and runs, and what is made of it.
//!
//! # How counters stay true
//! Sets (calls, argument values, marks, signals) are united, which may be done again and in any order. Counters may not be added twice,
//! so they belong to a [`Source`]: one container, as one life of a recorder's counters saw it. Within a source a counter only grows, and
//! two reports of it join by the larger one ([`Observation::join`]); different sources add up ([`Observation::add`]). A [`Ledger`]
//! keeps sources apart for as long as they may report again, and settles them afterwards.
//!
//! A source is node, recorder instance and container: a container's id is unique over nodes, so [`Source`] holds the id and the
//! instance. The instance changes when counters begin at nothing again, not when a recorder that finds its counters anew is restarted.

mod absence;
mod arguments;
mod bounds;
mod companions;
mod fit;
mod ledger;
mod make;
mod marks;
mod needs;
mod observation;
mod text;
mod verdict;

pub use absence::{Absence, MAX_ABSENCES, MAX_ABSENT_PODS};
pub use arguments::{RECORDED_ARGUMENTS, RecordedArgument, Width, recorded_argument};
pub use companions::{Companions, KINDS, Kind};
pub use fit::{MAX_OPEN, MAX_SUBJECTS, OTHERS};
pub use ledger::{Ledger, Platform, Source, Subject, Tally};
pub use make::{Made, MakeError, Note, Wishes, make};
pub use marks::{Exit, Mark, Signals, signal_name};
pub use needs::{Need, needs, only_in};
pub use observation::{Argument, Call, Losses, MAX_VALUES, Observation, STEADY_SECONDS, Seen, Values};
pub use text::{
    Entry, InvalidText, MAX_CALLS_TEXT, MAX_DENIED_TEXT, MAX_VALUES_TEXT, decode_entry, encode_entry,
};
pub use verdict::{COMPLETE, ContainerVerdict, Gap, Phase, Verdict, verdict};
