//! The one place where outcomes go: a log line, a count, an Event.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Duration,
};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter as Reporting},
};
use prometheus::{IntCounter, IntCounterVec, Opts};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{Process, explain};

/// Events that wait to be published; more are dropped and counted.
const QUEUE: usize = 512;
/// How often an unchanged Event is published again: below the six minutes in which kube's recorder makes a series of repeats.
const REPEAT: Duration = Duration::from_secs(300);
/// How many different Events are remembered.
const REMEMBERED: usize = 1024;
/// Events that may be published at once, and how long it takes for one more.
const BURST: u32 = 100;
const REFILL: Duration = Duration::from_secs(1);
/// An Event's note may have 1024 bytes:
/// <https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/>.
const MAX_NOTE: usize = 1024;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// As it should be; a Normal Event.
    Info,
    /// Somebody has to look at the object; a Warning Event.
    Warning,
    /// Portcullis itself can't do its work; a Warning Event.
    Error,
}

impl Level {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// An outcome.
#[derive(Clone, Debug)]
pub struct Report {
    /// How bad it is.
    pub level: Level,
    /// The category: label of the count and the Event's reason, PascalCase. Static, so that there is a bounded number of them.
    pub reason: &'static str,
    /// What was being done, PascalCase: the Event's action.
    pub action: &'static str,
    /// What happened, naming the object, the field or file, and what to do.
    pub message: String,
    /// Whom it concerns: the Event's object. None makes no Event.
    pub object: Option<ObjectReference>,
}

/// Takes reports without waiting: logs and counts each, and publishes Events in a supervised task. Clones share everything.
#[derive(Clone, Debug)]
pub struct Reporter {
    reports: IntCounterVec,
    dropped: IntCounter,
    events: mpsc::Sender<(Event, ObjectReference)>,
}

impl Reporter {
    /// A reporter that publishes as `portcullis-<role>`, instance `pod`.
    ///
    /// # Errors
    /// Where the metrics are registered already.
    pub fn new(process: &Process, client: Client, pod: impl Into<String>) -> Result<Self, prometheus::Error> {
        let reports = IntCounterVec::new(
            Opts::new("portcullis_reports_total", "Outcomes by level (info, warning, error) and reason"),
            &["level", "reason"],
        )?;
        let dropped = IntCounter::new(
            "portcullis_events_dropped_total",
            "Events that were not published because there were too many",
        )?;
        let failed =
            IntCounter::new("portcullis_events_failed_total", "Events that the API server did not take")?;
        for collector in [&dropped, &failed] {
            process.registry.register(Box::new(collector.clone()))?;
        }
        process.registry.register(Box::new(reports.clone()))?;
        let (events, queue) = mpsc::channel(QUEUE);
        let publisher = Publisher {
            client,
            reporting: Reporting {
                controller: format!("portcullis-{}", process.role),
                instance: Some(pod.into()),
            },
            published: HashMap::new(),
            bucket: Bucket::new(),
            dropped: dropped.clone(),
            failed,
        };
        process.supervise("events", publisher.run(queue, process.shutdown.clone()));
        Ok(Self { reports, dropped, events })
    }

    /// Logs, counts and, where there is an object, queues an Event. Never waits.
    pub fn report(&self, report: Report) {
        let Report { level, reason, action, message, object } = report;
        let named = object.as_ref().map(name_of);
        match level {
            Level::Info => info!(reason, action, object = named, "{message}"),
            Level::Warning => warn!(reason, action, object = named, "{message}"),
            Level::Error => error!(reason, action, object = named, "{message}"),
        }
        self.reports.with_label_values(&[level.as_str(), reason]).inc();
        let Some(object) = object else { return };
        let event = Event {
            type_: if level == Level::Info { EventType::Normal } else { EventType::Warning },
            reason: reason.to_owned(),
            note: Some(truncate(message)),
            action: action.to_owned(),
            secondary: None,
        };
        if self.events.try_send((event, object)).is_err() {
            self.dropped.inc();
        }
    }
}

fn name_of(object: &ObjectReference) -> String {
    let kind = object.kind.as_deref().unwrap_or("object");
    let name = object.name.as_deref().unwrap_or_default();
    match object.namespace.as_deref() {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    }
}

fn truncate(mut message: String) -> String {
    if message.len() > MAX_NOTE {
        message.truncate(message.floor_char_boundary(MAX_NOTE - '…'.len_utf8()));
        message.push('…');
    }
    message
}

/// Publishes Events one after another.
struct Publisher {
    client: Client,
    reporting: Reporting,
    /// By type, reason, action, object and note. Each has a recorder of its own, because kube's recorder takes Events that differ in
    /// nothing but their note for one, and would go on showing the first note.
    published: HashMap<u64, (Recorder, Instant)>,
    bucket: Bucket,
    dropped: IntCounter,
    failed: IntCounter,
}

impl Publisher {
    async fn run(mut self, mut queue: mpsc::Receiver<(Event, ObjectReference)>, shutdown: CancellationToken) {
        loop {
            let next = tokio::select! {
                next = queue.recv() => next,
                () = shutdown.cancelled() => break,
            };
            let Some((event, object)) = next else {
                // Every reporter is gone; that alone is no failure.
                shutdown.cancelled().await;
                break;
            };
            self.publish(&event, &object).await;
        }
    }

    async fn publish(&mut self, event: &Event, object: &ObjectReference) {
        let now = Instant::now();
        if self.published.len() >= REMEMBERED {
            self.published.retain(|_, (_, last)| now.duration_since(*last) < REPEAT);
        }
        let remembered = self.published.len();
        let recorder = match self.published.entry(key(event, object)) {
            Entry::Occupied(mut known) => {
                if now.duration_since(known.get().1) < REPEAT {
                    return;
                }
                known.get_mut().1 = now;
                known.into_mut().0.clone()
            }
            Entry::Vacant(_) if remembered >= REMEMBERED || !self.bucket.take(now) => {
                self.dropped.inc();
                return;
            }
            Entry::Vacant(new) => {
                let recorder = Recorder::new(self.client.clone(), self.reporting.clone());
                new.insert((recorder, now)).0.clone()
            }
        };
        if let Err(error) = recorder.publish(event, object).await {
            self.failed.inc();
            warn!(
                error = explain(&error),
                object = name_of(object),
                reason = event.reason,
                "can't publish an Event"
            );
        }
    }
}

fn key(event: &Event, object: &ObjectReference) -> u64 {
    let mut hasher = DefaultHasher::new();
    (event.type_, &event.reason, &event.action, &event.note).hash(&mut hasher);
    (&object.kind, &object.namespace, &object.name, &object.uid).hash(&mut hasher);
    hasher.finish()
}

/// A token bucket.
struct Bucket {
    tokens: u32,
    filled: Instant,
}

impl Bucket {
    fn new() -> Self {
        Self { tokens: BURST, filled: Instant::now() }
    }

    fn take(&mut self, now: Instant) -> bool {
        let periods = now.duration_since(self.filled).as_secs() / REFILL.as_secs();
        if periods > 0 {
            let periods = u32::try_from(periods).unwrap_or(BURST);
            self.tokens = self.tokens.saturating_add(periods).min(BURST);
            self.filled = now;
        }
        let taken = self.tokens > 0;
        self.tokens = self.tokens.saturating_sub(1);
        taken
    }
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
