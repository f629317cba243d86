//! Credentials for registries, with a real registry that lets nobody in without one.

use crate::edge::Edge;
use crate::http::{Answer, Client};
use crate::isolation::tenant;
use crate::jobs::{ask, edge, ended, job, traces_of};
use crate::rig::{Rig, id};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nearlight_protocol::work::PullLogin;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

const USER: &str = "ci";
pub(crate) const PASSWORD: &str = "correct-horse";
/// bcrypt of it: the one kind that the registry takes.
const HASH: &str = "$2y$05$abcdefghijklmnopqrstuuZ0Fx87Pb/Aqb0E90lfvCwzXnaFKUHpS";
const BASIC: &str = "Basic Y2k6Y29ycmVjdC1ob3JzZQ==";

/// Debian's docker-registry on loopback; it ends with this.
pub(crate) struct Registry {
    child: Child,
    pub(crate) at: SocketAddr,
    _dir: TempDir,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Registry {
    /// `None`, and a word of it, where the program is not installed.
    #[allow(clippy::print_stderr, reason = "it says that a test was skipped")]
    pub(crate) fn start() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::write(path("htpasswd"), format!("{USER}:{HASH}\n")).unwrap();
        let config = format!(
            "version: 0.1\nlog:\n  level: info\nstorage:\n  filesystem:\n    rootdirectory: {}\n\
             http:\n  addr: 127.0.0.1:0\nauth:\n  htpasswd:\n    realm: tests\n    path: {}\n",
            path("images").display(),
            path("htpasswd").display()
        );
        std::fs::write(path("config.yml"), config).unwrap();
        let spawned = Command::new("docker-registry")
            .arg("serve")
            .arg(path("config.yml"))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut child) = spawned else {
            eprintln!("skipped: docker-registry is not installed (Debian: docker-registry)");
            return None;
        };
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let at = log.by_ref().find_map(|line| {
            let line = line.unwrap();
            let (_, rest) = line.split_once("listening on ")?;
            rest.split(['"', ' ', ',']).next()?.parse().ok()
        });
        // Its log must go somewhere, or it stands still.
        std::thread::spawn(move || log.for_each(drop));
        Some(Self {
            child,
            at: at.expect("the registry says where it listens"),
            _dir: dir,
        })
    }

    fn client(&self) -> Client {
        Client::nobody(self.at).with("authorization", BASIC)
    }

    /// Puts a blob there; its digest.
    pub(crate) async fn blob(&self, repository: &str, bytes: &str) -> String {
        let uploads = format!("/v2/{repository}/blobs/uploads/");
        let begun = self.client().request("POST", &uploads, &[], "").await;
        assert_eq!(begun.status, 202, "{begun:?}");
        let location = begun.header("location").unwrap().to_owned();
        let origin = format!("http://{}", self.at);
        let path = location.strip_prefix(&origin).unwrap_or(&location);
        let digest = digest_of(bytes);
        let path = format!("{path}&digest={digest}");
        let octets = [("content-type", "application/octet-stream")];
        let put = self.client().request("PUT", &path, &octets, bytes).await;
        assert_eq!(put.status, 201, "{put:?}");
        digest
    }

    /// Puts an image there that has nothing but `config`; the digest of its manifest.
    pub(crate) async fn image(&self, repository: &str, tag: &str, config: &str) -> String {
        let of = self.blob(repository, config).await;
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": of,
                "size": config.len(),
            },
            "layers": [],
        });
        self.manifest(repository, tag, &manifest.to_string()).await
    }

    /// Puts a manifest there; its digest.
    pub(crate) async fn manifest(&self, repository: &str, tag: &str, manifest: &str) -> String {
        let path = format!("/v2/{repository}/manifests/{tag}");
        let value: Value = serde_json::from_str(manifest).unwrap();
        let kind = value["mediaType"].as_str();
        let kind = [(
            "content-type",
            kind.unwrap_or("application/vnd.oci.image.manifest.v1+json"),
        )];
        let put = self.client().request("PUT", &path, &kind, manifest).await;
        assert_eq!(put.status, 201, "{put:?}");
        digest_of(manifest)
    }
}

pub(crate) fn digest_of(text: &str) -> String {
    format!("sha256:{:x}", Sha256::digest(text))
}

pub(crate) async fn log_in(client: &Client, at: SocketAddr, password: &str) -> Answer {
    let body = json!({ "username": USER, "password": password }).to_string();
    let headers = [("content-type", "application/json")];
    let path = format!("/v1/registries/{at}");
    client.request("PUT", &path, &headers, &body).await
}

