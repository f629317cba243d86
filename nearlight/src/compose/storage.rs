//! `volumes` and `secrets`: what the service has of those that the file declares.

use super::place::{Finding, Place};
use super::{ComposeSecret, Reading, SecretSource, yaml};
use nearlight_protocol::job::Volume;

const BIND: &str = "nothing of this machine is there: bake it into the image, copy it with `nearlight session \
    cp`, give it as a secret, or name a volume";
const SIZE: &str = "a volume has a size: write `x-nearlight: {size_mib: 4096}` under it";

pub(super) fn volumes(reading: &mut Reading<'_>, volumes: &Place<'_>) -> Result<(), Finding> {
    reading.came_from("volumes", volumes);
    for item in volumes.items()? {
        let (source, path) = match item.value {
            yaml::Value::Map(_) => long_volume(&item)?,
            yaml::Value::Null | yaml::Value::Text { .. } | yaml::Value::List(_) => {
                short_volume(&item)?
            }
        };
        let volume = volume(reading, &item, &source, path)?;
        reading.spec.volumes.push(volume);
    }
    Ok(())
}

/// `NAME:PATH[:rw]`
fn short_volume(item: &Place<'_>) -> Result<(String, String), Finding> {
    let text = item.text()?;
    let mut parts = text.split(':');
    let source = parts.next().unwrap_or_default();
    if source.starts_with(['/', '.', '~']) && parts.clone().next().is_some() {
        return Err(item.says(BIND));
    }
    let Some(path) = parts.next() else {
        return Err(item.says(
            "a directory without a name goes with its job: leave it out, or write NAME:/PATH",
        ));
    };
    match parts.next() {
        None | Some("rw") => Ok((source.to_owned(), path.to_owned())),
        Some(mode) => Err(item.says(format!(
            "a volume can be written to; `{mode}` is nothing that it can be: leave it out"
        ))),
    }
}

fn long_volume(item: &Place<'_>) -> Result<(String, String), Finding> {
    let (mut source, mut path) = (None, None);
    for (name, place) in item.entries()? {
        match name {
            "type" => match place.text()?.as_str() {
                "volume" => {}
                "bind" => return Err(place.says(BIND)),
                _ => return Err(place.says(super::service::instead("tmpfs"))),
            },
            "source" => source = Some(place.text()?),
            "target" => path = Some(place.text()?),
            "read_only" if !place.truth()? => {}
            _ => return Err(place.says("no volume of a job has this: leave it out")),
        }
    }
    let source = source.ok_or_else(|| item.says("it has no name: write `source`"))?;
    let path = path.ok_or_else(|| item.says("there is no `target`"))?;
    Ok((source, path))
}

/// A volume as the file declares it.
fn volume(
    reading: &mut Reading<'_>,
    item: &Place<'_>,
    source: &str,
    path: String,
) -> Result<Volume, Finding> {
    let missing = || item.says(format!("there is no `{source}` under the file's `volumes`"));
    let declared = reading.volumes.remove(source).ok_or_else(missing)?;
    let (mut name, mut size_mib) = (source.to_owned(), None);
    for (key, place) in declared.entries()? {
        match key {
            "name" => name = place.text()?,
            "driver" if place.text()? == "local" => {}
            "x-nearlight" => {
                for (key, place) in place.entries()? {
                    match key {
                        "size_mib" => size_mib = Some(place.number()?),
                        _ => return Err(place.says("a volume has a `size_mib` here")),
                    }
                }
            }
            "external" if !place.truth()? => {}
            "external" => {
                return Err(place.says(
                    "a volume is the tenant's, and there for each of its jobs that names it: leave it out",
                ));
            }
            _ if key.starts_with("x-") => {}
            _ => return Err(place.says("volumes are the node's: leave it out")),
        }
    }
    let size_mib = size_mib.ok_or_else(|| declared.says(SIZE))?;
    Ok(Volume {
        name,
        path,
        size_mib,
    })
}

pub(super) fn secrets(reading: &mut Reading<'_>, secrets: &Place<'_>) -> Result<(), Finding> {
    reading.came_from("secrets", secrets);
    for item in secrets.items()? {
        let (source, name) = match item.value {
            yaml::Value::Map(_) => long_secret(&item)?,
            yaml::Value::Null | yaml::Value::Text { .. } | yaml::Value::List(_) => {
                let name = item.text()?;
                (name.clone(), name)
            }
        };
        let missing = || item.says(format!("there is no `{source}` under the file's `secrets`"));
        let declared = reading
            .file_secrets
            .remove(source.as_str())
            .ok_or_else(missing)?;
        let from = source_of(&declared)?;
        reading.spec.secrets.push(name.clone());
        reading.secrets.push(ComposeSecret { name, from });
    }
    Ok(())
}

fn long_secret(item: &Place<'_>) -> Result<(String, String), Finding> {
    let (mut source, mut target) = (None, None);
    for (name, place) in item.entries()? {
        match name {
            "source" => source = Some(place.text()?),
            "target" => {
                let text = place.text()?;
                let name = text.strip_prefix("/run/secrets/").unwrap_or(&text);
                target = Some(name.to_owned());
            }
            _ => return Err(place.says("a secret is the job's own user's to read: leave it out")),
        }
    }
    let source = source.ok_or_else(|| item.says("there is no `source`"))?;
    let target = target.unwrap_or_else(|| source.clone());
    Ok((source, target))
}

fn source_of(declared: &Place<'_>) -> Result<SecretSource, Finding> {
    let mut from = None;
    for (name, place) in declared.entries()? {
        match name {
            "file" => from = Some(SecretSource::File(place.text()?)),
            "environment" => from = Some(SecretSource::Env(place.text()?)),
            _ if name.starts_with("x-") => {}
            _ => return Err(place.says("a secret's value is in a `file` or in `environment`")),
        }
    }
    from.ok_or_else(|| declared.says("a secret's value is in a `file` or in `environment`"))
}
