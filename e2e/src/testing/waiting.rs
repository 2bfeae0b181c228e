//! Waiting for conditions, with an error that shows what was last seen.

use std::{fmt::Debug, pin::pin, time::Duration};

use anyhow::{Context as _, Result, bail};
use futures::StreamExt as _;
use kube::{
    Api, Resource, ResourceExt as _,
    runtime::{WatchStreamExt as _, watcher},
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::{Instant, sleep, timeout};

/// How soon something that nobody announces is looked at again, at first and at most.
const INTERVALS: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// What a look at something showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen<T> {
    /// What was waited for.
    Done(T),
    /// Something else, in words for the error when the time is over.
    NotYet(String),
}

/// Watches an object until a condition holds, and gives the object.
///
/// # Errors
/// Where the time is over (the error shows the object as it was last seen) or the object can't be watched.
pub async fn await_object<K>(
    api: &Api<K>,
    name: &str,
    what: &str,
    patience: Duration,
    mut condition: impl FnMut(&K) -> bool,
) -> Result<K>
where
    K: Resource + Clone + DeserializeOwned + Serialize + Debug + Send + 'static,
{
    let mut last = None;
    let found = watch(api, name, patience, &mut last, |object| object.is_some_and(&mut condition)).await?;
    match (found, last) {
        (true, Some(object)) => Ok(object),
        (_, last) => bail!("{name} is not {what} after {patience:?}; last seen: {}", describe(last)),
    }
}

/// Watches until an object is gone.
///
/// # Errors
/// Where the time is over (the error shows the object as it was last seen) or the object can't be watched.
pub async fn await_gone<K>(api: &Api<K>, name: &str, patience: Duration) -> Result<()>
where
    K: Resource + Clone + DeserializeOwned + Serialize + Debug + Send + 'static,
{
    let mut last = None;
    if watch(api, name, patience, &mut last, |object: Option<&K>| object.is_none()).await? {
        return Ok(());
    }
    bail!("{name} is not gone after {patience:?}; last seen: {}", describe(last))
}

/// Watches an object, absent ones as `None`, until a condition holds; false when the time is over.
async fn watch<K>(
    api: &Api<K>,
    name: &str,
    patience: Duration,
    last: &mut Option<K>,
    mut holds: impl FnMut(Option<&K>) -> bool,
) -> Result<bool>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let watched = async {
        let mut objects = pin!(watcher::watch_object(api.clone(), name).default_backoff());
        while let Some(object) = objects.next().await {
            match object {
                Ok(object) => {
                    *last = object;
                    if holds(last.as_ref()) {
                        return Ok(true);
                    }
                }
                // An API server that is stopped on purpose comes back; one that refuses does not change its mind.
                Err(watcher::Error::InitialListFailed(kube::Error::Api(status))) if status.code < 500 => {
                    return Err(kube::Error::Api(status)).with_context(|| format!("{name} can't be watched"));
                }
                Err(_) => {}
            }
        }
        Ok(false)
    };
    timeout(patience, watched).await.unwrap_or(Ok(false))
}

fn describe<K: Resource + Clone + Serialize>(object: Option<K>) -> String {
    let Some(mut object) = object else { return "nothing of that name".to_owned() };
    object.managed_fields_mut().clear();
    serde_json::to_string_pretty(&object)
        .unwrap_or_else(|error| format!("an object that can't be shown: {error}"))
}

/// Looks again and again until something is seen that nobody announces, such as a file or a metric.
///
/// # Errors
/// Where the time is over (the error holds what was last seen) or a look fails for good.
pub async fn eventually<T>(
    what: &str,
    patience: Duration,
    mut look: impl AsyncFnMut() -> Result<Seen<T>>,
) -> Result<T> {
    let end = Instant::now() + patience;
    let mut interval = INTERVALS.0;
    loop {
        let seen = match look().await.with_context(|| format!("while waiting until {what}"))? {
            Seen::Done(value) => return Ok(value),
            Seen::NotYet(seen) => seen,
        };
        if Instant::now() > end {
            bail!("it is not so after {patience:?} that {what}; last seen: {seen}");
        }
        sleep(interval).await;
        interval = (interval * 2).min(INTERVALS.1);
    }
}

/// Like [`eventually`], for a look that has nothing to show until it has everything.
///
/// # Errors
/// Where the time is over or a look fails for good.
pub async fn wait_for<T>(
    what: &str,
    patience: Duration,
    mut look: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let look = async || Ok(look().await?.map_or_else(|| Seen::NotYet("nothing".to_owned()), Seen::Done));
    eventually(&format!("there is {what}"), patience, look).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_last_sight_is_in_the_error() {
        let mut looks = 0;
        let look = async || {
            looks += 1;
            Ok(Seen::<()>::NotYet(format!("look {looks}")))
        };
        let error = eventually("it rains", Duration::from_secs(5), look).await.unwrap_err().to_string();
        assert!(error.contains("it rains") && error.contains(&format!("look {looks}")), "{error}");
        assert!(looks > 5, "{looks}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_seen_is_given() {
        let mut looks = 0;
        let look = async || {
            looks += 1;
            Ok(if looks < 4 { Seen::NotYet(String::new()) } else { Seen::Done(looks) })
        };
        assert_eq!(eventually("four", Duration::from_secs(5), look).await.unwrap(), 4);
    }
}
