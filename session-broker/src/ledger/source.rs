//! Where the ledger is, and how to connect to it so that what it acks is durable.

use super::OpenError;
use super::dialect::Engine;
use sqlx::any::AnyConnectOptions;
use sqlx::{AnyConnection, ConnectOptions, Row};
use std::path::{Path, PathBuf};

/// WAL with FULL: what was acked survives a power cut. What a statement could have to undo stays in memory
/// and not in a file of its own, and the cache holds the pages of a group of changes: else they are written twice.
/// Sixteen times SQLite's usual pages between two checkpoints of the writer's own: [`super::checkpoints`] copies before.
const SQLITE_WRITER: &str = "
    PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 5000;
    PRAGMA temp_store = MEMORY; PRAGMA cache_size = -32768; PRAGMA wal_autocheckpoint = 16000";

/// A broker that hangs within a transaction holds up no other one, and waits for none for ever. It says
/// its next statement within milliseconds, or it is not there: what it has locked (its own row, which
/// whoever gives it up must change, and those of users that ask everywhere) is free before its peers
/// give it up (`peers.dead_s`, 3 s at least). Who starts waits for longer than that for whoever changes the tables, or
/// had its name and hangs; a writer at work does not ([`super::tx::Tx::wait_briefly`]).
const POSTGRES_WRITER: &str = "
    SET idle_in_transaction_session_timeout = '2s';
    SET lock_timeout = '10s';
    SET statement_timeout = '30s'";

/// While a broker that hangs has the engine waiting for it to take an answer, neither of the times above ends its
/// transaction: the engine is in no statement, and not idle. Its system ends the connection.
const POSTGRES_UNREAD: &str = "SET tcp_user_timeout = '5s'";

/// The writer finds single rows by their keys, whatever the planner last heard of the tables' sizes;
/// and plans each statement once. What it is to avoid it takes for dear beyond measure where there is no other way,
/// and would compile such a statement anew at each run. Engines that only speak PostgreSQL's protocol may know these not.
const POSTGRES_PLANNER: [&str; 7] = [
    "SET plan_cache_mode = force_generic_plan",
    "SET enable_seqscan = off",
    "SET enable_hashjoin = off",
    "SET enable_mergejoin = off",
    "SET enable_bitmapscan = off",
    "SET enable_material = off",
    "SET jit = off",
];

/// Where the ledger is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LedgerAt {
    /// A SQLite file.
    File(PathBuf),
    /// The URL of a database that speaks PostgreSQL's protocol.
    Postgres(String),
}

impl LedgerAt {
    /// From what an operator wrote: nothing, for the file in `data`, or a URL.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(written: &str, data: &Path) -> Result<Self, String> {
        if written.is_empty() {
            return Ok(Self::File(data.join("ledger.sqlite")));
        }
        let is_postgres = ["postgres://", "postgresql://"]
            .iter()
            .any(|scheme| written.starts_with(scheme));
        if !is_postgres {
            return Err(
                "is no URL of a ledger: leave it empty for a file in `data`, or write \
                 postgres://USER:PASSWORD@HOST/DATABASE"
                    .to_owned(),
            );
        }
        match written.parse::<AnyConnectOptions>() {
            Ok(_) => Ok(Self::Postgres(written.to_owned())),
            Err(error) => Err(format!("is no URL: {error}")),
        }
    }
}

impl LedgerAt {
    /// Where it is, for people: a whole path, or the address without its password.
    pub fn name(&self) -> String {
        match self {
            Self::File(file) => {
                let whole = std::path::absolute(file);
                whole.as_ref().unwrap_or(file).display().to_string()
            }
            Self::Postgres(_) => {
                Source::new(self).map_or_else(|_| "postgres".to_owned(), |of| of.name)
            }
        }
    }
}

/// How to connect.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) engine: Engine,
    /// For people: without the password.
    pub(super) name: String,
    write: AnyConnectOptions,
    /// For connections that only read.
    pub(super) read: AnyConnectOptions,
}

