//! Which profiles to look at, and when: each at most once at a time.
//!
//! kube's scheduler waits until a key is left alone for its debounce time, so a key that thousands of nodes wake one after another
//! would wait for the last of them; this queue runs a key at the earliest time that anybody asked for.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

/// A queue of keys that are due at some time.
#[derive(Debug)]
pub(crate) struct Queue<K> {
    state: Mutex<State<K>>,
    changed: Notify,
    /// Work has ended.
    relieved: Notify,
}

#[derive(Debug)]
struct State<K> {
    due: BTreeSet<(Instant, K)>,
    at: HashMap<K, Instant>,
    running: HashSet<K>,
    /// Keys that were asked for while they ran.
    again: HashMap<K, Instant>,
}

impl<K> Default for Queue<K> {
    fn default() -> Self {
        let state = State {
            due: BTreeSet::new(),
            at: HashMap::new(),
            running: HashSet::new(),
            again: HashMap::new(),
        };
        Self { state: Mutex::new(state), changed: Notify::new(), relieved: Notify::new() }
    }
}

impl<K: Clone + Ord + Hash> Queue<K> {
    /// Asks for a key at a time. Of several times the earliest counts.
    pub(crate) fn wake(&self, key: K, at: Instant) {
        let mut state = self.lock();
        if state.running.contains(&key) {
            let earliest = state.again.get(&key).map_or(at, |other| at.min(*other));
            state.again.insert(key, earliest);
        } else {
            state.schedule(key, at);
        }
        drop(state);
        self.changed.notify_one();
    }

    /// The next key that is due. It will not be given again before [`Queue::done`].
    pub(crate) async fn next(&self) -> K {
        loop {
            let changed = self.changed.notified();
            let earliest = match self.lock().take(Instant::now()) {
                Ok(key) => return key,
                Err(earliest) => earliest,
            };
            match earliest {
                Some(at) => tokio::select! {
                    () = changed => {}
                    () = sleep_until(at) => {}
                },
                None => changed.await,
            }
        }
    }

    /// The work on a key has ended.
    pub(crate) fn done(&self, key: &K) {
        let mut state = self.lock();
        state.running.remove(key);
        if let Some(at) = state.again.remove(key) {
            state.schedule(key.clone(), at);
        }
        drop(state);
        self.changed.notify_one();
        self.relieved.notify_waiters();
    }

    /// Waits until fewer than so many keys are due: who finds work faster than it is done must not pile it up.
    pub(crate) async fn fewer_than(&self, limit: usize) {
        loop {
            let relieved = self.relieved.notified();
            let now = Instant::now();
            let due = self.lock().due.iter().take_while(|(at, _)| *at <= now).take(limit).count();
            if due < limit {
                return;
            }
            relieved.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<K>> {
        // Nothing that holds the lock can panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Ord + Hash> State<K> {
    fn schedule(&mut self, key: K, at: Instant) {
        match self.at.get(&key) {
            Some(earlier) if *earlier <= at => return,
            Some(later) => drop(self.due.remove(&(*later, key.clone()))),
            None => {}
        }
        self.at.insert(key.clone(), at);
        self.due.insert((at, key));
    }

    /// A key that is due, or when the next one is.
    fn take(&mut self, now: Instant) -> Result<K, Option<Instant>> {
        let Some((at, _)) = self.due.first() else { return Err(None) };
        if *at > now {
            return Err(Some(*at));
        }
        let Some((_, key)) = self.due.pop_first() else { return Err(None) };
        self.at.remove(&key);
        self.running.insert(key.clone());
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn gives_keys_in_the_order_of_their_times() {
        let (queue, now) = (Queue::default(), Instant::now());
        queue.wake("late", now + 2 * SECOND);
        queue.wake("early", now + SECOND);
        assert_eq!(queue.next().await, "early");
        assert_eq!(now.elapsed(), SECOND);
        assert_eq!(queue.next().await, "late");
        assert_eq!(now.elapsed(), 2 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn the_earliest_wish_counts_whatever_follows() {
        let (queue, now) = (Queue::default(), Instant::now());
        queue.wake("a", now + 5 * SECOND);
        queue.wake("a", now + SECOND);
        queue.wake("a", now + 9 * SECOND);
        assert_eq!(queue.next().await, "a");
        assert_eq!(now.elapsed(), SECOND);
        queue.done(&"a");
        assert_eq!(queue.next().now_or_never(), None, "only once");
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_runs_once_at_a_time_and_again_if_it_was_asked_for_meanwhile() {
        let (queue, now) = (Queue::default(), Instant::now());
        queue.wake("a", now);
        assert_eq!(queue.next().await, "a");
        queue.wake("a", now + SECOND);
        queue.wake("a", now);
        assert_eq!(queue.next().now_or_never(), None);
        queue.done(&"a");
        assert_eq!(queue.next().now_or_never(), Some("a"));
    }

    #[tokio::test(start_paused = true)]
    async fn who_finds_work_waits_for_some_of_it_to_be_done() {
        let (queue, now) = (Queue::default(), Instant::now());
        queue.wake("a", now);
        queue.wake("b", now);
        queue.wake("later", now + SECOND);
        assert_eq!(queue.fewer_than(3).now_or_never(), Some(()), "what is not due yet does not count");
        let key = queue.next().await;
        assert_eq!(queue.fewer_than(2).now_or_never(), Some(()));
        queue.wake("c", now);
        let waiting = queue.fewer_than(2);
        tokio::pin!(waiting);
        assert_eq!(waiting.as_mut().now_or_never(), None);
        queue.next().await;
        queue.done(&key);
        assert_eq!(waiting.now_or_never(), Some(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wish_reaches_who_already_waits() {
        let queue = std::sync::Arc::new(Queue::default());
        let waiting = tokio::spawn({
            let queue = queue.clone();
            async move { queue.next().await }
        });
        tokio::task::yield_now().await;
        queue.wake("a", Instant::now());
        assert_eq!(waiting.await.unwrap(), "a");
    }
}