pub(crate) async fn rig_for(registry: &Registry) -> (Rig, Edge) {
    let at = registry.at.to_string();
    let rig = Rig::start_with(|config| config.private_registries = vec![at]).await;
    let edge = Box::pin(edge(&rig, 4)).await;
    (rig, edge)
}

pub(crate) fn of(image: &str) -> Value {
    job(&json!({ "image": image }))
}

#[tokio::test]
async fn a_credential_pins_and_pulls_for_its_tenant_alone_and_is_never_shown() {
    let Some(registry) = Registry::start() else {
        return;
    };
    let digest = registry.image("team/server", "2", "{}").await;
    let (rig, mut edge) = rig_for(&registry).await;
    let (_, _, client) = tenant(&rig, "a").await;
    let (_, _, other) = tenant(&rig, "b").await;
    let tagged = format!("{}/team/server:2", registry.at);
    let pinned = format!("{}/team/server@{digest}", registry.at);

    // Nobody is let in; nobody has a credential, so a digest is taken at its word.
    let refused = ask(&client, &of(&tagged)).await;
    refused.refused(400, "bad-request");
    assert!(
        refused.at("/detail").contains("registry login"),
        "{refused:?}"
    );
    assert_eq!(ask(&other, &of(&pinned)).await.status, 201);
    edge.start_next().await;

    assert_eq!(
        log_in(&client, registry.at, "wrong").await.status,
        204,
        "it is not asked"
    );
    ask(&client, &of(&tagged)).await.refused(400, "bad-request");
    assert_eq!(log_in(&client, registry.at, PASSWORD).await.status, 204);
    let created = ask(&client, &of(&tagged)).await;
    let session = id(&created);
    let started = edge.expect_start().await;
    assert_eq!(started.start.session.to_string(), session);
    assert_eq!(started.start.work.job().unwrap().image, pinned);
    let login = PullLogin {
        username: USER.to_owned(),
        password: PASSWORD.to_owned(),
    };
    assert_eq!(started.start.pull, Some(login));
    edge.ack(started.command).await;

    // A node may have it now. Who has no credential gets it neither by tag nor by digest.
    for image in [&tagged, &pinned] {
        ask(&other, &of(image)).await.refused(400, "bad-request");
    }
    assert_eq!(ask(&client, &of(&pinned)).await.status, 201);
    edge.start_next().await;

    let shown = client.get("/v1/registries").await;
    assert_eq!(shown.at("/registries/0/registry"), registry.at.to_string());
    assert_eq!(shown.at("/registries/0/username"), USER);
    let noted = rig.admin().get("/v1/audit?limit=10").await;
    assert!(noted.body.contains("registry-login"), "{noted:?}");
    let session = client.get(&format!("/v1/sessions/{session}")).await;
    for answer in [&shown, &noted, &created, &session] {
        assert!(!answer.body.contains(PASSWORD), "{answer:?}");
    }
    assert_eq!(traces_of(rig.dir.path(), PASSWORD), [""; 0]);

    // Removed: nobody gets it any more, for it may still lie on a node.
    let path = format!("/v1/registries/{}", registry.at);
    assert_eq!(client.delete(&path).await.status, 204);
    client.delete(&path).await.refused(404, "not-found");
    for caller in [&client, &other] {
        ask(caller, &of(&pinned)).await.refused(400, "bad-request");
    }
    let names = client.get("/v1/registries").await;
    assert_eq!(names.json()["registries"], json!([]));
}

#[tokio::test]
async fn a_credential_goes_with_its_job_through_a_restart_of_the_broker() {
    let Some(registry) = Registry::start() else {
        return;
    };
    registry.image("team/server", "2", "{}").await;
    let at = registry.at.to_string();
    let rig = Box::pin(Rig::start_with(|config| {
        config.private_registries = vec![at]
    }))
    .await;
    let (_, _, client) = tenant(&rig, "a").await;
    assert_eq!(log_in(&client, registry.at, PASSWORD).await.status, 204);
    let tagged = format!("{}/team/server:2", registry.at);
    let session = id(&ask(&client, &of(&tagged)).await);
    let secret = client
        .headers
        .iter()
        .find(|(name, _)| name == "authorization");
    let secret = secret.unwrap().1.clone();
    let rig = rig.restart().await;
    let client = rig.nobody().with("authorization", &secret);
    let mut edge = edge(&rig, 1).await;
    let started = edge.expect_start().await;
    let pull = started.start.pull.clone().expect("it is in the order");
    assert_eq!((&*pull.username, &*pull.password), (USER, PASSWORD));
    edge.ack(started.command).await;
    let path = format!("/v1/sessions/{session}");
    assert_eq!(client.delete(&path).await.status, 202);
    edge.stop_next(&started).await;
    ended(&client, &session).await;
    let row = rig.ledger.session(session.parse().unwrap()).await;
    assert!(row.unwrap().unwrap().0.sealed.is_none(), "it went");
}

