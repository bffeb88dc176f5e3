use slab::Slab;

/// A set with stable keys that needs no allocation for its first member.
///
/// Most nodes have one child and most tasks one waiter; more go to a slab, whose places are
/// used again, so that a million members one after the other take the room of one. The slab is
/// behind a box, because every node has room for its rosters and is moved when it is made.
pub(crate) struct Roster<T> {
    first: Option<T>,
    rest: Option<Box<Slab<T>>>,
}

impl<T> Roster<T> {
    pub(crate) const fn new() -> Self {
        Roster {
            first: None,
            rest: None,
        }
    }

    /// The key that the next member gets.
    pub(crate) fn next_key(&self) -> usize {
        match &self.rest {
            _ if self.first.is_none() => 0,
            None => 1,
            Some(rest) => rest.vacant_key() + 1,
        }
    }

    pub(crate) fn insert(&mut self, member: T) -> usize {
        if self.first.is_none() {
            self.first = Some(member);
            return 0;
        }
        self.rest.get_or_insert_default().insert(member) + 1
    }

    pub(crate) fn remove(&mut self, key: usize) -> Option<T> {
        match key.checked_sub(1) {
            None => self.first.take(),
            Some(place) => self.rest.as_mut()?.try_remove(place),
        }
    }

    pub(crate) fn get_mut(&mut self, key: usize) -> Option<&mut T> {
        match key.checked_sub(1) {
            None => self.first.as_mut(),
            Some(place) => self.rest.as_mut()?.get_mut(place),
        }
    }

    pub(crate) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.as_ref().map_or(0, |rest| rest.len())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        let rest = self.rest.iter().flat_map(|rest| rest.iter());
        self.first.iter().chain(rest.map(|(_, member)| member))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        let rest = self.rest.iter_mut().flat_map(|rest| rest.iter_mut());
        self.first.iter_mut().chain(rest.map(|(_, member)| member))
    }
}

#[cfg(test)]
mod tests {
    use super::Roster;

    #[test]
    fn keys_stay_valid_while_others_come_and_go() {
        let mut roster = Roster::new();
        let keys: Vec<usize> = (0..4).map(|n| roster.insert(n)).collect();
        assert_eq!(roster.remove(keys[0]), Some(0));
        assert_eq!(roster.remove(keys[2]), Some(2));
        assert_eq!(roster.remove(keys[2]), None);
        assert_eq!(roster.len(), 2);
        let next = roster.next_key();
        let again = roster.insert(7);
        assert_eq!(next, again);
        assert_eq!(roster.next_key(), keys[2]);
        assert_eq!(again, keys[0], "the free first place is used again");
        assert_eq!(roster.get_mut(keys[3]), Some(&mut 3));
        assert_eq!(roster.iter().copied().collect::<Vec<_>>(), [7, 1, 3]);
        for key in [keys[0], keys[1], keys[3]] {
            roster.remove(key);
        }
        assert!(roster.is_empty());
    }
}
