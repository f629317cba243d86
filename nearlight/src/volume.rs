//! `nearlight volume`: what jobs have kept. A job makes its volumes by naming them.

use crate::cli::{Broker, VolumeCommand};
use crate::client::Client;
use crate::command::{CommandError, show};
use crate::{table, terminal};
use nearlight_protocol::unit::rfc3339;
use nearlight_protocol::volume::{Volume, VolumeList, VolumeState};

/// Lists, shows or deletes volumes.
///
/// # Errors
/// [`CommandError`].
pub fn volume(command: &VolumeCommand, broker: &Broker) -> Result<(), CommandError> {
    let client = Client::new(broker)?;
    match command {
        VolumeCommand::List => {
            let list: VolumeList = client.get("/v1/volumes")?;
            show(broker, &list, || listed(&list.volumes));
        }
        VolumeCommand::Show { volume } => {
            let volume = found(&client, volume)?;
            show(broker, &volume, || listed(std::slice::from_ref(&volume)));
        }
        VolumeCommand::Delete { volume } => {
            let volume = found(&client, volume)?;
            client.delete(&format!("/v1/volumes/{}", volume.id))?;
            if !broker.json {
                terminal::result(deleted(&volume));
            }
        }
    }
    Ok(())
}

fn deleted(volume: &Volume) -> String {
    let (name, node) = (&volume.name, &volume.node);
    match volume.state {
        VolumeState::Lost => {
            format!("{name} is deleted; {node} is shut out or has it no more, and wipes nothing")
        }
        VolumeState::New | VolumeState::Ready | VolumeState::Wiping => {
            format!("{name} is deleted; {node} wipes it at once, or as soon as it is back")
        }
    }
}

/// The volume of an id, or the one of a name that is not being wiped.
fn found(client: &Client, wanted: &str) -> Result<Volume, CommandError> {
    let list: VolumeList = client.get("/v1/volumes")?;
    let mut volumes = list.volumes.into_iter();
    let is_it = |volume: &Volume| {
        let is_named = volume.name == wanted && volume.state != VolumeState::Wiping;
        volume.id.as_str() == wanted || is_named
    };
    let found = volumes.find(is_it);
    found.ok_or_else(|| CommandError::NoVolume(wanted.to_owned()))
}

fn listed(volumes: &[Volume]) -> String {
    let rows: Vec<_> = volumes
        .iter()
        .map(|volume| {
            let used = volume.session.as_ref();
            let used = used.map_or_else(|| rfc3339(volume.used_ms), |by| format!("now, {by}"));
            [
                volume.id.to_string(),
                volume.name.clone(),
                volume.node.to_string(),
                format!("{} MiB", volume.size_mib),
                volume.state.name().to_owned(),
                used,
            ]
        })
        .collect();
    table::lay_out(["VOLUME", "NAME", "NODE", "SIZE", "STATE", "USED"], &rows)
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_volume_is_a_line() {
        let volume = Volume {
            id: nearlight_kit::ids::volume(),
            name: "cache".to_owned(),
            owner: "ten".to_owned(),
            node: nearlight_kit::ids::node(),
            size_mib: 512,
            state: VolumeState::Lost,
            session: None,
            created_ms: 0,
            used_ms: 0,
        };
        let text = listed(&[volume]);
        let line = text.lines().nth(1).unwrap();
        assert!(
            line.contains("cache") && line.contains("512 MiB") && line.contains("lost"),
            "{text}"
        );
        assert!(line.contains("1970-01-01"), "{text}");
    }
}
