//! A container, asked for exactly as a game's is, and what the GPU looks like from in there.

use super::host::judge_renderer;
use super::report::Check;
use crate::runtime::docker::Docker;
use crate::runtime::plan::{AppGpu, AppPlan};
use crate::runtime::{AppExit, Runtime, RuntimeError};
use crate::session::dirs;
use nearlight_protocol::app::{AppSpec, GpuClass};
use nearlight_protocol::unit::U64;
use std::path::Path;
use std::time::Duration;

/// What every built-in game stands on.
const IMAGE: &str = "nearlight/base:1";
/// For a container that only looks around.
const LOOK_WITHIN: Duration = Duration::from_secs(60);

/// Says what is there, in lines of our own; runs in any image with a shell.
const LOOK: &str = r#"
for f in /dev/dri/renderD* /dev/nvidiactl; do
  [ -e "$f" ] || continue
  if [ -r "$f" ] && [ -w "$f" ]; then echo "open $f"; else echo "closed $f"; fi
done
for d in /usr/lib/*-linux-gnu /usr/lib64 /usr/lib; do
  for l in libEGL_nvidia.so.0 libGLX_nvidia.so.0; do [ -e "$d/$l" ] && echo "library $l"; done
done
for f in /usr/share/glvnd/egl_vendor.d/10_nvidia.json /etc/glvnd/egl_vendor.d/10_nvidia.json \
    /usr/share/vulkan/icd.d/nvidia_icd.json /etc/vulkan/icd.d/nvidia_icd.json; do
  [ -e "$f" ] && echo "vendor $f"
done
if command -v eglinfo >/dev/null; then eglinfo -B 2>/dev/null | grep -i renderer | head -n 4 | sed 's/^/eglinfo /'
else echo 'no eglinfo'; fi
if command -v vulkaninfo >/dev/null; then vulkaninfo --summary 2>/dev/null | grep -i devicename | head -n 4 | sed 's/^/vulkaninfo /'
else echo 'no vulkaninfo'; fi
exit 0
"#;

/// Runs the container and judges what it saw. Its sockets would be in `run`, where sessions have
/// theirs: a path that the engine finds, too.
pub(super) async fn checks(gpus: &[AppGpu], run: &Path) -> Vec<Check> {
    const NAME: &str = "container";
    match look(gpus, run).await {
        Ok(exit) if exit.status == Some(0) => judge(&exit.detail),
        Ok(exit) => vec![Check::fail(
            NAME,
            format!(
                "the container ended with {:?}: {}",
                exit.status, exit.detail
            ),
            "Run it by hand: docker run --rm --gpus all nearlight/base:1 ls /dev/dri.",
        )],
        Err(Look::NoEngine(error)) => vec![Check::skip(
            NAME,
            format!("no Docker engine answers ({error}); games on a GPU need one"),
            Some("Install Docker and the NVIDIA Container Toolkit."),
        )],
        Err(Look::NoImage) => vec![Check::skip(
            NAME,
            format!("the image {IMAGE} is not here"),
            Some("make images"),
        )],
        Err(Look::Refused(error)) => vec![Check::fail(
            NAME,
            error.to_string(),
            "Install the NVIDIA Container Toolkit and let it describe the GPUs: nvidia-ctk cdi \
             generate --output=/etc/cdi/nvidia.yaml; the engine must have CDI on (Docker 28, or \
             features.cdi in daemon.json).",
        )],
    }
}

/// Why nothing was seen.
enum Look {
    NoEngine(RuntimeError),
    NoImage,
    Refused(RuntimeError),
}

async fn look(gpus: &[AppGpu], run: &Path) -> Result<AppExit, Look> {
    let node = nearlight_kit::ids::node();
    let docker = Docker::open(&node).await.map_err(Look::NoEngine)?;
    if !docker
        .images()
        .await
        .unwrap_or_default()
        .iter()
        .any(|image| image == IMAGE)
    {
        return Err(Look::NoImage);
    }
    let session = nearlight_kit::ids::session();
    let dir = run.join(session.as_str());
    let plan = AppPlan {
        gpus: gpus.to_vec(),
        ..AppPlan::new(session, U64(1), &spec(), &dir, true)
    };
    let seen = see(&docker, &plan, &dir).await;
    if let Err(error) = std::fs::remove_dir_all(&dir) {
        tracing::debug!(%error, dir = %dir.display(), "a directory of the check stays");
    }
    seen.map_err(Look::Refused)
}

async fn see(docker: &Docker, plan: &AppPlan, dir: &Path) -> Result<AppExit, RuntimeError> {
    if let Err(error) = std::fs::create_dir_all(dirs::sockets(dir)) {
        // The engine says so as well, in terms of the mount that it cannot make.
        tracing::warn!(%error, dir = %dir.display(), "cannot make a directory for the check");
    }
    let app = docker.start(plan).await?;
    let over = tokio::time::timeout(LOOK_WITHIN, docker.wait(&app)).await;
    docker.remove(&app).await?;
    Ok(over.unwrap_or_else(|_elapsed| AppExit {
        detail: format!("no end within {} s", LOOK_WITHIN.as_secs()),
        ..AppExit::default()
    }))
}

/// An app like any other, that looks around and ends.
fn spec() -> AppSpec {
    use nearlight_protocol::app::{DisplayProtocol, Launch, Needs, Shelf, Time};
    AppSpec {
        id: nearlight_protocol::id::AppId::try_from("gpu-check".to_owned())
            .expect("a constant of letters and a dash"),
        title: String::new(),
        summary: String::new(),
        picture: String::new(),
        shelf: Shelf::Tool,
        launch: Launch {
            image: IMAGE.to_owned(),
            command: ["/bin/sh", "-c", LOOK].map(str::to_owned).to_vec(),
            env: std::collections::BTreeMap::new(),
            display: DisplayProtocol::Wayland,
        },
        needs: Needs {
            gpu: GpuClass::Render,
            ..Needs::default()
        },
        controls: Vec::new(),
        time: Time::default(),
        saves: None,
        warm: 0,
    }
}

/// The verdicts over what the container said.
fn judge(said: &str) -> Vec<Check> {
    let after = |key: &str| -> Vec<&str> {
        let lines = said.lines().filter_map(|line| line.strip_prefix(key));
        lines.map(str::trim).collect()
    };
    let (open, closed) = (after("open "), after("closed "));
    let open_nodes = open.iter().filter(|f| f.starts_with("/dev/dri/")).count();
    let devices = if let Some(file) = closed.first() {
        Check::fail(
            "container-devices",
            format!("a game, which is user 1000, may not use {file}"),
            "Give the file to a group other than root's by udev (Debian has `render`); a game is \
             started with that group.",
        )
    } else if open_nodes == 0 {
        Check::fail(
            "container-devices",
            "a game sees no render node",
            "Load nvidia-drm with modeset=1 on the host, then nvidia-ctk cdi generate \
             --output=/etc/cdi/nvidia.yaml.",
        )
    } else {
        Check::pass("container-devices", open.join(", "))
    };
    let vendors = after("vendor ");
    let libraries = after("library ");
    let has = |library: &str, vendor: &str| {
        libraries.contains(&library) && vendors.iter().any(|file| file.contains(vendor))
    };
    vec![
        devices,
        context(
            "container-egl",
            "eglinfo",
            said,
            has("libEGL_nvidia.so.0", "egl_vendor.d"),
        ),
        context(
            "container-vulkan",
            "vulkaninfo",
            said,
            has("libGLX_nvidia.so.0", "icd.d"),
        ),
    ]
}

/// Whether a game gets a context: by a tool where the image has it, by what the libraries are where
/// not, which shows a failure but no success.
fn context(name: &'static str, tool: &str, said: &str, libraries: bool) -> Check {
    if !said.lines().any(|line| line == format!("no {tool}")) {
        let prefix = format!("{tool} ");
        let lines: Vec<&str> = said
            .lines()
            .filter_map(|l| l.strip_prefix(&prefix))
            .collect();
        return judge_renderer(name, &lines.join("\n"));
    }
    if libraries {
        let detail = format!("NVIDIA's libraries are there; the image has no {tool} to try them");
        return Check::skip(name, detail, None);
    }
    Check::fail(
        name,
        "NVIDIA's libraries, or the files that name them, are not in the container",
        "nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml after each change of the driver; the \
         driver's graphics libraries must be installed on the host.",
    )
}

#[cfg(test)]
mod test {
    use super::super::Verdict;
    use super::*;

    fn verdicts(said: &str) -> Vec<Verdict> {
        let checks = judge(said);
        for check in &checks {
            let failed = check.verdict == Verdict::Fail;
            assert!(!failed || check.fix.is_some(), "{check:?}");
        }
        checks.iter().map(|check| check.verdict).collect()
    }

    #[test]
    fn what_a_container_sees_is_judged_piece_by_piece() {
        use Verdict::{Fail, Pass, Skip};
        let libraries = "library libEGL_nvidia.so.0\nlibrary libGLX_nvidia.so.0\n\
            vendor /usr/share/glvnd/egl_vendor.d/10_nvidia.json\n\
            vendor /etc/vulkan/icd.d/nvidia_icd.json\n";
        let no_tools = "no eglinfo\nno vulkaninfo\n";
        let open = "open /dev/dri/renderD128\nopen /dev/nvidiactl\n";
        assert_eq!(
            verdicts(&format!("{open}{libraries}{no_tools}")),
            [Pass, Skip, Skip]
        );
        assert_eq!(verdicts(&format!("{open}{no_tools}")), [Pass, Fail, Fail]);
        let tools =
            "eglinfo OpenGL renderer: NVIDIA L4/PCIe/SSE2\nvulkaninfo deviceName = llvmpipe\n";
        assert_eq!(verdicts(&format!("{open}{tools}")), [Pass, Pass, Fail]);
        let closed = "closed /dev/dri/renderD128\nopen /dev/nvidiactl\n";
        assert_eq!(verdicts(&format!("{closed}{libraries}{no_tools}"))[0], Fail);
        assert_eq!(
            verdicts("open /dev/nvidiactl\nno eglinfo\nno vulkaninfo\n"),
            [Fail; 3]
        );
        assert_eq!(verdicts(""), [Fail; 3]);
    }

    /// Needs a Docker engine with our base image; without a GPU the container still has to say so.
    #[tokio::test]
    async fn the_look_around_runs_in_the_image_that_games_stand_on() {
        let run = tempfile::tempdir().unwrap();
        match look(&[], run.path()).await {
            Ok(exit) => {
                assert_eq!(exit.status, Some(0), "{}", exit.detail);
                assert!(exit.detail.contains("no eglinfo"), "{}", exit.detail);
            }
            Err(Look::NoEngine(_) | Look::NoImage) => {}
            Err(Look::Refused(error)) => panic!("{error}"),
        }
    }
}
