//! One role's process: what it shares, its supervised tasks, its end.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use prometheus::Registry;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{Instrument as _, error, error_span, info};

use crate::{
    Readiness, Settings, VERSION, client, explain, logs, metrics,
    server::{self, Access, Limits, Metrics, Port, Probes, Tls},
};

/// How long the tasks may take to end after SIGTERM; a pod's own grace is 30 s.
const DRAIN: Duration = Duration::from_secs(20);
/// How long they may take after a failure: shorter than what is left of a lease that could not be renewed.
const DRAIN_AFTER_FAILURE: Duration = Duration::from_secs(2);

/// An error of any kind that may cross tasks.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a process did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The log level can't be read.
    #[error(
        "--log-level {value:?} is neither a level (error, warn, info, debug, trace) nor a list of directives"
    )]
    LogLevel {
        /// What was given.
        value: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// Another subscriber is installed.
    #[error("logging is set up already")]
    LogsTwice,
    /// The address is in use or not this machine's.
    #[error("can't listen on {address} ({setting})")]
    Listen {
        /// What was given.
        address: SocketAddr,
        /// The flag that says so.
        setting: &'static str,
        /// The error of bind(2) or listen(2).
        source: std::io::Error,
    },
    /// There is no certificate for the metrics.
    #[error("can't serve metrics over TLS (--metrics-secure)")]
    Tls(#[source] BoxError),
    /// A signal handler can't be installed.
    #[error("can't handle SIGTERM and SIGINT")]
    Signals(#[source] std::io::Error),
    /// A metric can't be registered.
    #[error("can't register a metric")]
    Metrics(#[from] prometheus::Error),
}

/// Why a process ended other than by being told to.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The role itself failed.
    #[error("the {role} failed")]
    Role {
        /// Which role.
        role: &'static str,
        /// Why.
        source: BoxError,
    },
    /// The role ended before it was told to.
    #[error("the {0} ended without being told to")]
    RoleEnded(&'static str),
    /// A task failed.
    #[error("task {task} failed")]
    Task {
        /// Which task.
        task: &'static str,
        /// Why, or the panic's message.
        source: BoxError,
    },
    /// A task ended before it was told to.
    #[error("task {0} ended without being told to")]
    TaskEnded(&'static str),
    /// Something did not end in time after SIGTERM.
    #[error("the {role} did not stop within {} s", DRAIN.as_secs())]
    Drain {
        /// Which role.
        role: &'static str,
    },
}

/// What a supervised task may return.
pub trait TaskOutcome: Send + 'static {
    /// Whether the task failed.
    ///
    /// # Errors
    /// Where it did.
    fn into_result(self) -> Result<(), BoxError>;
}

impl TaskOutcome for () {
    fn into_result(self) -> Result<(), BoxError> {
        Ok(())
    }
}

impl<E: Into<BoxError> + Send + 'static> TaskOutcome for Result<(), E> {
    fn into_result(self) -> Result<(), BoxError> {
        self.map_err(Into::into)
    }
}

/// What the parts of a role share. Clones are handles to the same process.
#[derive(Clone, Debug)]
pub struct Process {
    /// The role's name: `controller`, `agent`.
    pub role: &'static str,
    /// Where metrics are registered; `/metrics` shows it.
    pub registry: Registry,
    /// What `/readyz` waits for.
    pub readiness: Readiness,
    /// Cancelled by SIGTERM, SIGINT or a failure; everything then ends in order.
    pub shutdown: CancellationToken,
    tasks: TaskTracker,
    failed: mpsc::UnboundedSender<Failure>,
    failures: Arc<Mutex<Option<mpsc::UnboundedReceiver<Failure>>>>,
}

/// Sets up logging, the signal handlers and the servers of probes and metrics. Must be called inside a tokio runtime.
///
/// # Errors
/// Where a setting can't be used or an address can't be listened on.
pub fn start(role: &'static str, settings: &Settings) -> Result<Process, StartError> {
    logs::install(settings)?;
    let process = Process::new(role)?;
    let (probes_at, metrics_at) = (settings.health_probe_bind_address, settings.metrics_bind_address);
    let probes = Port::bind(probes_at, "--health-probe-bind-address", Limits::PROBES)?;
    let metrics = Port::bind(metrics_at, "--metrics-bind-address", Limits::METRICS)?;
    process.supervise("signals", wait_for_signals(process.shutdown.clone())?);
    let tls = match settings {
        Settings { metrics_secure: true, metrics_cert_path, .. } => {
            Some(Tls::new(metrics_cert_path.clone()).map_err(|error| StartError::Tls(error.into()))?)
        }
        _ => None,
    };
    // By the role's own runtime: one that no longer turns is not live.
    let pages = Probes { readiness: process.readiness.clone() };
    process.supervise("probes", probes.serve(pages, None, process.shutdown.clone()));
    let (registry, shutdown) = (process.registry.clone(), process.shutdown.clone());
    // On a thread of their own: whoever asks for them takes no time from the role.
    let served = server::on_own_thread("metrics", || serve_metrics(metrics, registry, tls, shutdown));
    process.supervise("metrics", served);
    info!(role, version = VERSION, probes = %probes_at, metrics = %metrics_at, "started");
    Ok(process)
}

async fn serve_metrics(
    port: Port,
    registry: Registry,
    tls: Option<Tls>,
    shutdown: CancellationToken,
) -> Result<(), BoxError> {
    let Some(tls) = tls else {
        return Ok(port.serve(Metrics::open(registry), None, shutdown).await?);
    };
    // Its own, because a client belongs to the runtime that made it.
    let access = Access::new(client().await?);
    let (pages, acceptor) = (Metrics::guarded(registry, access)?, tls.acceptor()?);
    tokio::select! {
        served = port.serve(pages, Some(acceptor), shutdown) => Ok(served?),
        () = tls.follow() => Ok(()),
    }
}

fn wait_for_signals(
    shutdown: CancellationToken,
) -> Result<impl Future<Output = ()> + Send + 'static, StartError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(StartError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(StartError::Signals)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => info!("SIGTERM: stopping"),
            _ = interrupt.recv() => info!("SIGINT: stopping"),
            () = shutdown.cancelled() => {}
        }
        shutdown.cancel();
    })
}

