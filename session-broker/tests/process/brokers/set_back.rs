//! A failover to a standby that lagged: what was committed last is not in the ledger any more.

use super::{at, of, path, reach};
use crate::http::Client;
use crate::line::{Line, SOCKET};
use crate::rig::{eventually, id};
use crate::shared::{Postgres, Shared};
use nearlight_protocol::api::EndReason;
use std::path::{Path, PathBuf};

/// A broker's way to whichever PostgreSQL is the primary.
struct Way {
    dir: PathBuf,
    url: String,
}

impl Way {
    fn in_dir(dir: &Path) -> Self {
        let url = format!(
            "postgres://nearlight@localhost/postgres?host={}",
            dir.display()
        );
        let dir = dir.to_owned();
        Self { dir, url }
    }

    fn lead_to(&self, primary: &Postgres) {
        let socket = self.dir.join(SOCKET);
        // Fails where it led nowhere before.
        let _ = std::fs::remove_file(&socket);
        std::os::unix::fs::symlink(primary.socket().join(SOCKET), socket).unwrap();
    }
}

/// It is a guest's request that finds out, before the broker has anything to write of what it holds. Were it
/// to go on with what it believes, one session would run in the ledger for ever, and the other one would be
/// without a row.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_is_read_anew_whoever_finds_out_that_the_ledger_went_back() {
    let Some(shared) = Shared::new() else { return };
    let replication = Line::to(shared.postgres.socket(), &shared.open_dir("replication"));
    let standby = shared.postgres.standby_by(&replication.dir);
    let way = Way::in_dir(&shared.open_dir("way"));
    way.lead_to(&shared.postgres);
    let broker = shared.alone(&way.url).await;
    let (first, second) = (
        Client::guest(broker.listen).await,
        Client::guest(broker.listen).await,
    );
    let mut edge = shared.edge(2, &broker, &[&first, &second]).await;
    let ended = id(&first.create("demo").await);
    let started = edge.start_next().await;
    reach(&first, &ended, "ready").await;
    eventually("the standby to have it", || async {
        standby.ask("SELECT COUNT(*) FROM session WHERE phase = 'ready'") == "1"
    })
    .await;

    // The standby hears nothing of what comes now: one ends, another one begins.
    replication.cut();
    assert_eq!(first.delete(&path(&ended)).await.status, 202);
    assert_eq!(edge.stop_next(&started).await, EndReason::PlayerEnded);
    reach(&first, &ended, "ended").await;
    let begun = id(&second.create("demo").await);
    let runs = edge.start_next().await;
    reach(&second, &begun, "ready").await;
    tokio::task::block_in_place(|| {
        shared.postgres.fail_over_to(&standby);
        way.lead_to(&standby);
    });
    let third = Client::nobody(broker.listen);
    eventually("a change that is not of a holder", || async {
        third.get("/v1/whoami").await.status == 200
    })
    .await;

    // Everybody attaches again. What the node runs is back, and what it does not run is over.
    while edge.next_or_closed().await.is_some() {}
    let mut node = edge.node.clone();
    node.epoch = runs.grant.epoch;
    let mut edge = shared
        .attach(&node, &broker, vec![runs.running(false)])
        .await;
    eventually("the ledger to say so", || async {
        let said = standby.ask("SELECT session_id, phase FROM session");
        said.contains(&format!("{begun}|ready")) && said.contains(&format!("{ended}|ended"))
    })
    .await;
    reach(&second, &begun, "ready").await;
    reach(&first, &ended, "ended").await;
    assert_eq!(second.delete(&path(&begun)).await.status, 202);
    assert_eq!(edge.stop_next(&runs).await, EndReason::PlayerEnded);
    let claims = "SELECT COUNT(*) FROM claim WHERE released_ms IS NULL";
    eventually("every claim to be released", || async {
        standby.ask(claims) == "0"
    })
    .await;
}

