//! What a person asks of a broker: `play`, `session`, `node`.

use crate::apps::FileError;
use crate::cli::{Broker, Play, SessionCommand};
use crate::client::{Client, ClientError};
use crate::explain::{explain, over};
use crate::inside::{self, InsideError};
use crate::job::{self, JobError};
use crate::join::JoinError;
use crate::profile::ProfileError;
use crate::table;
use crate::terminal;
use nearlight_protocol::api::{
    AppList, CreateSession, SavesWish, Session, SessionList, SessionState, StartProgress, WaitsFor,
};
use nearlight_protocol::id::{AppId, NodeId};
use nearlight_protocol::placement::Placement;
use nearlight_protocol::work::Secrets;
use serde::Serialize;

mod node;

pub use node::node;

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The broker.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A description of an app.
    #[error(transparent)]
    File(#[from] FileError),
    /// A job's file, or its secrets.
    #[error(transparent)]
    Job(#[from] JobError),
    /// The inside of a job.
    #[error(transparent)]
    Inside(#[from] InsideError),
    /// `node join`.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The profiles.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// There is no recipe of that name.
    #[error("the broker has no recipe `{id}`; it has {there}")]
    NoRecipe {
        /// What was asked for.
        id: String,
        /// Those that there are.
        there: String,
    },
    /// A recipe cannot be written down.
    #[error("the recipe cannot be written as TOML: {0}")]
    Recipe(toml::ser::Error),
    /// No such node is listed.
    #[error("there is no node {0}; `nearlight node list` has them")]
    NoNode(NodeId),
    /// This machine is none.
    #[error(
        "this machine is no node; name one, or give the --data that `nearlight node join` was given"
    )]
    NoNodeHere,
    /// A label is written otherwise.
    #[error("`{0}` is no label; write NAME=VALUE")]
    NoLabel(String),
    /// There is none of that name.
    #[error("there is no volume `{0}`; `nearlight volume list` shows what there is")]
    NoVolume(String),
    /// What a receipt is verified with.
    #[error(transparent)]
    Receipt(#[from] nearlight_verifier::AskError),
    /// The log cannot be audited.
    #[error(transparent)]
    Audit(#[from] nearlight_verifier::audit::AuditError<ClientError>),
    /// A check cannot be computed anew.
    #[error(transparent)]
    Rerun(#[from] nearlight_verifier::rerun::RerunError<ClientError>),
    /// A file cannot be read.
    #[error("cannot read {}", file.display())]
    NotRead {
        /// Which.
        file: std::path::PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file that is no receipt.
    #[error("the file is no receipt: neither an envelope nor what GET /v1/receipts/INDEX answers")]
    NoReceipt,
    /// The log has none.
    #[error("the log has no receipt `{0}`; `nearlight receipt list` shows what there is")]
    NoSuchReceipt(String),
    /// A file cannot be written.
    #[error("cannot write {}", file.display())]
    NotWritten {
        /// Which.
        file: std::path::PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// No key came.
    #[error("there is no key: give --key-file, or a line on stdin")]
    NoKey(#[source] std::io::Error),
    /// No password came.
    #[error("there is no password: give --password-file, or a line on stdin")]
    NoPassword(#[source] std::io::Error),
    /// The key of images cannot be read.
    #[error("the key that images are signed with cannot be read")]
    NoImageKey(#[source] std::io::Error),
    /// A key of no characters.
    #[error(
        "no key was given; paste it, or name a file with --key-file, or log in as a player with --device"
    )]
    EmptyKey,
    /// The catalogue does not have it.
    #[error("there is no app `{asked}`; there are: {there}")]
    NoApp {
        /// What was asked for.
        asked: String,
        /// What there is.
        there: String,
    },
    /// Somebody refused, in the browser.
    #[error("the login was refused in the browser")]
    LoginDenied,
    /// Nobody agreed in time.
    #[error("nobody agreed to the login in time; run `nearlight login --device` again")]
    LoginExpired,
    /// The broker's program does not run.
    #[error("cannot run session-broker, which belongs beside nearlight")]
    NoBroker(#[source] std::io::Error),
    /// The broker's program made no key; it said why.
    #[error("no key was made")]
    NotBootstrapped,
    /// The broker's program has not backed up, or not restored; it said why.
    #[error("session-broker did not get to its end")]
    NotKept,
    /// The session ended before it was ready.
    #[error("{id} ended before it was ready: {detail}")]
    Ended {
        /// Which.
        id: String,
        /// Why, in the broker's words.
        detail: String,
    },
    /// The event stream ended early.
    #[error(
        "the broker closed the connection; the session may still start: nearlight session list"
    )]
    StreamEnded,
}

/// Prints the address at which a browser plays an app: the lobby, with that app in view. The session is started there,
/// for it belongs to who starts it: one that an API key started is nobody's in a browser.
pub fn play(play: &Play) -> Result<(), CommandError> {
    let client = Client::new(&play.broker)?;
    let list: AppList = client.get("/v1/apps")?;
    let Some(app) = list.apps.iter().find(|app| app.id == play.app) else {
        let names: Vec<_> = list.apps.iter().map(|app| app.id.as_str()).collect();
        return Err(CommandError::NoApp {
            asked: play.app.to_string(),
            there: names.join(", "),
        });
    };
    if !app.available {
        terminal::note("no node can run it at the moment; `nearlight node list` shows them");
    }
    let url = client.url(&format!("/?app={}", app.id));
    let shown = serde_json::json!({ "app": app.id, "available": app.available, "url": url });
    show(&play.broker, &shown, || format!("{url}\n"));
    Ok(())
}

/// Lists, starts, stops and explains sessions.
pub fn session(command: &SessionCommand, broker: &Broker) -> Result<(), CommandError> {
    if let SessionCommand::Convert { file } = command {
        return job::convert(file);
    }
    let client = Client::new(broker)?;
    match command {
        // As above.
        SessionCommand::Convert { .. } => {}
        SessionCommand::List { kind, labels } => {
            let path = format!("/v1/sessions{}", filters(kind.as_deref(), labels));
            let list: SessionList = client.get(&path)?;
            let rows: Vec<_> = list.sessions.iter().map(session_row).collect();
            let head = ["SESSION", "KIND", "RUNS", "STATE", "NODE", "LABELS"];
            show(broker, &list, || table::lay_out(head, &rows));
        }
        SessionCommand::Start(start) => {
            if let Some(file) = &start.file {
                return job::start(start, file, broker);
            }
            if let Some(recipe) = &start.recipe {
                return job::start_recipe(start, recipe, broker);
            }
            if let Some(app) = &start.app {
                let session = create(&client, app, start.budget_micro)?;
                show(broker, &session, || format!("{}\n", session.id));
            }
        }
        SessionCommand::Stop { session } => {
            let ended: Session = client.delete_for(&format!("/v1/sessions/{session}"))?;
            if !broker.json {
                let is_over = matches!(ended.state, SessionState::Ended { .. });
                let how = if is_over { "is over" } else { "is ending" };
                terminal::result(format_args!("{session} {how}"));
            }
        }
        SessionCommand::Endpoint(args) => job::endpoint(args, broker)?,
        SessionCommand::Logs(args) => return inside::logs(args, broker),
        SessionCommand::Cp(args) => return inside::copy(args, broker),
        // Its status is another one: it is asked for apart.
        SessionCommand::Exec(args) => {
            inside::exec(args, broker)?;
        }
        SessionCommand::Explain { session } => {
            let path = format!("/v1/sessions/{session}");
            let placement: Result<Placement, _> = client.get(&format!("{path}/placement"));
            if broker.json {
                terminal::json(&placement?);
                return Ok(());
            }
            let shown: Session = client.get(&path)?;
            let words = match placement {
                // It is forgotten sooner than the session.
                Err(error) if error.is_not_found() => over(&shown.state).ok_or(error)?,
                placement => explain(&shown.state, &placement?),
            };
            terminal::text(&words);
        }
    }
    Ok(())
}

fn tell(broker: &Broker, what: std::fmt::Arguments<'_>) {
    if !broker.json {
        terminal::result(what);
    }
}

fn create(client: &Client, app: &AppId, budget_micro: Option<u64>) -> Result<Session, ClientError> {
    let request = CreateSession {
        app: Some(app.clone()),
        job: None,
        secrets: Secrets::default(),
        display: None,
        keyboard_layout: None,
        region: None,
        rtt: Vec::new(),
        saves: SavesWish::default(),
        budget_micro,
        price_max: None,
    };
    client.post_once("/v1/sessions", &request)
}

/// The query of a list, escaped as forms are.
fn filters(kind: Option<&str>, labels: &[String]) -> String {
    let kind = kind.map(|kind| format!("kind={kind}"));
    let labels = labels
        .iter()
        .map(|label| format!("label={}", escaped(label)));
    let all: Vec<String> = kind.into_iter().chain(labels).collect();
    match all.is_empty() {
        true => String::new(),
        false => format!("?{}", all.join("&")),
    }
}

pub(crate) fn escaped(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

fn session_row(session: &Session) -> [String; 6] {
    let node = session
        .node
        .as_ref()
        .map_or_else(|| "-".to_owned(), ToString::to_string);
    let labels = session.labels.iter();
    let labels: Vec<String> = labels
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    [
        session.id.to_string(),
        session.kind.name().to_owned(),
        match &session.app {
            Some(app) => app.to_string(),
            None => session.title.clone(),
        },
        describe(&session.state),
        node,
        labels.join(" "),
    ]
}

/// A state in a few words.
pub(crate) fn describe(state: &SessionState) -> String {
    match state {
        SessionState::Queued {
            position,
            eta_s,
            eta_most_s,
            waits_for,
        } => {
            let lack = waits_for.map_or("", lack);
            let min = |s: &u32| s.div_ceil(60);
            // What no node can run comes to no slot, whatever ends.
            let comes = *waits_for != Some(WaitsFor::Node);
            let half = eta_s
                .as_ref()
                .filter(|_| comes)
                .map(|s| format!(", about {} min", min(s)));
            let most = eta_most_s
                .as_ref()
                .filter(|_| comes)
                .map(|s| format!(", at most {} min", min(s)));
            let (half, most) = (half.unwrap_or_default(), most.unwrap_or_default());
            format!("queued, number {position}{lack}{half}{most}")
        }
        SessionState::Placing => "placing".to_owned(),
        SessionState::Starting { progress } => match progress {
            StartProgress::Pulling {
                done_bytes,
                total_bytes,
                layers_done,
                layers,
            } => {
                let of_layers = match layers {
                    0 => String::new(),
                    layers => format!(", {layers_done} of {layers} layers"),
                };
                format!(
                    "preparing: pulling {} of {} MB{of_layers}",
                    done_bytes / 1_000_000,
                    total_bytes / 1_000_000
                )
            }
            StartProgress::StartingDesktop => "starting the desktop".to_owned(),
            StartProgress::StartingApp => "starting the app".to_owned(),
            StartProgress::WaitingForPicture => "waiting for the first picture".to_owned(),
            StartProgress::StartingContainer => "starting the container".to_owned(),
            StartProgress::WaitingForHealth { restarts: 0 } => "waiting for health".to_owned(),
            StartProgress::WaitingForHealth { restarts } => {
                format!("started again ({restarts}), waiting for health")
            }
        },
        SessionState::Ready => "ready".to_owned(),
        SessionState::Playing => "playing".to_owned(),
        SessionState::Detached => "detached".to_owned(),
        SessionState::Ending { reason } => format!("ending: {}", wire_name(reason)),
        SessionState::Ended { reason, .. } => format!("ended: {}", wire_name(reason)),
    }
}

/// What a session waits for, after its place in the queue.
const fn lack(what: WaitsFor) -> &'static str {
    match what {
        WaitsFor::Node => {
            ", nothing that is attached can run it; `nearlight session explain` says why"
        }
        WaitsFor::Slot => ", every slot is taken",
        WaitsFor::Cpu => ", no node with enough CPU free",
        WaitsFor::Memory => ", no node with enough memory free",
        WaitsFor::Uplink => ", no node with enough uplink free",
        WaitsFor::Disk => ", no node with enough disk free",
        WaitsFor::Gpus => ", no node with such GPUs free",
        WaitsFor::Volume => {
            ", one of its volumes is not to be had; `nearlight session explain` says which"
        }
    }
}

/// A unit variant by its name on the wire.
pub(crate) fn wire_name(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        _ => String::new(),
    }
}

pub(crate) fn show(broker: &Broker, value: &impl Serialize, for_people: impl FnOnce() -> String) {
    if broker.json {
        terminal::json(value);
    } else {
        terminal::text(&for_people());
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use nearlight_protocol::api::EndReason;

    #[test]
    fn a_filter_is_a_query() {
        assert_eq!(filters(None, &[]), "");
        let labels = ["customer=a&b".to_owned()];
        let query = "?kind=job&label=customer%3Da%26b";
        assert_eq!(filters(Some("job"), &labels), query);
    }

    #[test]
    fn states_read_as_words() {
        let queued = SessionState::Queued {
            position: 2,
            eta_s: Some(30),
            eta_most_s: Some(600),
            waits_for: None,
        };
        assert_eq!(
            describe(&queued),
            "queued, number 2, about 1 min, at most 10 min"
        );
        let queued = SessionState::Queued {
            position: 1,
            eta_s: None,
            eta_most_s: None,
            waits_for: Some(WaitsFor::Uplink),
        };
        let words = "queued, number 1, no node with enough uplink free";
        assert_eq!(describe(&queued), words);
        let never = SessionState::Queued {
            position: 1,
            eta_s: Some(30),
            eta_most_s: Some(93_540),
            waits_for: Some(WaitsFor::Node),
        };
        let words = describe(&never);
        assert!(words.contains("session explain"), "{words}");
        assert!(!words.contains(" min"), "it never comes: {words}");
        let pulling = SessionState::Starting {
            progress: StartProgress::Pulling {
                done_bytes: 12_300_000,
                total_bytes: 40_000_000,
                layers_done: 2,
                layers: 5,
            },
        };
        assert_eq!(
            describe(&pulling),
            "preparing: pulling 12 of 40 MB, 2 of 5 layers"
        );
        let ended = SessionState::Ended {
            reason: EndReason::PlayerEnded,
            detail: String::new(),
        };
        assert_eq!(describe(&ended), "ended: player-ended");
    }
}
