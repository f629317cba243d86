//! Tenants, API keys, quotas and the audit log, as their administrators use them.

use crate::http::{Answer, Client, PATIENCE};
use crate::isolation::{bearer, tenant};
use crate::rig::{Rig, eventually, id, parsed};
use serde_json::{Value, json};
use session_broker::ledger::Fault;
use sqlx::ConnectOptions;
use std::path::Path;
use tokio::process::Command;

async fn key(rig: &Rig, body: &Value) -> (String, Client) {
    let made = rig.admin().post_json("/v1/keys", body).await;
    assert_eq!(made.status, 201, "{made:?}");
    (made.at("/key/id"), bearer(rig, &made.at("/secret")))
}

fn actions(page: &Answer) -> Vec<String> {
    let entries = page.json()["entries"].as_array().unwrap().clone();
    let action = |entry: &Value| {
        let text = |key: &str| entry[key].as_str().unwrap().to_owned();
        format!("{} {}", text("action"), text("outcome"))
    };
    entries.iter().map(action).collect()
}

#[tokio::test]
async fn a_key_works_until_it_is_revoked_and_lists_show_no_secret() {
    let rig = Rig::start().await;
    let admin = rig.admin();
    let body = json!({ "name": " ci ", "role": "operator", "expires_s": 3600 });
    let made = admin.post_json("/v1/keys", &body).await;
    let (id, secret) = (made.at("/key/id"), made.at("/secret"));
    assert_eq!(
        made.header("location"),
        Some(format!("/v1/keys/{id}").as_str())
    );
    assert_eq!(made.at("/key/name"), "ci");
    let client = bearer(&rig, &secret);
    let who = client.get("/v1/whoami").await;
    assert_eq!(
        (who.at("/role"), who.at("/key")),
        ("operator".to_owned(), id.clone())
    );
    let listed = admin.get("/v1/keys").await;
    assert!(!listed.body.contains(&secret), "a secret is told once");
    assert!(secret.starts_with(&listed.at("/keys/0/prefix")));

    let mut events = client
        .events(&crate::rig::id(&client.create("demo").await))
        .await;
    events.next().await;
    let revoked = admin.delete(&format!("/v1/keys/{id}")).await;
    assert_eq!(revoked.status, 204, "{revoked:?}");
    client
        .get("/v1/whoami")
        .await
        .refused(401, "unauthenticated");
    while events.next_or_end().await.is_some() {}
    let again = admin.delete(&format!("/v1/keys/{id}")).await;
    assert_eq!(again.status, 204, "once is enough: {again:?}");
    let rotate = format!("/v1/keys/{id}/rotate");
    admin
        .post_json(&rotate, &json!({}))
        .await
        .refused(404, "not-found");
}

#[tokio::test]
async fn a_rotated_key_has_two_secrets_for_a_while() {
    let rig = Rig::start().await;
    let (id, old) = key(&rig, &json!({ "name": "k", "role": "operator" })).await;
    let path = format!("/v1/keys/{id}/rotate");
    let rotated = rig.admin().post_json(&path, &json!({})).await;
    assert_eq!(rotated.status, 200, "{rotated:?}");
    let new = bearer(&rig, &rotated.at("/secret"));
    for client in [&old, &new] {
        assert_eq!(client.get("/v1/whoami").await.at("/key"), id);
    }
    let body = json!({ "overlap_s": 0 });
    let newest = rig.admin().post_json(&path, &body).await;
    for client in [&old, &new] {
        client
            .get("/v1/whoami")
            .await
            .refused(401, "unauthenticated");
    }
    let newest = bearer(&rig, &newest.at("/secret"));
    assert_eq!(newest.get("/v1/whoami").await.status, 200);
    let long = json!({ "overlap_s": 2_592_001 });
    rig.admin()
        .post_json(&path, &long)
        .await
        .refused(400, "bad-request");
}

