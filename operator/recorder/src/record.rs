//! The recorder at work: one task that owns the probe and the book.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource as _;
use portcullis_api::SeccompRecording;
use portcullis_probe::{Attachment, Probe, Target, Watch};
use portcullis_runtime::{Level, ReadinessGate, Report, Reporter};
use tokio::{
    sync::mpsc::Receiver,
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::{
    Error,
    book::Book,
    bound::{Bound, Moved},
    follow::News,
    metrics::Metrics,
    requests::{Failed, Read, Requests},
    session::Key,
};

/// How often the kernel's counters are read while something is recorded.
const ROUND: Duration = Duration::from_secs(1);
/// Between two writes of a part.
const WRITE_EVERY: Duration = Duration::from_secs(10);
/// The same while the kernel's room for containers runs out: one that has ended keeps its room until it is written down.
const WRITE_UNDER_PRESSURE: Duration = Duration::from_secs(1);
/// How long the last writes may take when the process is told to stop.
const LAST_WRITES: Duration = Duration::from_secs(5);

/// What a request came to.
enum Done {
    Read { key: Key, uid: String, result: Result<Box<Read>, Failed> },
    Asked { key: Key, uid: String, result: Result<bool, Failed> },
    Wrote { key: Key, uid: String, version: u64, result: Result<(), Failed> },
}

/// When the next request for a recording may be made.
struct Pace {
    busy: bool,
    wrote: Option<Instant>,
    not_before: Instant,
    pauses: ExponentialBackoff,
}

impl Pace {
    fn new() -> Self {
        Self { busy: false, wrote: None, not_before: Instant::now(), pauses: pauses() }
    }

    fn is_free(&self, now: Instant) -> bool {
        !self.busy && now >= self.not_before
    }

    fn answered(&mut self) {
        self.busy = false;
    }

    fn failed(&mut self) {
        self.busy = false;
        self.not_before = Instant::now() + self.pauses.next().unwrap_or(WRITE_EVERY);
    }

    fn worked(&mut self) {
        self.busy = false;
        self.pauses = pauses();
    }
}

fn pauses() -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_secs(1))
        .with_max_delay(Duration::from_secs(60))
        .without_max_times()
        .with_jitter()
        .build()
}

/// What the recorder works with.
pub(crate) struct Recorder {
    pub(crate) probe: Probe,
    pub(crate) book: Book,
    pub(crate) bound: Bound,
    pub(crate) news: Receiver<News>,
    pub(crate) requests: Requests,
    pub(crate) reporter: Reporter,
    pub(crate) metrics: Metrics,
    /// How many containers the kernel has room for.
    pub(crate) capacity: usize,
    /// Opened once both lists were taken in.
    pub(crate) first_sync: ReadinessGate,
}

/// The recorder and what is under way.
pub(crate) struct AtWork {
    recorder: Recorder,
    /// Whether pods, and recordings, were listed.
    listed: [bool; 2],
    targets: BTreeMap<Target, Watch>,
    attachment: Attachment,
    /// Containers that the kernel had at the last look.
    containers: usize,
    paces: BTreeMap<Key, Pace>,
    under_way: FuturesUnordered<BoxFuture<'static, Done>>,
    /// Questions that the controller has not answered.
    asked: FuturesUnordered<BoxFuture<'static, Done>>,
}

impl AtWork {
    pub(crate) fn new(recorder: Recorder) -> Self {
        Self {
            recorder,
            listed: [false; 2],
            targets: BTreeMap::new(),
            attachment: Attachment::None,
            containers: 0,
            paces: BTreeMap::new(),
            under_way: FuturesUnordered::new(),
            asked: FuturesUnordered::new(),
        }
    }

