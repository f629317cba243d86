//! Does what the cases ask for: writes statements, asks nodes to sign them, puts receipts into the log.

use super::Desk;
use super::case::{Act, Asked, Decision};
use crate::ledger::SessionReceiptRow;
use crate::receipts::{Entry, LogError, Receipts};
use nearlight_proof::encoding::hex;
use nearlight_proof::key::{KeyId, PublicKey};
use nearlight_proof::receipt::directory::Role;
use nearlight_proof::receipt::envelope::Envelope;
use nearlight_proof::receipt::predicate::Predicate;
use nearlight_proof::receipt::session::{SUBJECT, Session, commitment};
use nearlight_proof::receipt::statement::{Assurance, Countersign, Head, Statement, Subject};
use nearlight_protocol::api::SessionState;
use nearlight_protocol::control::ToEdge;
use nearlight_protocol::id::SessionId;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often is looked for what is due.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// What a reader of such a receipt must not conclude.
const DOES_NOT_PROVE: [&str; 3] = [
    "that the player's program or the node measured honestly: only that both said so, where both signed",
    "which GPU drew the picture, and that it was drawn where the node says it is",
    "what was played, by whom, or from where",
];

/// Keeps what is due from being late, until `stop`.
pub(crate) async fn keep(desk: Arc<Desk>, receipts: Arc<Receipts>, stop: CancellationToken) {
    let mut pause = tokio::time::interval(LOOK_EVERY);
    pause.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = pause.tick() => {}
        }
        for (session, act) in desk.due() {
            tokio::select! {
                () = stop.cancelled() => return,
                () = desk.carry_out(&session, act, &receipts) => {}
            }
        }
    }
}

impl Desk {
    /// What is due now.
    fn due(&self) -> Vec<(SessionId, Act)> {
        let now = self.clock.now();
        let mut cases = self.cases();
        let mut due = Vec::new();
        for (session, case) in cases.iter_mut() {
            if self.is_over(session) {
                case.is_over(now);
            }
            match case.due(now) {
                Act::Wait => {}
                act => due.push((session.clone(), act)),
            }
        }
        due
    }

    fn is_over(&self, session: &SessionId) -> bool {
        let shown = self.directory.session(session);
        shown.is_none_or(|shown| matches!(shown.view.borrow().state, SessionState::Ended { .. }))
    }

    async fn carry_out(&self, session: &SessionId, act: Act, receipts: &Receipts) {
        match act {
            Act::Wait => {}
            Act::Write => self.write(session, receipts),
            Act::Ask(statement) => self.ask(session, statement),
            Act::Log(asked, decision) => {
                if let Err(error) = self.log(session, &asked, decision, receipts).await {
                    tracing::warn!(session_id = %session, %error, "a session's receipt waits");
                }
            }
            Act::Drop(why) => {
                tracing::debug!(session_id = %session, why, "a session gets no receipt");
                self.cases().remove(session);
            }
        }
    }

    /// Writes the statement that the node is asked to sign.
    fn write(&self, session: &SessionId, receipts: &Receipts) {
        let now = self.clock.now();
        // Another broker may have it, and make its receipt.
        let is_here = self.directory.session(session).is_some();
        let mut cases = self.cases();
        if !is_here {
            cases.remove(session);
        }
        let Some(case) = cases.get_mut(session) else {
            return;
        };
        let Some((key, columns)) = case.columns() else {
            return;
        };
        let asked = Asked {
            salt: rand::random(),
            issued_at_s: self.clock.unix_ms() / 1000,
            statement: String::new(),
        };
        let by_node = Countersign::Node(key.id());
        let envelope = statement(session, &asked, columns, (receipts.issuer(), by_node));
        match envelope.and_then(|envelope| String::from_utf8(envelope.payload).ok()) {
            Some(statement) => case.asks(Asked { statement, ..asked }, now),
            None => {
                tracing::error!(session_id = %session, "a session's statement cannot be written");
                cases.remove(session);
            }
        }
    }

