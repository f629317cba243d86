//! `nearlight checker`: who may check this network's nodes.

use crate::cli::{Broker, CheckerCommand};
use crate::client::Client;
use crate::command::{CommandError, show};
use crate::{table, terminal};
use nearlight_protocol::checker::{
    AdmitChecker, Checker, CheckerList, GiveLicence, Licence, LicenceList, NewCheckerToken,
};
use nearlight_protocol::unit::rfc3339;
use serde::Serialize;

/// Both lists, as `--json` has them.
#[derive(Debug, Serialize)]
struct Listed {
    checkers: Vec<Checker>,
    licences: Vec<Licence>,
}

/// Lets checkers in, lists them and shuts them out.
///
/// # Errors
/// [`CommandError`].
pub fn checker(command: &CheckerCommand, broker: &Broker) -> Result<(), CommandError> {
    let client = Client::new(broker)?;
    match command {
        CheckerCommand::Admit {
            operator,
            licence,
            ttl,
        } => {
            let wanted = AdmitChecker {
                operator: operator.clone(),
                licence: licence.clone(),
                expires_s: Some(*ttl),
            };
            admit(&client, broker, &wanted)?;
        }
        CheckerCommand::Licence { key, owner } => {
            let wanted = GiveLicence {
                key: key.clone(),
                owner: owner.clone(),
            };
            let given: Licence = client.post("/v1/licences", &wanted)?;
            show(broker, &given, || format!("licence {}\n", given.id));
        }
        CheckerCommand::List => list(&client, broker)?,
        CheckerCommand::Revoke { id } => revoke(&client, broker, id)?,
    }
    Ok(())
}

fn admit(client: &Client, broker: &Broker, wanted: &AdmitChecker) -> Result<(), CommandError> {
    let made: NewCheckerToken = client.post("/v1/checker-tokens", wanted)?;
    if !broker.json {
        let minutes = wanted.expires_s.unwrap_or_default().div_ceil(60);
        terminal::note(format_args!(
            "run this where the checker's key is, within {minutes} min; it works once:"
        ));
    }
    let delegation = match wanted.licence {
        Some(_) => " --delegation DELEGATION",
        None => "",
    };
    show(broker, &made, || {
        let url = client.url("");
        format!("checker join {url} --token {}{delegation}\n", made.token)
    });
    Ok(())
}

fn list(client: &Client, broker: &Broker) -> Result<(), CommandError> {
    let CheckerList { checkers } = client.get("/v1/checkers")?;
    let LicenceList { licences } = client.get("/v1/licences")?;
    let listed = Listed { checkers, licences };
    show(broker, &listed, || {
        let rows: Vec<_> = listed.checkers.iter().map(row).collect();
        let head = ["CHECKER", "OPERATOR", "LICENCE", "SINCE", "STATE"];
        let mut text = table::lay_out(head, &rows);
        if !listed.licences.is_empty() {
            let rows: Vec<_> = listed.licences.iter().map(licence_row).collect();
            text += &table::lay_out(["LICENCE", "OWNER", "SINCE", "STATE"], &rows);
        }
        text
    });
    Ok(())
}

fn row(of: &Checker) -> [String; 5] {
    let state = match (of.revoked_s, of.running) {
        (Some(_), _) => "shut out",
        (None, true) => "running",
        (None, false) => "silent",
    };
    [
        of.key_id.clone(),
        of.operator.clone(),
        of.licence
            .as_deref()
            .and_then(|id| id.get(..16))
            .unwrap_or("-")
            .to_owned(),
        rfc3339(of.joined_s * 1000),
        state.to_owned(),
    ]
}

fn licence_row(of: &Licence) -> [String; 4] {
    let state = match of.revoked_unix_ms {
        Some(_) => "taken back",
        None => "holds",
    };
    [
        of.id.clone(),
        of.owner.clone(),
        rfc3339(of.created_unix_ms),
        state.to_owned(),
    ]
}

/// Whichever of the two the id is of.
fn revoke(client: &Client, broker: &Broker, id: &str) -> Result<(), CommandError> {
    let LicenceList { licences } = client.get("/v1/licences")?;
    let is_licence = licences.iter().any(|of| of.id == id);
    // A key may be both: then it is the checker that is meant first.
    let CheckerList { checkers } = client.get("/v1/checkers")?;
    let is_checker = checkers
        .iter()
        .any(|of| of.key_id == id && of.revoked_s.is_none());
    let what = match (is_checker, is_licence) {
        (false, true) => "licences",
        _ => "checkers",
    };
    client.delete(&format!("/v1/{what}/{id}"))?;
    if !broker.json {
        let said = match what {
            "licences" => "is taken back, with every checker that acts for it",
            _ => "is shut out for good",
        };
        terminal::result(format_args!("{id} {said}"));
    }
    Ok(())
}