#[tokio::test]
async fn a_key_with_scopes_of_a_newer_broker_is_not_rotated_here() {
    let rig = Rig::start().await;
    let (id, client) = key(&rig, &json!({ "name": "k", "role": "operator" })).await;
    sqlx::any::install_default_drivers();
    let file = rig.dir.path().join("data/ledger.sqlite");
    let options: sqlx::any::AnyConnectOptions =
        format!("sqlite://{}", file.display()).parse().unwrap();
    let mut beside = options.connect().await.unwrap();
    sqlx::query("UPDATE api_key SET scopes = 'sessions:read new:write' WHERE key_id = $1")
        .bind(id.as_str())
        .execute(&mut beside)
        .await
        .unwrap();
    let path = format!("/v1/keys/{id}/rotate");
    let refused = rig.admin().post_json(&path, &json!({})).await;
    refused.refused(403, "forbidden");
    assert_eq!(client.get("/v1/whoami").await.at("/key"), id, "as before");
    let revoked = rig.admin().delete(&format!("/v1/keys/{id}")).await;
    assert_eq!(revoked.status, 204, "{revoked:?}");
}

#[tokio::test]
async fn a_key_is_void_once_its_time_is_over() {
    let rig = Rig::start().await;
    let (_, brief) = key(
        &rig,
        &json!({ "name": "k", "role": "operator", "expires_s": 1 }),
    )
    .await;
    eventually("the key to expire", || async {
        brief.get("/v1/whoami").await.status == 401
    })
    .await;
}

#[tokio::test]
async fn a_key_ends_with_its_maker_and_holds_no_more() {
    let rig = Rig::start().await;
    let (tenant_id, _, whole) = tenant(&rig, "a").await;
    let body = |more: Value| {
        let mut body = json!({ "name": "k", "role": "tenant", "tenant": tenant_id });
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        body
    };
    let bound = body(json!({ "expires_s": 600, "sessions_max": 2 }));
    let (maker_id, maker) = key(&rig, &bound).await;
    let made = maker.post_json("/v1/keys", &body(json!({}))).await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(made.at("/key/sessions_max"), "2");
    let listed = rig.admin().get("/v1/keys").await.json();
    let keys = listed["keys"].as_array().unwrap().clone();
    let of_maker = keys.iter().find(|key| key["id"] == maker_id.as_str());
    assert_eq!(
        made.json()["key"]["expires_unix_ms"],
        of_maker.unwrap()["expires_unix_ms"],
        "it ends with its maker"
    );
    for more in [json!({ "expires_s": 6000 }), json!({ "sessions_max": 3 })] {
        let refused = maker.post_json("/v1/keys", &body(more)).await;
        refused.refused(403, "forbidden");
    }
    let whole_key = whole.get("/v1/whoami").await.at("/key");
    let rotate = |id: &str| format!("/v1/keys/{id}/rotate");
    let refused = maker.post_json(&rotate(&whole_key), &json!({})).await;
    refused.refused(403, "forbidden");
    let own = maker.post_json(&rotate(&maker_id), &json!({})).await;
    assert_eq!(own.status, 200, "{own:?}");
    let without = whole.post_json("/v1/keys", &body(json!({}))).await;
    assert_eq!(without.json()["key"]["expires_unix_ms"], Value::Null);
}

#[tokio::test]
async fn scopes_bound_a_key_and_nobody_makes_one_that_may_more() {
    let rig = Rig::start().await;
    let (tenant_id, _, whole) = tenant(&rig, "a").await;
    let scoped = |scopes: &[&str]| json!({ "name": "s", "role": "tenant", "tenant": tenant_id, "scopes": scopes });
    let (_, reader) = key(&rig, &scoped(&["sessions:read"])).await;
    assert_eq!(reader.get("/v1/sessions").await.status, 200);
    reader.create("demo").await.refused(403, "forbidden");
    reader.get("/v1/nodes").await.refused(403, "forbidden");
    reader.get("/v1/keys").await.refused(403, "forbidden");

    let (_, keeper) = key(&rig, &scoped(&["keys:read", "keys:write"])).await;
    let more = keeper
        .post_json("/v1/keys", &scoped(&["sessions:write"]))
        .await;
    more.refused(403, "forbidden");
    let less = keeper.post_json("/v1/keys", &scoped(&["keys:read"])).await;
    assert_eq!(less.status, 201, "{less:?}");
    let whole_key = whole.get("/v1/whoami").await.at("/key");
    let rotate = format!("/v1/keys/{whole_key}/rotate");
    keeper
        .post_json(&rotate, &json!({}))
        .await
        .refused(403, "forbidden");
    for (body, status) in [
        (json!({ "name": "x", "role": "admin" }), 400),
        (json!({ "name": "x", "role": "guest" }), 400),
        (
            json!({ "name": "x", "role": "player", "scopes": ["admin"] }),
            400,
        ),
        (json!({ "name": "", "role": "player" }), 400),
        (
            json!({ "name": "x", "role": "player", "expires_s": 0 }),
            400,
        ),
    ] {
        let refused = whole.post_json("/v1/keys", &body).await;
        assert_eq!(refused.status, status, "{body} {refused:?}");
    }
    let lost = json!({ "name": "x", "role": "tenant" });
    rig.admin()
        .post_json("/v1/keys", &lost)
        .await
        .refused(400, "bad-request");
    let nowhere =
        json!({ "name": "x", "role": "tenant", "tenant": format!("ten_{}", "0".repeat(26)) });
    rig.admin()
        .post_json("/v1/keys", &nowhere)
        .await
        .refused(404, "not-found");
}

