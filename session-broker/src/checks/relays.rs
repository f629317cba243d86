//! Relays of a network of drand, which pass its rounds on. None is believed: a signature is verified before anything is made
//! of it.
//!
//! **What it does not know:** which round is wanted, what it is for.

use nearlight_proof::beacon::drand::Network;
use nearlight_proof::encoding::array_from_hex;
use serde::Deserialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use ureq::Agent;

/// For a relay's answer, at least and at most: all are asked in the time that is left.
const ANSWER_WITHIN: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(3));
const ANSWER_BYTES_MAX: u64 = 4096;

/// What is the matter with a relay.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoRound {
    #[error("does not answer with it: {0}")]
    Silent(String),
    #[error("answers with no round of drand")]
    Garbled,
    #[error("answers with round {0}")]
    Other(u64),
    #[error("{0}")]
    Forged(String),
}

impl NoRound {
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Silent(_) => "silent",
            Self::Garbled => "garbled",
            Self::Other(_) => "other-round",
            Self::Forged(_) => "forged",
        }
    }
}

#[derive(Deserialize)]
struct Told {
    round: u64,
    signature: String,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Relays {
    urls: Arc<[String]>,
    agent: Agent,
    /// The one that answered last is asked first, and after a time in which none did the next.
    first: Arc<AtomicUsize>,
}

impl Relays {
    pub(super) fn new(urls: &[String]) -> Self {
        let config = Agent::config_builder()
            .max_redirects(0)
            .user_agent("nearlight-checks")
            .build();
        Self {
            urls: urls.into(),
            agent: Agent::new_with_config(config),
            first: Arc::default(),
        }
    }

    /// The signature of a round, from the first relay that has it; or what is the matter with each. It waits for them for
    /// some `within`, and asks no other one after `stop`.
    pub(super) fn ask(
        &self,
        (network, round): (&Network, u64),
        within: Duration,
        stop: &CancellationToken,
    ) -> Result<[u8; 48], Vec<(String, NoRound)>> {
        let count = self.urls.len();
        let first = self.first.load(Ordering::Relaxed);
        let began = Instant::now();
        let mut failed = Vec::new();
        for turn in 0..count {
            if stop.is_cancelled() {
                break;
            }
            let left = within.saturating_sub(began.elapsed());
            let share = left / u32::try_from(count - turn).unwrap_or(u32::MAX);
            let patience = share.clamp(ANSWER_WITHIN.0, ANSWER_WITHIN.1);
            let at = (first + turn) % count;
            let url = &self.urls[at];
            match self.ask_one(url, (network, round), patience) {
                Ok(signature) => {
                    self.first.store(at, Ordering::Relaxed);
                    return Ok(signature);
                }
                Err(why) => failed.push((url.clone(), why)),
            }
        }
        self.first
            .store((first + 1) % count.max(1), Ordering::Relaxed);
        Err(failed)
    }

    fn ask_one(
        &self,
        url: &str,
        (network, round): (&Network, u64),
        patience: Duration,
    ) -> Result<[u8; 48], NoRound> {
        let url = format!("{}/public/{round}", url.trim_end_matches('/'));
        let silent = |error: ureq::Error| NoRound::Silent(error.to_string());
        let asked = self.agent.get(&url).config();
        let asked = asked.timeout_global(Some(patience)).build();
        let mut answer = asked.call().map_err(silent)?;
        let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX);
        let read = body.read_to_vec().map_err(silent)?;
        told(&read, network, round)
    }
}

/// The signature of an answer, if it is that round's.
fn told(answer: &[u8], network: &Network, round: u64) -> Result<[u8; 48], NoRound> {
    let told: Told = serde_json::from_slice(answer).map_err(|_| NoRound::Garbled)?;
    if told.round != round {
        return Err(NoRound::Other(told.round));
    }
    let signature = array_from_hex(&told.signature).ok_or(NoRound::Garbled)?;
    match network.verify(round, &signature) {
        Ok(_) => Ok(signature),
        Err(error) => Err(NoRound::Forged(error.to_string())),
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use nearlight_proof::beacon::drand::QUICKNET;

    const SIGNATURE: &str = "b75c69d0b72a5d906e854e808ba7e2accb1542ac355ae486d591aa9d43765482e26cd02df835d3546d23c4b13e0dfc92";

    #[test]
    fn an_answer_of_quicknet_is_taken_and_no_other() {
        let answer = |round: u64, signature: &str| {
            let text = format!(
                r#"{{"round":{round},"randomness":"00","signature":"{signature}","other":1}}"#
            );
            told(text.as_bytes(), &QUICKNET, 123).map_err(|why| why.name())
        };
        assert!(answer(123, SIGNATURE).is_ok());
        assert_eq!(answer(124, SIGNATURE), Err("other-round"));
        assert_eq!(
            answer(123, &SIGNATURE.replace("b75c", "b75d")),
            Err("forged")
        );
        assert_eq!(answer(123, "b75c"), Err("garbled"));
        assert_eq!(
            told(b"<html>", &QUICKNET, 123),
            Err(NoRound::Garbled),
            "a page of a captive portal"
        );
    }
}
