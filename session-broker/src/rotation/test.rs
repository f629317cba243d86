use super::*;
use crate::config::{Config, Parsed};
use crate::ledger::{Applied, Ledger, Member, Op, OutsideChange, OwnerId, SqlLedger};
use crate::time::Clock;
use nearlight_kit::pki::Ca;
use nearlight_kit::shutdown::Shutdown;

#[tokio::test]
async fn a_webhook_is_signed_with_its_secret_through_a_whole_rotation() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config::try_from(Parsed {
        data: dir.path().join("data"),
        pki: dir.path().join("pki"),
        ..Parsed::load(None).unwrap()
    })
    .unwrap();
    std::fs::create_dir_all(&config.data).unwrap();
    let clock = WallClock::system();
    Ca::ensure(&config.pki, clock.clone()).unwrap();
    let me = Member {
        id: "broker".parse().unwrap(),
        address: String::new(),
        jwk: String::new(),
    };
    let shutdown = Shutdown::new();
    let ledger = SqlLedger::open(&config.ledger, me, Clock::start(), &shutdown).await;
    let ledger = ledger.unwrap();
    let owner = OwnerId::of(None, &nearlight_kit::ids::user());
    let sealer = || Sealer::open_in(&config.pki).unwrap();
    let of = webhooks::sealed_for(&owner);
    let add = OutsideChange::AddWebhook {
        owner: owner.clone(),
        url: "https://example.net".to_owned(),
        sealed: sealer().seal_for(&of, b"secret".to_vec()).unwrap(),
        at_ms: 1,
    };
    let op = Op::Outside {
        change: add,
        audit: None,
    };
    assert_eq!(ledger.write(vec![op]).await.unwrap(), [Applied::Done]);
    let opens = async || {
        let row = ledger.webhook(owner.clone()).await.unwrap().unwrap();
        sealer().open_for(&of, &row.sealed)
    };
    let secret = Ok(b"secret".to_vec());
    for (next, told) in [
        (RotationStep::Begin, "Copy the PKI directory"),
        (RotationStep::Switch, "Copy the PKI directory"),
        (RotationStep::Retire, "Sealed 1 secrets again."),
    ] {
        let said = step(&config, next, (&clock, true)).await.unwrap();
        assert!(said.starts_with(told), "{said}");
        assert_eq!(opens().await, secret, "{next:?}");
    }
    assert!(!config.pki.join(FORMER_KEY_FILE).exists());
    // Once nothing is under way there is nothing to take away.
    let refused = step(&config, RotationStep::Retire, (&clock, true)).await;
    assert!(refused.is_err());
    assert_eq!(opens().await, secret);
}