#[tokio::test]
async fn a_tenant_has_a_quota_can_be_suspended_and_keeps_its_name() {
    let rig = Rig::start().await;
    let admin = rig.admin();
    let made = admin
        .post_json("/v1/tenants", &json!({ "name": "a", "sessions_max": 2 }))
        .await;
    let tenant_id = made.at("/id");
    admin
        .post_json("/v1/tenants", &json!({ "name": "a" }))
        .await
        .refused(409, "name-taken");
    let body = |max: Option<u32>| json!({ "name": "k", "role": "tenant", "tenant": tenant_id, "sessions_max": max });
    let (_, one) = key(&rig, &body(Some(1))).await;
    let (_, two) = key(&rig, &body(None)).await;
    let first = id(&one.create("demo").await);
    one.create("demo").await.refused(429, "quota-exceeded");
    assert_eq!(two.create("demo").await.status, 201);
    let beyond = two.create("demo").await;
    beyond.refused(429, "quota-exceeded");
    assert!(beyond.at("/detail").contains("tenant"), "{beyond:?}");
    assert_eq!(
        admin
            .get("/v1/tenants")
            .await
            .at("/tenants/0/sessions_used"),
        "2"
    );
    assert_eq!(
        one.delete(&format!("/v1/sessions/{first}")).await.status,
        202
    );
    assert_eq!(
        one.create("demo").await.status,
        201,
        "both places are free again"
    );

    let path = format!("/v1/tenants/{tenant_id}");
    let patch = |body: Value| {
        let (admin, path) = (rig.admin(), path.clone());
        let json = [("content-type", "application/json")];
        async move {
            admin
                .request("PATCH", &path, &json, &body.to_string())
                .await
        }
    };
    let suspended =
        patch(json!({ "sessions_max": 3, "budget_micro_per_month": 9, "suspended": true })).await;
    assert_eq!(suspended.at("/suspended"), "true", "{suspended:?}");
    one.get("/v1/sessions").await.refused(403, "forbidden");
    // What is left out stays as it is, and `null` lifts a limit, but is no name.
    let resumed = patch(json!({ "suspended": false, "budget_micro_per_month": null })).await;
    assert_eq!(resumed.at("/name"), "a", "{resumed:?}");
    assert_eq!(resumed.at("/sessions_max"), "3", "{resumed:?}");
    assert_eq!(resumed.at("/budget_micro_per_month"), "null", "{resumed:?}");
    patch(json!({ "name": null }))
        .await
        .refused(400, "bad-request");
    assert_eq!(two.create("demo").await.status, 201, "the quota was raised");
}

