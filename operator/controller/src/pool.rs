//! Threads for work that takes processor time, so that no document holds up what the controller does beside it.
//!
//! A namespace has one piece of work in hand, the others of it wait before the door: of those that wait inside, one for each namespace,
//! first come is first served. So one namespace's flood stands before another's work no longer than for one piece of it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use prometheus::{IntCounter, IntGauge};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinError,
    time::timeout,
};

/// Pieces of work at the same time: what bounds the memory that they take together.
const THREADS: usize = 2;
/// How long one may take once it has begun. The model bounds its own work to far less; a machine that is busy takes its time.
const DEADLINE: Duration = Duration::from_secs(10);

/// Why a piece of work came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GivenUp {
    /// It took too long. The thread ends by itself, and nobody waits for it but the next piece of its namespace.
    #[error("it was given up after {} s", .0.as_secs())]
    Late(Duration),
    /// It ended in a panic, or the process is stopping.
    #[error("it ended in an error of Portcullis's own: {0}")]
    Ended(#[from] JoinError),
}

/// The threads.
#[derive(Debug)]
pub(crate) struct Pool {
    threads: Arc<Semaphore>,
    /// Namespaces that have work, each with its one place.
    doors: Mutex<HashMap<String, Arc<Semaphore>>>,
    deadline: Duration,
    begun: IntCounter,
    late: IntCounter,
    waiting: IntGauge,
}

impl Pool {
    /// Threads that count here what they begin, what they give up, and what waits for them.
    pub(crate) fn new(begun: IntCounter, late: IntCounter, waiting: IntGauge) -> Self {
        let (threads, doors) = (Arc::new(Semaphore::new(THREADS)), Mutex::default());
        Self { threads, doors, deadline: DEADLINE, begun, late, waiting }
    }

    /// Does a namespace's work when it is its turn.
    ///
    /// # Errors
    /// Where it takes too long, or panics.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        namespace: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, GivenUp> {
        self.waiting.inc();
        let turn = self.turn(namespace).await;
        self.waiting.dec();
        self.begun.inc();
        let working = tokio::task::spawn_blocking(move || {
            let result = work();
            // Work that is given up keeps its place until it has ended.
            drop(turn);
            result
        });
        let done = timeout(self.deadline, working).await;
        self.tidy();
        match done {
            Ok(result) => Ok(result?),
            Err(_) => {
                self.late.inc();
                Err(GivenUp::Late(self.deadline))
            }
        }
    }

    async fn turn(&self, namespace: &str) -> (Option<OwnedSemaphorePermit>, Option<OwnedSemaphorePermit>) {
        let door = {
            let mut doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner);
            doors.entry(namespace.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(1))).clone()
        };
        // Nobody closes them, so there is always a permit in the end.
        let place = door.acquire_owned().await.ok();
        (place, self.threads.clone().acquire_owned().await.ok())
    }

    /// Forgets the namespaces that have no work.
    fn tidy(&self) {
        let mut doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner);
        // Who waits, or has the place, has a handle as well.
        doors.retain(|_, door| Arc::strong_count(door) > 1);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use futures::{FutureExt as _, future::join_all};

    use super::*;

    fn pool(deadline: Duration) -> Pool {
        let counter = |name: &str| IntCounter::new(name, "Counts").unwrap();
        let waiting = IntGauge::new("waiting", "Counts").unwrap();
        Pool { deadline, ..Pool::new(counter("begun"), counter("late"), waiting) }
    }

    #[tokio::test]
    async fn a_flood_of_one_namespace_takes_one_thread_and_leaves_the_other() {
        let pool = pool(DEADLINE);
        let (open, gate) = mpsc::channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        let stuck = |_| {
            let gate = gate.clone();
            pool.run("flood", move || gate.lock().unwrap().recv().is_ok())
        };
        let mut flood = Box::pin(join_all((0..100).map(stuck)));
        assert!(flood.as_mut().now_or_never().is_none());
        let quiet = tokio::select! {
            _ = &mut flood => panic!("the flood was through first"),
            quiet = pool.run("quiet", || 7) => quiet,
        };
        assert_eq!((quiet.unwrap(), pool.begun.get()), (7, 2), "of the flood one was begun");
        drop(open);
        assert!(flood.await.iter().all(Result::is_ok));
        assert_eq!((pool.begun.get(), pool.waiting.get()), (101, 0));
        assert!(pool.doors.lock().unwrap().is_empty(), "who has no work is forgotten");
    }

    #[tokio::test]
    async fn who_comes_after_many_namespaces_waits_for_one_piece_of_each() {
        let pool = pool(DEADLINE);
        let (open, gate) = mpsc::channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        let (order, orders) = mpsc::channel();
        let note = |name: String| {
            let (order, gate, namespace) = (order.clone(), gate.clone(), name[..1].to_owned());
            let pool = &pool;
            let work = move || {
                let _open = gate.lock().unwrap().recv();
                order.send(name)
            };
            async move { pool.run(&namespace, work).await }.boxed_local()
        };
        let names = (0..20).flat_map(|round| ["a", "b", "c"].map(|name| format!("{name}{round}")));
        let mut all: Vec<_> = names.chain(["last".to_owned()]).map(note).collect();
        // Everybody has come before the first is through.
        assert!(all.iter_mut().all(|one| one.now_or_never().is_none()));
        drop((open, order));
        join_all(all).await;
        let began: Vec<String> = orders.into_iter().collect();
        let place = began.iter().position(|name| name == "last").unwrap();
        assert!(place <= 4, "{place} of {}: {began:?}", began.len());
    }

    #[tokio::test]
    async fn work_that_takes_too_long_is_given_up_and_keeps_its_place_until_it_ends() {
        let pool = pool(Duration::from_millis(1));
        let (open, gate) = mpsc::channel::<()>();
        let late = pool.run("slow", move || gate.recv().is_ok()).await;
        assert!(matches!(late, Err(GivenUp::Late(_))), "{late:?}");
        assert_eq!(pool.late.get(), 1);
        let mut next = Box::pin(pool.run("slow", || 7));
        assert!(next.as_mut().now_or_never().is_none(), "it would be a second thread of this namespace");
        drop(open);
        // Given up or done, it had its turn.
        drop(next.await);
        assert_eq!(pool.begun.get(), 2);
    }

    #[tokio::test]
    async fn a_panic_ends_the_work_and_nothing_else() {
        let pool = pool(DEADLINE);
        let ended = pool.run("broken", || panic!("a bug")).await;
        assert!(matches!(ended, Err(GivenUp::Ended(_))), "{ended:?}");
        assert_eq!(pool.run("broken", || 7).await.unwrap(), 7);
    }
}
