//! Who checks whom. Changes come one by one: they are few, but for assignments, which come a round at once.

mod rounds;

use super::receipts::{DirectoryPut, next_edition, put_key, revoke_key};
use crate::ledger::batch::Answers;
use crate::ledger::checks::{
    AssignmentRow, Change, CheckChange, CheckerJoins, CheckerTokenRow, NodeKey,
};
use crate::ledger::dialect::Foreign;
use crate::ledger::phase_row::{hex, ms};
use crate::ledger::receipts::DirectoryKey;
use crate::ledger::tx::Tx;
use crate::ledger::{Applied, StoreError};
use serde_json::{Value, json};
use sqlx::Row;

const KEY_OF_ANOTHER: &str = "
    SELECT n.node_id FROM node_key n, {rows key_hex text, node_id text}
    WHERE n.key_hex = r.key_hex AND n.node_id <> r.node_id";

const OPERATOR_OF: &str = "
    SELECT s.operator FROM node_standing s, {rows node_id text}
    WHERE s.node_id = r.node_id AND s.operator <> ''";

/// Keys that a node may tell within [`KEYS_DAYS`]: who deletes its key again and again fills no directory.
const KEYS_A_NODE: usize = 4;
const KEYS_DAYS: u64 = 30;

/// The keys that a node has told.
const KEYS_OF: &str = "
    SELECT n.key_hex, n.from_s FROM node_key n, {rows node_id text} WHERE n.node_id = r.node_id";

/// A key that the node had before, and has again: its window goes on, unless somebody else has set it.
const REOPEN: &str = "
    UPDATE directory_key SET until_s = r.until_s FROM {rows key_hex text, until_s bigint, at bigint}
    WHERE directory_key.key_hex = r.key_hex AND directory_key.role = 'node'
        AND EXISTS (SELECT 1 FROM node_key n WHERE n.key_hex = r.key_hex
            AND n.until_s <= r.at AND n.until_s = directory_key.until_s)";

const SHOW_KEY: &str = "
    INSERT INTO node_key (key_hex, key_id, node_id, operator, from_s, until_s)
    SELECT r.key_hex, r.key_id, r.node_id, r.operator, r.at, r.until_s
    FROM {rows key_hex text, key_id text, node_id text, operator text, at bigint, until_s bigint}
    WHERE TRUE ON CONFLICT (key_hex) DO UPDATE SET until_s = excluded.until_s
    WHERE node_key.until_s < excluded.until_s";

const END_FORMER_IN_DIRECTORY: &str = "
    UPDATE directory_key SET until_s = r.at FROM {rows key_hex text, node_id text, at bigint}
    WHERE directory_key.role = 'node' AND directory_key.until_s > r.at
        AND directory_key.from_s < r.at AND directory_key.key_hex IN (SELECT n.key_hex
            FROM node_key n WHERE n.node_id = r.node_id AND n.key_hex <> r.key_hex)";

const END_FORMER: &str = "
    UPDATE node_key SET until_s = r.at FROM {rows key_hex text, node_id text, at bigint}
    WHERE node_key.node_id = r.node_id AND node_key.key_hex <> r.key_hex
        AND node_key.until_s > r.at";

const IN_DIRECTORY: &str = "
    SELECT d.role FROM directory_key d, {rows key_hex text} WHERE d.key_hex = r.key_hex";

const PUT_LICENCE: &str = "
    INSERT INTO licence (key_hex, key_id, owner, created_ms)
    SELECT r.key_hex, r.key_id, r.owner, r.at
    FROM {rows key_hex text, key_id text, owner text, at bigint}
    WHERE TRUE ON CONFLICT (key_hex) DO UPDATE SET owner = excluded.owner
    WHERE licence.revoked_ms IS NULL";

const REVOKE_LICENCE: &str = "
    UPDATE licence SET revoked_ms = r.at FROM {rows key_id text, at bigint}
    WHERE licence.key_id = r.key_id AND licence.revoked_ms IS NULL";

const HAS_LICENCE: &str = "
    SELECT l.key_id FROM licence l, {rows key_id text} WHERE l.key_id = r.key_id";

const LICENCE_HOLDS: &str = "
    SELECT l.key_id FROM licence l, {rows licence text}
    WHERE l.key_id = r.licence AND l.revoked_ms IS NULL";