#[tokio::test]
async fn a_credential_is_checked_before_it_is_kept() {
    let rig = Rig::start().await;
    let (_, _, client) = tenant(&rig, "a").await;
    let headers = [("content-type", "application/json")];
    for (registry, username, password) in [
        ("team", "ci", "x"),
        ("a.example", "c:i", "x"),
        ("a.example", "", "x"),
        ("a.example", "ci", ""),
        ("a.example", "ci", "x\ny"),
    ] {
        let body = json!({ "username": username, "password": password }).to_string();
        let path = format!("/v1/registries/{registry}");
        let answer = client.request("PUT", &path, &headers, &body).await;
        answer.refused(400, "bad-request");
    }
    for n in 0..33 {
        let path = format!("/v1/registries/r{n}.example");
        let body = json!({ "username": "ci", "password": "x" }).to_string();
        let answer = client.request("PUT", &path, &headers, &body).await;
        let expected = if n < 32 { 204 } else { 400 };
        assert_eq!(answer.status, expected, "{n}: {answer:?}");
    }
}

fn openssl(dir: &std::path::Path, args: &[&str]) {
    let status = Command::new("openssl").args(args).current_dir(dir).status();
    assert!(status.unwrap().success(), "openssl {args:?}");
}

async fn set_policy(client: &Client, policy: &Value) -> Answer {
    let headers = [("content-type", "application/json")];
    let body = policy.to_string();
    client
        .request("PUT", "/v1/image-policy", &headers, &body)
        .await
}

/// The private key's signature, in base64.
fn signature(dir: &std::path::Path, bytes: &[u8]) -> String {
    std::fs::write(dir.join("payload"), bytes).unwrap();
    let args = [
        "dgst", "-sha256", "-sign", "key.pem", "-out", "sig", "payload",
    ];
    openssl(dir, &args);
    STANDARD.encode(std::fs::read(dir.join("sig")).unwrap())
}

/// A manifest of one layer, beside the image; answers its digest and size.
async fn beside(
    registry: &Registry,
    tag: &str,
    layer: (&str, &str),
    more: (&str, Value),
) -> (String, usize) {
    let (kind, text) = layer;
    let config = registry.blob("team/server", "{}").await;
    let mut layer = json!({
        "mediaType": kind,
        "digest": registry.blob("team/server", text).await,
        "size": text.len(),
    });
    let mut manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": { "mediaType": "application/vnd.oci.empty.v1+json", "digest": config, "size": 2 },
    });
    match more.0 {
        "annotations" => layer["annotations"] = more.1,
        name => manifest[name] = more.1,
    }
    manifest["layers"] = json!([layer]);
    let text = manifest.to_string();
    let digest = digest_of(&text);
    let tag = if tag.is_empty() { &digest } else { tag };
    registry.manifest("team/server", tag, &text).await;
    (digest, text.len())
}

/// Signs `digest` as cosign did before version 3, with the private key in `dir`.
async fn sign(registry: &Registry, dir: &std::path::Path, digest: &str) {
    let payload = json!({
        "critical": {
            "identity": { "docker-reference": "team/server" },
            "image": { "docker-manifest-digest": digest },
            "type": "cosign container image signature",
        },
        "optional": null,
    })
    .to_string();
    let signature =
        json!({ "dev.cosignproject.cosign/signature": signature(dir, payload.as_bytes()) });
    let tag = format!("{}.sig", digest.replace(':', "-"));
    let layer = (
        "application/vnd.dev.cosign.simplesigning.v1+json",
        &*payload,
    );
    beside(registry, &tag, layer, ("annotations", signature)).await;
}

