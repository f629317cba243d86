//! Where rounds take their values from, and these.

use super::new;
use crate::ledger::checks::CheckChange;
use crate::ledger::phase_row::ms;
use crate::ledger::tx::Tx;
use crate::ledger::{Applied, StoreError};
use serde_json::json;

const BEGIN_CHAIN: &str = "
    INSERT INTO beacon_chain (one, anchor, genesis_ms, round_ms, length)
    SELECT 1, r.anchor, r.genesis_ms, r.round_ms, r.length
    FROM {rows anchor text, genesis_ms bigint, round_ms bigint, length bigint}
    WHERE TRUE ON CONFLICT (one) DO NOTHING";

const USE_BEACON: &str = "
    INSERT INTO beacon_used (from_round, beacon) SELECT r.from_round, r.beacon
    FROM {rows from_round bigint, beacon text} WHERE NOT EXISTS
        (SELECT 1 FROM beacon_used u WHERE u.from_round >= r.from_round OR (u.beacon = r.beacon
            AND u.from_round = (SELECT MAX(from_round) FROM beacon_used)))
    ON CONFLICT (from_round) DO NOTHING";
/// Two brokers that change it come one after the other.
const LOCK_CHAIN: &str = "
    UPDATE beacon_chain SET one = one WHERE EXISTS (SELECT 1 FROM {rows from_round bigint})";

const DRAW: &str = "
    INSERT INTO beacon_round (round, signature) SELECT r.round, r.signature
    FROM {rows round bigint, signature text} WHERE TRUE ON CONFLICT (round) DO NOTHING";

/// One of these changes.
pub(super) async fn carry_out(tx: &mut Tx, change: &CheckChange) -> Result<Applied, StoreError> {
    let (statement, row) = match change {
        CheckChange::BeginChain(chain) => {
            let row = json!({
                "anchor": chain.anchor, "genesis_ms": ms(chain.genesis_ms),
                "round_ms": ms(chain.round_ms), "length": ms(chain.length),
            });
            (BEGIN_CHAIN, row)
        }
        CheckChange::UseBeacon(of) => {
            let row = json!({ "from_round": ms(of.from_round), "beacon": of.beacon });
            tx.run(LOCK_CHAIN, std::slice::from_ref(&row)).await?;
            (USE_BEACON, row)
        }
        CheckChange::Draw { round, signature } => {
            let row = json!({ "round": ms(*round), "signature": signature });
            (DRAW, row)
        }
        _ => return Ok(Applied::Skipped),
    };
    new(tx, statement, &[row]).await
}
