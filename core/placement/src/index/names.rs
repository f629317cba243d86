//! Names as numbers, and which lanes of a block have which.

use std::collections::HashMap;

/// Names that some node has. A number is reused once nobody has its name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    ids: HashMap<String, u32>,
    /// Each name, and how many have it.
    entries: Vec<(String, u32)>,
    free: Vec<u32>,
}

impl Names {
    /// The number of a name, if anybody has it.
    pub(crate) fn id(&self, name: &str) -> Option<u32> {
        self.ids.get(name).copied()
    }

    /// One more has this name.
    pub(crate) fn take(&mut self, name: &str) -> u32 {
        if let Some(id) = self.id(name) {
            self.entries[id as usize].1 += 1;
            return id;
        }
        let id = match self.free.pop() {
            Some(id) => {
                self.entries[id as usize] = (name.to_owned(), 1);
                id
            }
            None => {
                self.entries.push((name.to_owned(), 1));
                u32::try_from(self.entries.len() - 1).expect("fewer names than memory holds")
            }
        };
        self.ids.insert(name.to_owned(), id);
        id
    }

    /// One fewer has it.
    pub(crate) fn release(&mut self, id: u32) {
        let (name, uses) = &mut self.entries[id as usize];
        *uses -= 1;
        if *uses == 0 {
            self.ids.remove(&std::mem::take(name));
            self.free.push(id);
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }
}

/// Which lanes have which of some names, sorted by number. Only what a lane has takes memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tags(Vec<(u32, u64)>);

impl Tags {
    /// The lanes that have it.
    pub(crate) fn lanes(&self, id: u32) -> u64 {
        match self.0.binary_search_by_key(&id, |(id, _)| *id) {
            Ok(at) => self.0[at].1,
            Err(_) => 0,
        }
    }

    pub(crate) fn set(&mut self, id: u32, lane: usize) {
        match self.0.binary_search_by_key(&id, |(id, _)| *id) {
            Ok(at) => self.0[at].1 |= 1 << lane,
            Err(at) => self.0.insert(at, (id, 1 << lane)),
        }
    }

    pub(crate) fn clear(&mut self, id: u32, lane: usize) {
        if let Ok(at) = self.0.binary_search_by_key(&id, |(id, _)| *id) {
            self.0[at].1 &= !(1 << lane);
            if self.0[at].1 == 0 {
                self.0.remove(at);
            }
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_number_is_a_names_as_long_as_anybody_has_it() {
        let mut names = Names::default();
        let (a, b) = (names.take("a"), names.take("b"));
        assert_eq!((names.take("a"), names.id("b")), (a, Some(b)));
        names.release(a);
        assert_eq!(names.id("a"), Some(a));
        names.release(a);
        assert_eq!(names.id("a"), None);
        assert_eq!(names.take("c"), a, "the number is used again");
        assert_eq!((names.id("c"), names.len()), (Some(a), 2));
    }

    #[test]
    fn lanes_come_and_go() {
        let mut tags = Tags::default();
        for (id, lane) in [(7, 0), (3, 63), (7, 5)] {
            tags.set(id, lane);
        }
        assert_eq!(
            (tags.lanes(7), tags.lanes(3), tags.lanes(4)),
            (0b10_0001, 1 << 63, 0)
        );
        for (id, lane) in [(7, 0), (3, 63), (7, 5), (9, 1)] {
            tags.clear(id, lane);
        }
        assert_eq!(tags, Tags::default());
    }
}
