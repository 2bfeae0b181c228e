//! Waiting for the cluster's own processes.

use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, sleep};

/// How often a condition that nobody announces is looked at.
const INTERVAL: Duration = Duration::from_millis(50);

/// Waits until something holds. The inner error says in words how it ended otherwise: it died, or the time was over.
pub(crate) async fn until(
    patience: Duration,
    mut holds: impl AsyncFnMut() -> Result<bool>,
    dies: impl Fn() -> bool,
) -> Result<Result<(), &'static str>> {
    let end = Instant::now() + patience;
    loop {
        if holds().await? {
            return Ok(Ok(()));
        }
        if dies() {
            return Ok(Err("ended"));
        }
        if Instant::now() > end {
            return Ok(Err("does not become ready"));
        }
        sleep(INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_ends_when_it_holds_dies_or_takes_too_long() {
        let patience = Duration::from_secs(3);
        let mut rounds = 0;
        let third = async || {
            rounds += 1;
            Ok(rounds == 3)
        };
        assert_eq!(until(patience, third, || false).await.unwrap(), Ok(()));
        assert_eq!(until(patience, async || Ok(false), || true).await.unwrap(), Err("ended"));
        assert_eq!(
            until(patience, async || Ok(false), || false).await.unwrap(),
            Err("does not become ready")
        );
    }
}
