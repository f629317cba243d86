//! The world of an app, the same in both runtimes.

use nearlight_protocol::app::{AppSpec, DisplayProtocol, GpuClass};
use nearlight_protocol::id::{AppId, SessionId};
use nearlight_protocol::unit::U64;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where the desktop's sockets are in an app.
pub const SOCKETS: &str = "/run/nearlight";
/// Home of the app's user.
pub const HOME: &str = "/home/player";
/// `XDG_RUNTIME_DIR` of the app's user.
pub const RUNTIME_DIR: &str = "/run/user/1000";
/// The app's user and group where the agent is root.
pub const APP_UID: u32 = 1000;

/// The app's user, where the agent is root.
pub(crate) fn app_user() -> crate::process::User {
    crate::process::User {
        uid: APP_UID,
        gid: APP_UID,
        groups: Vec::new(),
    }
}

/// One app to start.
#[derive(Clone, Debug)]
pub struct AppPlan {
    /// For which session.
    pub session: SessionId,
    /// Under which epoch.
    pub epoch: U64,
    /// Which app.
    pub app: AppId,
    /// Image reference.
    pub image: String,
    /// Program and arguments.
    pub command: Vec<String>,
    /// The whole environment.
    pub env: BTreeMap<String, String>,
    /// User and group to run as.
    pub uid: u32,
    /// See `uid`.
    pub gid: u32,
    /// The session's directory on the host.
    pub dir: PathBuf,
    /// The directory with the desktop's sockets on the host, shown as [`SOCKETS`].
    pub sockets: PathBuf,
    /// Directory on the host, and where the app has it.
    pub saves: Option<(PathBuf, String)>,
    /// Limit, thousandths of a core.
    pub cpu_milli: u32,
    /// Limit, MiB.
    pub mem_mib: u32,
    /// Size of each temporary file system, MiB.
    pub tmp_mib: u32,
    /// Whether it may reach a network.
    pub network: bool,
    /// The GPUs that it gets.
    pub gpus: Vec<AppGpu>,
}

/// A device file such as `/dev/dri/renderD128`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderNode {
    /// Where it is.
    pub path: PathBuf,
    /// The group that may use it.
    pub gid: u32,
}

/// What an app gets of a GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppGpu {
    /// How a container engine addresses it; NVIDIA's have one, others are device files alone.
    pub uuid: Option<String>,
    /// Through which the app renders.
    pub render_node: Option<RenderNode>,
}

/// A temporary file system of an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tmpfs {
    /// Where.
    pub path: String,
    /// Its mode.
    pub mode: u32,
    /// Whether it belongs to the app's user.
    pub owned: bool,
}

impl AppPlan {
    /// Fills in everything that follows from the catalogue entry.
    pub fn new(session: SessionId, epoch: U64, spec: &AppSpec, dir: &Path, root: bool) -> Self {
        let (uid, gid) = if root {
            (APP_UID, APP_UID)
        } else {
            (
                nix::unistd::geteuid().as_raw(),
                nix::unistd::getegid().as_raw(),
            )
        };
        Self {
            session,
            epoch,
            app: spec.id.clone(),
            image: spec.launch.image.clone(),
            command: spec.launch.command.clone(),
            env: environment(spec),
            uid,
            gid,
            dir: dir.to_owned(),
            sockets: crate::session::dirs::sockets(dir),
            saves: None,
            cpu_milli: spec.needs.cpu_milli,
            mem_mib: spec.needs.mem_mib,
            tmp_mib: spec.needs.tmp_mib,
            network: spec.needs.network,
            gpus: Vec::new(),
        }
    }

    /// The device files through which it renders.
    pub fn render_nodes(&self) -> impl Iterator<Item = &RenderNode> {
        self.gpus.iter().filter_map(|gpu| gpu.render_node.as_ref())
    }

    /// The groups that it needs to use them: the files belong to a group of the host, such as
    /// `render`, of which the image knows nothing. Never root's.
    pub fn render_groups(&self) -> Vec<u32> {
        let mut groups: Vec<u32> = self.render_nodes().map(|node| node.gid).collect();
        groups.retain(|gid| *gid != 0);
        groups.sort_unstable();
        groups.dedup();
        groups
    }