#[tokio::test]
async fn keys_and_tenants_have_rates_of_their_own() {
    let rig = Rig::start_with(|config| {
        (
            config.limits.key_requests_per_s,
            config.limits.key_requests_burst,
        ) = (1, 3);
        (
            config.limits.tenant_requests_per_s,
            config.limits.tenant_requests_burst,
        ) = (1, 5);
    })
    .await;
    let (tenant_id, _, one) = tenant(&rig, "a").await;
    let body = json!({ "name": "k", "role": "tenant", "tenant": tenant_id });
    let (_, two) = key(&rig, &body).await;
    for _ in 0..3 {
        assert_eq!(one.get("/v1/apps").await.status, 200);
    }
    let often = one.get("/v1/apps").await;
    often.refused(429, "too-many-requests");
    assert!(often.header("retry-after").is_some());
    for _ in 0..2 {
        assert_eq!(two.get("/v1/apps").await.status, 200);
    }
    two.get("/v1/apps").await.refused(429, "too-many-requests");
    let (_, _, other) = tenant(&rig, "b").await;
    assert_eq!(other.get("/v1/apps").await.status, 200);
}

#[tokio::test]
async fn the_audit_log_has_what_was_done_and_what_was_denied() {
    let rig = Rig::start().await;
    let (_, key_id, member) = tenant(&rig, "a").await;
    member
        .post_json("/v1/tenants", &json!({ "name": "c" }))
        .await
        .refused(403, "forbidden");
    member.get("/v1/audit").await.refused(403, "forbidden");
    rig.admin().delete(&format!("/v1/keys/{key_id}")).await;
    let page = rig.admin().get("/v1/audit").await;
    let expected = [
        "key-revoke done",
        "tenant-create denied",
        "key-create done",
        "tenant-create done",
    ];
    assert_eq!(actions(&page), expected);
    let denied = ["role", "key", "address", "subject"];
    let denied = denied.map(|at| page.at(&format!("/entries/1/{at}")));
    assert_eq!(denied, ["tenant", key_id.as_str(), "127.0.0.1", "c"]);
    // Page by page it is the same.
    let first = rig.admin().get("/v1/audit?limit=3").await;
    let next = format!("/v1/audit?limit=3&before={}", first.at("/next"));
    let second = rig.admin().get(&next).await;
    assert_eq!(second.json()["next"], Value::Null);
    assert_eq!([actions(&first), actions(&second)].concat(), expected);
    for odd in ["limit=0", "limit=201", "limit=x", "before=x"] {
        let odd = rig.admin().get(&format!("/v1/audit?{odd}")).await;
        odd.refused(400, "bad-request");
    }
}

#[tokio::test]
async fn what_was_not_done_is_not_in_the_audit_log() {
    let rig = Rig::start().await;
    rig.faults.arm(Fault::Fails);
    let body = json!({ "name": "k", "role": "operator" });
    let failed = rig.admin().post_json("/v1/keys", &body).await;
    failed.refused(500, "internal");
    assert_eq!(actions(&rig.admin().get("/v1/audit").await), [""; 0]);
    assert_eq!(rig.admin().get("/v1/keys").await.json()["keys"], json!([]));
}

async fn bootstrap(dir: &Path, more: &[&str]) -> std::process::Output {
    let run = Command::new(env!("CARGO_BIN_EXE_session-broker"))
        .arg("--bootstrap-admin")
        .args(more)
        .arg("--data")
        .arg(dir.join("data"))
        .output();
    tokio::time::timeout(PATIENCE, run).await.unwrap().unwrap()
}

#[tokio::test]
async fn the_first_administrator_is_made_on_the_brokers_machine_once() {
    let rig = Rig::start_with(|config| config.dev_key_file = "".into()).await;
    parsed(rig.dir.path());
    let made = bootstrap(rig.dir.path(), &[]).await;
    assert!(made.status.success(), "{made:?}");
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    let admin = bearer(&rig, made["secret"].as_str().unwrap());
    assert_eq!(admin.get("/v1/whoami").await.at("/role"), "admin");
    let again = bootstrap(rig.dir.path(), &[]).await;
    assert!(!again.status.success(), "{again:?}");
    let forced = bootstrap(rig.dir.path(), &["--force"]).await;
    assert!(forced.status.success(), "{forced:?}");
    // The broker that runs was not taken over.
    let body = json!({ "name": "a" });
    assert_eq!(admin.post_json("/v1/tenants", &body).await.status, 201);
    let log = actions(&admin.get("/v1/audit").await);
    assert_eq!(
        log,
        ["tenant-create done", "bootstrap done", "bootstrap done"]
    );
}
