//! Memory for files that are on their way.
//!
//! Each account has a share, and all of them together have a bound. Where that is not enough for
//! everybody, whoever holds most gives way to those that hold less: among N accounts that send, each
//! can have an N-th of the memory, whatever the others do.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use xiezhi_inventory::register::MAX_FILE_BYTES;

/// For the files of everybody, bytes.
pub(super) const ROOM_BYTES: usize = 8 * MAX_FILE_BYTES;

/// For those of one account, bytes: the largest file.
pub(super) const SHARE_BYTES: usize = MAX_FILE_BYTES;

/// Files that one account sends at one time: the second is for whoever chose the wrong one first.
pub(super) const MOST_OF_ACCOUNT: usize = 2;

/// What all places share.
#[derive(Debug, Default)]
pub(super) struct Room {
    held: Mutex<Held>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Held {
    bytes: usize,
    last: u64,
    /// By number, so that the older comes first.
    files: BTreeMap<u64, Holding>,
}

/// One file.
#[derive(Debug)]
struct Holding {
    user: i64,
    bytes: usize,
    /// Whether more of it may come. What has arrived is read within a request's time.
    arriving: bool,
    /// Told to give way.
    leaves: bool,
    told: Arc<Notify>,
}

/// Why there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// The account holds its share.
    Share,
    /// All of it is held.
    Room,
}

/// One file's place; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    room: Arc<Room>,
    number: u64,
    told: Arc<Notify>,
}

impl Held {
    /// Bytes of an account's files that stay.
    fn of(&self, user: i64) -> usize {
        let stay = self.files.values().filter(|one| !one.leaves);
        stay.filter(|one| one.user == user)
            .map(|one| one.bytes)
            .sum()
    }

    /// The oldest file on its way of the account that holds most, if that is more than `least`.
    fn largest(&self, least: usize) -> Option<u64> {
        let stay = self.files.iter();
        let stay = stay.filter(|(_, one)| one.arriving && !one.leaves && one.bytes > 0);
        let weighed = stay.map(|(number, one)| (self.of(one.user), *number));
        let above = weighed.filter(|(bytes, _)| *bytes > least);
        let most = above.max_by_key(|(bytes, number)| (*bytes, std::cmp::Reverse(*number)));
        most.map(|(_, number)| number)
    }
}

impl Room {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place without a byte; `None` if the account sends as many files as it may.
    pub(super) fn enter(self: &Arc<Self>, user: i64) -> Option<Place> {
        let mut held = self.held();
        let of_account = held.files.values().filter(|one| one.user == user);
        if of_account.count() >= MOST_OF_ACCOUNT {
            return None;
        }
        held.last += 1;
        let (number, told) = (held.last, Arc::new(Notify::new()));
        let holding = Holding {
            user,
            bytes: 0,
            arriving: true,
            leaves: false,
            told: Arc::clone(&told),
        };
        held.files.insert(number, holding);
        drop(held);
        let room = Arc::clone(self);
        Some(Place { room, number, told })
    }

    /// When something is given back after this call.
    pub(super) fn freed(&self) -> Notified<'_> {
        self.freed.notified()
    }

    /// Files that have a place, and the bytes that they hold.
    #[cfg(test)]
    pub(super) fn load(&self) -> (usize, usize) {
        let held = self.held();
        (held.files.len(), held.bytes)
    }
}

impl Place {
    /// Room for so many bytes more.
    pub(super) fn grow(&self, more: usize) -> Result<(), Full> {
        let mut held = self.room.held();
        let Some(user) = held.files.get(&self.number).map(|one| one.user) else {
            return Err(Full::Room);
        };
        if held.of(user).saturating_add(more) > SHARE_BYTES {
            return Err(Full::Share);
        }
        if held.bytes.saturating_add(more) > ROOM_BYTES {
            return Err(Full::Room);
        }
        held.bytes += more;
        if let Some(one) = held.files.get_mut(&self.number) {
            one.bytes += more;
        }
        Ok(())
    }