    /// Its temporary file systems, parents first. A mount point that an engine makes on the way to
    /// the saves would belong to root, so each directory from home to there is one of its own.
    pub fn tmpfs(&self) -> Vec<Tmpfs> {
        let owned = |path: &str| Tmpfs {
            path: path.to_owned(),
            mode: 0o700,
            owned: true,
        };
        let mut all = vec![
            Tmpfs {
                path: "/tmp".to_owned(),
                mode: 0o1777,
                owned: false,
            },
            owned(RUNTIME_DIR),
            owned(HOME),
        ];
        if let Some((_, saves)) = &self.saves {
            let mut between: Vec<_> = Path::new(saves)
                .ancestors()
                .skip(1)
                .filter(|path| path.starts_with(HOME) && *path != Path::new(HOME))
                .filter_map(Path::to_str)
                .collect();
            between.reverse();
            all.extend(between.into_iter().map(owned));
        }
        all
    }
}

/// The app's own environment under the session's, which no app overrides.
fn environment(spec: &AppSpec) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    let mut set = |key: &str, value: &str| env.insert(key.to_owned(), value.to_owned());
    set(
        "PATH",
        "/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games",
    );
    set("LANG", "C.UTF-8");
    set("SDL_AUDIODRIVER", "pulseaudio");
    match spec.launch.display {
        DisplayProtocol::Wayland => {
            set("SDL_VIDEODRIVER", "wayland");
            set("GDK_BACKEND", "wayland");
            set("QT_QPA_PLATFORM", "wayland");
        }
        DisplayProtocol::X11 => {
            set("SDL_VIDEODRIVER", "x11");
        }
    }
    if spec.needs.gpu != GpuClass::None {
        set(
            "NVIDIA_DRIVER_CAPABILITIES",
            "graphics,video,utility,compute",
        );
    }
    env.extend(spec.launch.env.clone());
    let mut set = |key: &str, value: String| env.insert(key.to_owned(), value);
    set("HOME", HOME.to_owned());
    set("XDG_RUNTIME_DIR", RUNTIME_DIR.to_owned());
    set("WAYLAND_DISPLAY", format!("{SOCKETS}/wayland-0"));
    set("PULSE_SERVER", format!("unix:{SOCKETS}/pulse"));
    env
}

#[cfg(test)]
pub(crate) mod test {
    use super::*;
    use nearlight_protocol::app::{Launch, Needs, Shelf, Time};

    pub(crate) fn spec(command: &[&str]) -> AppSpec {
        AppSpec {
            id: "probe".parse().unwrap(),
            title: String::new(),
            summary: String::new(),
            picture: String::new(),
            shelf: Shelf::Tool,
            launch: Launch {
                image: "nearlight/probe:1".to_owned(),
                command: command.iter().map(|part| (*part).to_owned()).collect(),
                env: BTreeMap::new(),
                display: DisplayProtocol::Wayland,
            },
            needs: Needs::default(),
            controls: Vec::new(),
            time: Time::default(),
            saves: None,
            warm: 0,
        }
    }

    fn plan(spec: &AppSpec) -> AppPlan {
        let session = nearlight_kit::ids::session();
        AppPlan::new(session, U64(1), spec, Path::new("/run/x/ses"), true)
    }

    pub(crate) fn gpu(gid: u32) -> AppGpu {
        AppGpu {
            uuid: Some("GPU-1".to_owned()),
            render_node: Some(RenderNode {
                path: "/dev/dri/renderD128".into(),
                gid,
            }),
        }
    }

    #[test]
    fn an_app_cannot_override_the_way_to_its_desktop() {
        let mut spec = spec(&["x"]);
        for key in ["WAYLAND_DISPLAY", "HOME", "LANG"] {
            spec.launch.env.insert(key.to_owned(), "mine".to_owned());
        }
        let env = plan(&spec).env;
        assert_eq!(env["WAYLAND_DISPLAY"], "/run/nearlight/wayland-0");
        assert_eq!(env["HOME"], "/home/player");
        assert_eq!(env["LANG"], "mine");
    }

    #[test]
    fn every_directory_on_the_way_to_the_saves_belongs_to_the_app() {
        let mut plan = plan(&spec(&["x"]));
        plan.saves = Some(("/data".into(), "/home/player/.local/share/doom".to_owned()));
        let paths: Vec<_> = plan.tmpfs().into_iter().map(|t| t.path).collect();
        assert_eq!(
            paths,
            [
                "/tmp",
                "/run/user/1000",
                "/home/player",
                "/home/player/.local",
                "/home/player/.local/share",
            ]
        );
    }
}
