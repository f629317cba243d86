//! The one fate of a cluster's replicas, as a pure table: how each stands in, what to do out.
//!
//! Each replica is a session with a [`crate::lifecycle`] of its own. The first one, the *head*, is what its
//! tenant sees: it waits for all of them, is ready when all are, and outlives their runs. The others are
//! made with their claims and end for good.
//!
//! | head | a replica | |
//! |---|---|---|
//! | waits, is ending or over | lives | the replica ends |
//! | lives | its start was refused | all run again, elsewhere if need be |
//! | lives | failed | all run again if the cluster says so and has not too often; else the head ends, too |
//! | lives | ended well | nothing: it has done its part |
//! | said that it is ready | all ready, or ended well | the head is ready |
//!
//! **Invariants.** What is decided follows from how the replicas stand alone: asked again after a crash it
//! is decided alike, and where nothing is to do nothing is said.
//!
//! **What it does not know:** claims, nodes, time, which session a replica is.

use crate::lifecycle::{Lifecycle, Phase};
use nearlight_protocol::api::EndReason;
use nearlight_protocol::job::{JobSpec, OnFailure};

/// How a replica stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has no claim.
    Waits,
    /// It has one, and is not ready.
    Starting,
    /// It is ready.
    Ready,
    /// It is being stopped for this reason, or is over. Of a head that will run again: the former alone.
    Over(EndReason),
}

impl Standing {
    /// How a replica's session stands.
    pub const fn of(life: &Lifecycle) -> Self {
        match life.phase() {
            Phase::Queued => Self::Waits,
            Phase::Placing { .. } | Phase::Starting { .. } => Self::Starting,
            Phase::Ready { .. } | Phase::Playing { .. } | Phase::Detached { .. } => Self::Ready,
            Phase::Ending { reason, .. } | Phase::Ended { reason, .. } => Self::Over(*reason),
        }
    }

    /// Whether it has a claim, and is not being stopped.
    pub const fn lives(self) -> bool {
        matches!(self, Self::Starting | Self::Ready)
    }
}

/// What a cluster has said, and what is left of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Whether all start again when one fails, now.
    pub restarts: bool,
    /// Whether refused starts were few enough to try once more.
    pub tries: bool,
}

impl Rules {
    /// Of a spec, when it has run so often before and so many starts were refused.
    pub fn of(spec: &JobSpec, runs_before: u32, starts_denied: u8) -> Self {
        let restarts = spec.cluster.as_ref().is_some_and(|cluster| {
            let most = spec.restart.max.saturating_add(starts_denied.into());
            cluster.on_failure == OnFailure::Restart && runs_before < most
        });
        Self {
            restarts,
            tries: starts_denied < crate::lifecycle::STARTS_DENIED_MAX,
        }
    }
}

/// Something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The head is ready, and all with it.
    HeadReady,
    /// The head ends for this reason, which is that of the replica with this number.
    EndHead {
        /// Why.
        reason: EndReason,
        /// Whose end it is.
        rank: u32,
    },
    /// The head ends this run and waits for the next.
    RunAgain {
        /// Whether a start was refused; otherwise one has failed.
        denied: bool,
    },
    /// This replica ends.
    EndReplica(u32),
}

/// Whether an end is a failure, which another run may not meet.
pub const fn is_failure(reason: EndReason) -> bool {
    matches!(
        reason,
        EndReason::JobFailed
            | EndReason::JobOutOfMemory
            | EndReason::JobUnhealthy
            | EndReason::JobStartTimeout
            | EndReason::RuntimeFailed
            | EndReason::NodeLost
            | EndReason::NodeDrained
            | EndReason::Preempted
            | EndReason::Internal
    )
}

