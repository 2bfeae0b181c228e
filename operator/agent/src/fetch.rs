//! Reads contents that the store lacks, one object at a time and a few at once.

use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt as _};
use kube::Api;
use portcullis_api::{FailureReason, SeccompRevision};
use tokio::{sync::mpsc, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    error::Problem,
    keeper::{Wanted, Work},
    metrics::Metrics,
};

/// Reads that go on at the same time.
const AT_ONCE: usize = 4;
/// How long a read may take: reports wait for it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Reads what is wanted until shutdown. What fails is asked for again by the keeper.
pub(crate) async fn fetch(
    api: Api<SeccompRevision>,
    mut wanted: mpsc::UnboundedReceiver<Wanted>,
    work: mpsc::Sender<Work>,
    metrics: Metrics,
    shutdown: CancellationToken,
) {
    let mut reads = FuturesUnordered::new();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            Some(next) = wanted.recv(), if reads.len() < AT_ONCE => {
                metrics.fetched.inc();
                reads.push(read(&api, next));
            }
            Some(fetched) = reads.next() => {
                // Closed only while the process ends.
                let _ = work.send(fetched).await;
            }
        }
    }
}

async fn read(api: &Api<SeccompRevision>, wanted: Wanted) -> Work {
    let Wanted { revision, digest } = wanted;
    let unavailable = |why: String| {
        let message = format!("can't read SeccompRevision {revision} from the API server: {why}");
        Problem::new(FailureReason::Unavailable, message)
    };
    let content = match timeout(PATIENCE, api.get_opt(&revision)).await {
        Ok(Ok(Some(object))) => Ok(object.spec.content),
        Ok(Ok(None)) => Err(unavailable("it does not exist".to_owned())),
        Ok(Err(error)) => Err(unavailable(error.to_string())),
        Err(_) => Err(unavailable(format!("no answer within {} s", PATIENCE.as_secs()))),
    };
    Work::Fetched { digest, content }
}
