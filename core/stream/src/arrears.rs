//! Whether what was lost can still be made good by sending it again.
//!
//! Asking again repairs single losses. When a path narrows at once its queue overflows, and so much is
//! lost that sending it again takes longer than a key frame does, while none of the pictures behind it
//! can be shown. So: what is asked for is a debt, which half of the path pays off; a debt that would take
//! too long is written off, and a key frame takes its place.
//!
//! Does not know packets: it is told bytes.

/// A debt that takes the whole path so long is written off. A key frame at the rate's own size is four
/// frames or so, and its round trip is shorter than that of a second loss.
const HOPELESS_US: u64 = 150_000;
/// The share of the path that pays: losses of up to 50 % that stay are no debt.
const PAYS_PERCENT: u64 = 50;

/// What is owed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Arrears {
    bytes: u64,
    at_us: u64,
}

impl Arrears {
    /// Notes `bytes` that were asked for, on a path of `kbps`.
    pub fn owe(&mut self, bytes: u64, kbps: u32, now_us: u64) {
        let elapsed_us = now_us.saturating_sub(self.at_us);
        let paid = u64::from(kbps).saturating_mul(elapsed_us) * PAYS_PERCENT / 100 / 8_000;
        if paid == 0 && bytes == 0 {
            // Too soon to tell: looked at often, a slow path would else never pay.
            return;
        }
        self.bytes = self.bytes.saturating_sub(paid).saturating_add(bytes);
        self.at_us = now_us;
    }

    /// Whether it is too much for the path, as far as it is known now. If so, it is written off.
    pub fn write_off(&mut self, kbps: u32, now_us: u64) -> bool {
        self.owe(0, kbps, now_us);
        let hopeless = self.bytes.saturating_mul(8_000) > u64::from(kbps.max(1)) * HOPELESS_US;
        if hopeless {
            self.bytes = 0;
        }
        hopeless
    }
}

#[cfg(test)]
mod test {
    use super::*;

    const PACKET: u64 = 1_200;

    /// Loses `percent` of 8 Mbit/s for `ms` on a path that then is one of `kbps`.
    fn lose(percent: u64, ms: u64, kbps: u32) -> bool {
        let mut arrears = Arrears::default();
        let mut lost = 0;
        (0..ms).any(|at| {
            lost += 10 * percent;
            while lost >= PACKET {
                lost -= PACKET;
                arrears.owe(PACKET, 8_000, at * 1_000);
            }
            arrears.write_off(8_000, at * 1_000)
        }) || arrears.write_off(kbps, ms * 1_000)
    }

    #[test]
    fn losses_that_stay_and_bursts_are_made_good() {
        for percent in [2, 5, 20, 40] {
            assert!(!lose(percent, 5_000, 8_000), "{percent}");
        }
        // Ten packets in a row, and everything for a tenth of a second.
        assert!(!lose(100, 12, 8_000));
        assert!(!lose(100, 100, 8_000));
    }

    #[test]
    fn a_path_that_narrows_or_breaks_is_not_waited_for() {
        assert!(lose(80, 200, 2_000));
        assert!(lose(80, 1_000, 8_000));
    }

    #[test]
    fn a_slow_path_pays_however_often_it_is_looked_at() {
        let mut arrears = Arrears::default();
        for at in 0..40_000 {
            // Five packets a second on 100 kbit/s, looked at every 20 microseconds.
            if at % 10_000 == 0 {
                arrears.owe(PACKET, 100, at * 20);
            }
            assert!(!arrears.write_off(100, at * 20), "{at}");
        }
    }

    #[test]
    fn what_is_written_off_is_owed_no_more() {
        let mut arrears = Arrears::default();
        arrears.owe(1_000_000, 8_000, 0);
        assert!(arrears.write_off(8_000, 1_000));
        assert!(!arrears.write_off(8_000, 2_000));
        arrears.owe(PACKET, 0, 3_000);
        assert!(arrears.write_off(0, 3_000), "nothing passes at all");
    }
}
