//! Where a test's ledger is.

use crate::ledger::LedgerAt;
use crate::ledger::dialect::Engine;
use crate::ledger::opening::migrate;
use sqlx::any::AnyConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::sync::OnceCell;

/// Where a ledger is; what is needed for it goes with the last of its places.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) at: LedgerAt,
    _dir: Option<Arc<TempDir>>,
}

impl Place {
    pub(super) fn file() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self {
            at: LedgerAt::File(dir.path().join("ledger.sqlite")),
            _dir: Some(Arc::new(dir)),
        }
    }

    /// A connection beside the ledger's own.
    pub(super) async fn connect(&self) -> sqlx::AnyConnection {
        sqlx::any::install_default_drivers();
        let url = match &self.at {
            LedgerAt::File(file) => format!("sqlite://{}", file.display()),
            LedgerAt::Postgres(url) => url.clone(),
        };
        let options: AnyConnectOptions = url.parse().unwrap();
        options.connect().await.unwrap()
    }
}

/// A PostgreSQL of the test's own.
pub(super) struct Server {
    dir: PathBuf,
    url: String,
    /// Whether [`PATTERN`] is there.
    has_pattern: OnceCell<()>,
}

/// A database with its tables, and nothing in them.
const PATTERN: &str = "pattern";

impl Server {
    /// `None`, with a word, where the machine has none and the caller said to go on without.
    pub(super) fn start() -> Option<Self> {
        if std::env::var_os("NEARLIGHT_WITHOUT_POSTGRES").is_some() {
            #[allow(clippy::print_stderr, reason = "who reads the test's output is told")]
            {
                eprintln!("skipped: NEARLIGHT_WITHOUT_POSTGRES is set");
            }
            return None;
        }
        let output = script(&["start"]);
        let mut lines = output.lines();
        Some(Self {
            dir: lines.next().unwrap().into(),
            url: lines.next().unwrap().to_owned(),
            has_pattern: OnceCell::new(),
        })
    }

    /// The same, reached as from another machine.
    pub(super) fn start_for_tcp() -> Option<Self> {
        let mut server = Self::start()?;
        let dir = server.dir.to_str().unwrap();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        script(&["stop", dir]);
        let file = server.dir.join("data/postgresql.conf");
        let text = std::fs::read_to_string(&file).unwrap();
        let tcp = format!("{text}\nlisten_addresses = '127.0.0.1'\nport = {port}\n");
        std::fs::write(&file, tcp).unwrap();
        drop(free);
        script(&["start", dir]);
        server.url = format!("postgres://nearlight@127.0.0.1:{port}/postgres?sslmode=disable");
        Some(server)
    }

    /// A new one, whose tables are made when it is opened.
    pub(super) async fn database(&self, name: &str) -> Place {
        self.ask(format!("CREATE DATABASE {}", short(name))).await;
        self.place(name)
    }

    /// A new one with its tables: a copy, in a fraction of the time that all migrations take.
    pub(super) async fn copy(&self, name: &str) -> Place {
        let made = self.has_pattern.get_or_init(|| async {
            let mut connection = self.database(PATTERN).await.connect().await;
            let migrated = migrate(Engine::Postgres, &mut connection, PATTERN).await;
            migrated.unwrap();
            connection.close().await.unwrap();
        });
        made.await;
        let name = short(name);
        self.ask(format!("CREATE DATABASE {name} TEMPLATE {PATTERN}"))
            .await;
        self.place(name)
    }

    fn place(&self, name: &str) -> Place {
        let to = format!("/{}?", short(name));
        Place {
            at: LedgerAt::Postgres(self.url.replace("/postgres?", &to)),
            _dir: None,
        }
    }

    async fn ask(&self, statement: String) {
        sqlx::any::install_default_drivers();
        let options: AnyConnectOptions = self.url.parse().unwrap();
        let mut connection = options.connect().await.unwrap();
        let done = sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection);
        done.await.unwrap();
        connection.close().await.unwrap();
    }

    /// Ends it as a crash does, and starts it again.
    pub(super) fn crash(&self) {
        let dir = self.dir.to_str().unwrap();
        script(&["kill", dir]);
        script(&["start", dir]);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        script(&["drop", self.dir.to_str().unwrap()]);
    }
}

/// Names end after 63 bytes.
fn short(name: &str) -> &str {
    &name[..name.len().min(60)]
}

fn script(args: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/postgres.sh");
    let output = Command::new(script).args(args).output().unwrap();
    assert!(
        output.status.success(),
        "scripts/postgres.sh {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}
