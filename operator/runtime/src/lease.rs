//! Which of several replicas leads, by a `Lease`.
//!
//! The protocol is client-go's
//! (<https://github.com/kubernetes/client-go/blob/master/tools/leaderelection/leaderelection.go>): every write carries the resource
//! version that was read, so the API server decides between two candidates; a candidate measures with its own clock how long the
//! holder's record has not changed, so clocks of different nodes are never compared; and a holder that could not renew for
//! [`LeaseSettings::renew_deadline`] ends before another may begin.

use std::time::Duration;

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{info, warn};

use crate::{Process, explain};

/// Which lease, whose, and how often.
#[derive(Clone, Debug)]
pub struct LeaseSettings {
    /// The lease's namespace.
    pub namespace: String,
    /// The lease's name.
    pub name: String,
    /// Who wants it: unique among the replicas and over their restarts, such as a pod's name.
    pub identity: String,
    /// For how long a holder that is not heard of is waited for; whole seconds.
    pub duration: Duration,
    /// After how long without success a holder gives up; shorter than `duration`.
    pub renew_deadline: Duration,
    /// How often to renew, and to look.
    pub retry: Duration,
}

impl LeaseSettings {
    /// Kubernetes' own times: 15 s, 10 s, 2 s.
    #[must_use]
    pub fn new(namespace: impl Into<String>, name: impl Into<String>, identity: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
            identity: identity.into(),
            duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry: Duration::from_secs(2),
        }
    }
}

/// Leadership is lost, so the process has to end.
#[derive(Debug, thiserror::Error)]
pub enum LeaseLost {
    /// Another holds the lease.
    #[error("lease {lease} is now held by {holder:?}")]
    Taken {
        /// The lease, `namespace/name`.
        lease: String,
        /// Who holds it.
        holder: String,
    },
    /// The lease could not be renewed for too long.
    #[error("lease {lease} could not be renewed for {} s", deadline.as_secs())]
    NotRenewed {
        /// The lease, `namespace/name`.
        lease: String,
        /// For how long it was tried.
        deadline: Duration,
        /// The last attempt's error; none where it had no answer.
        source: Option<kube::Error>,
    },
}

/// Leadership, for as long as it is kept. Dropped, the lease is given back so that another need not wait for its end; do so only
/// after the last write. If it is lost the process ends.
#[derive(Debug)]
pub struct Leadership {
    _given_back: DropGuard,
}

/// Waits until this process leads, and keeps renewing the lease in a supervised task. `None` where shutdown comes first.
pub async fn lead(process: &Process, client: Client, settings: LeaseSettings) -> Option<Leadership> {
    let mut candidate = Candidate::new(client, settings);
    tokio::select! {
        biased;
        () = process.shutdown.cancelled() => return None,
        () = candidate.acquire() => {}
    }
    let given_back = CancellationToken::new();
    let leadership = Leadership { _given_back: given_back.clone().drop_guard() };
    process.supervise("lease", candidate.hold(given_back));
    Some(leadership)
}

struct Candidate {
    api: Api<Lease>,
    settings: LeaseSettings,
    /// What was last seen of the lease, and when by this process's clock it was first seen so.
    seen: Option<(LeaseSpec, Instant)>,
    /// When the request was begun that last made or kept this process the holder.
    renewed: Instant,
}

/// What an attempt came to.
#[derive(Debug, PartialEq, Eq)]
enum Attempt {
    Held,
    HeldBy(String),
}

impl Candidate {
    fn new(client: Client, settings: LeaseSettings) -> Self {
        let api = Api::namespaced(client, &settings.namespace);
        Self { api, settings, seen: None, renewed: Instant::now() }
    }

    fn lease(&self) -> String {
        format!("{}/{}", self.settings.namespace, self.settings.name)
    }

    /// How long an attempt may take: a connection may be dead and another not, so that there must be time for a second one before the
    /// deadline, as in controller-runtime.
    fn answer_within(&self) -> Duration {
        self.settings.renew_deadline / 2
    }

    async fn acquire(&mut self) {
        // Said once and not at each attempt: what this process waits for.
        let mut waiting_for = String::new();
        loop {
            let waits_for = match timeout(self.answer_within(), self.attempt()).await {
                Ok(Ok(Attempt::Held)) => break,
                Ok(Ok(Attempt::HeldBy(holder))) => format!("{holder} leads"),
                Ok(Err(error)) if is_conflict(&error) => "another was faster".to_owned(),
                Ok(Err(error)) => explain(&error),
                Err(_) => "the API server does not answer".to_owned(),
            };
            if waiting_for != waits_for {
                info!(lease = self.lease(), "waiting to lead: {waits_for}");
                waiting_for = waits_for;
            }
            sleep(self.settings.retry).await;
        }
        info!(lease = self.lease(), identity = self.settings.identity, "leading");
    }

