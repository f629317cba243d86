//! Key frames cost many times another frame, and a viewer can ask for as many as it likes: they are
//! spaced, and further apart on a path that loses so much that each is in vain.

/// The least time between two while losses are heavy: a key frame of many packets rarely arrives whole then.
const INTERVAL_LOSSY_US: u64 = 700_000;
/// Losses, per mille, from which they count as heavy.
const LOSSY_PERMILLE: u32 = 150;

/// The limit on key frames.
#[derive(Clone, Debug, Default)]
pub struct KeyFrames {
    asked_us: Option<u64>,
    /// A wish that came too soon, and when its time is.
    due_us: Option<u64>,
}

impl KeyFrames {
    /// Notes that somebody who may have a key frame each `interval_us` wants one; says whether to
    /// ask for it now. A wish that has to wait is not forgotten.
    pub fn want(&mut self, interval_us: u64, loss_permille: u32, now_us: u64) -> bool {
        let interval = if loss_permille >= LOSSY_PERMILLE {
            interval_us.max(INTERVAL_LOSSY_US)
        } else {
            interval_us
        };
        match self.asked_us {
            Some(asked) if now_us < asked.saturating_add(interval) => {
                let due = asked.saturating_add(interval);
                self.due_us = Some(self.due_us.map_or(due, |earlier| earlier.min(due)));
                false
            }
            Some(_) | None => {
                self.expect(now_us);
                true
            }
        }
    }

    /// Notes that a key frame comes without being asked for.
    pub fn expect(&mut self, now_us: u64) {
        self.asked_us = Some(now_us);
        self.due_us = None;
    }

    /// Notes a key frame that came: nobody waits for an earlier wish.
    pub fn came(&mut self) {
        self.due_us = None;
    }

    /// When a wish that had to wait is due.
    pub fn due_us(&self) -> Option<u64> {
        self.due_us
    }

    /// Whether a wish that had to wait is to be asked for now.
    pub fn take_due(&mut self, now_us: u64) -> bool {
        let due = self.due_us.is_some_and(|due| due <= now_us);
        if due {
            self.expect(now_us);
        }
        due
    }
}

#[cfg(test)]
mod test {
    use super::*;

    const PLAYER_US: u64 = 300_000;
    const WATCHER_US: u64 = 2_000_000;

    #[test]
    fn key_frames_are_spaced_and_no_wish_is_lost() {
        let mut keys = KeyFrames::default();
        assert!(keys.want(PLAYER_US, 0, 0));
        assert!(!keys.want(PLAYER_US, 0, 100_000));
        assert!(!keys.take_due(299_999));
        assert!(keys.take_due(300_000));
        assert!(!keys.take_due(900_000));
    }

    #[test]
    fn a_watcher_waits_longer_and_does_not_hold_the_player_up() {
        let mut keys = KeyFrames::default();
        assert!(keys.want(WATCHER_US, 0, 0));
        assert!(!keys.want(WATCHER_US, 0, 150_000));
        assert_eq!(keys.due_us(), Some(WATCHER_US));
        // The player's wish, which would wait too, comes first and serves both.
        assert!(!keys.want(PLAYER_US, 0, 150_000));
        assert!(!keys.want(WATCHER_US, 0, 150_000));
        assert!(keys.take_due(PLAYER_US));
        assert!(!keys.take_due(WATCHER_US));
    }

    #[test]
    fn heavy_loss_spaces_them_further_and_one_that_came_is_enough() {
        let mut keys = KeyFrames::default();
        assert!(keys.want(PLAYER_US, 200, 0));
        assert!(!keys.want(PLAYER_US, 200, 400_000));
        assert_eq!(keys.due_us(), Some(700_000));
        keys.came();
        assert_eq!(keys.due_us(), None);
        assert!(keys.want(PLAYER_US, 0, 400_000));
    }
}
