//! A map that forgets what was not used lately, so that it stays within its bound.

use std::collections::HashMap;
use std::hash::Hash;

/// Two generations: what is used moves to the young one; once that is full it is the old one, and what
/// was old is forgotten. So at least the last `max / 2` keys are here, and never more than `max`.
#[derive(Debug)]
pub(super) struct Lately<K, V> {
    generation_max: usize,
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K: Eq + Hash + Clone, V> Lately<K, V> {
    pub(super) fn new(max: usize) -> Self {
        Self {
            generation_max: (max / 2).max(1),
            young: HashMap::new(),
            old: HashMap::new(),
        }
    }

    pub(super) fn put(&mut self, key: K, value: V) {
        self.old.remove(&key);
        if self.young.len() >= self.generation_max && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }

    pub(super) fn get(&mut self, key: &K) -> Option<&mut V> {
        if let Some(value) = self.old.remove(key) {
            self.put(key.clone(), value);
        }
        self.young.get_mut(key)
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn what_is_used_stays_and_the_rest_goes() {
        let mut lately = Lately::new(8);
        lately.put(0, "zero");
        for n in 1..1000 {
            lately.put(n, "other");
            assert_eq!(lately.get(&0).copied(), Some("zero"));
            assert!(lately.young.len() + lately.old.len() <= 8);
        }
        assert_eq!(lately.get(&1), None);
        assert!(lately.get(&999).is_some());
        lately.put(0, "again");
        assert_eq!(lately.get(&0).copied(), Some("again"));
    }
}
