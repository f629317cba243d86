use super::*;
use crate::ledger::{IdentityChange, Login, Op};
use nearlight_protocol::api::Role;

const NOW: MonoTime = MonoTime(5);
const LATER: MonoTime = MonoTime(5 + FRESH.as_micros() as u64);

fn credential(hash: u8) -> Arc<Credential> {
    let user = nearlight_kit::ids::user();
    Arc::new(Credential {
        key: Some(nearlight_kit::ids::key()),
        ..Credential::plain([hash; 32], user, "a key", Role::Player)
    })
}

fn look(identities: &Identities, hash: u8) -> Look<'_> {
    match identities.turn([hash; 32]) {
        Turn::Ours(look) => look,
        Turn::Theirs(_) => panic!("somebody else is at it"),
    }
}

fn find(identities: &Identities, hash: u8) -> Arc<Credential> {
    let found = credential(hash);
    look(identities, hash).found(Some(found.clone()), NOW);
    found
}

fn revoked(who: &Credential) -> Doubt {
    Doubt::Key(who.key.clone().unwrap())
}

#[test]
fn a_credential_is_believed_for_a_while_and_not_after_a_doubt() {
    let identities = Identities::default();
    assert!(matches!(identities.known(&[1; 32], NOW), Known::Nothing));
    let who = find(&identities, 1);
    let known = |at| identities.known(&[1; 32], at);
    assert!(matches!(known(NOW), Known::Holds(_)));
    assert!(matches!(known(LATER), Known::InDoubt));
    identities.doubt(revoked(&who));
    assert!(matches!(known(NOW), Known::InDoubt));
}

#[test]
fn a_change_of_ones_own_puts_nobody_else_in_doubt() {
    let identities = Identities::default();
    let (mine, other) = (find(&identities, 1), find(&identities, 2));
    let under_way = look(&identities, 3);
    for _ in 0..50 {
        identities.doubt(revoked(&mine));
        identities.doubt(Doubt::Secret([1; 32]));
        identities.doubt(Doubt::User(mine.user.clone()));
    }
    assert!(matches!(
        identities.known(&other.hash, NOW),
        Known::Holds(_)
    ));
    under_way.found(Some(credential(3)), NOW);
    assert!(matches!(identities.known(&[3; 32], NOW), Known::Holds(_)));
    identities.doubt(Doubt::Everyones);
    for hash in 1..=3 {
        let known = identities.known(&[hash; 32], NOW);
        assert!(matches!(known, Known::InDoubt));
    }
}

#[test]
fn what_was_not_found_is_remembered_for_a_while() {
    let identities = Identities::default();
    assert!(!identities.is_void(&[1; 32], NOW));
    look(&identities, 1).found(None, NOW);
    assert!(identities.is_void(&[1; 32], NOW));
    assert!(!identities.is_void(&[1; 32], LATER));
    let _ = find(&identities, 1);
    assert!(!identities.is_void(&[1; 32], NOW));
}

#[test]
fn what_was_voided_during_a_look_up_is_not_believed() {
    let identities = Identities::default();
    let who = credential(1);
    let under_way = look(&identities, 1);
    identities.doubt(revoked(&who));
    under_way.found(Some(who.clone()), NOW);
    assert!(matches!(identities.known(&who.hash, NOW), Known::InDoubt));
    // Nor where so much was voided that this is not known any more.
    let under_way = look(&identities, 1);
    for _ in 0..300 {
        identities.doubt(Doubt::Secret([9; 32]));
    }
    under_way.found(Some(who.clone()), NOW);
    assert!(matches!(identities.known(&who.hash, NOW), Known::InDoubt));
}

#[tokio::test]
async fn one_looks_up_and_whoever_asks_meanwhile_has_its_end() {
    let identities = Identities::default();
    let theirs = |identities: &Identities| match identities.turn([1; 32]) {
        Turn::Theirs(theirs) => theirs,
        Turn::Ours(_) => panic!("two look-ups of one credential"),
    };
    let ours = look(&identities, 1);
    let waits = theirs(&identities);
    ours.failed(Arc::new(StoreError::Closed));
    assert!(matches!(
        waits.end().await.as_deref(),
        Some(StoreError::Closed)
    ));
    let ours = look(&identities, 1);
    let waits = theirs(&identities);
    ours.found(Some(credential(1)), NOW);
    assert!(waits.end().await.is_none());
    assert!(matches!(identities.known(&[1; 32], NOW), Known::Holds(_)));
    // One that was given up leaves it to the next.
    let given_up = look(&identities, 1);
    let waits = theirs(&identities);
    drop(given_up);
    assert!(waits.end().await.is_none());
    drop(look(&identities, 1));
}

#[test]
fn changes_name_what_they_may_void_and_new_things_void_nothing() {
    let of = |change| {
        Doubt::of(&Op::Identity {
            change,
            audit: None,
        })
    };
    let (key, guest) = (nearlight_kit::ids::key(), nearlight_kit::ids::user());
    let at = NOW;
    let revoke = IdentityChange::RevokeKey {
        key: key.clone(),
        at,
    };
    assert_eq!(of(revoke), Some(Doubt::Key(key)));
    let hash = [1; 32];
    let out = IdentityChange::LogOut { hash, at };
    assert_eq!(of(out), Some(Doubt::Secret(hash)));
    let login = |guest| {
        IdentityChange::LogIn(Box::new(Login {
            hash,
            issuer: String::new(),
            subject: String::new(),
            name: String::new(),
            user: nearlight_kit::ids::user(),
            guest,
            at_ms: 0,
            expires_ms: 1,
        }))
    };
    assert_eq!(of(login(Some(guest.clone()))), Some(Doubt::User(guest)));
    assert_eq!(of(login(None)), None);
    assert_eq!(of(IdentityChange::Nothing), None);
}