/// Has a bundle refer to `digest`, as cosign does from version 3 on where a registry has no referrers; such as its
/// signature.
async fn refer(registry: &Registry, dir: &std::path::Path, digest: &str, predicate: &str) {
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "digest": { "sha256": digest.trim_start_matches("sha256:") }, "annotations": {} }],
        "predicateType": predicate,
        "predicate": {},
    })
    .to_string();
    let kind = "application/vnd.in-toto+json";
    let signed = format!(
        "DSSEv1 {} {kind} {} {statement}",
        kind.len(),
        statement.len()
    );
    let bundle = json!({
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": { "publicKey": { "hint": "x" } },
        "dsseEnvelope": {
            "payload": STANDARD.encode(&statement),
            "payloadType": kind,
            "signatures": [{ "sig": signature(dir, signed.as_bytes()) }],
        },
    })
    .to_string();
    let of = "application/vnd.oci.image.manifest.v1+json";
    let subject = json!({ "mediaType": of, "digest": digest, "size": 1 });
    let layer = ("application/vnd.dev.sigstore.bundle.v0.3+json", &*bundle);
    let (referrer, size) = beside(registry, "", layer, ("subject", subject)).await;
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{ "mediaType": of, "digest": referrer, "size": size }],
    });
    let tag = digest.replace(':', "-");
    registry
        .manifest("team/server", &tag, &index.to_string())
        .await;
}

#[tokio::test]
async fn a_tenants_policy_says_whose_images_run_and_who_has_to_have_signed_them() {
    let Some(registry) = Registry::start() else {
        return;
    };
    let signed = registry.image("team/server", "1", "{}").await;
    let config = r#"{"os":"linux"}"#;
    let newer = registry.image("team/server", "2", config).await;
    let (rig, mut edge) = rig_for(&registry).await;
    let (_, _, client) = tenant(&rig, "a").await;
    assert_eq!(log_in(&client, registry.at, PASSWORD).await.status, 204);
    let image = |tag: &str| of(&format!("{}/team/server:{tag}", registry.at));

    let allow = |prefix: String| json!({ "allow": [prefix] });
    let other = allow("registry.example/team".to_owned());
    assert_eq!(set_policy(&client, &other).await.status, 204);
    let refused = ask(&client, &image("1")).await;
    refused.refused(400, "bad-request");
    assert!(refused.at("/detail").contains("policy"), "{refused:?}");
    let own = allow(format!("{}/team", registry.at));
    assert_eq!(set_policy(&client, &own).await.status, 204);
    assert_eq!(ask(&client, &image("1")).await.status, 201);
    edge.start_next().await;

    let keys = tempfile::tempdir().unwrap();
    let make = [
        "ecparam",
        "-name",
        "prime256v1",
        "-genkey",
        "-noout",
        "-out",
        "key.pem",
    ];
    openssl(keys.path(), &make);
    openssl(
        keys.path(),
        &["ec", "-in", "key.pem", "-pubout", "-out", "cosign.pub"],
    );
    let key = std::fs::read_to_string(keys.path().join("cosign.pub")).unwrap();
    let wanted = json!({ "key": key });
    assert_eq!(set_policy(&client, &wanted).await.status, 204);
    assert_eq!(client.get("/v1/image-policy").await.at("/key"), key);
    let unsigned = ask(&client, &image("1")).await;
    unsigned.refused(400, "bad-request");
    assert!(
        unsigned.at("/detail").contains("cosign sign"),
        "{unsigned:?}"
    );
    sign(&registry, keys.path(), &signed).await;
    assert_eq!(ask(&client, &image("1")).await.status, 201);
    edge.start_next().await;
    ask(&client, &image("2")).await.refused(400, "bad-request");
    let attests = "https://slsa.dev/provenance/v1";
    refer(&registry, keys.path(), &newer, attests).await;
    ask(&client, &image("2")).await.refused(400, "bad-request");
    let signs = "https://sigstore.dev/cosign/sign/v1";
    refer(&registry, keys.path(), &newer, signs).await;
    assert_eq!(ask(&client, &image("2")).await.status, 201);
    edge.start_next().await;

    // Another key, and what is none.
    openssl(keys.path(), &make);
    openssl(
        keys.path(),
        &["ec", "-in", "key.pem", "-pubout", "-out", "cosign.pub"],
    );
    let key = std::fs::read_to_string(keys.path().join("cosign.pub")).unwrap();
    let wanted = json!({ "key": key });
    assert_eq!(set_policy(&client, &wanted).await.status, 204);
    ask(&client, &image("1")).await.refused(400, "bad-request");
    let none = json!({ "key": "x" });
    set_policy(&client, &none).await.refused(400, "bad-request");
    ask(&client, &image("2")).await.refused(400, "bad-request");
    assert_eq!(set_policy(&client, &json!({})).await.status, 204);
    assert_eq!(ask(&client, &image("2")).await.status, 201);
}