impl Source {
    pub(super) fn new(at: &LedgerAt) -> Result<Self, OpenError> {
        sqlx::any::install_default_drivers();
        let parse = |name: &str, url: &str| {
            let options: Result<AnyConnectOptions, _> = url.parse();
            let options = options.map_err(|source| OpenError::Open {
                name: name.to_owned(),
                source,
            });
            options.map(ConnectOptions::disable_statement_logging)
        };
        match at {
            LedgerAt::File(file) => {
                let name = file.display().to_string();
                // Of a path, these alone mean something else in a URL.
                let path = name
                    .replace('%', "%25")
                    .replace('?', "%3F")
                    .replace('#', "%23");
                let write = parse(&name, &format!("sqlite://{path}?mode=rwc"))?;
                let read = parse(&name, &format!("sqlite://{path}?mode=ro"))?;
                let engine = Engine::Sqlite;
                Ok(Self {
                    engine,
                    name,
                    write,
                    read,
                })
            }
            LedgerAt::Postgres(url) => {
                let mut write = parse("postgres", url)?;
                if !url.contains("application_name=") {
                    write
                        .database_url
                        .query_pairs_mut()
                        .append_pair("application_name", "nearlight");
                }
                let mut shown = write.database_url.clone();
                shown.set_query(None);
                // A URL without a host has no password to hide.
                let _ = shown.set_password(None);
                Ok(Self {
                    engine: Engine::Postgres,
                    name: shown.to_string(),
                    read: write.clone(),
                    write,
                })
            }
        }
    }

    /// A connection that writes.
    pub(super) async fn connect(&self) -> Result<AnyConnection, sqlx::Error> {
        let mut connection = self.write.connect().await?;
        match self.engine {
            Engine::Sqlite => {
                sqlx::raw_sql(SQLITE_WRITER)
                    .execute(&mut connection)
                    .await?;
            }
            Engine::Postgres => {
                sqlx::raw_sql(POSTGRES_WRITER)
                    .execute(&mut connection)
                    .await?;
                for setting in POSTGRES_PLANNER.into_iter().chain([POSTGRES_UNREAD]) {
                    if let Err(error) = sqlx::raw_sql(setting).execute(&mut connection).await {
                        tracing::debug!(setting, %error, "not known to the ledger's engine");
                    }
                }
            }
        }
        Ok(connection)
    }