const ACTING_FOR: &str = "
    SELECT c.key_id FROM checker c, {rows key_id text}
    WHERE c.licence = r.key_id AND c.revoked_s IS NULL";

const ADD_TOKEN: &str = "
    INSERT INTO checker_token (hash, operator, licence, created_ms, expires_ms)
    SELECT r.hash, r.operator, r.licence, r.created_ms, r.expires_ms
    FROM {rows hash text, operator text, licence text, created_ms bigint, expires_ms bigint}
    WHERE TRUE ON CONFLICT DO NOTHING";

const TOKEN: &str = "
    SELECT t.operator, t.licence FROM checker_token t, {rows hash text, key_hex text, at bigint}
    WHERE t.hash = r.hash AND t.expires_ms > r.at
        AND (t.used_ms IS NULL OR t.key_hex = r.key_hex)";

const USE_TOKEN: &str = "
    UPDATE checker_token SET used_ms = r.at, key_hex = r.key_hex
    FROM {rows hash text, key_hex text, at bigint}
    WHERE checker_token.hash = r.hash AND checker_token.used_ms IS NULL";

const KNOWN_CHECKER: &str = "
    SELECT c.operator, c.api_key FROM checker c, {rows key_hex text}
    WHERE c.key_hex = r.key_hex AND c.revoked_s IS NULL";

const ADD_CHECKER: &str = "
    INSERT INTO checker (key_hex, key_id, operator, licence, api_key, user_id, joined_s)
    SELECT r.key_hex, r.key_id, r.operator, r.licence, r.api_key, r.user_id, r.at_s
    FROM {rows key_hex text, key_id text, operator text, licence text, api_key text, user_id text,
        at_s bigint} WHERE TRUE";

/// A checker that comes in again, having lost what it was told.
const RENEW_CHECKER: &str = "
    UPDATE checker SET api_key = r.api_key, user_id = r.user_id
    FROM {rows key_hex text, api_key text, user_id text} WHERE checker.key_hex = r.key_hex";

const END_API_KEY: &str = "
    UPDATE api_key SET revoked_ms = COALESCE(api_key.revoked_ms, r.at)
    FROM {rows api_key text, at bigint} WHERE api_key.key_id = r.api_key";

const REVOKE: &str = "
    UPDATE checker SET revoked_s = r.at_s FROM {rows key_id text, at_s bigint}
    WHERE checker.key_id = r.key_id AND checker.revoked_s IS NULL
    RETURNING checker.key_hex AS key_hex, checker.api_key AS api_key";

const HAS_CHECKER: &str = "
    SELECT c.revoked_s FROM checker c, {rows key_id text} WHERE c.key_id = r.key_id";

/// A copy that said that it stops holds nothing any more: what it asked before that may come after it, and after another copy.
const HOLD: &str = "
    UPDATE checker SET instance = r.instance, instance_until_ms = r.until,
        plays_since_ms = CASE WHEN r.plays = 0 THEN 0
            WHEN r.plays = 1 AND checker.plays_since_ms = 0 THEN r.now
            ELSE checker.plays_since_ms END,
        stopped = CASE WHEN checker.instance <> r.instance AND checker.instance_until_ms = 0
            THEN checker.instance ELSE checker.stopped END
    FROM {rows key_id text, instance text, until bigint, plays bigint, now bigint}
    WHERE checker.key_id = r.key_id AND checker.revoked_s IS NULL
        AND CASE WHEN checker.instance = r.instance
            THEN r.until = 0 OR checker.instance_until_ms > 0
            ELSE checker.instance_until_ms <= r.now
                AND (checker.stopped IS NULL OR checker.stopped <> r.instance) END";

const ASSIGN: &str = "
    INSERT INTO assignment (round, node_key, duty, checker, node_id, place, due_ms, until_ms, state)
    SELECT r.round, r.node_key, r.duty, r.checker, r.node_id, r.place, r.due_ms, r.until_ms, r.state
    FROM {rows round bigint, node_key text, duty text, checker text, node_id text, place bigint,
        due_ms bigint, until_ms bigint, state text}
    WHERE TRUE ON CONFLICT (round, node_key, duty, checker) DO NOTHING";

