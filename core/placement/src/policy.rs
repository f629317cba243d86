//! How to choose, and how far away as time goes by.

/// How to choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Among how many of the best to pick at random: more spreads better when many brokers decide
    /// at once on the same state, fewer sticks closer to the ranking.
    pub best_few: usize,
    /// How far away a node may be, widening as a session waits. The last step stays in force. Empty
    /// for no limit.
    pub steps: Vec<LatencyStep>,
    /// What the round trip to a region counts as while nobody knows it, milliseconds. Within the first
    /// step's limit, such regions are taken at once, behind those that are known to be nearer.
    pub rtt_ms_unknown: u32,
    /// Whether a node must have the image already. Otherwise one that has it is only preferred.
    pub image_required: bool,
    /// Sessions that a node may hold at a time as long as it has no receipt.
    pub unproven_sessions_max: u32,
}

/// One step of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LatencyStep {
    /// Nodes up to this round trip are taken, milliseconds.
    pub rtt_ms_max: u32,
    /// For so long, seconds, before the next step; `None` for ever.
    pub for_s: Option<u32>,
}

/// The step in force when a session was placed, or was not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Which one, from 1.
    pub number: u32,
    /// Of how many.
    pub of: u32,
    /// Nodes up to this round trip are taken, milliseconds.
    pub rtt_ms_max: u32,
    /// It comes into force after so much waiting, milliseconds, or sooner where no node that is nearer
    /// could run the session at any time.
    pub from_ms: u64,
    /// It ends after so much waiting; `None` for the last one.
    pub until_ms: Option<u64>,
}

impl Default for Policy {
    fn default() -> Self {
        let step = |rtt_ms_max, for_s| LatencyStep { rtt_ms_max, for_s };
        Self {
            best_few: 3,
            steps: vec![step(20, Some(3)), step(40, Some(10)), step(80, None)],
            rtt_ms_unknown: 20,
            image_required: false,
            unproven_sessions_max: 2,
        }
    }
}

impl Policy {
    /// The step in force after so much waiting; `None` without any steps.
    pub fn step(&self, waited_ms: u64) -> Option<Step> {
        let in_force = |step: &Step| step.until_ms.is_none_or(|until| until > waited_ms);
        self.steps().find(in_force)
    }

    /// The step after this one, which has waited for somebody nearer in vain.
    pub(crate) fn step_after(&self, step: &Step) -> Option<Step> {
        self.steps().find(|next| next.number > step.number)
    }

    fn steps(&self) -> impl Iterator<Item = Step> {
        let of = u32::try_from(self.steps.len()).unwrap_or(u32::MAX);
        (1..)
            .zip(&self.steps)
            .scan(0_u64, move |begins, (number, step)| {
                let from_ms = *begins;
                let for_ms = step.for_s.filter(|_| number < of);
                let until_ms = for_ms.map(|s| from_ms.saturating_add(u64::from(s) * 1000));
                *begins = until_ms.unwrap_or(u64::MAX);
                Some(Step {
                    number,
                    of,
                    rtt_ms_max: step.rtt_ms_max,
                    from_ms,
                    until_ms,
                })
            })
    }

    /// The widest circle of any step, milliseconds.
    pub(crate) fn rtt_ms_max(&self) -> u32 {
        let widest = self.steps.iter().map(|step| step.rtt_ms_max).max();
        widest.unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn the_circle_widens_with_the_waiting() {
        let policy = Policy::default();
        let at = |ms| {
            let step = policy.step(ms).unwrap();
            (step.number, step.rtt_ms_max, step.from_ms, step.until_ms)
        };
        assert_eq!(at(0), (1, 20, 0, Some(3_000)));
        assert_eq!(at(2_999), (1, 20, 0, Some(3_000)));
        assert_eq!(at(3_000), (2, 40, 3_000, Some(13_000)));
        assert_eq!(at(13_000), (3, 80, 13_000, None));
        assert_eq!(at(u64::MAX), (3, 80, 13_000, None));
        assert_eq!(policy.step(0).unwrap().of, 3);
    }

    #[test]
    fn the_last_step_stays_whatever_it_says_and_no_step_is_no_limit() {
        let mut policy = Policy::default();
        policy.steps[2].for_s = Some(1);
        assert_eq!(policy.step(u64::MAX).unwrap().until_ms, None);
        policy.steps.clear();
        assert_eq!((policy.step(0), policy.rtt_ms_max()), (None, u32::MAX));
    }
}
