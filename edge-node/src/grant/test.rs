use super::*;
use jsonwebtoken::{EncodingKey, Header};
use nearlight_protocol::grant::TICKET_TYP;
use nearlight_protocol::unit::U64;

/// PKCS#8 of an Ed25519 key: a fixed prefix (RFC 8410 section 7) and the seed.
fn signer(seed: u8) -> EncodingKey {
    let mut der = vec![
        0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04,
        0x20,
    ];
    der.extend([seed; 32]);
    EncodingKey::from_ed_der(&der)
}

fn jwks(seeds: &[u8]) -> serde_json::Value {
    let keys: Vec<_> = seeds
        .iter()
        .map(|seed| {
            let mut jwk = Jwk::from_encoding_key(&signer(*seed), Algorithm::EdDSA).unwrap();
            jwk.common.key_id = Some(format!("key-{seed}"));
            serde_json::to_value(jwk).unwrap()
        })
        .collect();
    serde_json::json!({ "keys": keys })
}

fn identity() -> Identity {
    Identity {
        node: nearlight_kit::ids::node(),
        slots: vec![nearlight_kit::ids::slot()],
    }
}

fn grant(node: &Identity) -> Grant {
    Grant {
        iss: ISSUER.to_owned(),
        session: nearlight_kit::ids::session(),
        node: node.node.clone(),
        slot: node.slots[0].clone(),
        epoch: U64(7),
        user: nearlight_kit::ids::user(),
        iat_ms: 1,
        gpus: Vec::new(),
        row: None,
    }
}

fn sign(grant: &Grant, typ: &str, kid: Option<&str>, seed: u8) -> String {
    let mut header = Header::new(Algorithm::EdDSA);
    header.typ = Some(typ.to_owned());
    header.kid = kid.map(str::to_owned);
    jsonwebtoken::encode(&header, grant, &signer(seed)).unwrap()
}

fn check_refused(token: &str, node: &Identity, words: &str) {
    let keys = GrantKeys::from_jwks(&jwks(&[1])).unwrap();
    let error = keys.verify(token, node).unwrap_err().to_string();
    assert!(error.contains(words), "{words:?} is not in {error:?}");
}

#[test]
fn a_grant_of_the_broker_is_taken() {
    let node = identity();
    let grant = grant(&node);
    let keys = GrantKeys::from_jwks(&jwks(&[9, 1])).unwrap();
    for kid in [None, Some("key-1")] {
        let token = sign(&grant, GRANT_TYP, kid, 1);
        assert_eq!(keys.verify(&token, &node).unwrap(), grant);
    }
}

#[test]
fn everything_else_is_refused() {
    let node = identity();
    let good = grant(&node);
    check_refused("", &node, "not a grant");
    check_refused("a.b.c", &node, "not a grant");
    check_refused(&sign(&good, TICKET_TYP, None, 1), &node, "not a grant");
    check_refused(&sign(&good, GRANT_TYP, None, 2), &node, "signature");
    check_refused(
        &sign(&good, GRANT_TYP, Some("key-2"), 1),
        &node,
        "not a grant",
    );

    let mut token = sign(&good, GRANT_TYP, None, 1).into_bytes();
    let middle = token.len() / 2;
    token[middle] = if token[middle] == b'A' { b'B' } else { b'A' };
    check_refused(&String::from_utf8(token).unwrap(), &node, "not valid");

    let other_issuer = Grant {
        iss: "somebody".to_owned(),
        ..good.clone()
    };
    check_refused(&sign(&other_issuer, GRANT_TYP, None, 1), &node, "claims");
    check_refused(
        &sign(&good, GRANT_TYP, None, 1),
        &identity(),
        "another node",
    );
    let other_slot = Grant {
        slot: nearlight_kit::ids::slot(),
        ..good
    };
    check_refused(&sign(&other_slot, GRANT_TYP, None, 1), &node, "no slot");
}

#[test]
fn a_symmetric_signature_with_the_public_key_is_refused() {
    let node = identity();
    let set = jwks(&[1]);
    let public = set["keys"][0]["x"].as_str().unwrap();
    let mut header = Header::new(Algorithm::HS256);
    header.typ = Some(GRANT_TYP.to_owned());
    let key = EncodingKey::from_secret(public.as_bytes());
    let token = jsonwebtoken::encode(&header, &grant(&node), &key).unwrap();
    check_refused(&token, &node, "not valid");
}

#[test]
fn a_key_set_without_a_usable_key_is_refused() {
    for set in [
        serde_json::json!(null),
        serde_json::json!({}),
        serde_json::json!({"keys": []}),
        serde_json::json!({"keys": [{"kty": "alien"}, 7]}),
        serde_json::json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}]}),
    ] {
        assert!(GrantKeys::from_jwks(&set).is_err(), "{set}");
    }
    let mut mixed = jwks(&[1]);
    mixed["keys"]
        .as_array_mut()
        .unwrap()
        .insert(0, serde_json::json!({"kty": "alien"}));
    GrantKeys::from_jwks(&mixed).unwrap();
}
