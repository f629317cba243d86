//! What a tenant has outside: `registry`, the credentials that its jobs' images are pulled with, and
//! `webhook`, where it is told of its jobs.

use crate::cli::{Broker, RegistryCommand, WebhookCommand};
use crate::client::Client;
use crate::command::{CommandError, show};
use crate::{table, terminal};
use nearlight_protocol::registry::{ImagePolicy, RegistryList, RegistryLogin};
use nearlight_protocol::unit::rfc3339;
use nearlight_protocol::webhook::{Delivery, DeliveryList, SetWebhook, Webhook, WebhookSet};
use std::io::{BufRead, IsTerminal};
use std::path::Path;

/// Gives, lists and removes credentials for registries.
///
/// # Errors
/// [`CommandError`].
pub fn registry(command: &RegistryCommand, broker: &Broker) -> Result<(), CommandError> {
    let client = Client::new(broker)?;
    match command {
        RegistryCommand::Login {
            registry,
            username,
            password_file,
        } => {
            let login = RegistryLogin {
                username: username.clone(),
                password: password(registry, password_file.as_deref())?,
            };
            client.put_order(&path_of(registry), &login)?;
            said(
                broker,
                format_args!("jobs pull from {registry} as {username}"),
            );
        }
        RegistryCommand::List => {
            let list: RegistryList = client.get("/v1/registries")?;
            let rows: Vec<_> = list
                .registries
                .iter()
                .map(|of| {
                    [
                        of.registry.clone(),
                        of.username.clone(),
                        rfc3339(of.created_unix_ms),
                    ]
                })
                .collect();
            let head = ["REGISTRY", "USER", "SINCE"];
            show(broker, &list, || table::lay_out(head, &rows));
        }
        RegistryCommand::Remove { registry } => {
            client.delete(&path_of(registry))?;
            said(
                broker,
                format_args!("the credential for {registry} is gone"),
            );
        }
        RegistryCommand::Policy { allow, key, any } => {
            if *any || !allow.is_empty() || key.is_some() {
                let key = key.as_ref().map(std::fs::read_to_string).transpose();
                let policy = ImagePolicy {
                    allow: allow.clone(),
                    key: key.map_err(CommandError::NoImageKey)?,
                };
                client.put_order("/v1/image-policy", &policy)?;
            }
            let policy: ImagePolicy = client.get("/v1/image-policy")?;
            show(broker, &policy, || shown_policy(&policy));
        }
    }
    Ok(())
}

/// One part of a path, whatever was typed.
fn path_of(registry: &str) -> String {
    let escaped: String = registry
        .bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b':' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect();
    format!("/v1/registries/{escaped}")
}

fn shown_policy(policy: &ImagePolicy) -> String {
    let allowed = match policy.allow.is_empty() {
        true => "any image".to_owned(),
        false => policy.allow.join("\n"),
    };
    let key = policy
        .key
        .as_deref()
        .map(|key| format!("signed with\n{key}"));
    format!("{allowed}\n{}", key.unwrap_or_default())
}

/// From a file, or a line of stdin: no command line has it.
fn password(registry: &str, file: Option<&Path>) -> Result<String, CommandError> {
    let text = match file {
        Some(file) => std::fs::read_to_string(file).map_err(CommandError::NoPassword)?,
        None => {
            let stdin = std::io::stdin();
            if stdin.is_terminal() {
                terminal::note(format_args!(
                    "Type the password or token for {registry}, then press Enter:"
                ));
            }
            let mut line = String::new();
            let read = stdin.lock().read_line(&mut line);
            read.map_err(CommandError::NoPassword)?;
            line
        }
    };
    let password = text.trim_end_matches(['\r', '\n']);
    match password.is_empty() {
        true => Err(CommandError::NoPassword(
            std::io::ErrorKind::UnexpectedEof.into(),
        )),
        false => Ok(password.to_owned()),
    }
}

/// Sets, shows, tests and removes the endpoint of webhooks.
///
/// # Errors
/// [`CommandError`].
pub fn webhook(command: &WebhookCommand, broker: &Broker) -> Result<(), CommandError> {
    let client = Client::new(broker)?;
    match command {
        WebhookCommand::Set { endpoint } => {
            let set = SetWebhook {
                url: endpoint.clone(),
            };
            told(broker, &client.put("/v1/webhook", &set)?);
        }
        WebhookCommand::Rotate => {
            told(broker, &client.post("/v1/webhook/rotate", &())?);
        }
        WebhookCommand::Show => {
            let webhook: Webhook = client.get("/v1/webhook")?;
            show(broker, &webhook, || {
                let row = [
                    webhook.url.clone(),
                    webhook.waiting.to_string(),
                    webhook.lost.to_string(),
                    rfc3339(webhook.created_unix_ms),
                ];
                table::lay_out(["URL", "WAITING", "LOST", "SINCE"], &[row])
            });
        }
        WebhookCommand::Remove => {
            client.delete("/v1/webhook")?;
            said(broker, format_args!("nobody is told of jobs any more"));
        }
        WebhookCommand::Test => {
            let sent: Delivery = client.post("/v1/webhook/test", &())?;
            show(broker, &sent, || format!("{}\n", sent.id));
        }
        WebhookCommand::Deliveries => {
            let list: DeliveryList = client.get("/v1/webhook/deliveries")?;
            let rows: Vec<_> = list.deliveries.iter().map(delivery_row).collect();
            let head = [
                "NOTICE", "TYPE", "SESSION", "STATE", "TRIES", "AT", "PROBLEM",
            ];
            show(broker, &list, || table::lay_out(head, &rows));
        }
    }
    Ok(())
}

fn delivery_row(of: &Delivery) -> [String; 7] {
    [
        of.id.clone(),
        of.kind.clone(),
        of.session.clone().unwrap_or_else(|| "-".to_owned()),
        of.state.name().to_owned(),
        of.attempts.to_string(),
        rfc3339(of.created_unix_ms),
        of.problem.clone(),
    ]
}

/// A secret goes to stdout alone, for whoever keeps it.
fn told(broker: &Broker, set: &WebhookSet) {
    if broker.json {
        return terminal::json(set);
    }
    terminal::note(format_args!("notices of jobs go to {}", set.webhook.url));
    if let Some(secret) = &set.secret {
        terminal::note("keep the secret, it is not shown again:");
        terminal::result(secret);
    }
}

fn said(broker: &Broker, line: std::fmt::Arguments<'_>) {
    if !broker.json {
        terminal::note(line);
    }
}

#[cfg(test)]
mod test {
    use super::path_of;

    #[test]
    fn a_registry_is_one_part_of_a_path_whatever_was_typed() {
        for (typed, expected) in [
            ("127.0.0.1:5000", "127.0.0.1:5000"),
            ("../keys", "..%2Fkeys"),
            ("a b?c#\u{1b}", "a%20b%3Fc%23%1B"),
        ] {
            assert_eq!(path_of(typed), format!("/v1/registries/{expected}"));
        }
    }
}