    /// Renews until leadership is given back (then the lease is released) or lost.
    async fn hold(mut self, given_back: CancellationToken) -> Result<(), LeaseLost> {
        loop {
            tokio::select! {
                () = given_back.cancelled() => break,
                () = sleep(self.settings.retry) => self.renew().await?,
            }
        }
        if let Err(error) = self.release().await {
            // Another waits for the lease's end instead.
            warn!(lease = self.lease(), error = explain(&error), "can't give the lease back");
        }
        Ok(())
    }

    /// One renewal, repeated until it succeeds or the deadline is over.
    async fn renew(&mut self) -> Result<(), LeaseLost> {
        let deadline = self.renewed + self.settings.renew_deadline;
        let mut last = None;
        loop {
            let answer_by = deadline.min(Instant::now() + self.answer_within());
            match timeout_at(answer_by, self.attempt()).await {
                Ok(Ok(Attempt::Held)) => return Ok(()),
                Ok(Ok(Attempt::HeldBy(holder))) => {
                    return Err(LeaseLost::Taken { lease: self.lease(), holder });
                }
                Ok(Err(error)) => {
                    warn!(lease = self.lease(), error = explain(&error), "can't renew the lease");
                    last = Some(error);
                }
                Err(_) if Instant::now() < deadline => {
                    warn!(lease = self.lease(), "can't renew the lease: the API server does not answer");
                    continue;
                }
                Err(_) => {
                    return Err(LeaseLost::NotRenewed {
                        lease: self.lease(),
                        deadline: self.settings.renew_deadline,
                        source: last,
                    });
                }
            }
            // The deadline is noticed by the next attempt.
            sleep(self.settings.retry.min(deadline.saturating_duration_since(Instant::now()))).await;
        }
    }

    /// Reads the lease, and takes or renews it where that is this process's right.
    async fn attempt(&mut self) -> Result<Attempt, kube::Error> {
        let begun = Instant::now();
        let held = match self.api.get_opt(&self.settings.name).await? {
            None => {
                let metadata = ObjectMeta { name: Some(self.settings.name.clone()), ..ObjectMeta::default() };
                let spec = Some(self.taken(None));
                self.api.create(&PostParams::default(), &Lease { metadata, spec }).await?
            }
            Some(mut lease) => {
                let spec = lease.spec.take().unwrap_or_default();
                if let Some(holder) = self.other_holder(&spec) {
                    return Ok(Attempt::HeldBy(holder));
                }
                lease.spec = Some(self.taken(Some(spec)));
                // Carries the resource version that was read: a conflict means that another was faster.
                self.api.replace(&self.settings.name, &PostParams::default(), &lease).await?
            }
        };
        self.seen = held.spec.map(|spec| (spec, begun));
        self.renewed = begun;
        Ok(Attempt::Held)
    }

    /// The other that holds the lease, if its time is not over.
    fn other_holder(&mut self, spec: &LeaseSpec) -> Option<String> {
        let holder = spec.holder_identity.clone().filter(|holder| !holder.is_empty())?;
        if holder == self.settings.identity {
            return None;
        }
        let since = match &self.seen {
            Some((seen, since)) if seen == spec => *since,
            _ => {
                let now = Instant::now();
                self.seen = Some((spec.clone(), now));
                now
            }
        };
        let duration = spec
            .lease_duration_seconds
            .and_then(|seconds| u64::try_from(seconds).ok())
            .map_or(self.settings.duration, Duration::from_secs);
        (since.elapsed() < duration).then_some(holder)
    }

    /// The lease as held by this process.
    fn taken(&self, before: Option<LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        let before = before.unwrap_or_default();
        let renews = before.holder_identity.as_deref() == Some(&self.settings.identity);
        LeaseSpec {
            acquire_time: if renews { before.acquire_time } else { Some(now.clone()) },
            holder_identity: Some(self.settings.identity.clone()),
            lease_duration_seconds: Some(i32::try_from(self.settings.duration.as_secs()).unwrap_or(i32::MAX)),
            lease_transitions: Some(before.lease_transitions.unwrap_or(0) + i32::from(!renews)),
            renew_time: Some(now),
            ..LeaseSpec::default()
        }
    }

    /// Gives the lease back, as client-go does: no holder, a second's duration.
    async fn release(&self) -> Result<(), kube::Error> {
        let Some(mut lease) = self.api.get_opt(&self.settings.name).await? else { return Ok(()) };
        let spec = lease.spec.take().unwrap_or_default();
        if spec.holder_identity.as_deref() != Some(&self.settings.identity) {
            return Ok(());
        }
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(String::new()),
            lease_duration_seconds: Some(1),
            renew_time: Some(MicroTime(Timestamp::now())),
            ..spec
        });
        self.api.replace(&self.settings.name, &PostParams::default(), &lease).await?;
        info!(lease = self.lease(), "gave the lease back");
        Ok(())
    }
}

fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
}

#[cfg(test)]
#[path = "lease_tests.rs"]
mod tests;
