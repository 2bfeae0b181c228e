//! How fast nodes are answered that ask whether they may write for a recording. Pure: time is given.
//!
//! Each answer costs a list of pods and a write. A node asks once for each recording whose pods it has; whoever stole its recorder's token may
//! ask without end. So each node has its own pace, and one that was refused waits longer.

use std::time::Duration;

use tokio::time::Instant;

use crate::world::{Buckets, Rate};

/// A node's questions. A node has some hundred pods at most, and seldom several recordings of each.
const ASKED: Rate = Rate { burst: 100, every: Duration::from_millis(200) };
/// Those that were refused: a recorder that tells the truth is refused only where a pod came and went before it was looked for.
const REFUSED: Rate = Rate { burst: 3, every: Duration::from_secs(10) };
/// Most nodes that are answered at once for one recording.
const AT_ONCE: usize = 16;

/// A node that asks by its part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asking {
    /// The part's name.
    pub(super) name: String,
    pub(super) node: String,
    /// The part's UID and version.
    pub(super) uid: String,
    pub(super) version: String,
}

/// Each node's pace.
#[derive(Debug)]
pub(super) struct Invitations {
    asked: Buckets<String>,
    refused: Buckets<String>,
}

impl Default for Invitations {
    fn default() -> Self {
        Self { asked: Buckets::new(ASKED), refused: Buckets::new(REFUSED) }
    }
}

impl Invitations {
    /// Those that are to be answered now, and when the next one is.
    pub(super) fn due(
        &mut self,
        asking: impl Iterator<Item = Asking>,
        now: Instant,
    ) -> (Vec<Asking>, Option<Instant>) {
        let (mut due, mut next) = (Vec::new(), None);
        for asking in asking {
            let waits = self.asked.waits(&asking.node, now).max(self.refused.waits(&asking.node, now));
            match waits {
                Some(at) => next = Some(next.map_or(at, |next: Instant| next.min(at))),
                None if due.len() < AT_ONCE => {
                    self.asked.spend(asking.node.clone(), 1, now);
                    due.push(asking);
                }
                // After these.
                None => break,
            }
        }
        (due, next)
    }

    /// A node was refused.
    pub(super) fn refused(&mut self, node: &str, now: Instant) {
        self.refused.spend(node.to_owned(), 1, now);
    }
}
