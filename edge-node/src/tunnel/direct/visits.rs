//! Addresses that work once at this node, and the cookies that come of them.
//!
//! A broker signs an address for one node, and the node that takes it signs the cookie, with a key that it makes at its
//! start and shows nobody. What was spent is held in memory for as long as an address could come again, a minute;
//! an address from before the start is refused, as what was spent then is not known. Neither needs a store.
//!
//! **Invariants.** An address is spent once. A cookie says what its address was for, and no more. There are at most
//! [`SPENT_MAX`] addresses, and [`OF_SESSION_MAX`] of one session: past it none is taken until the oldest are over, so
//! that no job keeps the others' from working.
//!
//! **What it does not know:** whether an address is for this node and this session.

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use nearlight_protocol::endpoint::EndpointClaims;
use nearlight_protocol::grant::ISSUER;
use nearlight_protocol::id::SessionId;
use nearlight_protocol::unit::UnixMillis;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// Addresses of one minute: some 8 MB.
const SPENT_MAX: usize = 64 * 1024;
/// Of them those of one session.
const OF_SESSION_MAX: usize = 1024;
/// The `typ` header of a cookie, which is no ticket.
const COOKIE_TYP: &str = "nearlight-visit+jwt";

/// See the module.
pub(super) struct Visits {
    since_ms: UnixMillis,
    sign: EncodingKey,
    verify: DecodingKey,
    /// Held for a look-up.
    spent: Mutex<Spent>,
}

/// The ids of addresses that were spent, and when they are void, by session.
#[derive(Debug, Default)]
struct Spent {
    of: HashMap<SessionId, HashMap<String, UnixMillis>>,
    count: usize,
}

/// Why an address is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotSpent {
    /// It was taken before, or may have been.
    Before,
    /// As many of its session, or of all, were taken within the last minute as may be.
    TooMany,
}

impl Spent {
    /// What is over goes.
    fn tidy(&mut self, now_ms: UnixMillis) {
        self.of.retain(|_, ids| {
            ids.retain(|_, void_ms| *void_ms > now_ms);
            !ids.is_empty()
        });
        self.count = self.of.values().map(HashMap::len).sum();
    }

    fn is_full(&self, session: &SessionId) -> bool {
        let of_session = self.of.get(session).map_or(0, HashMap::len);
        of_session >= OF_SESSION_MAX || self.count >= SPENT_MAX
    }
}

impl fmt::Debug for Visits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Visits").finish_non_exhaustive()
    }
}

impl Visits {
    /// None yet, of a node that starts now.
    pub(super) fn new(now_ms: UnixMillis) -> Self {
        let key: [u8; 32] = rand::random();
        Self {
            since_ms: now_ms,
            sign: EncodingKey::from_secret(&key),
            verify: DecodingKey::from_secret(&key),
            spent: Mutex::default(),
        }
    }

    /// Takes an address.
    pub(super) fn spend(
        &self,
        address: &EndpointClaims,
        now_ms: UnixMillis,
    ) -> Result<(), NotSpent> {
        if address.iat_ms < self.since_ms {
            return Err(NotSpent::Before);
        }
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        let of_session = spent.of.get(&address.aud);
        if of_session.is_some_and(|ids| ids.contains_key(&address.jti)) {
            return Err(NotSpent::Before);
        }
        if spent.is_full(&address.aud) {
            spent.tidy(now_ms);
        }
        if spent.is_full(&address.aud) {
            return Err(NotSpent::TooMany);
        }
        let of_session = spent.of.entry(address.aud.clone()).or_default();
        of_session.insert(address.jti.clone(), address.exp_ms);
        spent.count += 1;
        Ok(())
    }

    /// The cookie that stands for a ticket.
    pub(super) fn cookie_for(&self, ticket: &EndpointClaims) -> String {
        let mut header = Header::new(Algorithm::HS256);
        header.typ = Some(COOKIE_TYP.to_owned());
        jsonwebtoken::encode(&header, ticket, &self.sign)
            .expect("claims are plain JSON, and any secret signs")
    }

