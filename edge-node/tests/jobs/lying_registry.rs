//! Registries that send other layers than they promised: a tenant names the registry, and what comes is its word.

use super::support::jobs::{docker, end_of, image, served, site, started, stopped};
use super::support::registry::{Registry, is_here};
use axum::body::{Body, Bytes};
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures_util::stream;
use nearlight_protocol::api::EndReason;
use nix::sys::statvfs::statvfs;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::convert::Infallible;
use std::fmt::Write as _;
use std::io;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

const MIB: u64 = 1024 * 1024;
/// What may be written of an endless layer before the disk counts as full, MiB.
const ROOM_MIB: u64 = 256;
const CONFIG: &[u8] = br#"{"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":["sha256:0000000000000000000000000000000000000000000000000000000000000000"]}}"#;
const SCHEMA: &str = "application/vnd.docker.distribution.manifest.v2+json";

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{:x}", Sha256::digest(bytes))
}

/// The layer that a repository promises. The engine fetches one layer once, whoever waits for it.
fn promised(name: &str) -> Vec<u8> {
    format!("the layer of {name}").into_bytes()
}

fn manifest(name: &str) -> Vec<u8> {
    let promised = promised(name);
    let layer = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    let config = "application/vnd.docker.container.image.v1+json";
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": SCHEMA,
        "config": { "mediaType": config, "size": CONFIG.len(), "digest": digest(CONFIG) },
        "layers": [{ "mediaType": layer, "size": promised.len(), "digest": digest(&promised) }],
    });
    serde_json::to_vec(&manifest).unwrap()
}

/// What comes of it.
fn layer(name: &str) -> Response {
    match name {
        "endless" => {
            let piece = Bytes::from(vec![7; 1 << 20]);
            let pieces = stream::repeat_with(move || Ok::<_, Infallible>(piece.clone()));
            Body::from_stream(pieces).into_response()
        }
        "wrong" => b"something else altogether.".into_response(),
        other => unreachable!("{other}"),
    }
}

async fn asked(Path(path): Path<String>) -> Response {
    let parts: Vec<&str> = path.split('/').collect();
    match parts[..] {
        [name, "manifests", _] => {
            let manifest = manifest(name);
            let digest = digest(&manifest);
            let headers = [("content-type", SCHEMA), ("docker-content-digest", &digest)];
            (headers, manifest).into_response()
        }
        [_, "blobs", wanted] if wanted == digest(CONFIG) => CONFIG.into_response(),
        [name, "blobs", wanted] if wanted == digest(&promised(name)) => layer(name),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

/// Starts the registry and answers where it is.
async fn lying() -> (String, JoinSet<io::Result<()>>) {
    let router = Router::new()
        .route("/v2/", get(async || Json(json!({}))))
        .route("/v2/{*path}", get(asked));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap().to_string();
    let mut serving = JoinSet::new();
    serving.spawn(async move { axum::serve(listener, router).await });
    (at, serving)
}

#[tokio::test]
async fn a_layer_that_never_ends_or_is_another_ends_its_own_session_alone() {
    let Some(mut site) = site().await else { return };
    let Some(mut registry) = Registry::start() else {
        return;
    };
    let (lies, _serving) = lying().await;
    let store = docker(&["info", "--format", "{{.DockerRootDir}}"]).unwrap();
    let free = statvfs(store.as_str()).unwrap();
    let free_mib = free.blocks_available() * free.fragment_size() / MIB;
    let keep_mib = 2 * (free_mib - ROOM_MIB);
    write!(
        site.config,
        "[images]\ndisk_mib = 0\nfree_mib = {keep_mib}\n"
    )
    .unwrap();
    let _agent = site.agent();
    let mut edge = site.broker.attach().await;

    // What the tests' images are committed with is another program.
    let mut spec = served();
    spec.command = ["serve", "8000"].map(str::to_owned).into();
    spec.image = registry.image_on(&image(None), "neighbour", 1024);
    registry.let_through(0);
    let neighbour = started(&site, &mut edge, 0, 1, spec.clone()).await;
    for (epoch, name, words) in [
        (1, "endless", "it is too large for this node"),
        (2, "wrong", "filesystem layer verification failed"),
    ] {
        spec.image = format!("{lies}/{name}@{}", digest(&manifest(name)));
        let session = started(&site, &mut edge, 1, epoch, spec.clone()).await;
        let (reason, detail) = end_of(&mut edge, &session).await;
        assert_eq!(reason, EndReason::ImageMissing, "{name}: {detail}");
        assert!(detail.contains(words), "{name}: {detail}");
        assert!(!is_here(&spec.image));
    }
    registry.let_through(u64::MAX);
    edge.wait_ready(&neighbour).await;
    stopped(&mut edge, &neighbour).await;
}