    /// Records until shutdown.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) -> Result<Probe, Error> {
        let mut rounds = interval(ROUND);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return self.finish().await,
                news = self.recorder.news.recv() => match news {
                    Some(news) => self.learn_all(news)?,
                    None if shutdown.is_cancelled() => return self.finish().await,
                    None => return Err(Error::WatchesEnded),
                },
                Some(done) = self.under_way.next(), if !self.under_way.is_empty() => self.done(done)?,
                Some(done) = self.asked.next(), if !self.asked.is_empty() => self.done(done)?,
                _ = rounds.tick(), if self.has_work() => self.round()?,
            }
            self.start_requests();
        }
    }

    fn is_synced(&self) -> bool {
        self.listed == [true; 2]
    }

    fn has_work(&self) -> bool {
        self.is_synced() && (!self.recorder.book.is_idle() || self.containers > 0)
    }

    fn learn_all(&mut self, first: News) -> Result<(), Error> {
        let mut next = Some(first);
        while let Some(news) = next {
            self.learn(news)?;
            next = self.recorder.news.try_recv().ok();
        }
        if self.is_synced() { self.retarget() } else { Ok(()) }
    }

    fn learn(&mut self, news: News) -> Result<(), Error> {
        match news {
            News::Pod(pod) => {
                // What was counted until now is the earlier run's, or the earlier recordings'.
                if self.is_synced() && self.recorder.book.changes_pod(&pod) {
                    self.round()?;
                }
                self.recorder.book.pod_applied(pod);
            }
            News::PodGone(uid) => self.recorder.book.pod_gone(uid),
            News::PodsListed(there) => {
                self.recorder.book.pods_listed(&there);
                self.synced(0)?;
            }
            News::Recording(recording) => {
                let moved = self.recorder.bound.applied(*recording);
                self.moved(&moved)?;
            }
            News::RecordingGone(key) => {
                self.recorder.book.recording_gone(&key);
                let moved = self.recorder.bound.gone(&key);
                self.moved(&moved)?;
            }
            News::RecordingsListed(there) => {
                self.recorder.book.recordings_listed(&there);
                let moved = self.recorder.bound.listed(&there);
                self.moved(&moved)?;
                self.synced(1)?;
            }
            // Whoever waits for it ends with the process.
            News::Turn(turn) => drop(turn.send(())),
        }
        Ok(())
    }

    fn moved(&mut self, moved: &Moved) -> Result<(), Error> {
        moved.beyond.iter().for_each(|key| self.recorder.book.recording_gone(key));
        moved.within.iter().try_for_each(|recording| self.learn_recording(recording))
    }

    fn learn_recording(&mut self, recording: &SeccompRecording) -> Result<(), Error> {
        // What was counted until now is of before, where the recording itself says which run is under way, or has ended: its last write is
        // about to be made.
        if self.is_synced() && self.recorder.book.changes_recording(recording) {
            self.round()?;
        }
        self.recorder.book.note_losses(self.recorder.probe.losses()?);
        if let Err(problem) = self.recorder.book.recording_applied(recording) {
            self.recorder.reporter.report(Report {
                level: Level::Warning,
                reason: "InvalidRecording",
                action: "Record",
                message: format!("{}: {problem}; nothing is recorded for it", Key::of(recording)),
                object: Some(recording.object_ref(&())),
            });
        }
        Ok(())
    }

    /// A list is complete. Until both are, what an earlier recorder watched stays watched.
    fn synced(&mut self, which: usize) -> Result<(), Error> {
        let before = self.is_synced();
        if let Some(listed) = self.listed.get_mut(which) {
            *listed = true;
        }
        if self.is_synced() && !before {
            self.targets = self.recorder.book.targets();
            self.watch()?;
            if let Some(absence) = self.recorder.probe.absence()? {
                self.recorder.book.back_after(absence, SystemTime::now());
            }
            self.recorder.probe.stay()?;
            // Containers that an earlier recorder left.
            self.containers = self.recorder.probe.snapshot()?.containers.len();
            self.recorder.first_sync.open();
        }
        Ok(())
    }

    fn retarget(&mut self) -> Result<(), Error> {
        let targets = self.recorder.book.targets();
        if targets != self.targets {
            self.targets = targets;
            self.watch()?;
        }
        self.recorder.metrics.recordings.set(count(self.recorder.book.recordings()));
        Ok(())
    }

    fn watch(&mut self) -> Result<(), Error> {
        let Recorder { probe, metrics, reporter, .. } = &mut self.recorder;
        probe.watch_only(&self.targets)?;
        metrics.targets.set(count(self.targets.len()));
        let attachment = probe.attachment();
        if attachment == self.attachment {
            return Ok(());
        }
        metrics.show_attachment(&attachment);
        match &attachment {
            Attachment::None => info!("nothing is recorded any more: the programs are detached"),
            Attachment::Typed => info!("the programs are attached"),
            Attachment::Raw { reason } => reporter.report(Report {
                level: Level::Warning,
                reason: "RawTracepoints",
                action: "Attach",
                message: format!(
                    "this kernel refuses typed tracepoints ({reason}): raw ones are used, which cost about three times as \
                     much and show no denied calls"
                ),
                object: None,
            }),
        }
        self.attachment = attachment;
        Ok(())
    }

    /// Takes in what the kernel counted until now.
    fn round(&mut self) -> Result<(), Error> {
        let Recorder { probe, book, metrics, .. } = &mut self.recorder;
        let timer = metrics.round.start_timer();
        let snapshot = probe.snapshot()?;
        for container in book.take(&snapshot, SystemTime::now()) {
            match probe.forget(container) {
                // It is asked for again in the next round.
                Ok(()) | Err(portcullis_probe::Error::StillWatched) => {}
                Err(error) => return Err(error.into()),
            }
        }
        probe.sweep()?;
        probe.stay()?;
        timer.observe_duration();
        metrics.show(&snapshot);
        self.containers = snapshot.containers.len();
        book.drop_ended();
        metrics.recordings.set(count(book.recordings()));
        Ok(())
    }

    /// Begins the requests that are due.
    fn start_requests(&mut self) {
        let now = Instant::now();
        let every =
            if self.containers * 2 > self.recorder.capacity { WRITE_UNDER_PRESSURE } else { WRITE_EVERY };
        let Recorder { book, requests, .. } = &self.recorder;
        for (key, uid) in book.unread() {
            let pace = self.paces.entry(key.clone()).or_insert_with(Pace::new);
            if pace.is_free(now) {
                pace.busy = true;
                let (requests, key, uid) = (requests.clone(), key.clone(), uid.to_owned());
                self.under_way.push(
                    async move {
                        let result = requests.read(&key, &uid).await.map(Box::new);
                        Done::Read { key, uid, result }
                    }
                    .boxed(),
                );
            }
        }
        self.ask(now);
        let Recorder { book, requests, .. } = &self.recorder;
        for (key, session) in book.news() {
            let pace = self.paces.entry(key.clone()).or_insert_with(Pace::new);
            let rested = pace.wrote.is_none_or(|wrote| now.duration_since(wrote) >= every);
            if !pace.is_free(now) || session.goes_on() && !rested && !session.is_awaited() {
                continue;
            }
            let Some((part, version)) = book.part(key) else { continue };
            pace.busy = true;
            pace.wrote = Some(now);
            let (requests, key, uid) = (requests.clone(), key.clone(), session.uid().to_owned());
            self.under_way.push(
                async move {
                    let result = requests.write(&part).await;
                    Done::Wrote { key, uid, version, result }
                }
                .boxed(),
            );
        }
        let book = &self.recorder.book;
        self.paces.retain(|key, pace| pace.busy || book.has(key));
    }

    /// Asks for the invitations that are needed.
    fn ask(&mut self, now: Instant) {
        let Recorder { book, requests, .. } = &mut self.recorder;
        let uninvited: Vec<_> = book.uninvited().map(|(key, uid)| (key.clone(), uid.to_owned())).collect();
        for (key, uid) in uninvited {
            let pace = self.paces.entry(key.clone()).or_insert_with(Pace::new);
            if !pace.is_free(now) {
                continue;
            }
            let Some(question) = book.ask(&key) else { continue };
            pace.busy = true;
            let requests = requests.clone();
            self.asked.push(
                async move {
                    let result = requests.ask(&question).await;
                    Done::Asked { key, uid, result }
                }
                .boxed(),
            );
        }
    }

    fn done(&mut self, done: Done) -> Result<(), Error> {
        match done {
            Done::Read { key, uid, result } => match result {
                Ok(read) => {
                    self.paced(&key, Pace::worked);
                    if let Some(problem) = &read.invalid {
                        let why = format!(
                            "this node's part of {key} can't be read ({problem}) and is written anew; what it held is lost"
                        );
                        self.warn("InvalidPart", &key, uid.clone(), why);
                    }
                    self.recorder.book.loaded(&key, &uid, *read);
                }
                Err(failed) => self.failed("read", "PartNotRead", &key, uid, &failed),
            },
            Done::Asked { key, uid, result } => match result {
                Ok(invited) => {
                    self.paced(&key, if invited { Pace::answered } else { Pace::failed });
                    self.recorder.book.answered(&key, &uid, invited);
                    self.recorder.book.drop_ended();
                    if !invited {
                        self.recorder.metrics.refused.inc();
                        info!(object = %key, "the controller has seen no pod of it on this node, so nothing is written for it");
                    }
                }
                Err(failed) => self.failed("ask for", "PartNotInvited", &key, uid, &failed),
            },
            Done::Wrote { key, uid, version, result } => match result {
                Ok(()) => {
                    self.paced(&key, Pace::worked);
                    self.recorder.metrics.written.inc();
                    self.recorder.book.wrote(&key, &uid, version);
                    self.recorder.book.drop_ended();
                    debug!(object = %key, version, "wrote this node's part");
                }
                Err(failed) => {
                    if failed.may_be_of_no_invitation() {
                        self.recorder.book.lost_invitation(&key, &uid);
                    }
                    self.failed("write", "PartNotWritten", &key, uid, &failed);
                }
            },
        }
        Ok(())
    }

    fn paced(&mut self, key: &Key, change: impl FnOnce(&mut Pace)) {
        if let Some(pace) = self.paces.get_mut(key) {
            change(pace);
        }
    }

    fn failed(&mut self, what: &str, reason: &'static str, key: &Key, uid: String, failed: &Failed) {
        self.paced(key, Pace::failed);
        self.recorder.metrics.failed.inc();
        if failed.is_of_a_namespace_that_goes() {
            debug!(object = %key, error = %failed, "its namespace is going");
            return;
        }
        let why = format!(
            "can't {what} this node's part of {key}: {failed}; it is tried again, and the kernel goes on counting"
        );
        self.warn(reason, key, uid, why);
    }

    fn warn(&self, reason: &'static str, key: &Key, uid: String, message: String) {
        let object = ObjectReference {
            api_version: Some(SeccompRecording::api_version(&()).into_owned()),
            kind: Some(SeccompRecording::kind(&()).into_owned()),
            namespace: Some(key.namespace.clone()),
            name: Some(key.name.clone()),
            uid: Some(uid),
            ..ObjectReference::default()
        };
        self.recorder.reporter.report(Report {
            level: Level::Warning,
            reason,
            action: "Record",
            message,
            object: Some(object),
        });
    }

    /// Writes what is new, in bounded time. The kernel goes on counting for the recorder that starts next.
    async fn finish(mut self) -> Result<Probe, Error> {
        if self.is_synced() {
            self.round()?;
        }
        self.paces.values_mut().for_each(|pace| pace.wrote = None);
        let writes = async {
            loop {
                self.start_requests();
                let Some(done) = self.under_way.next().await else { return Ok::<(), Error>(()) };
                self.done(done)?;
            }
        };
        match timeout(LAST_WRITES, writes).await {
            Ok(written) => written?,
            Err(_) => info!("the last writes took too long; what is missing is still counted by the kernel"),
        }
        Ok(self.recorder.probe)
    }
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
