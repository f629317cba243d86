//! Apps: what can be launched and what it needs. One TOML file in `configs/apps/` each.

use crate::id::AppId;
use serde::{Deserialize, Serialize};

/// A catalogue entry, as its file has it and as the broker hands it to an edge in a grant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AppSpec {
    /// Its name in URLs; the file is named after it.
    #[schema(value_type = String)]
    pub id: AppId,
    /// Its name for people.
    pub title: String,
    /// One or two sentences for the lobby.
    pub summary: String,
    /// URL path of its picture, such as `/apps/freedoom.webp` (client-web's `public/apps/`).
    pub picture: String,
    /// `game`, `tool` or `desktop`: the lobby's shelves.
    pub shelf: Shelf,
    /// How it runs.
    pub launch: Launch,
    /// What it needs.
    #[serde(default)]
    pub needs: Needs,
    /// What its keys do, in the order shown to the player.
    #[serde(default)]
    pub controls: Vec<Control>,
    /// When it ends by itself.
    #[serde(default)]
    pub time: Time,
    /// Directory inside the container that persists per user and app, or none. Absolute.
    #[serde(default)]
    pub saves: Option<String>,
    /// Desktops that a node with room keeps ready for it, at most
    /// [`crate::limits::WARM_PER_APP_MAX`]; the node's operator may allow fewer.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub warm: u32,
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks for a reference"
)]
fn is_zero(value: &u32) -> bool {
    *value == 0
}

impl AppSpec {
    /// As an order to start has it: without what nodes of an older build do not know.
    pub fn for_start(mut self) -> Self {
        self.warm = 0;
        self.needs.vram_mib = 0;
        self
    }
}

/// The lobby's shelves.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS, utoipa::ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Shelf {
    /// Something to play.
    Game,
    /// Something to work or measure with.
    Tool,
}

/// How an app runs: an image and a command in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Launch {
    /// Image reference. Built-in apps are `nearlight/<name>:<tag>`, built from
    /// `configs/images/<name>/`; the sandbox takes the root file system of the same name.
    pub image: String,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Environment, in addition to the session's own (`WAYLAND_DISPLAY`, `PULSE_SERVER`,
    /// `XDG_RUNTIME_DIR`, `HOME`).
    #[serde(default)]
    pub env: std::collections::BTreeMap<String, String>,
    /// The display protocol the app speaks.
    #[serde(default)]
    pub display: DisplayProtocol,
}

/// The display protocol an app speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DisplayProtocol {
    /// Wayland.
    #[default]
    Wayland,
    /// X11, through Xwayland.
    X11,
}

/// What an app needs of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Needs {
    /// CPU, thousandths of a core: what is claimed and the container's limit.
    pub cpu_milli: u32,
    /// Memory, MiB: what is claimed and the container's limit.
    pub mem_mib: u32,
    /// Shared memory and temporary files, MiB.
    pub tmp_mib: u32,
    /// GPU class.
    pub gpu: GpuClass,
    /// Memory of the node's GPU, MiB, which then has to be of a class: it is started where a GPU for apps has as much
    /// in all. It is not set aside: sessions of one GPU share its memory.
    #[serde(skip_serializing_if = "is_zero")]
    pub vram_mib: u32,
    /// Display size and rate the app is started with.
    pub display: DisplayMode,
    /// Uplink that is set aside for a session on its node, kbit/s: with less than this it is not
    /// worth playing, so it is not started. What is left of the uplink, sessions share fairly.
    pub kbps_min: u32,
    /// Whether the app may reach a network. Off unless an app declares it.
    pub network: bool,
}

impl Default for Needs {
    fn default() -> Self {
        Self {
            cpu_milli: 1000,
            mem_mib: 1024,
            tmp_mib: 256,
            gpu: GpuClass::None,
            vram_mib: 0,
            display: DisplayMode::default(),
            kbps_min: 4000,
            network: false,
        }
    }
}

/// What kind of GPU an app needs, or a node has.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    ts_rs::TS,
    utoipa::ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum GpuClass {
    /// None: it renders in software.
    #[default]
    None,
    /// A GPU that renders.
    Render,
    /// A GPU that renders and encodes.
    RenderEncode,
}

/// A display: size in pixels, rate in Hz.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS, utoipa::ToSchema,
)]
pub struct DisplayMode {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Frames a second that the display asks of the app.
    pub hz: u32,
}

impl Default for DisplayMode {
    fn default() -> Self {
        Self {
            width: 1280,
            height: 720,
            hz: 60,
        }
    }
}

impl DisplayMode {
    /// Whether both sides are even and all three values are within [`crate::limits`].
    pub fn is_valid(self) -> bool {
        use crate::limits::{DISPLAY_HZ_MAX, DISPLAY_SIDE_MAX, DISPLAY_SIDE_MIN};
        let side =
            |v: u32| (DISPLAY_SIDE_MIN..=DISPLAY_SIDE_MAX).contains(&v) && v.is_multiple_of(2);
        side(self.width) && side(self.height) && (1..=DISPLAY_HZ_MAX).contains(&self.hz)
    }
}

/// One line of the controls card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Control {
    /// What to press, such as `W A S D`.
    pub keys: String,
    /// What it does.
    pub action: String,
}

/// When a session of this app ends by itself, seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Time {
    /// With no input for so long it ends; the player is warned a minute before.
    pub idle_s: u32,
    /// It ends after so long in any case.
    pub max_s: u32,
    /// With no attachment for so long it ends.
    pub grace_s: u32,
}

impl Default for Time {
    fn default() -> Self {
        Self {
            idle_s: 15 * 60,
            max_s: 4 * 3600,
            grace_s: 120,
        }
    }
}