    /// The ticket that a cookie stands for, if it is one of ours.
    pub(super) fn ticket_of(&self, cookie: &str) -> Option<EndpointClaims> {
        let header = jsonwebtoken::decode_header(cookie).ok()?;
        if header.typ.as_deref() != Some(COOKIE_TYP) {
            return None;
        }
        let mut rules = Validation::new(Algorithm::HS256);
        rules.set_issuer(&[ISSUER]);
        // Our times are milliseconds under names of their own; the audience is checked by whoever asks.
        rules.set_required_spec_claims(&["iss"]);
        rules.validate_exp = false;
        rules.validate_aud = false;
        let token = jsonwebtoken::decode(cookie, &self.verify, &rules).ok()?;
        Some(token.claims)
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use nearlight_protocol::endpoint::scope::TicketScope;
    use nearlight_protocol::id::UserId;

    fn address(jti: &str, iat_ms: u64) -> EndpointClaims {
        EndpointClaims {
            iss: ISSUER.to_owned(),
            aud: SessionId::from_parts(1, [0; 10]),
            port: String::new(),
            sub: UserId::from_parts(2, [0; 10]),
            jti: jti.to_owned(),
            iat_ms,
            exp_ms: iat_ms + 60,
            cookie_until_ms: Some(1000),
            by: String::new(),
            node: None,
            scope: TicketScope::asked(Some(vec!["GET".to_owned()]), None).unwrap(),
        }
    }

    #[test]
    fn an_address_is_spent_once_and_none_of_before_the_start() {
        let visits = Visits::new(100);
        assert_eq!(visits.spend(&address("a", 100), 100), Ok(()));
        let again = visits.spend(&address("a", 100), 101);
        assert_eq!(again, Err(NotSpent::Before));
        assert_eq!(visits.spend(&address("b", 101), 101), Ok(()));
        let early = visits.spend(&address("c", 99), 101);
        assert_eq!(early, Err(NotSpent::Before), "it may have worked");
    }

    #[test]
    fn what_was_spent_is_held_for_as_long_as_it_could_come_again() {
        let visits = Visits::new(0);
        for n in 0..OF_SESSION_MAX {
            assert_eq!(visits.spend(&address(&n.to_string(), 0), 0), Ok(()));
        }
        let more = visits.spend(&address("one more", 0), 59);
        assert_eq!(more, Err(NotSpent::TooMany));
        let worked = visits.spend(&address("0", 0), 59);
        assert_eq!(worked, Err(NotSpent::Before), "that one did work");
        assert_eq!(visits.spend(&address("later", 50), 60), Ok(()));
        assert_eq!(visits.spent.lock().unwrap().count, 1);
    }

    #[test]
    fn a_job_keeps_no_other_jobs_addresses_from_working() {
        let visits = Visits::new(0);
        for n in 0..OF_SESSION_MAX {
            visits.spend(&address(&n.to_string(), 0), 0).unwrap();
        }
        let other = EndpointClaims {
            aud: SessionId::from_parts(2, [0; 10]),
            ..address("0", 0)
        };
        assert_eq!(visits.spend(&other, 0), Ok(()));
    }

    #[test]
    fn a_cookie_is_of_one_node_and_says_what_its_address_was_for() {
        let (visits, other) = (Visits::new(0), Visits::new(0));
        let cookie = visits.cookie_for(&address("a", 0));
        assert_eq!(visits.ticket_of(&cookie), Some(address("a", 0)));
        assert_eq!(other.ticket_of(&cookie), None);
        assert_eq!(visits.ticket_of("planted"), None);
        let mut unsigned = cookie.rsplit_once('.').unwrap().0.to_owned();
        unsigned.push('.');
        assert_eq!(visits.ticket_of(&unsigned), None);
    }
}
