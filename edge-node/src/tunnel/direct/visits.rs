//! Addresses that work once at this node, and the cookies that come of them.
//!
//! A broker signs an address for one node, and the node that takes it signs the cookie, with a key that it makes at its
//! start and shows nobody. What was spent is held in memory for as long as an address could come again, a minute;
//! an address from before the start is refused, as what was spent then is not known. Neither needs a store.
//!
//! **Invariants.** An address is spent once. A cookie says what its address was for, and no more. There are at most
//! [`SPENT_MAX`] addresses: past it none is taken until the oldest are over.
//!
//! **What it does not know:** whether an address is for this node and this session.

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use nearlight_protocol::endpoint::EndpointClaims;
use nearlight_protocol::grant::ISSUER;
use nearlight_protocol::unit::UnixMillis;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// Addresses of one minute.
const SPENT_MAX: usize = 4096;
/// The `typ` header of a cookie, which is no ticket.
const COOKIE_TYP: &str = "nearlight-visit+jwt";

/// See the module.
pub(super) struct Visits {
    since_ms: UnixMillis,
    sign: EncodingKey,
    verify: DecodingKey,
    /// The ids of addresses that were spent, and when they are void. Held for a look-up.
    spent: Mutex<HashMap<String, UnixMillis>>,
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

    /// Takes an address; `false` if it was taken before, or may have been.
    pub(super) fn spend(&self, address: &EndpointClaims, now_ms: UnixMillis) -> bool {
        if address.iat_ms < self.since_ms {
            return false;
        }
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        if spent.len() >= SPENT_MAX {
            spent.retain(|_, void_ms| *void_ms > now_ms);
        }
        if spent.len() >= SPENT_MAX || spent.contains_key(&address.jti) {
            return false;
        }
        spent.insert(address.jti.clone(), address.exp_ms);
        true
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
    use nearlight_protocol::id::{SessionId, UserId};

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
        assert!(visits.spend(&address("a", 100), 100));
        assert!(!visits.spend(&address("a", 100), 101));
        assert!(visits.spend(&address("b", 101), 101));
        assert!(!visits.spend(&address("c", 99), 101), "it may have worked");
    }

    #[test]
    fn what_was_spent_is_held_for_as_long_as_it_could_come_again() {
        let visits = Visits::new(0);
        for n in 0..SPENT_MAX {
            assert!(visits.spend(&address(&n.to_string(), 0), 0));
        }
        assert!(
            !visits.spend(&address("one more", 0), 59),
            "there is no room"
        );
        assert!(visits.spend(&address("later", 50), 60));
        assert_eq!(visits.spent.lock().unwrap().len(), 1);
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
