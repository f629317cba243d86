//! Encoders that work here: `edge-worker --probe-encoders` encodes frames with each and prints the
//! ladder. Run once at the agent's start, as a user without rights: it loads every driver's code.
//!
//! The probe leaves GStreamer's registry of plugins behind, which spares each worker the scan.

use crate::config::Config;
use crate::limits::PROBE_DEADLINE;
use crate::process::Launch;
use crate::session::{host, launch};
use nearlight_protocol::worker::VideoCodec;
use nix::unistd::{Gid, Uid};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Far more than a ladder needs.
const OUTPUT_BYTES_MAX: usize = 16 * 1024;

/// An encoder that encoded a frame.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(from = "(VideoCodec, String)")]
pub(crate) struct Encoder {
    pub(crate) codec: VideoCodec,
    pub(crate) name: String,
}

impl From<(VideoCodec, String)> for Encoder {
    fn from((codec, name): (VideoCodec, String)) -> Self {
        Self { codec, name }
    }
}

impl Encoder {
    /// Whether a GPU does the work, by the name of its GStreamer element.
    pub(crate) fn is_hardware(&self) -> bool {
        ["nv", "va", "qsv", "msdk", "v4l2"]
            .iter()
            .any(|family| self.name.starts_with(family))
    }
}

/// Why there is no ladder.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProbeError {
    /// It could not be run.
    #[error("cannot run {}: {source}", program.display())]
    Run {
        program: PathBuf,
        #[source]
        source: io::Error,
    },
    /// It did not end.
    #[error("it did not end within {} s", PROBE_DEADLINE.as_secs())]
    Deadline,
    /// It failed.
    #[error("it failed: {0}")]
    Failed(String),
    /// It printed something else.
    #[error("its output is not a ladder: {0}")]
    Output(#[from] serde_json::Error),
}

/// Where GStreamer's registry is.
pub(crate) fn registry(run: &Path) -> PathBuf {
    run.join("gst/registry.bin")
}

/// The encoders that work, best first; none if the probe fails, which is logged and lets sessions
/// find out for themselves.
pub(crate) async fn probe(config: &Config, root: bool) -> Vec<Encoder> {
    match try_probe(config, root).await {
        Ok(encoders) => {
            let names: Vec<_> = encoders.iter().map(|encoder| &encoder.name).collect();
            tracing::info!(?names, "encoders work");
            encoders
        }
        Err(error) => {
            tracing::error!(%error, "no encoder was found; check the GStreamer plugins of this host");
            Vec::new()
        }
    }
}

async fn try_probe(config: &Config, root: bool) -> Result<Vec<Encoder>, ProbeError> {
    let said = output_of(config, root, &["--probe-encoders".as_ref()]).await?;
    Ok(serde_json::from_slice(&said)?)
}

/// What the worker's program prints when it is run with `args`, as a user without rights.
pub(crate) async fn output_of(
    config: &Config,
    root: bool,
    args: &[&OsStr],
) -> Result<Vec<u8>, ProbeError> {
    let run_error = |source| ProbeError::Run {
        program: config.worker.clone(),
        source,
    };
    let registry = registry(&config.run);
    let home = registry.parent().unwrap_or(&config.run);
    let user = host::probe_user(root);
    fs::create_dir_all(home).map_err(run_error)?;
    if let Some(user) = &user {
        let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
        nix::unistd::chown(home, Some(uid), Some(gid)).map_err(|e| run_error(e.into()))?;
    }
    let stdout = scratch().map_err(run_error)?;
    let stderr = scratch().map_err(run_error)?;
    let launch = Launch::new(config.worker.clone(), "edge-worker");
    let process = launch::with_environment(launch, home, &registry)
        .envs(launch::visible_gpus(config))
        .args(args)
        .user(user)
        .stdout(stdout.try_clone().map_err(run_error)?)
        .stderr(stderr.try_clone().map_err(run_error)?)
        .spawn()
        .map_err(run_error)?;
    let Ok(status) = tokio::time::timeout(PROBE_DEADLINE, process.exited()).await else {
        process.kill();
        return Err(ProbeError::Deadline);
    };
    if !status.is_some_and(|status| status.success()) {
        let said = read(&stderr).map_err(run_error)?;
        return Err(ProbeError::Failed(crate::runtime::last_words(&said)));
    }
    if let Err(error) = publish(&registry) {
        tracing::warn!(%error, "each worker scans GStreamer's plugins by itself");
    }
    read(&stdout).map_err(run_error)
}

/// Lets every worker read the registry, which GStreamer keeps to the user who wrote it.
fn publish(registry: &Path) -> io::Result<()> {
    // Not through a link: what the probe left is not to be trusted with our rights.
    let file = fs::OpenOptions::new()
        .read(true)
        .custom_flags(nix::fcntl::OFlag::O_NOFOLLOW.bits())
        .open(registry)?;
    file.set_permissions(fs::Permissions::from_mode(0o644))
}

fn scratch() -> io::Result<File> {
    let file = rustix::fs::memfd_create("probe", rustix::fs::MemfdFlags::CLOEXEC)?;
    Ok(File::from(file))
}

fn read(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; OUTPUT_BYTES_MAX];
    let len = file.read_at(&mut bytes, 0)?;
    bytes.truncate(len);
    Ok(bytes)
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_ladder_is_pairs_of_codec_and_name() {
        let ladder: Vec<Encoder> =
            serde_json::from_str(r#"[["H264","x264enc"],["VP8","vp8enc"]]"#).unwrap();
        assert_eq!(ladder[1].codec, VideoCodec::VP8);
        assert_eq!(ladder[0].name, "x264enc");
        assert!(!ladder[0].is_hardware());
        serde_json::from_str::<Vec<Encoder>>(r#"[["H264"]]"#).unwrap_err();
    }
}