const PLAY: &str = "
    UPDATE assignment SET session_id = r.session_id
    FROM {rows round bigint, node_key text, duty text, checker text, session_id text}
    WHERE assignment.round = r.round AND assignment.node_key = r.node_key
        AND assignment.duty = r.duty AND assignment.checker = r.checker
        AND assignment.state = 'due' AND assignment.session_id = ''";

const SETTLE: &str = "
    UPDATE assignment SET state = r.state, void = r.void, why = r.why, leaf = r.leaf
    FROM {rows round bigint, node_key text, duty text, checker text, state text, void bigint,
        why text, leaf text}
    WHERE assignment.round = r.round AND assignment.node_key = r.node_key
        AND assignment.duty = r.duty AND assignment.checker = r.checker
        AND assignment.state = 'due'";

const PRUNE: [&str; 2] = [
    "DELETE FROM assignment WHERE state = 'done' AND leaf = ''
        AND until_ms < (SELECT r.before FROM {rows before bigint})",
    "DELETE FROM assignment WHERE until_ms < (SELECT r.before_all FROM {rows before_all bigint})",
];

/// See [`CheckChange`].
pub(crate) async fn change(
    tx: &mut Tx,
    changes: &[Change<'_>],
    answers: &mut Answers,
) -> Result<(), StoreError> {
    for (at, change, audit) in changes {
        let applied = carry_out(tx, change).await?;
        super::identity::answer(tx, (*at, applied), *audit, answers).await?;
    }
    Ok(())
}

async fn carry_out(tx: &mut Tx, change: &CheckChange) -> Result<Applied, StoreError> {
    match change {
        CheckChange::NodeKey(shown) => node_key(tx, shown).await,
        CheckChange::PutLicence(row) => {
            let row = json!({
                "key_hex": row.key, "key_id": row.key_id, "owner": Foreign(&row.owner),
                "at": ms(row.created_ms),
            });
            let put = tx.run(PUT_LICENCE, &[row]).await?;
            Ok(done_or(put > 0, Applied::Missing))
        }
        CheckChange::RevokeLicence { key_id, at_ms } => revoke_licence(tx, key_id, *at_ms).await,
        CheckChange::AddToken(token) => {
            tx.run(ADD_TOKEN, &[token_row(token)]).await?;
            Ok(Applied::Done)
        }
        CheckChange::Join(joins) => join(tx, joins).await,
        CheckChange::Revoke { key_id, at_ms } => revoke(tx, key_id, *at_ms).await,
        CheckChange::Hold {
            key_id,
            instance,
            until_ms,
            plays,
            now_ms,
        } => {
            let row = json!({
                "key_id": Foreign(key_id), "instance": Foreign(instance), "until": ms(*until_ms),
                "plays": plays.map_or(-1, i64::from), "now": ms(*now_ms),
            });
            if tx.run(HOLD, &[&row]).await? > 0 {
                return Ok(Applied::Done);
            }
            let known = tx.ask(HAS_CHECKER, &[row]).await?;
            let revoked =
                |row: &sqlx::any::AnyRow| row.get::<Option<i64>, _>("revoked_s").is_some();
            Ok(match known.first() {
                Some(row) if !revoked(row) => Applied::RaceLost,
                Some(_) | None => Applied::Missing,
            })
        }
        CheckChange::BeginChain(_) | CheckChange::UseBeacon(_) | CheckChange::Draw { .. } => {
            rounds::carry_out(tx, change).await
        }
        CheckChange::Assign(rows) => {
            let rows: Vec<Value> = rows.iter().map(assignment_row).collect();
            new(tx, ASSIGN, &rows).await
        }
        CheckChange::Play {
            round,
            node_key,
            duty,
            checker,
            session,
        } => {
            let row = json!({
                "round": ms(*round), "node_key": Foreign(node_key), "duty": Foreign(duty),
                "checker": Foreign(checker), "session_id": session.as_str(),
            });
            let made = tx.run(PLAY, &[row]).await?;
            Ok(done_or(made > 0, Applied::RaceLost))
        }
        CheckChange::Settle { .. } => settle(tx, change).await,
        CheckChange::Prune {
            before_ms,
            all_before_ms,
        } => {
            let row = json!({ "before": ms(*before_ms), "before_all": ms(*all_before_ms) });
            for statement in PRUNE {
                tx.run(statement, &[&row]).await?;
            }
            Ok(Applied::Done)
        }
    }
}

/// Puts in what is not there yet.
async fn new(tx: &mut Tx, statement: &'static str, rows: &[Value]) -> Result<Applied, StoreError> {
    let new = tx.run(statement, rows).await?;
    Ok(done_or(new > 0, Applied::Skipped))
}

fn done_or(done: bool, otherwise: Applied) -> Applied {
    if done { Applied::Done } else { otherwise }
}

async fn node_key(tx: &mut Tx, shown: &NodeKey) -> Result<Applied, StoreError> {
    let mut row = json!({
        "node_id": shown.node.as_str(), "key_hex": Foreign(&shown.key), "key_id": shown.key_id,
        "operator": Foreign(&shown.operator), "until_s": shown.until_s, "at": shown.at_s,
    });
    if !tx.ask(KEY_OF_ANOTHER, &[&row]).await?.is_empty() {
        return Ok(Applied::RaceLost);
    }
    let known = tx.ask(KEYS_OF, &[&row]).await?;
    let is_known = known
        .iter()
        .any(|of| of.get::<String, _>("key_hex") == shown.key);
    let since_s = ms(shown.at_s.saturating_sub(KEYS_DAYS * 24 * 3600));
    let of_late = known
        .iter()
        .filter(|of| of.get::<i64, _>("from_s") >= since_s);
    if !is_known && of_late.count() >= KEYS_A_NODE {
        return Ok(Applied::QuotaUsedUp);
    }
    let told = tx.ask(OPERATOR_OF, &[&row]).await?;
    let told: Option<String> = told.first().map(|row| row.get("operator"));
    let operator = told.unwrap_or_else(|| shown.operator.clone());
    row["operator"] = json!(Foreign(&operator));
    let mut changed = tx.run(REOPEN, &[&row]).await?;
    let is_new = tx.run(SHOW_KEY, &[&row]).await? > 0;
    changed += tx.run(END_FORMER_IN_DIRECTORY, &[&row]).await?;
    tx.run(END_FORMER, &[&row]).await?;
    if is_listed(tx, &row, "node").await? {
        if changed > 0 {
            next_edition(tx, shown.at_s).await?;
        }
        return Ok(done_or(is_new, Applied::Skipped));
    }
    let key = DirectoryKey {
        key: shown.key.clone(),
        role: "node".to_owned(),
        operator,
        licence: None,
        from_s: shown.from_s,
        until_s: shown.until_s,
        revoked_at_s: None,
    };
    put_key(
        tx,
        DirectoryPut {
            key: &key,
            most: shown.most,
            at_s: shown.at_s,
        },
    )
    .await
}

/// Whether the directory has the row's key in a role.
async fn is_listed(tx: &mut Tx, row: &Value, role: &str) -> Result<bool, StoreError> {
    let roles = tx.ask(IN_DIRECTORY, &[row]).await?;
    Ok(roles.iter().any(|row| row.get::<String, _>("role") == role))
}

async fn revoke_licence(tx: &mut Tx, key_id: &str, at_ms: u64) -> Result<Applied, StoreError> {
    let row = json!({ "key_id": Foreign(key_id), "at": ms(at_ms) });
    if tx.run(REVOKE_LICENCE, &[&row]).await? == 0 {
        let known = !tx.ask(HAS_LICENCE, &[row]).await?.is_empty();
        return Ok(done_or(
            false,
            if known {
                Applied::Skipped
            } else {
                Applied::Missing
            },
        ));
    }
    for acting in tx.ask(ACTING_FOR, &[&row]).await? {
        let checker: String = acting.get("key_id");
        revoke(tx, &checker, at_ms).await?;
    }
    Ok(Applied::Done)
}

async fn revoke(tx: &mut Tx, key_id: &str, at_ms: u64) -> Result<Applied, StoreError> {
    let row = json!({ "key_id": Foreign(key_id), "at_s": at_ms / 1000 });
    let revoked = tx.ask(REVOKE, &[&row]).await?;
    let Some(revoked) = revoked.first() else {
        let known = !tx.ask(HAS_CHECKER, &[row]).await?.is_empty();
        return Ok(done_or(
            false,
            if known {
                Applied::Skipped
            } else {
                Applied::Missing
            },
        ));
    };
    let (key, api_key): (String, String) = (revoked.get("key_hex"), revoked.get("api_key"));
    revoke_key(tx, &key, at_ms / 1000).await?;
    tx.run(
        END_API_KEY,
        &[json!({ "api_key": api_key, "at": ms(at_ms) })],
    )
    .await?;
    Ok(Applied::Done)
}

async fn join(tx: &mut Tx, joins: &CheckerJoins) -> Result<Applied, StoreError> {
    let mut row = json!({
        "hash": hex(&joins.token), "key_hex": joins.key, "key_id": joins.key_id,
        "api_key": joins.api_key.id.as_str(), "user_id": joins.api_key.user.as_str(),
        "at": ms(joins.at_ms), "at_s": joins.at_ms / 1000,
    });
    let token = tx.ask(TOKEN, &[&row]).await?;
    let Some(token) = token.first() else {
        return Ok(Applied::Missing);
    };
    let (operator, licence): (String, Option<String>) =
        (token.get("operator"), token.get("licence"));
    row["operator"] = json!(operator);
    row["licence"] = json!(licence);
    if licence.is_some() && tx.ask(LICENCE_HOLDS, &[&row]).await?.is_empty() {
        return Ok(Applied::Missing);
    }
    let known = tx.ask(KNOWN_CHECKER, &[&row]).await?;
    if let Some(known) = known.first() {
        if known.get::<String, _>("operator") != operator {
            return Ok(Applied::NameTaken);
        }
        let former: String = known.get("api_key");
        tx.run(
            END_API_KEY,
            &[json!({ "api_key": former, "at": ms(joins.at_ms) })],
        )
        .await?;
        tx.run(RENEW_CHECKER, &[&row]).await?;
    } else {
        // Also one that was shut out: its key stays in the directory.
        if !tx.ask(IN_DIRECTORY, &[&row]).await?.is_empty() {
            return Ok(Applied::NameTaken);
        }
        let at_s = joins.at_ms / 1000;
        let key = DirectoryKey {
            key: joins.key.clone(),
            role: "checker".to_owned(),
            operator,
            licence,
            from_s: at_s.saturating_sub(joins.early_s),
            until_s: joins.until_s,
            revoked_at_s: None,
        };
        let put = put_key(
            tx,
            DirectoryPut {
                key: &key,
                most: joins.most,
                at_s,
            },
        )
        .await?;
        if put == Applied::QuotaUsedUp {
            return Ok(put);
        }
        tx.run(ADD_CHECKER, &[&row]).await?;
    }
    tx.run(USE_TOKEN, &[&row]).await?;
    super::identity::add_key(tx, &joins.api_key, &joins.secret, false).await
}

async fn settle(tx: &mut Tx, change: &CheckChange) -> Result<Applied, StoreError> {
    let CheckChange::Settle {
        round,
        node_key,
        duty,
        checker,
        state,
        why,
        leaf,
    } = change
    else {
        return Ok(Applied::Missing);
    };
    let (state, void) = state.in_ledger();
    let row = json!({
        "round": ms(*round), "node_key": Foreign(node_key), "duty": Foreign(duty),
        "checker": Foreign(checker), "state": state, "void": void, "why": Foreign(why),
        "leaf": Foreign(leaf),
    });
    let settled = tx.run(SETTLE, &[row]).await?;
    Ok(done_or(settled > 0, Applied::Missing))
}

fn token_row(token: &CheckerTokenRow) -> Value {
    json!({
        "hash": hex(&token.hash), "operator": Foreign(&token.operator), "licence": token.licence,
        "created_ms": ms(token.created_ms), "expires_ms": ms(token.expires_ms),
    })
}

fn assignment_row(row: &AssignmentRow) -> Value {
    json!({
        "round": ms(row.round), "node_key": row.node_key, "duty": row.duty, "checker": row.checker,
        "node_id": row.node.as_str(), "place": row.place, "due_ms": ms(row.due_ms),
        "until_ms": ms(row.until_ms), "state": row.state.in_ledger().0,
    })
}
