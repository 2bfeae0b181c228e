//! Follows a command to its end, by whatever method.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::Result;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use portcullis_profile::recording::{Exit, Mark, Observation};
use portcullis_trace::Progress;

use super::signals::Signals;
use crate::console;

/// How often a look is taken where nothing happens.
const TICK: Duration = Duration::from_millis(200);
/// How long a command has to end once it was asked to.
const GRACE: Duration = Duration::from_secs(10);
/// How many processes are named.
const NAMED: usize = 5;

/// A command that runs and is recorded.
pub(super) trait Recording {
    /// Its process id.
    fn id(&self) -> u32;
    /// Handles what has happened.
    fn advance(&mut self) -> Result<Progress>;
    /// The processes that run.
    fn left(&self) -> Vec<i32>;
    /// Lets what still runs go on without being recorded.
    fn release(&mut self) -> Result<()>;
    /// What was seen, if the command was executed at all.
    fn seen(&self) -> Result<Option<Observation>>;
    /// How the command ended, if it has.
    fn exit(&self) -> Option<Exit>;
}

/// What was seen of a command.
#[derive(Debug)]
pub(super) struct Followed {
    pub(super) observation: Observation,
    pub(super) exit: Option<Exit>,
    /// Whether the command was executed at all.
    pub(super) started: bool,
    pub(super) took: Duration,
    /// Whether the command was asked to end because the time was over.
    pub(super) time_is_over: bool,
}

/// Follows until everything has ended, or, once the command itself has, until somebody asks to end. After the time, where there is a
/// limit, the command is asked to end.
///
/// Until then signals are the command's: what a terminal sends reaches it anyway, the rest is passed on.
pub(super) fn until_the_end(
    recording: &mut impl Recording,
    signals: &Signals,
    limit: Option<Duration>,
) -> Result<Followed> {
    let since = Instant::now();
    let mut time = Time::new(limit);
    let (mut ended_at, mut told) = (None, false);
    loop {
        let progress = recording.advance()?;
        if progress == Progress::Done {
            return finish(recording, since.elapsed(), &time, told);
        }
        let ended = matches!(progress, Progress::Ended(_));
        let asked = signals.wait(time.left().min(TICK))?;
        if !ended && let Some(signal) = time.asks() {
            send(recording, signal);
        }
        if ended && (!asked.is_empty() || time.is_over()) {
            console::note(&format!(
                "the recording ends, and these run on: {}; how they end was not seen",
                names(&recording.left())
            ));
            recording.release()?;
            return finish(recording, since.elapsed(), &time, true);
        }
        // What is about to end has a moment to do so.
        if ended && !told && ended_at.get_or_insert_with(Instant::now).elapsed() >= TICK {
            told = true;
            let left = names(&recording.left());
            if !left.is_empty() {
                console::note(&format!(
                    "the command ended, and what it started runs on: {left}; this is recorded until it ends, or until Ctrl-C"
                ));
            }
        }
        for asked in asked.iter().filter(|asked| !asked.by_terminal) {
            send(recording, asked.signal);
        }
    }
}

/// Sends the command a signal. It may have ended meanwhile, which is seen by the next look.
fn send(recording: &impl Recording, signal: Signal) {
    let id = i32::try_from(recording.id()).map(Pid::from_raw);
    let _ = id.map(|id| kill(id, signal));
}

/// The time that a recording has.
struct Time {
    /// When something is to be done next; `None` for never.
    next: Option<Instant>,
    asked: u8,
}

impl Time {
    fn new(limit: Option<Duration>) -> Self {
        Self { next: limit.map(|limit| Instant::now() + limit), asked: 0 }
    }

    fn left(&self) -> Duration {
        self.next.map_or(Duration::MAX, |next| next.saturating_duration_since(Instant::now()))
    }

    fn is_over(&self) -> bool {
        self.asked > 0 || self.left().is_zero()
    }

    /// The signal that asks the command to end, once its time is over: first one that it may handle.
    fn asks(&mut self) -> Option<Signal> {
        if !self.left().is_zero() {
            return None;
        }
        self.asked += 1;
        self.next = (self.asked == 1).then(|| Instant::now() + GRACE);
        if self.asked > 1 {
            console::note("the command goes on all the same, and is killed");
            return Some(Signal::SIGKILL);
        }
        console::note("the time is over: the command is asked to end (SIGTERM)");
        Some(Signal::SIGTERM)
    }
}

/// What was seen. Where something outlived the command, what the command's own end says is nothing of that one's: a daemon that put itself
/// into the background was neither seen to be steady by it nor to stop.
fn finish(recording: &impl Recording, took: Duration, time: &Time, was_outlived: bool) -> Result<Followed> {
    let seen = recording.seen()?;
    let started = seen.is_some();
    let mut observation = seen.unwrap_or_default();
    if was_outlived {
        observation.marks.remove(&Mark::Completed);
        observation.marks.remove(&Mark::GracefulStop);
    }
    Ok(Followed { observation, exit: recording.exit(), started, took, time_is_over: time.asked > 0 })
}

/// Processes with their names, the first few.
fn names(ids: &[i32]) -> String {
    let read = |id: &i32| {
        let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        // A thread is named by its process.
        let is_process = field("Tgid:")? == id.to_string();
        is_process.then(|| format!("{} ({id})", field("Name:").unwrap_or_default()))
    };
    let named: Vec<String> = ids.iter().filter_map(read).collect();
    match named.len().checked_sub(NAMED) {
        Some(more @ 1..) => format!("{} and {more} more", named[..NAMED].join(", ")),
        _ => named.join(", "),
    }
}
