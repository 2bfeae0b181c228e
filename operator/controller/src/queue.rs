//! Which keys to look at, and when: each at most once at a time, and each tenant in its turn.
//!
//! kube's scheduler waits until a key is left alone for its debounce time, so a key that thousands of nodes wake one after another
//! would wait for the last of them; this queue runs a key at the earliest time that anybody asked for. Of the keys that are due it gives
//! one of each tenant in turn, so that a thousand of one tenant stand before another's only key no longer than for one.

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
};

use portcullis_api::Owner;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

/// A key that belongs to somebody.
pub(crate) trait Keyed: Clone + Ord + Hash {
    /// The namespace that it is of; what belongs to the cluster is of the empty one.
    fn tenant(&self) -> &str;
}

impl Keyed for Owner {
    fn tenant(&self) -> &str {
        self.namespace().unwrap_or_default()
    }
}

/// A queue of keys that are due at some time.
#[derive(Debug)]
pub(crate) struct Queue<K> {
    state: Mutex<State<K>>,
    changed: Notify,
    /// Keys of one tenant that may run at once.
    share: usize,
}

#[derive(Debug)]
struct State<K> {
    /// Keys that were not due yet when it was last looked.
    later: BTreeSet<(Instant, K)>,
    /// Keys that are due, by tenant, and the tenants that have some, in the order of their turns.
    due: HashMap<String, BTreeSet<(Instant, K)>>,
    turns: VecDeque<String>,
    at: HashMap<K, Instant>,
    running: HashSet<K>,
    /// How many run of each tenant.
    busy: HashMap<String, usize>,
    /// Keys that were asked for while they ran.
    again: HashMap<K, Instant>,
}