/// What is to be done. `said_ready` is whether the head's node has said that it is; `others` are the
/// replicas of its run but the head, each with its number.
pub fn settle(
    head: Standing,
    said_ready: bool,
    others: &[(u32, Standing)],
    rules: Rules,
) -> Vec<Step> {
    if !head.lives() {
        let living = others
            .iter()
            .filter(|(_, of)| of.lives() || *of == Standing::Waits);
        return living.map(|(rank, _)| Step::EndReplica(*rank)).collect();
    }
    let bad = others.iter().find_map(|(rank, of)| match of {
        Standing::Over(EndReason::JobDone) => None,
        Standing::Over(reason) => Some((*rank, *reason)),
        Standing::Waits => Some((*rank, EndReason::ClusterEnded)),
        Standing::Starting | Standing::Ready => None,
    });
    if let Some((rank, reason)) = bad {
        return vec![match reason {
            EndReason::ClusterEnded if rules.tries => Step::RunAgain { denied: true },
            EndReason::ClusterEnded => Step::EndHead {
                reason: EndReason::RuntimeFailed,
                rank,
            },
            _ if is_failure(reason) && rules.restarts => Step::RunAgain { denied: false },
            _ => Step::EndHead { reason, rank },
        }];
    }
    let all_ready = others.iter().all(|(_, of)| *of != Standing::Starting);
    match said_ready && all_ready && head == Standing::Starting {
        true => vec![Step::HeadReady],
        false => Vec::new(),
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use Standing::{Over, Ready, Starting, Waits};

    const ONCE: Rules = Rules {
        restarts: false,
        tries: true,
    };
    const AGAIN: Rules = Rules {
        restarts: true,
        tries: true,
    };

    fn of(head: Standing, said: bool, others: [Standing; 2], rules: Rules) -> Vec<Step> {
        let [one, two] = others;
        settle(head, said, &[(1, one), (2, two)], rules)
    }

    #[test]
    fn the_table_is_what_is_done() {
        let done = Over(EndReason::JobDone);
        let failed = Over(EndReason::JobFailed);
        let denied = Over(EndReason::ClusterEnded);
        let both = vec![Step::EndReplica(1), Step::EndReplica(2)];
        let end = |reason, rank| vec![Step::EndHead { reason, rank }];
        let again = |denied| vec![Step::RunAgain { denied }];
        for head in [Waits, Over(EndReason::PlayerEnded), denied, done] {
            for rules in [ONCE, AGAIN] {
                assert_eq!(of(head, true, [Ready, Starting], rules), both);
                assert_eq!(of(head, true, [failed, done], rules), []);
                assert_eq!(of(head, false, [done, Ready], rules), [Step::EndReplica(2)]);
            }
        }
        for head in [Starting, Ready] {
            assert_eq!(of(head, false, [Starting, Ready], AGAIN), []);
            assert_eq!(of(head, true, [Starting, Ready], AGAIN), []);
            assert_eq!(of(head, false, [done, done], AGAIN), []);
            assert_eq!(of(head, true, [Ready, failed], AGAIN), again(false));
            assert_eq!(
                of(head, true, [Ready, failed], ONCE),
                end(EndReason::JobFailed, 2)
            );
            assert_eq!(of(head, true, [denied, failed], ONCE), again(true));
            // What another run meets as well ends it in any case.
            let missing = Over(EndReason::ImageMissing);
            assert_eq!(
                of(head, true, [missing, Ready], AGAIN),
                end(EndReason::ImageMissing, 1)
            );
        }
        assert_eq!(of(Starting, true, [Ready, done], ONCE), [Step::HeadReady]);
        assert_eq!(of(Ready, true, [Ready, done], ONCE), [], "it is already");
        let tired = Rules {
            tries: false,
            ..AGAIN
        };
        assert_eq!(
            of(Starting, true, [denied, Ready], tired),
            end(EndReason::RuntimeFailed, 1)
        );
    }

    #[test]
    fn a_cluster_runs_again_as_often_as_it_says_and_refused_starts_do_not_count() {
        let mut spec = JobSpec::of_image("registry.example/x:1");
        spec.restart.max = 2;
        assert!(!Rules::of(&spec, 0, 0).restarts, "it is no cluster");
        let mut cluster: nearlight_protocol::job::Cluster =
            serde_json::from_str(r#"{"replicas":3}"#).unwrap();
        spec.cluster = Some(cluster.clone());
        assert!(!Rules::of(&spec, 0, 0).restarts, "it did not ask for it");
        cluster.on_failure = OnFailure::Restart;
        spec.cluster = Some(cluster);
        let runs = |before, denied| Rules::of(&spec, before, denied).restarts;
        assert!(runs(0, 0) && runs(1, 0) && !runs(2, 0) && runs(2, 1));
        assert!(Rules::of(&spec, 0, 2).tries && !Rules::of(&spec, 0, 3).tries);
    }
}
