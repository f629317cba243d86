//! Which packets a burst of loss takes.

use super::conditions::Burst;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

#[derive(Clone, Debug)]
pub(super) struct Bursts {
    rng: ChaCha8Rng,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// No bursts in the conditions, or no packet since they came.
    Idle,
    /// Runs: packets yet to be lost in this run, and when the next begins.
    Run { left: u32, next_us: u64 },
    /// The chain of Gilbert and Elliott.
    Chain { bad: bool },
}

impl Bursts {
    pub(super) const fn new(rng: ChaCha8Rng) -> Self {
        Self {
            rng,
            state: State::Idle,
        }
    }

    /// Whether the packet that comes now is lost to a burst.
    pub(super) fn strikes(&mut self, burst: Option<Burst>, now_us: u64) -> bool {
        match burst {
            None => {
                self.state = State::Idle;
                false
            }
            Some(Burst::Runs { packets, every_us }) => self.run(packets, every_us, now_us),
            Some(Burst::Chain { enter, leave, loss }) => self.chain(enter, leave, loss),
        }
    }

    fn run(&mut self, packets: u32, every_us: u64, now_us: u64) -> bool {
        let (left, next_us) = match self.state {
            State::Run { left, next_us } => (left, next_us),
            State::Idle | State::Chain { .. } => (0, now_us + self.around(every_us)),
        };
        let (left, next_us) = if left == 0 && now_us >= next_us {
            (packets, now_us + self.around(every_us))
        } else {
            (left, next_us)
        };
        self.state = State::Run {
            left: left.saturating_sub(1),
            next_us,
        };
        left > 0
    }

    fn chain(&mut self, enter: f64, leave: f64, loss: f64) -> bool {
        let was_bad = self.state == State::Chain { bad: true };
        let turn: f64 = self.rng.random();
        let bad = if was_bad { turn >= leave } else { turn < enter };
        self.state = State::Chain { bad };
        self.rng.random::<f64>() < loss && bad
    }

    /// A time of half to one and a half of `every_us`: its mean is `every_us`, and nothing else in
    /// a stream beats in step with it.
    fn around(&mut self, every_us: u64) -> u64 {
        every_us / 2 + self.rng.random_range(0..=every_us)
    }
}
