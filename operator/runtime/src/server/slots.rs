//! Places for connections, shared out by who holds them.

use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

/// A bounded number of places. A newcomer always gets one: where all are taken, the peer that holds the most (the newcomer counted)
/// loses its oldest. So whoever holds one connection keeps it, however many another peer opens.
#[derive(Debug)]
pub(crate) struct Slots {
    places: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    next: u64,
    count: usize,
    /// Of each peer its connections, the oldest first. None is empty.
    peers: BTreeMap<IpAddr, VecDeque<Holder>>,
}

#[derive(Debug)]
struct Holder {
    number: u64,
    /// Dropped when the place is lost.
    _keep: oneshot::Sender<()>,
}

/// A place that is held until it is dropped or lost.
#[derive(Debug)]
pub(crate) struct Place {
    slots: Arc<Slots>,
    peer: IpAddr,
    number: u64,
    lost: oneshot::Receiver<()>,
}

impl Slots {
    /// So many places.
    pub(crate) fn new(places: usize) -> Self {
        Self { places, held: Mutex::default() }
    }

    /// A place for a connection of a peer.
    pub(crate) fn enter(self: &Arc<Self>, peer: IpAddr) -> Place {
        let (keep, lost) = oneshot::channel();
        let mut held = self.held();
        let number = held.next;
        held.next += 1;
        held.count += 1;
        held.peers.entry(peer).or_default().push_back(Holder { number, _keep: keep });
        if held.count > self.places {
            held.evict(number);
        }
        drop(held);
        Place { slots: self.clone(), peer, number, lost }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // Its parts change together, and nothing between them panics.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// Takes the oldest place of the peer that holds the most away, but never the newcomer's. Of equals the one that has been there longest.
    fn evict(&mut self, newcomer: u64) {
        let oldest = |holders: &VecDeque<Holder>| holders.front().map(|holder| holder.number);
        let greediest = self
            .peers
            .iter()
            .filter(|(_, holders)| oldest(holders) != Some(newcomer))
            .max_by_key(|(_, holders)| (holders.len(), std::cmp::Reverse(oldest(holders))))
            .map(|(peer, holders)| (*peer, oldest(holders)));
        if let Some((peer, Some(number))) = greediest {
            self.remove(peer, number);
        }
    }

    fn remove(&mut self, peer: IpAddr, number: u64) {
        let Some(holders) = self.peers.get_mut(&peer) else { return };
        if let Ok(index) = holders.binary_search_by_key(&number, |holder| holder.number) {
            holders.remove(index);
            self.count -= 1;
        }
        if holders.is_empty() {
            self.peers.remove(&peer);
        }
    }
}

impl Place {
    /// Returns once another connection has taken the place.
    pub(crate) async fn lost(&mut self) {
        // Nothing is ever sent: the sender's end is the message.
        let _: Result<(), _> = (&mut self.lost).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.slots.held().remove(self.peer, self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn peer(number: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(10, 0, 0, number))
    }

    fn is_lost(place: &mut Place) -> bool {
        place.lost.try_recv() == Err(oneshot::error::TryRecvError::Closed)
    }

    #[test]
    fn the_oldest_of_whoever_holds_most_gives_way() {
        let slots = Arc::new(Slots::new(4));
        let mut kubelet = slots.enter(peer(1));
        let mut flood: Vec<Place> = (0..50).map(|_| slots.enter(peer(2))).collect();
        assert!(!is_lost(&mut kubelet));
        let lost = flood.iter_mut().map(is_lost).filter(|lost| *lost).count();
        assert_eq!(lost, 47);
        assert!(!is_lost(&mut flood[49]), "the newest is there");

        let mut another = slots.enter(peer(3));
        assert!(is_lost(&mut flood[47]) && !is_lost(&mut kubelet) && !is_lost(&mut another));
        drop(flood);
        drop((kubelet, another));
        let held = slots.held();
        assert_eq!((held.count, held.peers.len()), (0, 0));
    }

    #[test]
    fn of_equals_the_first_to_come_gives_way_and_never_the_newcomer() {
        let slots = Arc::new(Slots::new(3));
        let mut places: Vec<Place> = (1..=3).map(|number| slots.enter(peer(number))).collect();
        let mut newcomer = slots.enter(peer(0));
        assert!(is_lost(&mut places[0]) && !is_lost(&mut places[1]) && !is_lost(&mut newcomer));
    }

    #[test]
    fn a_place_that_is_left_is_free() {
        let slots = Arc::new(Slots::new(2));
        let mut first = slots.enter(peer(1));
        drop(slots.enter(peer(1)));
        let mut second = slots.enter(peer(1));
        assert!(!is_lost(&mut first) && !is_lost(&mut second));
    }
}
