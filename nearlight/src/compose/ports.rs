//! `ports`, and `healthcheck` where it stands in compose.

use super::place::{Finding, Place};
use super::{Reading, lay_over, yaml};
use nearlight_protocol::job::{Port, PortAccess};

const ENDPOINT: &str = "takes the place of the port of the machine: `POST /v1/sessions/ID/endpoint` says the \
    address, which asks for a ticket; `x-nearlight: {access: public}` in the long form opens it to all";

pub(super) fn ports(reading: &mut Reading<'_>, ports: &Place<'_>) -> Result<(), Finding> {
    reading.came_from("ports", ports);
    for item in ports.items()? {
        let port = match item.value {
            yaml::Value::Map(_) => long(reading, &item)?,
            yaml::Value::Null | yaml::Value::Text { .. } | yaml::Value::List(_) => {
                short(reading, &item)?
            }
        };
        reading.spec.ports.push(port);
    }
    Ok(())
}

fn named(number: u16) -> Port {
    Port {
        name: format!("p{number}"),
        port: number,
        health: None,
        access: PortAccess::default(),
    }
}

/// `[[ADDRESS:]PUBLISHED:]PORT[/PROTOCOL]`
fn short(reading: &mut Reading<'_>, item: &Place<'_>) -> Result<Port, Finding> {
    let text = item.text()?;
    let (addresses, protocol) = text.split_once('/').unwrap_or((&text, "tcp"));
    is_tcp(item, protocol)?;
    let (published, port) = match addresses.rsplit_once(':') {
        Some((published, port)) => (Some(published), port),
        None => (None, addresses),
    };
    if port.contains('-') {
        return Err(item.says("write each port of the range by itself"));
    }
    let number = port
        .parse()
        .map_err(|_| item.says(format!("`{port}` is no port")))?;
    if published.is_some() {
        reading
            .notes
            .push(item.says(format!("the endpoint {ENDPOINT}")));
    }
    Ok(named(number))
}

fn is_tcp(place: &Place<'_>, protocol: &str) -> Result<(), Finding> {
    match protocol {
        "tcp" => Ok(()),
        _ => Err(place.says("an endpoint carries HTTP over TCP, and nothing else")),
    }
}

fn long(reading: &mut Reading<'_>, item: &Place<'_>) -> Result<Port, Finding> {
    let (mut number, mut name, mut own) = (None, None, None);
    for (key, place) in item.entries()? {
        match key {
            "target" => {
                let target = u16::try_from(place.number()?).ok();
                number = Some(target.ok_or_else(|| place.says("a port is 1 to 65535"))?);
            }
            "name" => name = Some(place.text()?),
            "published" | "host_ip" => {
                place.text()?;
                reading
                    .notes
                    .push(place.says(format!("the endpoint {ENDPOINT}")));
            }
            "protocol" => is_tcp(&place, &place.text()?)?,
            "app_protocol" if matches!(place.text()?.as_str(), "http" | "http2" | "ws") => {}
            "app_protocol" => return Err(place.says("an endpoint carries HTTP")),
            "x-nearlight" => own = Some(place),
            _ if key.starts_with("x-") => {}
            _ => return Err(place.says("no port of a job has this: leave it out")),
        }
    }
    let mut port = named(number.ok_or_else(|| item.says("there is no `target`"))?);
    if let Some(name) = name {
        port.name = name;
    }
    let Some(own) = own else { return Ok(port) };
    let wrong = |error: serde_json::Error| own.says(format!("is no part of a port: {error}"));
    let mut whole = serde_json::to_value(&port).map_err(wrong)?;
    lay_over(&mut whole, own.json());
    serde_json::from_value(whole).map_err(wrong)
}

/// A command in the container says nothing to a node: it asks a port.
pub(super) fn health_check(reading: &mut Reading<'_>, check: &Place<'_>) -> Result<(), Finding> {
    let mut asked = None;
    for (name, place) in check.entries()? {
        let is_off = match (name, place.value) {
            ("disable", _) => place.truth()?,
            ("test", yaml::Value::List(_)) => {
                let words = place.words()?;
                asked = Some(words.join(" "));
                words.first().is_some_and(|first| first == "NONE")
            }
            ("test", _) => {
                asked = Some(place.text()?);
                false
            }
            _ => false,
        };
        if is_off {
            let why = "a job is ready once its first port takes a connection";
            reading.notes.push(check.says(why));
            return Ok(());
        }
    }
    let (port, path) = asked.as_deref().and_then(url).unwrap_or(("PORT", "/PATH"));
    Err(check.says(format!(
        "no command is run in a job to see how it is, and curl or wget in it is not needed: its port is \
         asked. Leave it out, and write the port as\n  - target: {port}\n    x-nearlight: {{health: \
         {{path: \"{path}\", every_s: 5, timeout_s: 5, failures: 3}}}}"
    )))
}

/// Port and path of the first address in a command.
fn url(command: &str) -> Option<(&str, &str)> {
    let (_, rest) = command.split_once("http://")?;
    let rest = rest.split([' ', '\'', '"', '|', ';']).next()?;
    let (host, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    };
    let port = host.rsplit_once(':').map_or("80", |(_, port)| port);
    let is_port = port.parse::<u16>().is_ok();
    is_port.then_some((port, path))
}
