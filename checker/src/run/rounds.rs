//! Values of rounds, held to the chain's anchor: each is hashed back to the newest that was seen, not to the beginning.

use nearlight_proof::beacon::anchor::Anchor;
use nearlight_proof::beacon::chain;
use nearlight_proof::key::KeyId;

/// See the module.
#[derive(Debug)]
pub(super) struct Rounds {
    anchor: KeyId,
    newest: (u64, KeyId),
}

impl Rounds {
    pub(super) const fn new(anchor: &Anchor) -> Self {
        Self {
            anchor: anchor.anchor,
            newest: (0, anchor.anchor),
        }
    }

    /// Whether `value` is the chain's for that round.
    pub(super) fn holds(&mut self, round: u64, value: &[u8; 32]) -> bool {
        let (known, of) = match round > self.newest.0 {
            true => self.newest,
            false if round == self.newest.0 => return *value == self.newest.1.0,
            false => (0, self.anchor),
        };
        let holds = chain::verify((known, &of), round, value);
        if holds && round > self.newest.0 {
            self.newest = (round, KeyId(*value));
        }
        holds
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_value_is_the_chains_whether_it_is_newer_or_older_than_the_last() {
        let secret = [6; 32];
        let value = |round| chain::value(&secret, 100, round).unwrap();
        let mut rounds = Rounds::new(&Anchor {
            anchor: KeyId(value(0)),
            genesis_ms: 0,
            length: 100,
            round_ms: 1,
        });
        for round in [5, 5, 90, 7] {
            assert!(rounds.holds(round, &value(round)), "{round}");
            assert!(!rounds.holds(round, &value(round + 1)), "{round}");
        }
        assert!(!rounds.holds(101, &secret));
    }
}
