//! When a session can really be started, and how to say so.

use crate::client::Client;
use anyhow::{Context as _, bail};
use nearlight_protocol::api::AppList;
use nearlight_protocol::id::NodeId;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The roles answer within a second; an encoder probe on a busy machine takes several.
const DEADLINE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);

/// Waits until some app is available.
pub(super) async fn wait(url: &str, dev_key: &Path) -> anyhow::Result<()> {
    let waiting = async {
        let mut ticks = tokio::time::interval(POLL);
        loop {
            ticks.tick().await;
            let (url, dev_key) = (url.to_owned(), dev_key.to_owned());
            let polled = tokio::task::spawn_blocking(move || some_app_is_available(&url, &dev_key));
            if polled.await? {
                return Ok(());
            }
        }
    };
    match tokio::time::timeout(DEADLINE, waiting).await {
        Ok(outcome) => outcome,
        Err(_elapsed) => bail!(
            "the roles run, but no app can be started: no image of a built-in app is on this machine. \
             `make images` builds them; `nearlight node list` shows what the node has"
        ),
    }
}

/// Vets the node of this machine, which is the operator's own: jobs go to it.
pub(super) async fn vet(url: &str, dev_key: &Path, node: &NodeId) -> anyhow::Result<()> {
    let key = std::fs::read_to_string(dev_key).context("cannot read the development key")?;
    let (url, path) = (url.to_owned(), format!("/v1/nodes/{node}/vet"));
    let vetted = tokio::task::spawn_blocking(move || Client::with_key(&url, &key).order(&path));
    vetted
        .await?
        .context("the node of this machine cannot be vetted for jobs")
}

/// A request that works as it stands.
pub(super) fn curl_line(url: &str, dev_key: &Path) -> String {
    format!(
        "curl -sX POST {url}/v1/sessions -H \"Authorization: Bearer $(cat {})\" \
         -H 'Content-Type: application/json' -H \"Idempotency-Key: $(date +%s%N)\" -d '{{\"app\":\"freedoom\"}}'",
        quoted(dev_key)
    )
}

fn some_app_is_available(url: &str, dev_key: &PathBuf) -> bool {
    let Ok(key) = std::fs::read_to_string(dev_key) else {
        return false;
    };
    let list: Result<AppList, _> = Client::with_key(url, &key).get("/v1/apps");
    list.is_ok_and(|list| list.apps.iter().any(|app| app.available))
}

/// For a shell, inside double quotes' command substitution.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}
