//! Randomness that nobody could choose: drand's quicknet over HTTPS, or the value of a closed network's chain.

use crate::cli::BeaconArgs;
use crate::failure::Failure;
use nearlight_proof::beacon::{chain, drand};
use nearlight_proof::encoding::array_from_hex;
use nearlight_proof::key::KeyId;
use serde::Deserialize;
use std::time::Duration;

/// One of quicknet's public relays. It is not believed: the signature is verified.
pub const RELAY: &str =
    "https://api.drand.sh/52db9ba70e0cc0f6eaf7803dd07447a1f5477735fd3f661792ba94600c84e971";
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: u64 = 4096;
/// Rounds that the newest one may be behind the clock: half a minute.
const ROUNDS_BEHIND_MAX: u64 = 10;

/// A round and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beacon {
    /// Its round.
    pub round: u64,
    /// Its value.
    pub value: [u8; 32],
}

#[derive(Deserialize)]
struct Round {
    round: u64,
    signature: String,
}

/// The newest round, verified.
///
/// # Errors
/// [`Failure::Beacon`].
pub fn fetch(args: &BeaconArgs) -> Result<Beacon, Failure> {
    match (args.chain_round, &args.chain_value, &args.chain_anchor) {
        (Some(round), Some(value), Some(anchor)) => of_chain(round, value, anchor),
        _ => newest(&args.drand),
    }
}

fn of_chain(round: u64, value: &str, anchor: &str) -> Result<Beacon, Failure> {
    let bytes = |text: &str| {
        array_from_hex(text)
            .ok_or_else(|| Failure::Beacon(format!("`{text}` is not 64 hex digits")))
    };
    let (value, anchor) = (bytes(value)?, KeyId(bytes(anchor)?));
    if !chain::verify((0, &anchor), round, &value) {
        let why = "the value is not the chain's for that round".to_owned();
        return Err(Failure::Beacon(why));
    }
    Ok(Beacon { round, value })
}

/// The newest round of quicknet, from a relay.
///
/// # Errors
/// [`Failure::Beacon`].
pub fn newest(relay: &str) -> Result<Beacon, Failure> {
    let url = format!("{}/public/latest", relay.trim_end_matches('/'));
    let broken = |error: ureq::Error| Failure::Beacon(format!("{url}: {error}"));
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(ANSWER_WITHIN))
        .build()
        .into();
    let mut answer = agent.get(&url).call().map_err(broken)?;
    let read = answer
        .body_mut()
        .with_config()
        .limit(ANSWER_BYTES_MAX)
        .read_to_vec();
    let round: Round = serde_json::from_slice(&read.map_err(broken)?)
        .map_err(|error| Failure::Beacon(format!("{url} answers with no round: {error}")))?;
    let signature: [u8; 48] = array_from_hex(&round.signature)
        .ok_or_else(|| Failure::Beacon("the round has no signature".to_owned()))?;
    let value = drand::verify(round.round, &signature);
    let value = value.map_err(|error| Failure::Beacon(error.to_string()))?;
    let due = drand::round_at(nearlight_kit::clock::unix_ms() / 1000).unwrap_or(0);
    if round.round + ROUNDS_BEHIND_MAX < due || round.round > due + ROUNDS_BEHIND_MAX {
        return Err(Failure::Beacon(format!(
            "the relay's round {} is not near {due}, which is due by this machine's clock; set the clock, or ask another \
             relay",
            round.round
        )));
    }
    Ok(Beacon {
        round: round.round,
        value,
    })
}

#[cfg(test)]
mod test {
    use super::*;
    use nearlight_proof::encoding::hex;

    #[test]
    fn a_chains_value_leads_to_its_anchor() {
        let secret = [5; 32];
        let anchor = hex(&chain::value(&secret, 100, 0).unwrap());
        let value = hex(&chain::value(&secret, 100, 40).unwrap());
        let found = of_chain(40, &value, &anchor).unwrap();
        assert_eq!((found.round, hex(&found.value)), (40, value.clone()));
        assert!(of_chain(41, &value, &anchor).is_err());
        assert!(of_chain(40, "xx", &anchor).is_err());
    }
}
