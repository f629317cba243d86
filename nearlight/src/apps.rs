//! What operators do with apps: `app check`, `add`, `list`, `show`, `roll` and `rollback`.

use crate::cli::{AppCommand, Broker};
use crate::client::Client;
use crate::command::{CommandError, show, wire_name};
use crate::{table, terminal};
use nearlight_kit::manifest::{self, Fault};
use nearlight_protocol::api::{AppList, Node, NodeList};
use nearlight_protocol::app::AppSpec;
use nearlight_protocol::control::ImageFault;
use nearlight_protocol::versions::{AppVersion, AppVersions, RollOut};
use std::path::{Path, PathBuf};

/// Why a file is not taken.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is no app; everything that is wrong, one a line.
    #[error("{}", listed(path, faults))]
    NoApp {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        faults: Vec<Fault>,
    },
}

/// As compilers write it, so that editors find the place.
fn listed(path: &Path, faults: &[Fault]) -> String {
    let path = path.display();
    let line = |fault: &Fault| match fault.line {
        Some(line) => {
            let whole = fault.to_string();
            let said = whole.split_once(": ").map_or("", |(_, said)| said);
            format!("{path}:{line}: {said}")
        }
        None => format!("{path}: {fault}"),
    };
    let lines: Vec<String> = faults.iter().map(line).collect();
    lines.join("\n")
}

/// Checks, adds, lists, shows, rolls out and takes back.
///
/// # Errors
/// [`CommandError`].
pub fn app(command: &AppCommand, broker: &Broker) -> Result<(), CommandError> {
    match command {
        AppCommand::List => list(broker),
        AppCommand::Check { file } => check(broker, file),
        AppCommand::Add { file } => {
            let app = read(file)?;
            let added: AppVersion = Client::new(broker)?.post("/v1/apps", &app)?;
            show(broker, &added, || {
                let state = wire_name(&added.state);
                format!("{} version {} ({state})\n", app.id, added.version)
            });
            Ok(())
        }
        AppCommand::Show { app } => {
            let client = Client::new(broker)?;
            let shown = client.get(&format!("/v1/apps/{app}/versions"))?;
            let nodes: NodeList = client.get("/v1/nodes")?;
            show(broker, &shown, || {
                format!("{}{}", versions(&shown), faults(&shown, &nodes))
            });
            Ok(())
        }
        AppCommand::Roll {
            app,
            version,
            metros,
            all: _,
        } => {
            let body = RollOut {
                version: *version,
                metros: metros.clone(),
            };
            let path = format!("/v1/apps/{app}/rollout");
            let shown: AppVersions = Client::new(broker)?.put(&path, &body)?;
            show(broker, &shown, || versions(&shown));
            Ok(())
        }
        AppCommand::Rollback { app } => {
            let client = Client::new(broker)?;
            client.delete(&format!("/v1/apps/{app}/rollout"))?;
            let shown = client.get(&format!("/v1/apps/{app}/versions"))?;
            show(broker, &shown, || versions(&shown));
            Ok(())
        }
    }
}

/// The description in a file. What is only unwise is said on stderr.
fn read(file: &Path) -> Result<AppSpec, FileError> {
    let text = std::fs::read_to_string(file).map_err(|source| FileError::Read {
        path: file.to_owned(),
        source,
    })?;
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    manifest::read(&stem, &text).map_err(|faults| FileError::NoApp {
        path: file.to_owned(),
        faults,
    })
}

fn check(broker: &Broker, file: &Path) -> Result<(), CommandError> {
    let app = read(file)?;
    if !app.launch.image.contains("@sha256:") {
        terminal::note(format_args!(
            "{}: `launch.image` names no digest: nodes run whatever `{}` is when they fetch it",
            file.display(),
            app.launch.image
        ));
    }
    show(broker, &app, || format!("{}: fine\n", file.display()));
    Ok(())
}

fn list(broker: &Broker) -> Result<(), CommandError> {
    let list: AppList = Client::new(broker)?.get("/v1/apps")?;
    let row = |app: &nearlight_protocol::api::App| {
        let available = if app.available { "yes" } else { "no" };
        [
            app.id.to_string(),
            app.title.clone(),
            available.to_owned(),
            wire_name(&app.gpu),
        ]
    };
    let rows: Vec<_> = list.apps.iter().map(row).collect();
    show(broker, &list, || {
        table::lay_out(["APP", "TITLE", "AVAILABLE", "GPU"], &rows)
    });
    Ok(())
}

fn versions(app: &AppVersions) -> String {
    let metros = |version: u32| {
        let of = app.staged.iter().filter(|s| s.version == version);
        let names: Vec<&str> = of.map(|staged| staged.metro.as_str()).collect();
        names.join(",")
    };
    let row = |version: &AppVersion| {
        let by = version.added_by.clone();
        [
            version.version.to_string(),
            wire_name(&version.state),
            metros(version.version),
            version.image.clone(),
            version.digest.chars().take(12).collect(),
            by.unwrap_or_else(|| "files".to_owned()),
        ]
    };
    let rows: Vec<_> = app.versions.iter().map(row).collect();
    let head = ["VERSION", "STATE", "METROS", "IMAGE", "DIGEST", "ADDED BY"];
    table::lay_out(head, &rows)
}

/// Which nodes could not fetch an image of the app, one a line.
fn faults(app: &AppVersions, nodes: &NodeList) -> String {
    let is_of_app = |fault: &&ImageFault| app.versions.iter().any(|v| v.image == fault.image);
    let of_node = |node: &Node| {
        let faults = node.image_faults.iter().filter(is_of_app);
        faults
            .map(|f| {
                table::cell_of(&format!(
                    "{} cannot fetch {}: {}",
                    node.name, f.image, f.detail
                )) + "\n"
            })
            .collect::<String>()
    };
    nodes.nodes.iter().map(of_node).collect()
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn what_is_wrong_is_said_line_by_line() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("demo.toml");
        let text = "id = \"demo\"\ntitle = \"\"\nsummary = \"\"\npicture = \"\"\nshelf = \"game\"\n\
                    [launch]\nimage = \"a b\"\ncommand = [\"/x\"]\n";
        std::fs::write(&file, text).unwrap();
        let said = read(&file).unwrap_err().to_string();
        let path = file.display();
        let expected = format!(
            "{path}:2: `title` is empty\n{path}:7: `launch.image` has a space or a control character"
        );
        assert_eq!(said, expected);
    }
}
