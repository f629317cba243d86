//! The load balancer and the relay: real programs with the example's files.

use crate::http::PATIENCE;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A program that runs for as long as the test.
pub(crate) struct Daemon(Child);

impl Daemon {
    fn run(command: &mut Command) -> Self {
        let quiet = command.stdout(Stdio::null()).stdin(Stdio::null());
        let child = quiet.spawn();
        Self(child.expect("installed by scripts/install.sh test"))
    }

    pub(crate) fn haproxy(file: &Path) -> Self {
        // Debian keeps it away from other users' PATH.
        Self::run(
            Command::new("/usr/sbin/haproxy")
                .args(["-db", "-f"])
                .arg(file),
        )
    }

    /// A relay that takes peers of this machine, which real ones do not.
    pub(crate) fn coturn(file: &Path) -> Self {
        let mut command = Command::new("turnserver");
        command
            .arg("-c")
            .arg(file)
            .args([
                "--allow-loopback-peers",
                "--log-file",
                "/dev/null",
                "--pidfile",
            ])
            .arg(file.with_extension("pid"));
        Self::run(&mut command)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether packets come back that a client of coturn's own sends through the relay at `port`.
pub(crate) async fn relays(port: u16, username: &str, credential: &str) -> bool {
    let mut client = tokio::process::Command::new("turnutils_uclient");
    client
        .args(["-y", "-c", "-n", "2", "-m", "1", "-p", &port.to_string()])
        .args(["-u", username, "-w", credential, "127.0.0.1"])
        .stdout(Stdio::null())
        .kill_on_drop(true);
    let ended = tokio::time::timeout(PATIENCE, client.status()).await;
    ended.expect("it gives up by itself").unwrap().success()
}

/// A port of the loopback address that nobody has. Others may take it before it is used.
pub(crate) fn free_port() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}
