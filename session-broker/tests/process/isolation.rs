//! Two tenants cannot see, stop, attach to or infer each other's sessions: a check for each route of
//! the API's own document. A route that is new and has no check fails the test.
//!
//! A stranger's answer for what is there must be, but for the request's id, the answer for what is not.

use crate::edge::{Edge, Node};
use crate::http::{Answer, Client};
use crate::jobs;
use crate::rig::{Rig, eventually, id};
use nearlight_kit::shutdown::Shutdown;
use nearlight_protocol::control::WhepResult;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const SDP: (&str, &str) = ("content-type", "application/sdp");
const FRAGMENT: (&str, &str) = ("content-type", "application/trickle-ice-sdpfrag");
const TAR: (&str, &str) = ("content-type", "application/x-tar");
const JSON: (&str, &str) = ("content-type", "application/json");

/// How a route keeps tenants apart.
#[derive(Clone, Copy, Debug)]
enum Apart {
    /// What is another's is answered like what is not there. With a body, and its type.
    LikeAbsent((&'static str, &'static str), &'static str),
    /// The answer has nothing of another's.
    TellsNothing,
    /// Only an administrator, or for the fleet an operator, whatever is named.
    AdminOnly((&'static str, &'static str), &'static str),
    /// It works on the caller's own alone, for nothing else can be named.
    OwnOnly,
    /// The secret in the path is the right, and a wrong one answers like none.
    BySecret((&'static str, &'static str), &'static str),
}

use Apart::{AdminOnly, BySecret, LikeAbsent, OwnOnly, TellsNothing};
use routes::ROUTES;

#[path = "isolation/across.rs"]
mod across;
#[path = "isolation/routes.rs"]
mod routes;

/// What one tenant has, by the names that a path has for it.
struct Theirs {
    tenant: String,
    key: String,
    session: String,
    volume: String,
    link: String,
    token: String,
    attachment: String,
    registry: String,
}

impl Theirs {
    fn none() -> Self {
        let of = |prefix: &str| format!("{prefix}{}", "0".repeat(26));
        Self {
            tenant: of("ten_"),
            key: of("key_"),
            session: of("ses_"),
            volume: of("vol_"),
            link: of("wat_"),
            token: "A".repeat(43),
            attachment: of("att_"),
            registry: "none.example".to_owned(),
        }
    }

    fn path(&self, route: &str) -> String {
        let own = match route.split('/').nth(2) {
            Some("tenants") => &self.tenant,
            Some("keys") => &self.key,
            Some("volumes") => &self.volume,
            _ => &self.session,
        };
        route
            .replace("/files", "/files?path=/tmp/x")
            .replace("{id}", own)
            .replace("{node}", &format!("nod_{}", "0".repeat(26)))
            .replace("{probe}", own)
            .replace("{step}", "begin")
            .replace("{app}", "demo")
            .replace("{registry}", &self.registry)
            .replace("{link}", &self.link)
            .replace("{token}", &self.token)
            .replace("{attachment}", &self.attachment)
    }

    fn traces(&self) -> [&str; 7] {
        [
            &self.tenant,
            &self.key,
            &self.session,
            &self.volume,
            &self.link,
            &self.attachment,
            &self.registry,
        ]
    }
}

/// A tenant, and a key of it that may everything there.
pub(crate) async fn tenant(rig: &Rig, name: &str) -> (String, String, Client) {
    tenant_by(&rig.admin(), name).await
}

/// The same, made by that administrator where they are.
pub(crate) async fn tenant_by(admin: &Client, name: &str) -> (String, String, Client) {
    let body = json!({ "name": name });
    let made = admin.post_json("/v1/tenants", &body).await;
    assert_eq!(made.status, 201, "{made:?}");
    let body = json!({ "name": name, "role": "tenant", "tenant": made.at("/id") });
    let (key, client) = key_by(admin, &body).await;
    (made.at("/id"), key, client)
}

/// A key, and its caller.
async fn key_by(admin: &Client, body: &Value) -> (String, Client) {
    let key = admin.post_json("/v1/keys", body).await;
    assert_eq!(key.status, 201, "{key:?}");
    let value = format!("Bearer {}", key.at("/secret"));
    let client = Client::nobody(admin.at).with("authorization", &value);
    (key.at("/key/id"), client)
}

pub(crate) fn bearer(rig: &Rig, secret: &str) -> Client {
    let value = format!("Bearer {secret}");
    rig.nobody().with("authorization", &value)
}

/// A tenant that plays and is watched.
async fn busy(admin: &Client, edge: &mut Edge) -> (Theirs, Client) {
    let (tenant, key, client) = tenant_by(admin, "a").await;
    let session = id(&client.create("demo").await);
    edge.start_next().await;
    let path = format!("/v1/sessions/{session}");
    eventually("ready", || async {
        client.get(&path).await.at("/state/phase") == "ready"
    })
    .await;
    let (viewer, whep) = (client.clone(), format!("{path}/whep"));
    let posting = async move { viewer.request("POST", &whep, &[SDP], "v=0\r\n").await };
    let posted = Shutdown::new().spawn(posting);
    let (request, attachment, _) = edge.expect_offer().await;
    let sdp = "v=0\r\n".to_owned();
    edge.answer(request, WhepResult::Answer { sdp }).await;
    assert_eq!(posted.await.unwrap().status, 201);
    let registry = "theirs.registry.example".to_owned();
    let login = r#"{"username":"ci","password":"x"}"#;
    let put = format!("/v1/registries/{registry}");
    let put = client.request("PUT", &put, &[JSON], login).await;
    assert_eq!(put.status, 204, "{put:?}");
    let links = format!("{path}/watch-links");
    let link = client.post_json(&links, &json!({ "expires_s": 600 })).await;
    // On its own node's third slot, with what it keeps there.
    let keeps = json!({
        "place": { "trust": "any" },
        "volumes": [{ "name": "cache", "path": "/cache", "size_mib": 64 }],
    });
    let keeping = jobs::ask(&client, &jobs::job(&keeps)).await;
    assert_eq!(keeping.status, 201, "{keeping:?}");
    edge.start_next().await;
    let volume = client.get("/v1/volumes").await.at("/volumes/0/id");
    let theirs = Theirs {
        tenant,
        volume,
        key,
        session,
        link: link.at("/id"),
        token: link.at("/url").rsplit('/').next().unwrap().to_owned(),
        attachment: attachment.to_string(),
        registry,
    };
    (theirs, client)
}

async fn ask(
    client: &Client,
    method: &str,
    path: &str,
    header: (&str, &str),
    body: &str,
) -> Answer {
    let method = method.to_uppercase();
    client.request(&method, path, &[header], body).await
}

/// An answer without what differs from request to request.
fn bare(answer: &Answer) -> (u16, Vec<(String, String)>, Value) {
    let mut body: Value = serde_json::from_str(&answer.body).unwrap_or(Value::Null);
    if let Some(problem) = body.as_object_mut() {
        problem.remove("instance");
    }
    let vary = ["x-request-id", "date"];
    let kept = |(name, _): &&(String, String)| !vary.contains(&name.as_str());
    let headers = answer.headers.iter().filter(kept).cloned().collect();
    (answer.status, headers, body)
}

/// Why a stranger learns something by a route, if so.
async fn leak(
    stranger: &Client,
    method: &str,
    route: &str,
    apart: Apart,
    theirs: &Theirs,
) -> Option<String> {
    let (there, absent) = (theirs.path(route), Theirs::none().path(route));
    match apart {
        LikeAbsent(header, body) => {
            let there = ask(stranger, method, &there, header, body).await;
            let absent = ask(stranger, method, &absent, header, body).await;
            (bare(&there) != bare(&absent) || there.status < 300 && method != "options")
                .then(|| format!("{there:?} is not {absent:?}"))
        }
        AdminOnly(header, body) => {
            let there = ask(stranger, method, &there, header, body).await;
            let absent = ask(stranger, method, &absent, header, body).await;
            (bare(&there) != bare(&absent) || there.status != 403)
                .then(|| format!("{there:?} and {absent:?} are not both forbidden"))
        }
        TellsNothing => {
            let answer = stranger.get(&there).await;
            let found = theirs
                .traces()
                .into_iter()
                .find(|t| answer.body.contains(t));
            let failed = ![200, 204, 403].contains(&answer.status);
            found
                .map(|trace| format!("tells of {trace}: {answer:?}"))
                .or(failed.then(|| format!("{answer:?}")))
        }
        BySecret(header, body) => {
            let near = one_off(&theirs.token);
            let near = there.replace(&theirs.token, &near);
            let near = ask(stranger, method, &near, header, body).await;
            let absent = ask(stranger, method, &absent, header, body).await;
            (bare(&near) != bare(&absent) || near.status < 300 && method != "options")
                .then(|| format!("{near:?} is not {absent:?}"))
        }
        OwnOnly => None,
    }
}

/// `secret` with another first character: surely not itself, whatever it ends in.
fn one_off(secret: &str) -> String {
    let first = if secret.starts_with('A') { "B" } else { "A" };
    format!("{first}{}", &secret[1..])
}

#[tokio::test]
async fn every_route_keeps_tenants_apart() {
    let rig = Rig::start_with(|config| {
        config.limits.requests_burst = 5000;
        config.limits.creates_burst = 500;
    })
    .await;
    let node = Node {
        jobs: Some(jobs::host()),
        ..rig.node(3)
    };
    let mut edge = rig.attach(&node, Vec::new()).await;
    rig.online(&node).await;
    let (theirs, owner) = busy(&rig.admin(), &mut edge).await;
    let document = rig.nobody().get("/openapi.json").await.json();
    let described: BTreeSet<(String, String)> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().unwrap().keys();
            methods.map(|method| (method.clone(), path.clone()))
        })
        .collect();
    let checked = ROUTES
        .iter()
        .map(|(m, p, _)| ((*m).to_owned(), (*p).to_owned()));
    assert_eq!(
        described,
        checked.collect(),
        "each route has a check here, and each check a route"
    );

    let strangers = strangers(&rig.admin(), &theirs).await;
    let mut leaks = Vec::new();
    for (who, stranger) in &strangers {
        for (method, route, apart) in ROUTES {
            if is_theirs_too(who, method, route) {
                continue;
            }
            if let Some(why) = leak(stranger, method, route, *apart, &theirs).await {
                leaks.push(format!("{who}: {method} {route}: {why}"));
            }
        }
    }
    assert!(leaks.is_empty(), "{}", leaks.join("\n"));

    untouched(&owner, &theirs).await;
}

/// Whoever has no business with what a tenant has.
async fn strangers(admin: &Client, theirs: &Theirs) -> [(&'static str, Client); 5] {
    let (own_tenant, _, other) = tenant_by(admin, "b").await;
    let player = |tenant: &str| json!({ "name": "p", "role": "player", "tenant": tenant });
    let operator = json!({ "name": "o", "role": "operator" });
    [
        ("another tenant", other),
        (
            "another tenant's player",
            key_by(admin, &player(&own_tenant)).await.1,
        ),
        ("a guest", Client::guest(admin.at).await),
        ("an operator", key_by(admin, &operator).await.1),
        (
            "a player of the same tenant",
            key_by(admin, &player(&theirs.tenant)).await.1,
        ),
    ]
}

/// Whether a route tells a stranger what they may know.
fn is_theirs_too(who: &str, method: &str, route: &str) -> bool {
    // Whoami says of which tenant one is; a colleague is of the same.
    if route == "/v1/whoami" && who.contains("same") {
        return true;
    }
    // The fleet is an operator's to change, and usage to bill.
    let is_apps = route.starts_with("/v1/apps") && (method, route) != ("get", "/v1/apps");
    let is_fleets = route.contains("/nodes/")
        || route.starts_with("/v1/probes")
        || is_apps
        || route.contains("/directory/keys/")
        || (method, route) == ("get", "/v1/stakes")
        || ["/v1/disputes", "/v1/join-tokens", "/metrics", "/v1/usage"].contains(&route);
    is_fleets && who == "an operator"
}

/// All of it is still there, and its owner's.
async fn untouched(owner: &Client, theirs: &Theirs) {
    let path = format!("/v1/sessions/{}", theirs.session);
    assert_eq!(owner.get(&path).await.at("/state/phase"), "ready");
    let links = owner.get(&format!("{path}/watch-links")).await;
    assert_eq!(links.at("/links/0/id"), theirs.link);
    assert_eq!(owner.get("/v1/keys").await.at("/keys/0/id"), theirs.key);
    let registries = owner.get("/v1/registries").await;
    assert_eq!(registries.at("/registries/0/registry"), theirs.registry);
    let list = owner.get("/v1/sessions").await;
    assert_eq!(list.at("/sessions/1/id"), theirs.session);
    let volumes = owner.get("/v1/volumes").await;
    assert_eq!(volumes.at("/volumes/0/id"), theirs.volume);
    assert_eq!(volumes.at("/volumes/0/state"), "new");
    assert_eq!(
        owner.get("/v1/tenants").await.at("/tenants/0/id"),
        theirs.tenant
    );
}

#[tokio::test]
async fn members_of_a_tenant_see_each_others_sessions_and_their_players_do_not() {
    let rig = Rig::start().await;
    let _edge = rig.edge(2).await;
    let (tenant_id, _, first) = tenant(&rig, "a").await;
    let key = |role: &str| json!({ "name": "n", "role": role, "tenant": tenant_id });
    let second = rig.admin().post_json("/v1/keys", &key("tenant")).await;
    let second = bearer(&rig, &second.at("/secret"));
    let player = rig.admin().post_json("/v1/keys", &key("player")).await;
    let player = bearer(&rig, &player.at("/secret"));
    let session = id(&player.create("demo").await);
    let path = format!("/v1/sessions/{session}");
    for (member, owned) in [(&first, "false"), (&second, "false"), (&player, "true")] {
        let shown = member.get(&path).await;
        assert_eq!((shown.status, shown.at("/owned").as_str()), (200, owned));
    }
    let of_first = id(&first.create("demo").await);
    let hidden = player.get(&format!("/v1/sessions/{of_first}")).await;
    hidden.refused(404, "not-found");
    let ended = second.delete(&path).await;
    assert_eq!(ended.status, 202, "{ended:?}");
    let noted = rig.admin().get("/v1/audit?limit=1").await;
    let of = ["/action", "/subject", "/tenant"].map(|at| noted.at(&format!("/entries/0{at}")));
    assert_eq!(of, ["session-end", &session, &tenant_id]);
}