    /// Tells others to give way, until so many bytes more fit once they did: of its own account the other
    /// file, of all those whose accounts hold most.
    pub(super) fn make_way(&self, full: Full, more: usize) {
        let mut held = self.room.held();
        let Some(user) = held.files.get(&self.number).map(|one| one.user) else {
            return;
        };
        if full == Full::Share {
            let others = held.files.iter_mut();
            let mut others = others.filter(|(number, one)| {
                **number != self.number && one.user == user && one.arriving && !one.leaves
            });
            // Two that wait for one another would both wait in vain.
            if let Some((_, one)) = others.next() {
                one.leaves = true;
                one.told.notify_one();
            }
            return;
        }
        let mine = held.of(user).saturating_add(more);
        let leaving = held.files.values().filter(|one| one.leaves);
        let leaving: usize = leaving.map(|one| one.bytes).sum();
        let mut after = held.bytes.saturating_add(more).saturating_sub(leaving);
        while after > ROOM_BYTES {
            let number = held.largest(mine);
            let Some(one) = number.and_then(|number| held.files.get_mut(&number)) else {
                return;
            };
            one.leaves = true;
            one.told.notify_one();
            after = after.saturating_sub(one.bytes);
        }
    }

    /// When this file has to give way.
    pub(super) fn told(&self) -> Notified<'_> {
        self.told.notified()
    }

    /// The file is whole: it does not give way any more. `false`: it has to already.
    pub(super) fn arrived(&self) -> bool {
        let mut held = self.room.held();
        let one = held.files.get_mut(&self.number);
        one.is_some_and(|one| {
            one.arriving = false;
            !one.leaves
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.room.held();
        if let Some(one) = held.files.remove(&self.number) {
            held.bytes = held.bytes.saturating_sub(one.bytes);
        }
        drop(held);
        self.room.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(place: &Place) -> bool {
        place.room.held().files[&place.number].leaves
    }

    #[test]
    fn an_account_has_two_files_and_a_share() {
        let room = Arc::new(Room::default());
        let (one, two) = (room.enter(1).unwrap(), room.enter(1).unwrap());
        assert!(room.enter(1).is_none());
        one.grow(SHARE_BYTES - 1).unwrap();
        two.grow(1).unwrap();
        assert_eq!(two.grow(1), Err(Full::Share));
        room.enter(2).unwrap().grow(SHARE_BYTES).unwrap();
        two.make_way(Full::Share, 1);
        assert!(told(&one) && !told(&two));
        drop(one);
        two.grow(1).unwrap();
        assert_eq!(room.load(), (1, 2));
    }

    #[test]
    fn who_holds_most_gives_way_to_who_holds_less() {
        let room = Arc::new(Room::default());
        let large: Vec<Place> = (0..8).map(|user| room.enter(user).unwrap()).collect();
        for one in &large {
            one.grow(SHARE_BYTES).unwrap();
        }
        assert!(large[0].arrived());
        let small = room.enter(99).unwrap();
        assert_eq!(small.grow(10), Err(Full::Room));
        small.make_way(Full::Room, 10);
        small.make_way(Full::Room, 10);
        // The first is whole, the second the oldest of the others, and one is enough.
        let leaving: Vec<bool> = large.iter().map(told).collect();
        assert_eq!(leaving.iter().filter(|leaves| **leaves).count(), 1);
        assert!(leaving[1] && !large[1].arrived());
        drop(large);
        // Those that hold as much as others stand in nobody's way.
        let equal: Vec<Place> = (0..16).map(|user| room.enter(user).unwrap()).collect();
        for one in &equal {
            one.grow(ROOM_BYTES / 16).unwrap();
        }
        small.make_way(Full::Room, ROOM_BYTES / 16);
        assert!(!equal.iter().any(told));
        small.make_way(Full::Room, ROOM_BYTES / 16 - 1);
        assert!(told(&equal[0]));
    }
}