    /// What the engine does to make a commit durable, setting by setting.
    pub(super) async fn durability(
        &self,
        connection: &mut AnyConnection,
    ) -> Result<Durability, sqlx::Error> {
        let settings: &[(&'static str, &'static str)] = match self.engine {
            Engine::Sqlite => &[
                ("journal_mode", "PRAGMA journal_mode"),
                ("synchronous", "PRAGMA synchronous"),
            ],
            Engine::Postgres => &[
                ("fsync", "SHOW fsync"),
                ("synchronous_commit", "SHOW synchronous_commit"),
                ("full_page_writes", "SHOW full_page_writes"),
                (STANDBYS, "SHOW synchronous_standby_names"),
            ],
        };
        let mut found = Vec::new();
        for (name, statement) in settings {
            match sqlx::query(*statement).fetch_one(&mut *connection).await {
                Ok(row) => found.push((*name, text(&row))),
                // An engine that has no such setting.
                Err(sqlx::Error::Database(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Durability(found))
    }
}

/// The standbys that a commit waits for.
const STANDBYS: &str = "synchronous_standby_names";

/// What the engine does to make a commit durable, setting by setting.
#[derive(Debug)]
pub(super) struct Durability(Vec<(&'static str, String)>);

impl Durability {
    /// The settings that decide it, and what each gives up, if it does.
    pub(super) fn judged(&self) -> impl Iterator<Item = (&'static str, &str, Option<GivenUp>)> {
        let has_standbys = self
            .0
            .iter()
            .any(|(name, of)| *name == STANDBYS && !of.is_empty());
        let settings = self.0.iter().filter(|(name, _)| *name != STANDBYS);
        settings
            .map(move |(name, value)| (*name, value.as_str(), given_up(name, value, has_standbys)))
    }
}

/// What was acked and can be lost all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum GivenUp {
    #[error("a power cut can take back sessions that were acked")]
    Power,
    #[error("what was acked is on the disk of no standby yet, and can be lost with the primary")]
    Standby,
}

fn text(row: &sqlx::any::AnyRow) -> String {
    row.try_get::<String, _>(0)
        .or_else(|_| row.try_get::<i64, _>(0).map(|n| n.to_string()))
        .unwrap_or_default()
}

fn given_up(setting: &str, value: &str, has_standbys: bool) -> Option<GivenUp> {
    let is_off = match setting {
        "synchronous" => matches!(value, "0" | "1"),
        "journal_mode" => !value.eq_ignore_ascii_case("wal"),
        _ => value == "off",
    };
    let is_here_alone =
        setting == "synchronous_commit" && matches!(value, "local" | "remote_write");
    match (is_off, is_here_alone && has_standbys) {
        (true, _) => Some(GivenUp::Power),
        (false, true) => Some(GivenUp::Standby),
        (false, false) => None,
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_ledger_says_where_it_is_and_no_password() {
        let at = LedgerAt::parse(
            "postgres://me:hunter2@db.example/nl?sslmode=require",
            ".".as_ref(),
        );
        assert_eq!(at.unwrap().name(), "postgres://me@db.example/nl");
        let file = LedgerAt::parse("", "data".as_ref()).unwrap().name();
        assert!(
            file.starts_with('/') && file.ends_with("/data/ledger.sqlite"),
            "{file}"
        );
    }

    #[test]
    fn a_ledger_is_a_file_unless_a_url_says_otherwise() {
        let parse = |text| LedgerAt::parse(text, Path::new("/d"));
        assert_eq!(
            parse("").unwrap(),
            LedgerAt::File("/d/ledger.sqlite".into())
        );
        let url = "postgres://nearlight@db/nearlight";
        assert_eq!(parse(url).unwrap(), LedgerAt::Postgres(url.to_owned()));
        for wrong in ["mysql://a/b", "ledger.sqlite", "postgres://[/"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        let at = LedgerAt::Postgres("postgres://u:secret@db/n?sslmode=require".to_owned());
        let source = Source::new(&at).unwrap();
        assert_eq!(source.name, "postgres://u@db/n");
    }

    #[test]
    fn a_setting_that_gives_up_durability_is_known() {
        for (setting, value) in [
            ("fsync", "off"),
            ("full_page_writes", "off"),
            ("synchronous_commit", "off"),
            ("synchronous", "1"),
            ("journal_mode", "delete"),
        ] {
            let judged = [true, false].map(|standbys| given_up(setting, value, standbys));
            assert_eq!(judged, [Some(GivenUp::Power); 2], "{setting} {value}");
        }
        for (setting, value) in [
            ("synchronous_commit", "on"),
            ("synchronous_commit", "remote_apply"),
            ("synchronous", "2"),
            ("journal_mode", "wal"),
        ] {
            let judged = [true, false].map(|standbys| given_up(setting, value, standbys));
            assert_eq!(judged, [None; 2], "{setting} {value}");
        }
    }

    /// Where there is a synchronous standby, acked means: on two disks.
    #[test]
    fn a_commit_that_waits_for_no_standbys_disk_is_not_durable_where_there_are_standbys() {
        let judged = |value: &str, standbys: &str| {
            let settings = vec![
                ("synchronous_commit", value.to_owned()),
                (STANDBYS, standbys.to_owned()),
            ];
            let judged = Durability(settings);
            judged
                .judged()
                .map(|(name, _, lost)| (name, lost))
                .collect::<Vec<_>>()
        };
        for value in ["local", "remote_write"] {
            let lost = Some(GivenUp::Standby);
            assert_eq!(
                judged(value, "ANY 1 (b, c)"),
                [("synchronous_commit", lost)]
            );
            assert_eq!(judged(value, ""), [("synchronous_commit", None)]);
        }
        assert_eq!(judged("on", "b"), [("synchronous_commit", None)]);
    }
}