    fn ask(&self, session: &SessionId, statement: String) {
        let node = self.cases().get(session).map(|case| case.node.clone());
        let stream = node.and_then(|node| self.directory.stream(&node));
        if let Some(stream) = stream {
            stream.send(ToEdge::Countersign {
                session: session.clone(),
                statement,
            });
        }
    }

    /// Puts the receipt into the log, and says whose it is.
    async fn log(
        &self,
        session: &SessionId,
        asked: &Asked,
        decision: Decision,
        receipts: &Receipts,
    ) -> Result<(), LogError> {
        let columns = self.cases().get(session).and_then(super::Case::columns);
        let Some((key, columns)) = columns else {
            return Ok(());
        };
        let agreement = columns.agreement.name();
        let known = receipts.keys().await?;
        let now_s = self.clock.unix_ms() / 1000;
        let node = known.directory.find(&key.id(), Role::Node);
        let is_known = node.is_some_and(|(_, entry)| entry.covers(asked.issued_at_s));
        let decision = match decision {
            Decision::Signed(_) if !is_known => {
                Decision::Refused("the node's key is not in the directory".to_owned())
            }
            other => other,
        };
        let envelope = signed((session, asked), columns, (&key, decision), receipts);
        let entry =
            envelope.map(|envelope| Entry::admitted(envelope.to_bytes(), &known.directory, now_s));
        let entry = match entry {
            Ok(Ok(entry)) => entry,
            Ok(Err(error)) => return self.unfit(session, &error.to_string()),
            Err(why) => return self.unfit(session, why),
        };
        let leaf = entry.leaf().to_owned();
        let logged = receipts.append(entry).await?;
        let Some(shown) = self.directory.session(session) else {
            // Listed no more: nobody is left who could ask for it.
            self.cases().remove(session);
            return Ok(());
        };
        let row = SessionReceiptRow {
            session: session.clone(),
            user: shown.user,
            tenant: shown.tenant,
            place: logged.place,
            leaf,
            salt: hex(&asked.salt),
            agreement: agreement.to_owned(),
            logged_ms: self.clock.unix_ms(),
        };
        receipts.note_session(row).await?;
        tracing::info!(session_id = %session, place = logged.place, agreement, "a session's receipt stands in the log");
        self.cases().remove(session);
        Ok(())
    }

    /// The receipt as it was to be is none: it says instead that the node did not sign it.
    fn unfit(&self, session: &SessionId, why: &str) -> Result<(), LogError> {
        tracing::warn!(session_id = %session, why, "a session's receipt is not admitted");
        if let Some(case) = self.cases().get_mut(session) {
            case.refuse("the node's signature was not admitted");
        }
        Ok(())
    }
}

/// The statement about a session.
fn statement(
    session: &SessionId,
    asked: &Asked,
    columns: Session,
    (issuer, countersign): (KeyId, Countersign),
) -> Option<Envelope> {
    let statement = Statement {
        subject: Subject {
            name: SUBJECT.to_owned(),
            sha256: commitment(&asked.salt, session.as_str()),
        },
        head: Head {
            issuer,
            issued_at_s: asked.issued_at_s,
            countersign,
            assurance: Assurance::Timing,
            does_not_prove: DOES_NOT_PROVE.map(str::to_owned).to_vec(),
            evidence: Vec::new(),
        },
        predicate: Predicate::Session(Box::new(columns)),
    };
    statement.envelope().ok()
}

/// The receipt, signed by the broker, and by the node if it did.
fn signed(
    (session, asked): (&SessionId, &Asked),
    columns: Session,
    (key, decision): (&PublicKey, Decision),
    receipts: &Receipts,
) -> Result<Envelope, &'static str> {
    let countersign = match &decision {
        Decision::Signed(_) => Countersign::Node(key.id()),
        Decision::Refused(why) => Countersign::Refused(why.clone()),
    };
    let envelope = statement(session, asked, columns, (receipts.issuer(), countersign));
    let mut envelope = envelope.ok_or("the statement cannot be written")?;
    receipts.sign(&mut envelope);
    if let Decision::Signed(signature) = decision {
        envelope.signatures.push((key.id(), signature));
        if !envelope.signed_by(key) {
            return Err("the node's signature does not fit");
        }
    }
    Ok(envelope)
}