impl<K: Keyed> Queue<K> {
    /// A queue that gives so many keys of one tenant at once.
    pub(crate) fn new(share: usize) -> Self {
        let state = State {
            later: BTreeSet::new(),
            due: HashMap::new(),
            turns: VecDeque::new(),
            at: HashMap::new(),
            running: HashSet::new(),
            busy: HashMap::new(),
            again: HashMap::new(),
        };
        Self { state: Mutex::new(state), changed: Notify::new(), share }
    }

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
            let earliest = match self.lock().take(Instant::now(), self.share) {
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
        state.release(key);
        if let Some(at) = state.again.remove(key) {
            state.schedule(key.clone(), at);
        }
        drop(state);
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State<K>> {
        // Nothing that holds the lock can panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Keyed> State<K> {
    fn schedule(&mut self, key: K, at: Instant) {
        match self.at.get(&key) {
            Some(earlier) if *earlier <= at => return,
            // What is due is due, however much earlier it is asked for now.
            Some(later) if !self.later.remove(&(*later, key.clone())) => return,
            Some(_) | None => {}
        }
        self.at.insert(key.clone(), at);
        self.later.insert((at, key));
    }

    fn release(&mut self, key: &K) {
        if !self.running.remove(key) {
            return;
        }
        if let Some(busy) = self.busy.get_mut(key.tenant()) {
            *busy -= 1;
            if *busy == 0 {
                self.busy.remove(key.tenant());
            }
        }
    }

    /// A key that is due, or when the next one is. Where a tenant has its share, its others wait for [`Queue::done`].
    fn take(&mut self, now: Instant, share: usize) -> Result<K, Option<Instant>> {
        while let Some((at, key)) = self.later.pop_first() {
            if at > now {
                self.later.insert((at, key));
                break;
            }
            let tenant = key.tenant().to_owned();
            let keys = self.due.entry(tenant.clone()).or_default();
            if keys.is_empty() {
                self.turns.push_back(tenant);
            }
            keys.insert((at, key));
        }
        let has_room = |tenant: &String| self.busy.get(tenant).is_none_or(|busy| *busy < share);
        if let Some(turn) = self.turns.iter().position(has_room)
            && let Some(tenant) = self.turns.remove(turn)
            && let Some(keys) = self.due.get_mut(&tenant)
            && let Some((_, key)) = keys.pop_first()
        {
            if keys.is_empty() {
                self.due.remove(&tenant);
            } else {
                self.turns.push_back(tenant.clone());
            }
            *self.busy.entry(tenant).or_default() += 1;
            self.at.remove(&key);
            self.running.insert(key.clone());
            return Ok(key);
        }
        Err(self.later.first().map(|(at, _)| *at))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A tenant's number and the key's own.
    type Pair = (&'static str, u32);

    impl Keyed for Pair {
        fn tenant(&self) -> &str {
            self.0
        }
    }

    impl Keyed for &'static str {
        fn tenant(&self) -> &str {
            ""
        }
    }

    fn queue<K: Keyed>() -> Queue<K> {
        Queue::new(8)
    }

    #[tokio::test(start_paused = true)]
    async fn gives_keys_in_the_order_of_their_times() {
        let (queue, now) = (queue(), Instant::now());
        queue.wake("late", now + 2 * SECOND);
        queue.wake("early", now + SECOND);
        assert_eq!(queue.next().await, "early");
        assert_eq!(now.elapsed(), SECOND);
        assert_eq!(queue.next().await, "late");
        assert_eq!(now.elapsed(), 2 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn the_earliest_wish_counts_whatever_follows() {
        let (queue, now) = (queue(), Instant::now());
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
        let (queue, now) = (queue(), Instant::now());
        queue.wake("a", now);
        assert_eq!(queue.next().await, "a");
        queue.wake("a", now + SECOND);
        queue.wake("a", now);
        assert_eq!(queue.next().now_or_never(), None);
        queue.done(&"a");
        assert_eq!(queue.next().now_or_never(), Some("a"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wish_reaches_who_already_waits() {
        let queue = std::sync::Arc::new(queue());
        let waiting = tokio::spawn({
            let queue = queue.clone();
            async move { queue.next().await }
        });
        tokio::task::yield_now().await;
        queue.wake("a", Instant::now());
        assert_eq!(waiting.await.unwrap(), "a");
    }

    #[tokio::test(start_paused = true)]
    async fn a_thousand_keys_of_one_tenant_stand_before_anothers_no_longer_than_for_one() {
        let (queue, now) = (queue(), Instant::now());
        for key in 0..1_000 {
            queue.wake(("flood", key), now);
        }
        assert_eq!(queue.next().await, ("flood", 0));
        queue.wake(("quiet", 0), now + SECOND);
        tokio::time::advance(SECOND).await;
        let given = [queue.next().await, queue.next().await];
        assert!(given.contains(&("quiet", 0)), "{given:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_tenant_that_has_its_share_leaves_the_rest_to_others() {
        let (queue, now) = (Queue::new(2), Instant::now());
        for key in 0..10 {
            queue.wake(("flood", key), now);
        }
        assert_eq!([queue.next().await, queue.next().await], [("flood", 0), ("flood", 1)]);
        assert_eq!(queue.next().now_or_never(), None);
        queue.wake(("quiet", 0), now);
        assert_eq!(queue.next().now_or_never(), Some(("quiet", 0)));
        queue.done(&("flood", 0));
        assert_eq!(queue.next().now_or_never(), Some(("flood", 2)));
        queue.done(&("flood", 0));
        assert_eq!(queue.next().now_or_never(), None, "an end that was told already is none");
    }

    /// Every order of waking, taking and ending that a random walk comes by, beside what must hold of it.
    #[tokio::test(start_paused = true)]
    async fn whatever_happens_no_key_is_lost_doubled_or_passed_over() {
        const TENANTS: [&str; 4] = ["a", "b", "c", "d"];
        for seed in 0..200_u64 {
            let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            let mut roll = |below: u64| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                random % below
            };
            let queue: Queue<Pair> = Queue::new(2);
            let (mut owed, mut running) = (HashSet::new(), Vec::<Pair>::new());
            // How often others were given since a tenant with room was first owed one.
            let mut passed: HashMap<&str, usize> = HashMap::new();
            for _ in 0..300 {
                let key = (TENANTS[usize::try_from(roll(4)).unwrap()], u32::try_from(roll(6)).unwrap());
                match roll(3) {
                    0 => {
                        queue.wake(key, Instant::now());
                        owed.insert(key);
                    }
                    1 => {
                        let busy = |tenant: &str| running.iter().filter(|(of, _)| *of == tenant).count();
                        let may = |(tenant, number): &&Pair| {
                            busy(tenant) < 2 && !running.contains(&(tenant, *number))
                        };
                        let entitled: HashSet<&str> = owed.iter().filter(may).map(|key| key.0).collect();
                        let Some(given) = queue.next().now_or_never() else {
                            assert!(entitled.is_empty(), "seed {seed}: nothing for {entitled:?}");
                            continue;
                        };
                        assert!(entitled.contains(given.0), "seed {seed}: {given:?} beyond its share");
                        assert!(owed.remove(&given) && !running.contains(&given), "seed {seed}: {given:?}");
                        passed.retain(|tenant, _| entitled.contains(tenant) && *tenant != given.0);
                        for tenant in entitled.into_iter().filter(|tenant| *tenant != given.0) {
                            let passed = passed.entry(tenant).or_default();
                            *passed += 1;
                            assert!(*passed < TENANTS.len(), "seed {seed}: {tenant} waits for ever");
                        }
                        running.push(given);
                    }
                    _ if running.is_empty() => {}
                    _ => {
                        let ended = usize::try_from(roll(u64::try_from(running.len()).unwrap())).unwrap();
                        queue.done(&running.swap_remove(ended));
                    }
                }
            }
        }
    }
}
