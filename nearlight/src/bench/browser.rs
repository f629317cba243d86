//! A headless Chromium of our own, with a fresh profile that goes with it.

use super::cdp::{Cdp, CdpError};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

/// By which names Chromium is known, in the order in which they are tried.
const NAMES: [&str; 5] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
];
/// As a player's browser would be on a machine without a GPU; nothing of it changes how video or
/// input go.
const FLAGS: [&str; 9] = [
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,720",
    "--remote-debugging-port=0",
];
const START_DEADLINE: Duration = Duration::from_secs(60);
const STOP_DEADLINE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);
/// In the profile once the browser listens: a line with its port, and one with its path.
const PORT_FILE: &str = "DevToolsActivePort";

/// Why there is no browser.
#[derive(Debug, thiserror::Error)]
pub enum BrowserError {
    /// None on PATH.
    #[error("no Chromium is on PATH ({}): install one (apt-get install chromium), or name it with --browser", NAMES.join(", "))]
    Absent,
    /// It cannot be run.
    #[error("cannot run the browser {}; name another with --browser", .0.display())]
    Unrunnable(PathBuf, #[source] std::io::Error),
    /// It has ended.
    #[error("the browser {} ended at once ({status}): {last_words}", .path.display())]
    Ended {
        /// Which.
        path: PathBuf,
        /// How.
        status: std::process::ExitStatus,
        /// The end of its log.
        last_words: String,
    },
    /// It never listened.
    #[error("the browser {} did not listen for DevTools within {} s; is it a Chromium?", .0.display(), START_DEADLINE.as_secs())]
    Deaf(PathBuf),
    /// Its profile.
    #[error("cannot make a profile for the browser in {}", std::env::temp_dir().display())]
    Profile(#[source] std::io::Error),
    /// It does not answer.
    #[error(transparent)]
    Cdp(#[from] CdpError),
}

/// A running browser. Dropping it kills it.
#[derive(Debug)]
pub(super) struct Browser {
    /// What is asked of it.
    pub(super) cdp: Cdp,
    /// Product and version, as it names itself.
    pub(super) product: String,
    child: Child,
    profile: TempDir,
}

impl Browser {
    /// Starts `program`, or the first Chromium on PATH. `origin` is where the pages come from.
    pub(super) async fn launch(program: Option<&Path>, origin: &str) -> Result<Self, BrowserError> {
        let path = match program {
            Some(path) => path.to_owned(),
            None => find(std::env::var_os("PATH").as_deref()).ok_or(BrowserError::Absent)?,
        };
        let profile = tempfile::Builder::new()
            .prefix("nearlight-bench-")
            .tempdir()
            .map_err(BrowserError::Profile)?;
        let log =
            std::fs::File::create(profile.path().join("log")).map_err(BrowserError::Profile)?;
        let mut child = Command::new(&path)
            .args(FLAGS)
            .args(nix::unistd::geteuid().is_root().then_some("--no-sandbox"))
            // Reading pixels is for secure pages, and plain http is one on this machine only.
            .arg(format!(
                "--unsafely-treat-insecure-origin-as-secure={origin}"
            ))
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| BrowserError::Unrunnable(path.clone(), error))?;
        let endpoint = endpoint(&path, &mut child, profile.path()).await?;
        let mut cdp = Cdp::connect(&endpoint).await?;
        let version: Value = cdp.call(None, "Browser.getVersion", json!({})).await?;
        Ok(Self {
            product: version["product"].as_str().unwrap_or("unknown").to_owned(),
            cdp,
            child,
            profile,
        })
    }

    /// Where files for its pages may be put; they go with it.
    pub(super) fn folder(&self) -> &Path {
        self.profile.path()
    }

    /// Asks it to end, and waits until it did.
    pub(super) async fn close(mut self) {
        // It may be gone before it answers; what is left of it is killed on drop.
        let _ = self
            .cdp
            .call::<Value>(None, "Browser.close", json!({}))
            .await;
        let _ = tokio::time::timeout(STOP_DEADLINE, self.child.wait()).await;
    }
}

/// The first of [`NAMES`] in the directories of `search`.
fn find(search: Option<&std::ffi::OsStr>) -> Option<PathBuf> {
    let folders: Vec<_> = std::env::split_paths(search?).collect();
    NAMES.iter().find_map(|name| {
        folders
            .iter()
            .map(|folder| folder.join(name))
            .find(|path| path.is_file())
    })
}

async fn endpoint(path: &Path, child: &mut Child, profile: &Path) -> Result<String, BrowserError> {
    let deadline = Instant::now() + START_DEADLINE;
    while Instant::now() < deadline {
        let text = std::fs::read_to_string(profile.join(PORT_FILE)).unwrap_or_default();
        if let Some(url) = devtools_url(&text) {
            return Ok(url);
        }
        if let Ok(Some(status)) = child.try_wait() {
            let log = std::fs::read_to_string(profile.join("log")).unwrap_or_default();
            let mut lines: Vec<_> = log.lines().rev().take(3).collect();
            lines.reverse();
            return Err(BrowserError::Ended {
                path: path.to_owned(),
                status,
                last_words: lines.join("; "),
            });
        }
        sleep(POLL).await;
    }
    Err(BrowserError::Deaf(path.to_owned()))
}

/// What the port file says, once it is whole.
fn devtools_url(text: &str) -> Option<String> {
    let (port, path) = text.trim_end().split_once('\n')?;
    let port: u16 = port.parse().ok()?;
    path.starts_with('/')
        .then(|| format!("ws://127.0.0.1:{port}{path}"))
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_port_file_counts_once_it_is_whole() {
        let url = devtools_url("4711\n/devtools/browser/x").unwrap();
        assert_eq!(url, "ws://127.0.0.1:4711/devtools/browser/x");
        for half in ["", "47", "4711", "4711\n", "port\n/x"] {
            assert_eq!(devtools_url(half), None, "{half:?}");
        }
    }

    #[test]
    fn the_search_goes_by_name_before_folder() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(one.path().join("chrome"), "").unwrap();
        std::fs::write(two.path().join("chromium"), "").unwrap();
        let search = std::env::join_paths([one.path(), two.path()]).unwrap();
        assert_eq!(find(Some(&search)), Some(two.path().join("chromium")));
        assert_eq!(find(None), None);
    }

    #[tokio::test]
    async fn what_is_no_browser_is_told_as_such() {
        let no_browser = Path::new("/bin/false");
        let error = Browser::launch(Some(no_browser), "http://x")
            .await
            .unwrap_err();
        assert!(matches!(error, BrowserError::Ended { .. }), "{error}");
        let absent = Path::new("/nonexistent/chromium");
        let error = Browser::launch(Some(absent), "http://x").await.unwrap_err();
        assert!(error.to_string().contains("--browser"), "{error}");
    }
}
