//! The configuration in a back-up: its file, and the files that it names.
//!
//! A restore puts them where the file says, if the file itself is not there: then the machine is an empty one. Where it is
//! there, it is the operator's, and so is all that it names. The file comes last: a restore that was cut short before
//! puts the rest again, and overwrites nothing.
//!
//! **What it does not know:** the environment (a password of the ledger's), flags, and the built web client.

use super::{CONFIG, CONFIG_FILES, Manifest, checked, hash, put};
use crate::cli::Args;
use crate::config::Parsed;
use crate::recipes;
use anyhow::{Context, ensure};
use nearlight_kit::files::write_atomic;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Component, Path, PathBuf};

/// Of the files of apps.
const APPS: &str = "apps/";
/// Of the jobs of recipes.
const RECIPES: &str = "recipes/";

/// A configuration as it is given to a broker.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The file; without one there is nothing to keep.
    pub file: Option<PathBuf>,
    /// What it says, with flags over it.
    pub parsed: Parsed,
}

impl Settings {
    /// Copies the file, and what it names, into a back-up. Their names in it.
    pub(super) fn copy(&self, to: &Path) -> anyhow::Result<Vec<String>> {
        let Some(file) = &self.file else {
            return Ok(Vec::new());
        };
        let mut files = named(&self.parsed);
        files.extend(apps(&self.parsed.apps)?);
        files.extend(recipes(&self.parsed.jobs.recipes)?);
        files.push((CONFIG.to_owned(), file.clone()));
        for dir in ["", APPS, RECIPES] {
            let dir = format!("{CONFIG_FILES}{dir}");
            let made = std::fs::DirBuilder::new().mode(0o700).create(to.join(&dir));
            made.with_context(|| format!("cannot make {dir}"))?;
        }
        let copy = |(name, from): (String, PathBuf)| {
            let name = format!("{CONFIG_FILES}{name}");
            let bytes = std::fs::read(&from);
            let bytes = bytes.with_context(|| format!("cannot read {}", from.display()))?;
            let written = write_atomic(&to.join(&name), &bytes, 0o600);
            written.with_context(|| format!("cannot write {name}"))?;
            Ok(name)
        };
        files.into_iter().map(copy).collect()
    }
}

/// Puts the configuration of the back-up in `from` where `args` look for one, if nothing is there.
///
/// # Errors
/// The back-up is not whole, has none, or something that it names is there and is another.
pub fn restore(args: &Args, from: &Path) -> anyhow::Result<()> {
    let Some(file) = args.config.as_ref().filter(|file| !file.exists()) else {
        return Ok(());
    };
    let (manifest, _) = checked(from)?;
    let kept = format!("{CONFIG_FILES}{CONFIG}");
    ensure!(
        manifest.files.contains_key(&kept),
        "{} is not there, and the back-up has no configuration: its broker was backed up without --config",
        file.display()
    );
    let parsed = args.parsed(Some(&from.join(&kept)))?;
    let mut files = named(&parsed);
    files.extend(kept_apps(&manifest, &parsed.apps)?);
    files.extend(kept_recipes(&manifest, &parsed.jobs.recipes)?);
    files.retain(|(name, _)| {
        manifest
            .files
            .contains_key(&format!("{CONFIG_FILES}{name}"))
    });
    files.push((CONFIG.to_owned(), file.clone()));
    let files = files
        .into_iter()
        .map(|(name, to)| (format!("{CONFIG_FILES}{name}"), to));
    let files: Vec<(String, PathBuf)> = files.collect();
    // All of them, before any is written.
    for (name, to) in &files {
        let is_other = to.exists() && hash(to)? != manifest.files[name];
        ensure!(
            !is_other,
            "{} is there already, and is not of this back-up",
            to.display()
        );
    }
    for (name, to) in &files {
        put(&from.join(name), (to, 0o600), &manifest.files[name])?;
    }
    Ok(())
}

/// The files that a configuration names, by their keys.
fn named(parsed: &Parsed) -> Vec<(String, PathBuf)> {
    let files = [
        ("geoip.file", &parsed.geoip.file),
        ("tls.cert", &parsed.tls.cert),
        ("tls.key", &parsed.tls.key),
        ("turn.secret_file", &parsed.turn.secret_file),
        ("jobs.cert", &parsed.jobs.cert),
        ("jobs.key", &parsed.jobs.key),
        ("rates.file", &parsed.rates.file),
        (
            "log.objects.secret_key_file",
            &parsed.log.objects.secret_key_file,
        ),
        ("oidc.client_secret_file", &parsed.oidc.client_secret_file),
        ("oidc.ca_file", &parsed.oidc.ca_file),
    ];
    let files = files.map(|(key, file)| (key.to_owned(), file.clone()));
    let given = files
        .into_iter()
        .filter(|(_, file)| !file.as_os_str().is_empty());
    let recipes = &parsed.jobs.recipes;
    let list = (!recipes.as_os_str().is_empty())
        .then(|| ("jobs.recipes".to_owned(), recipes.join(recipes::LIST)));
    let given = given.chain(list);
    let lists = parsed.jobs.prefetch.iter().enumerate();
    let lists = lists.map(|(n, file)| (format!("jobs.prefetch.{n}"), file.clone()));
    given.chain(lists).collect()
}

/// The files of apps in a directory.
fn apps(dir: &Path) -> anyhow::Result<Vec<(String, PathBuf)>> {
    if dir.as_os_str().is_empty() {
        return Ok(Vec::new());
    }
    let unread = || format!("cannot read {}", dir.display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).with_context(unread)? {
        let path = entry.with_context(unread)?.path();
        let name = path.file_name().and_then(std::ffi::OsStr::to_str);
        if let Some(name) = name.filter(|_| path.is_file()) {
            found.push((format!("{APPS}{name}"), path.clone()));
        }
    }
    Ok(found)
}

/// The jobs of recipes in a directory.
fn recipes(dir: &Path) -> anyhow::Result<Vec<(String, PathBuf)>> {
    if dir.as_os_str().is_empty() {
        return Ok(Vec::new());
    }
    let list = recipes::load(Some(dir))?;
    let of = |id: String| (format!("{RECIPES}{id}"), recipes::job_of(dir, &id));
    Ok(list.recipes.into_iter().map(|one| of(one.id)).collect())
}

/// Those in a back-up, and where each goes.
fn kept_recipes(manifest: &Manifest, dir: &Path) -> anyhow::Result<Vec<(String, PathBuf)>> {
    let prefix = format!("{CONFIG_FILES}{RECIPES}");
    let names = manifest.files.keys();
    let ids = names.filter_map(|name| name.strip_prefix(&prefix));
    let to = |id: &str| {
        ensure!(recipes::is_name(id), "{id} is no name of a recipe");
        Ok((format!("{RECIPES}{id}"), recipes::job_of(dir, id)))
    };
    ids.map(to).collect()
}

/// Those in a back-up, and where each goes.
fn kept_apps(manifest: &Manifest, dir: &Path) -> anyhow::Result<Vec<(String, PathBuf)>> {
    let prefix = format!("{CONFIG_FILES}{APPS}");
    let names = manifest
        .files
        .keys()
        .filter_map(|name| name.strip_prefix(&prefix));
    let to = |name: &str| {
        let mut parts = Path::new(name).components();
        let is_name = matches!(
            (parts.next(), parts.next()),
            (Some(Component::Normal(_)), None)
        );
        ensure!(is_name, "{name} is no name of a file");
        Ok((format!("{APPS}{name}"), dir.join(name)))
    };
    names.map(to).collect()
}