impl Process {
    /// A process without logging, server and signal handlers: what a test needs.
    ///
    /// # Errors
    /// Where a metric can't be registered.
    pub fn new(role: &'static str) -> Result<Self, StartError> {
        let (failed, failures) = mpsc::unbounded_channel();
        Ok(Self {
            role,
            registry: metrics::registry(role)?,
            readiness: Readiness::default(),
            shutdown: CancellationToken::new(),
            tasks: TaskTracker::new(),
            failed,
            failures: Arc::new(Mutex::new(Some(failures))),
        })
    }

    /// Spawns a task that must live as long as the process: if it ends, fails or panics before shutdown, the process ends with an
    /// error that names it. It has to end by itself once [`Process::shutdown`] is cancelled.
    pub fn supervise<F>(&self, task: &'static str, future: F)
    where
        F: Future<Output: TaskOutcome> + Send + 'static,
    {
        let running = self.tasks.spawn(future.instrument(error_span!("task", task)));
        let (shutdown, failed) = (self.shutdown.clone(), self.failed.clone());
        self.tasks.spawn(async move {
            let failure = match running.await.map(TaskOutcome::into_result) {
                Ok(Ok(())) if shutdown.is_cancelled() => return,
                Ok(Ok(())) => Failure::TaskEnded(task),
                Ok(Err(source)) => Failure::Task { task, source },
                Err(panic) => Failure::Task { task, source: panic.into() },
            };
            // Nobody listens once the process is draining; then the log is the place for it.
            if let Err(mpsc::error::SendError(failure)) = failed.send(failure) {
                error!(error = explain(&failure), "while stopping");
            }
        });
    }

    /// Runs the role until it ends after shutdown, or the first failure; then lets the tasks end. Of clones only the first call
    /// learns of failures.
    ///
    /// # Errors
    /// Where the role or a task failed, or ended before shutdown, or did not end in time after it.
    pub async fn run<E: Into<BoxError>>(
        self,
        role: impl Future<Output = Result<(), E>>,
    ) -> Result<(), Failure> {
        let mut failures =
            self.failures.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_else(|| {
                let (_, closed) = mpsc::unbounded_channel();
                closed
            });
        let ended = self.first_end(role, &mut failures).await;
        self.shutdown.cancel();
        self.tasks.close();
        let limit = if ended.is_ok() { DRAIN } else { DRAIN_AFTER_FAILURE };
        let drained = timeout(limit, self.tasks.wait()).await;
        failures.close();
        ended?;
        if let Ok(failure) = failures.try_recv() {
            return Err(failure);
        }
        drained.map_err(|_| Failure::Drain { role: self.role })
    }

    /// The role's end or the first failure of a task, whichever comes first. The role is dropped then.
    async fn first_end<E: Into<BoxError>>(
        &self,
        role: impl Future<Output = Result<(), E>>,
        failures: &mut mpsc::UnboundedReceiver<Failure>,
    ) -> Result<(), Failure> {
        let overdue = async {
            self.shutdown.cancelled().await;
            tokio::time::sleep(DRAIN).await;
        };
        tokio::select! {
            biased;
            Some(failure) = failures.recv() => Err(failure),
            ended = role => match ended {
                Err(source) => Err(Failure::Role { role: self.role, source: source.into() }),
                Ok(()) if self.shutdown.is_cancelled() => Ok(()),
                Ok(()) => Err(Failure::RoleEnded(self.role)),
            },
            () = overdue => Err(Failure::Drain { role: self.role }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    async fn forever() -> Result<(), Infallible> {
        std::future::pending().await
    }

    #[tokio::test]
    async fn a_task_that_ends_or_fails_or_panics_ends_the_process_and_is_named() {
        let process = Process::new("agent").unwrap();
        process.supervise("watch", async {});
        let failure = process.run(forever()).await.unwrap_err();
        assert_eq!(failure.to_string(), "task watch ended without being told to");

        let process = Process::new("agent").unwrap();
        process.supervise("watch", async { Err::<(), BoxError>("no rights".into()) });
        let failure = process.run(forever()).await.unwrap_err();
        assert_eq!(failure.to_string(), "task watch failed");
        assert_eq!(std::error::Error::source(&failure).unwrap().to_string(), "no rights");

        let process = Process::new("agent").unwrap();
        let bug = std::future::poll_fn(|_| -> std::task::Poll<()> { panic!("a bug") });
        process.supervise("watch", bug);
        let failure = process.run(forever()).await.unwrap_err();
        let source = std::error::Error::source(&failure).unwrap().to_string();
        assert!(source.contains("a bug"), "{source}");
    }

    #[tokio::test]
    async fn shutdown_lets_tasks_end_in_order() {
        let process = Process::new("agent").unwrap();
        let (shutdown, (done, mut is_done)) = (process.shutdown.clone(), mpsc::channel(1));
        process.supervise("writer", {
            let shutdown = shutdown.clone();
            async move {
                shutdown.cancelled().await;
                tokio::task::yield_now().await;
                done.send("finished").await
            }
        });
        let stop = shutdown.clone();
        tokio::spawn(async move { stop.cancel() });
        let role = async {
            shutdown.cancelled().await;
            Ok::<_, Infallible>(())
        };
        process.run(role).await.unwrap();
        assert_eq!(is_done.try_recv(), Ok("finished"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_role_that_does_not_stop_is_an_error() {
        let process = Process::new("controller").unwrap();
        process.shutdown.cancel();
        let failure = process.run(forever()).await.unwrap_err();
        assert_eq!(failure.to_string(), "the controller did not stop within 20 s");
    }

    #[tokio::test]
    async fn a_role_that_ends_early_is_an_error() {
        let process = Process::new("controller").unwrap();
        let failure = process.run(async { Ok::<_, Infallible>(()) }).await.unwrap_err();
        assert_eq!(failure.to_string(), "the controller ended without being told to");
    }
}
