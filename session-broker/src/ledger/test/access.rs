//! What lets somebody in: tickets and watch links.

use super::*;

pub(super) async fn a_ticket_is_spent_once_whoever_is_first(place: Place) {
    let store = Store::open(place).await;
    let spend = |n: u64| Op::SpendTicket {
        ticket: "t".to_owned(),
        on: SpentTicket {
            session: SessionId::from_parts(1, [0; 10]),
            attachment: AttachmentId::from_parts(n, [0; 10]),
        },
        at: MonoTime(0),
    };
    let tries = (0..8).map(|n| store.ledger.write(vec![spend(n)]));
    let outcomes = futures_util::future::join_all(tries).await;
    let won = outcomes
        .iter()
        .filter(|o| o.as_ref().unwrap()[0] == Applied::Done);
    assert_eq!(won.count(), 1);
}

pub(super) async fn so_many_watch_links_of_a_session_hold_and_a_revoked_one_leaves_its_place(
    place: Place,
) {
    let store = Store::open(place).await;
    let session = nearlight_kit::ids::session();
    let add = |link: &WatchLinkRow| Op::AddWatchLink {
        link: link.clone(),
        links_max: 2,
    };
    let (one, two, three) = (
        link(&session, 1, 2000),
        link(&session, 2, 2000),
        link(&session, 3, 2000),
    );
    assert_eq!(store.write(add(&one)).await, Applied::Done);
    assert_eq!(store.write(add(&two)).await, Applied::Done);
    assert_eq!(store.write(add(&three)).await, Applied::QuotaUsedUp);
    let other = link(&nearlight_kit::ids::session(), 4, 2000);
    assert_eq!(store.write(add(&other)).await, Applied::Done);
    let revoke = |of: &SessionId, link: &WatchLinkRow| Op::RevokeWatchLink {
        session: of.clone(),
        link: link.id.clone(),
        at: MonoTime(1_000_000),
    };
    assert_eq!(
        store.write(revoke(&session, &other)).await,
        Applied::Missing
    );
    assert_eq!(store.write(revoke(&session, &one)).await, Applied::Done);
    assert_eq!(store.write(revoke(&session, &one)).await, Applied::Done);
    assert_eq!(store.write(add(&three)).await, Applied::Done);
    // One whose time is over leaves its place as well.
    let late = WatchLinkRow {
        created_ms: 2000,
        ..link(&session, 5, 3000)
    };
    assert_eq!(store.write(add(&late)).await, Applied::Done);
    assert_eq!(store.ledger.watch_link([1; 32]).await.unwrap(), Some(one));
    let before = MonoTime(2_500_000);
    for links in [Remains::ExpiredLinks, Remains::RevokedLinks] {
        store.write(prune(links, before)).await;
    }
    assert_eq!(store.ledger.watch_link([1; 32]).await.unwrap(), None);
    assert_eq!(store.ledger.watch_link([5; 32]).await.unwrap(), Some(late));
}
