//! A store of objects of a test's own: rclone's server of S3's protocol, which checks signatures.

use crate::config::ObjectsSettings;
use std::path::Path;
use std::process::Command;

/// Goes with the test.
pub(in crate::receipts) struct Server {
    dir: String,
    endpoint: String,
    access_key: String,
    secret_key: String,
}

impl Server {
    /// `None`, with a word, where the caller said to go on without.
    pub(in crate::receipts) fn start() -> Option<Self> {
        if std::env::var_os("NEARLIGHT_WITHOUT_OBJECTS").is_some() {
            #[allow(clippy::print_stderr, reason = "who reads the test's output is told")]
            {
                eprintln!("skipped: NEARLIGHT_WITHOUT_OBJECTS is set");
            }
            return None;
        }
        let output = script(&["start"]);
        let mut lines = output.lines().map(str::to_owned);
        let mut line = || lines.next().unwrap();
        Some(Self {
            dir: line(),
            endpoint: line(),
            access_key: line(),
            secret_key: line(),
        })
    }

    pub(in crate::receipts) fn settings(&self, prefix: &str) -> ObjectsSettings {
        ObjectsSettings {
            endpoint: self.endpoint.clone(),
            region: "us-east-1".to_owned(),
            bucket: "receipts".to_owned(),
            prefix: prefix.to_owned(),
            access_key: self.access_key.clone(),
            secret_key: self.secret_key.clone(),
        }
    }

    pub(super) fn stop(&self) {
        script(&["stop", &self.dir]);
    }

    /// At the address that it had.
    pub(super) fn start_again(&self) {
        script(&["start", &self.dir]);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        script(&["drop", &self.dir]);
    }
}

fn script(args: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/objects.sh");
    let output = Command::new(script).args(args).output().unwrap();
    assert!(
        output.status.success(),
        "scripts/objects.sh {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}