/// Its holder gave it away, and that is lost with the moments before a failover, but nothing that the other
/// broker wrote: so this one sees nothing of it, and must not place what it does not hold.
#[tokio::test]
async fn a_session_whose_giving_was_lost_is_placed_by_who_holds_it() {
    let Some(shared) = Shared::new() else { return };
    let (a, b) = shared.two().await;
    let guest = Client::guest(a.listen).await;
    let session = id(&guest.create("demo").await);
    reach(&guest, &session, "queued").await;
    shared.postgres.ask("UPDATE session SET holder = 'b'");

    // The other one finds it among what is its own, and gives it to where there is room.
    let mut edge = shared.edge(1, &a, &[]).await;
    let started = edge.start_next().await;
    assert_eq!(of(&started), session);
    for broker in [&a, &b] {
        reach(&at(&guest, broker), &session, "ready").await;
    }
    let said = "SELECT holder, (SELECT COUNT(*) FROM claim) FROM session";
    assert_eq!(shared.postgres.ask(said), "a|1");
}

/// The other one, which gave it, has it. Were it ended here, it would be over in the ledger while it runs there,
/// and its place in the quota would be given back twice.
#[tokio::test]
async fn a_session_whose_giving_was_lost_is_not_ended_by_who_believes_to_hold_it() {
    let Some(shared) = Shared::new() else { return };
    let (a, b) = shared.two().await;
    let guest = Client::guest(a.listen).await;
    let session = id(&guest.create("demo").await);
    reach(&guest, &session, "queued").await;
    // Nobody finds it there and gives it back meanwhile.
    shared.postgres.ask("UPDATE session SET holder = 'c'");
    assert_ne!(guest.delete(&path(&session)).await.status, 202);
    let said = "SELECT phase, holder, (SELECT used FROM quota) FROM session";
    assert_eq!(shared.postgres.ask(said), "queued|c|1");

    let mut edge = shared.edge(1, &b, &[&guest]).await;
    shared.postgres.ask("UPDATE session SET holder = 'b'");
    let started = edge.start_next().await;
    assert_eq!(of(&started), session);
    for broker in [&a, &b] {
        reach(&at(&guest, broker), &session, "ready").await;
    }
    assert_eq!(guest.delete(&path(&session)).await.status, 202);
    assert_eq!(edge.stop_next(&started).await, EndReason::PlayerEnded);
    reach(&guest, &session, "ended").await;
    assert_eq!(shared.postgres.ask(said), "ended|b|0");
}

/// Nothing is tried for it, so no claim finds out. Its player must not be told for ever that it waits.
#[tokio::test]
async fn a_session_whose_giving_was_lost_is_let_go_by_who_believes_to_hold_it() {
    let Some(shared) = Shared::new() else { return };
    let (a, _b) = shared.two().await;
    let guest = Client::guest(a.listen).await;
    let session = id(&guest.create("demo").await);
    reach(&guest, &session, "queued").await;
    shared.postgres.ask("UPDATE session SET holder = 'c'");
    eventually("it to be let go", || async {
        guest.get(&path(&session)).await.at("/state/phase") != "queued"
    })
    .await;
}

/// Who believed to hold it ended it, as brokers did before they looked. Tried every turn, its claim would take the
/// only slot each time, and be lost.
#[tokio::test]
async fn a_session_that_waits_and_is_over_in_the_ledger_holds_nobody_up() {
    let Some(shared) = Shared::new() else { return };
    let (a, _b) = shared.two().await;
    let (first, second) = (Client::guest(a.listen).await, Client::guest(a.listen).await);
    let over = id(&first.create("demo").await);
    reach(&first, &over, "queued").await;
    let waits = id(&second.create("demo").await);
    reach(&second, &waits, "queued").await;
    let end = "UPDATE session SET phase = 'ended', reason = 'player-ended', ended_ms = since_ms";
    let end = format!("{end} WHERE session_id = '{over}'");
    shared.postgres.ask(&end);

    let mut edge = shared.edge(1, &a, &[]).await;
    assert_eq!(of(&edge.start_next().await), waits);
    reach(&first, &over, "ended").await;
    reach(&second, &waits, "ready").await;
}
