//! When a session can really be started, and how to say so.

use crate::client::Client;
use anyhow::{Context as _, bail};
use nearlight_protocol::api::{AppList, NodeList};
use nearlight_protocol::id::NodeId;
use std::path::Path;
use std::time::Duration;

/// The roles answer within a second; an encoder probe on a busy machine takes several.
const DEADLINE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);

/// Waits until some app is available.
pub(super) async fn wait(url: &str, dev_key: &Path) -> anyhow::Result<()> {
    let mut last = String::new();
    let waiting = async {
        let mut ticks = tokio::time::interval(POLL);
        loop {
            ticks.tick().await;
            let (url, dev_key) = (url.to_owned(), dev_key.to_owned());
            match tokio::task::spawn_blocking(move || missing(&url, &dev_key)).await? {
                None => return Ok(()),
                Some(missing) => last = missing,
            }
        }
    };
    match tokio::time::timeout(DEADLINE, waiting).await {
        Ok(outcome) => outcome,
        Err(_elapsed) => bail!("the roles run, but no app can be started: {last}"),
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

/// A request that works as it stands, and starts nothing.
pub(super) fn curl_line(url: &str, dev_key: &Path) -> String {
    format!(
        "curl -s {url}/v1/apps -H \"Authorization: Bearer $(cat {})\"",
        quoted(dev_key)
    )
}

/// What keeps every app from being started; `None` if one can be.
fn missing(url: &str, dev_key: &Path) -> Option<String> {
    let key = match std::fs::read_to_string(dev_key) {
        Ok(key) => key,
        Err(error) => return Some(format!("{} cannot be read: {error}", dev_key.display())),
    };
    let client = Client::with_key(url, &key);
    match client.get::<AppList>("/v1/apps") {
        Err(error) => return Some(chain(&error)),
        Ok(list) if list.apps.iter().any(|app| app.available) => return None,
        Ok(list) if list.apps.is_empty() => return Some("the catalogue has none".to_owned()),
        Ok(_) => {}
    }
    match client.get::<NodeList>("/v1/nodes") {
        Err(error) => Some(chain(&error)),
        Ok(list) if list.nodes.is_empty() => {
            Some("the node of this machine has not attached; its log is above".to_owned())
        }
        Ok(_) => Some(
            "the node has no image of a built-in app, or cannot encode. `make images` builds them; \
             `nearlight doctor` says what is missing, and `nearlight node list` what the node has"
                .to_owned(),
        ),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(error.source(), |error| error.source())
        .fold(error.to_string(), |all, cause| format!("{all}: {cause}"))
}

/// For a shell, inside double quotes' command substitution.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}
