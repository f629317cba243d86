//! A way to PostgreSQL that can be cut: what a firewall does that drops packets.

use nearlight_kit::shutdown::Shutdown;
use std::path::{Path, PathBuf};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

pub(crate) const SOCKET: &str = ".s.PGSQL.5432";

/// The way. It ends with this.
pub(crate) struct Line {
    /// The directory of its socket.
    pub(crate) dir: PathBuf,
    /// What a broker is given for its ledger.
    pub(crate) url: String,
    cut: watch::Sender<bool>,
    _task: tokio::task::JoinHandle<()>,
}

impl Line {
    /// Leads to the PostgreSQL whose socket is in `to`, from a socket in `dir`.
    pub(crate) fn to(to: PathBuf, dir: &Path) -> Self {
        let own = dir.join("ledger");
        std::fs::create_dir_all(&own).unwrap();
        let listener = UnixListener::bind(own.join(SOCKET)).unwrap();
        // PostgreSQL's standbys come as another user.
        let all = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        std::fs::set_permissions(own.join(SOCKET), all).unwrap();
        let cut = watch::Sender::new(false);
        let gate = cut.clone();
        let accepting = async move {
            let mut joined = tokio::task::JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let far = UnixStream::connect(to.join(SOCKET)).await;
                let (near, far) = (near.into_split(), far.unwrap().into_split());
                joined.spawn(pump(near.0, far.1, gate.subscribe()));
                joined.spawn(pump(far.0, near.1, gate.subscribe()));
            }
        };
        Self {
            url: format!(
                "postgres://nearlight@localhost/postgres?host={}",
                own.display()
            ),
            dir: own,
            cut,
            _task: Shutdown::new().spawn(accepting),
        }
    }

    /// Lets nothing pass any more. What is on its way waits.
    pub(crate) fn cut(&self) {
        self.cut.send_replace(true);
    }

    /// Lets everything pass again.
    pub(crate) fn mend(&self) {
        self.cut.send_replace(false);
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut cut: watch::Receiver<bool>,
) {
    let mut bytes = vec![0; 16 * 1024];
    while let Ok(n @ 1..) = from.read(&mut bytes).await {
        if cut.wait_for(|cut| !cut).await.is_err() || to.write_all(&bytes[..n]).await.is_err() {
            return;
        }
    }
}
