//! Grants and tickets, with any header and any claims under a right or a wrong signature: only what
//! is for this purpose and this addressee is taken.
#![no_main]

extern crate self as nearlight_kit;

use identity::Identity;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use libfuzzer_sys::{arbitrary, arbitrary::Arbitrary, fuzz_target};
use nearlight_protocol::grant::{GRANT_TYP, Grant, ISSUER, TICKET_TYP};
use nearlight_protocol::id::{NodeId, SessionId, SlotId, UserId};
use nearlight_protocol::unit::U64;
use std::sync::LazyLock;
use tokens::{Signer, TicketClaims};

#[allow(
    dead_code,
    reason = "a module of the broker, of which the readers are fuzzed"
)]
#[path = "../../session-broker/src/tokens.rs"]
mod tokens;

#[allow(
    dead_code,
    reason = "a module of the edge, of which the readers are fuzzed"
)]
#[path = "../../edge-node/src/grant.rs"]
mod grant;

#[allow(dead_code, reason = "a module of the kit, for the broker's")]
#[path = "../../kit/src/files.rs"]
pub mod files;

/// What `grant` asks of the edge's `identity`.
mod identity {
    pub(crate) struct Identity {
        pub(crate) node: nearlight_protocol::id::NodeId,
        pub(crate) slots: Vec<nearlight_protocol::id::SlotId>,
    }
}

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    /// A token as it is.
    raw: &'a str,
    /// A token that we sign: its kind, key id, and claims laid over good ones.
    typ: Option<&'a str>,
    kid: Option<&'a str>,
    claims: &'a [u8],
    is_ticket: bool,
    jwks: &'a [u8],
}

struct Broker {
    signer: Signer,
    key: EncodingKey,
    keys: grant::GrantKeys,
    node: Identity,
    session: SessionId,
}

static BROKER: LazyLock<Broker> = LazyLock::new(|| {
    let seed = [7; 32];
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("key");
    let text = base64::Engine::encode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, seed);
    std::fs::write(&path, text).expect("a file in it");
    let signer = Signer::open(&path).expect("32 bytes are a key");
    // RFC 8410 section 7.
    let mut der = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20".to_vec();
    der.extend(seed);
    Broker {
        keys: grant::GrantKeys::from_jwks(&signer.jwks()).expect("the signer's own keys"),
        signer,
        key: EncodingKey::from_ed_der(&der),
        node: Identity {
            node: NodeId::from_parts(2, [0; 10]),
            slots: vec![SlotId::from_parts(3, [0; 10])],
        },
        session: SessionId::from_parts(1, [0; 10]),
    }
});

fuzz_target!(|input: Input<'_>| {
    let broker = &*BROKER;
    check(broker, input.raw);
    check(broker, &signed(broker, &input));
    if let Ok(jwks) = serde_json::from_slice(input.jwks) {
        let _ = grant::GrantKeys::from_jwks(&jwks);
    }
});

fn check(broker: &Broker, token: &str) {
    let ticket = broker.signer.verify_ticket(token, &broker.session);
    let grant = broker.signer.verify_grant(token);
    assert!(ticket.is_err() || grant.is_err(), "a token has one purpose");
    if let Ok(ticket) = ticket {
        assert_eq!(
            (&ticket.aud, ticket.iss.as_str()),
            (&broker.session, ISSUER)
        );
    }
    if let Ok(claims) = broker.keys.verify(token, &broker.node) {
        assert_eq!(
            (&claims.node, claims.iss.as_str()),
            (&broker.node.node, ISSUER)
        );
        assert!(broker.node.slots.contains(&claims.slot));
        assert_eq!(grant.ok(), Some(claims));
    }
}

fn signed(broker: &Broker, input: &Input<'_>) -> String {
    let mut header = Header::new(Algorithm::EdDSA);
    let typ = if input.is_ticket {
        TICKET_TYP
    } else {
        GRANT_TYP
    };
    header.typ = Some(input.typ.unwrap_or(typ).to_owned());
    header.kid = input.kid.map(str::to_owned);
    let mut claims = if input.is_ticket {
        ticket(broker)
    } else {
        grant(broker)
    };
    let changes = serde_json::from_slice::<serde_json::Map<_, _>>(input.claims);
    let good = claims.as_object_mut().expect("claims are an object");
    good.extend(changes.unwrap_or_default());
    jsonwebtoken::encode(&header, &claims, &broker.key).unwrap_or_default()
}

fn grant(broker: &Broker) -> serde_json::Value {
    let grant = Grant {
        iss: ISSUER.to_owned(),
        session: broker.session.clone(),
        node: broker.node.node.clone(),
        slot: broker.node.slots[0].clone(),
        epoch: U64(1),
        user: UserId::from_parts(4, [0; 10]),
        iat_ms: 5,
        gpus: Vec::new(),
        row: None,
    };
    serde_json::to_value(grant).expect("a grant is plain JSON")
}

fn ticket(broker: &Broker) -> serde_json::Value {
    let ticket = TicketClaims {
        iss: ISSUER.to_owned(),
        aud: broker.session.clone(),
        sub: UserId::from_parts(4, [0; 10]),
        jti: "t".to_owned(),
        iat_ms: 0,
        exp_ms: 1000,
        take_over: false,
    };
    serde_json::to_value(ticket).expect("a ticket is plain JSON")
}
