//! What nodes fetch before a job asks for it: images and assets of the job files that the operator names
//! (`jobs.prefetch`).
//!
//! An image without a registry is built on nodes, and is not fetched. Assets are everybody's from then on: whoever
//! knows a digest that the operator has made public gets the file from a node's cache.
//!
//! **What it does not know:** nodes, and what they have.

use anyhow::{Context, bail};
use nearlight_protocol::job::{Asset, ImageRef, JobSpec};
use nearlight_protocol::limits::ASSETS_WANTED_MAX;
use nearlight_protocol::volume::{EVERYBODY, asset_name};
use std::path::PathBuf;

/// What nodes that take jobs are to have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ahead {
    pub(crate) images: Vec<String>,
    pub(crate) assets: Vec<Asset>,
}

impl Ahead {
    /// What the jobs in these files have.
    ///
    /// # Errors
    /// A file that cannot be read or is no job, with its name.
    pub(crate) fn load(files: &[PathBuf]) -> anyhow::Result<Self> {
        let mut ahead = Self::default();
        for file in files {
            let of = || format!("`jobs.prefetch`: {}", file.display());
            let text = std::fs::read_to_string(file).with_context(of)?;
            let spec: JobSpec = toml::from_str(&text).with_context(of)?;
            if let Some(fault) = spec.fault() {
                bail!("{}: {fault}", of());
            }
            let image: ImageRef = spec.image.parse().with_context(of)?;
            if image.registry().is_some() && !ahead.images.contains(&spec.image) {
                ahead.images.push(spec.image);
            }
            for asset in spec.assets {
                if !ahead.is_everybodys(&asset.digest) {
                    ahead.assets.push(asset);
                }
            }
        }
        if ahead.assets.len() > ASSETS_WANTED_MAX {
            bail!("`jobs.prefetch`: the jobs have more than {ASSETS_WANTED_MAX} assets together");
        }
        Ok(ahead)
    }

    /// The name by which nodes list an asset that this owner may have.
    pub(crate) fn name(&self, owner: &str, digest: &str) -> String {
        match self.is_everybodys(digest) {
            true => asset_name(EVERYBODY, digest),
            false => asset_name(owner, digest),
        }
    }

    fn is_everybodys(&self, digest: &str) -> bool {
        self.assets.iter().any(|asset| asset.digest == digest)
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn file(dir: &std::path::Path, name: &str, text: &str) -> PathBuf {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn job_files_say_what_is_fetched_and_a_wrong_one_which_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let digest = format!("sha256:{}", "0a".repeat(32));
        let assets = format!(
            "[[assets]]\nurl = \"https://models.example/w\"\ndigest = \"{digest}\"\nsize_mib = 1\npath = \"/w\"\n"
        );
        let one = file(
            dir.path(),
            "one.toml",
            &format!("image = \"registry.example/team/server:2\"\n{assets}"),
        );
        let built = file(
            dir.path(),
            "built.toml",
            &format!("image = \"server:1\"\n{assets}"),
        );
        let ahead = Ahead::load(&[one.clone(), built, one]).unwrap();
        assert_eq!(ahead.images, ["registry.example/team/server:2"]);
        assert_eq!(ahead.assets.len(), 1);
        assert_eq!(ahead.name("ten_x", &digest), format!("everybody/{digest}"));
        assert_eq!(ahead.name("ten_x", "sha256:1"), "ten_x/sha256:1");

        let wrong = file(dir.path(), "wrong.toml", "image = 7");
        let faulty = file(dir.path(), "faulty.toml", "image = \"\"");
        for path in [wrong, faulty, dir.path().join("absent.toml")] {
            let error = format!(
                "{:#}",
                Ahead::load(std::slice::from_ref(&path)).unwrap_err()
            );
            assert!(error.contains(&path.display().to_string()), "{error}");
        }
    }
}
