//! Input packets: browser to edge, binary, one per data channel message, little-endian.
//!
//! ```text
//! header   [version=1][kind][seq u32][client_us u64]          14 bytes
//! 0x01 Key              [code u16][pressed u8]                 evdev code
//! 0x02 Text             [utf-8 ...]                            composed text (IME)
//! 0x03 PointerAbsolute  [x u16][y u16]                         0..=65535 across the display
//! 0x04 PointerRelative  [dx i32][dy i32]                       1/256 pixel
//! 0x05 PointerButton    [button u8][pressed u8][x u16][y u16][has_position u8]
//! 0x06 Wheel            [dx i16][dy i16]                       1/120 of a notch, down and right positive
//! 0x07 ReleaseAll
//! 0x08 Clipboard        [utf-8 ...]
//! 0x09 Layout           [utf-8 ...]                            xkb layout name
//! 0x0a Ping
//! 0x0b Gamepad          [seat u8][buttons u32][axes 6 x i16]   reserved
//! 0x0c Touch            [id u8][phase u8][x u16][y u16]        reserved
//! 0x0d Display          [width u16][height u16][hz u16]        pixels and Hz that the screen wants
//! 0x0e Wish             [kbps_max u32][height_max u16][fps_max u16]   0: no limit
//! 0x0f Phase            [shift_us i16]                         frames are wanted so much later
//! 0x10 Shown            [1..=64 x (decode u16, present u16)]   1/100 ms, of frames that were shown
//! ```
//!
//! `seq` counts per channel from 1 and only orders [`Event::PointerAbsolute`], whose stale packets
//! are dropped. `client_us` is the browser's monotonic clock at the DOM event.
//!
//! [`Event::PointerAbsolute`], [`Event::PointerRelative`] and [`Event::Ping`] travel on `motion`,
//! everything else on `control`. A button carries the position it happened at, for the motion that
//! led there may be lost or late.

mod shown;

pub use shown::Shown;

use crate::bytes::Reader;
use crate::limits::{
    CLIPBOARD_BYTES_MAX, DISPLAY_HZ_MAX, DISPLAY_SIDE_MAX, DISPLAY_SIDE_MIN, GAMEPAD_SEATS,
    INPUT_PACKET_BYTES_MAX, TEXT_BYTES_MAX,
};

/// Version byte of every input packet.
pub const INPUT_VERSION: u8 = 1;

/// One input packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Counts per channel from 1, wraps.
    pub seq: u32,
    /// The browser's monotonic clock at the DOM event, microseconds.
    pub client_us: u64,
    /// What happened.
    pub event: Event,
}

/// What the player did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A key went down or up.
    Key {
        /// Linux evdev code, one of [`crate::keycode::KEYS`].
        code: u16,
        /// Down or up.
        pressed: bool,
    },
    /// Composed text, such as an IME or a phone's keyboard gives.
    Text(String),
    /// The pointer is there: 0..=65535 across the display.
    PointerAbsolute {
        /// From the left.
        x: u16,
        /// From the top.
        y: u16,
    },
    /// The pointer moved by so much, in 1/256 pixel.
    PointerRelative {
        /// To the right.
        dx: i32,
        /// Down.
        dy: i32,
    },
    /// A button went down or up.
    PointerButton {
        /// DOM number: 0 left, 1 middle, 2 right, 3 back, 4 forward.
        button: u8,
        /// Down or up.
        pressed: bool,
        /// Where, unless the pointer is locked.
        position: Option<(u16, u16)>,
    },
    /// The wheel turned, in 1/120 of a notch.
    Wheel {
        /// To the right.
        dx: i16,
        /// Down.
        dy: i16,
    },
    /// The browser lost focus: every key and button is up.
    ReleaseAll,
    /// The player's clipboard.
    Clipboard(String),
    /// The player's keyboard layout, an xkb name such as `de` or `us(intl)`.
    Layout(String),
    /// Please answer with a pong.
    Ping,
    /// State of a gamepad; reserved, counted and not yet injected.
    Gamepad {
        /// 0 to 3.
        seat: u8,
        /// Bit i is button i of the standard mapping (W3C Gamepad).
        buttons: u32,
        /// Two sticks and two triggers, full scale.
        axes: [i16; 6],
    },
    /// A finger; reserved, counted and not yet injected.
    Touch {
        /// Which finger.
        id: u8,
        /// What it did.
        phase: TouchPhase,
        /// From the left, 0..=65535.
        x: u16,
        /// From the top, 0..=65535.
        y: u16,
    },
    /// What the player's screen shows best. Takes effect while the app runs.
    Display {
        /// Width, pixels, `DISPLAY_SIDE_MIN..=DISPLAY_SIDE_MAX`.
        width: u16,
        /// Height, pixels, likewise.
        height: u16,
        /// Refresh rate, 1 to `DISPLAY_HZ_MAX`.
        hz: u16,
    },
    /// What the player allows the stream at most, from the settings; 0 is no limit.
    Wish {
        /// Everything sent, kbit/s.
        kbps_max: u32,
        /// Height of the encoded picture, pixels.
        height_max: u16,
        /// Frames per second.
        fps_max: u16,
    },
    /// When frames should come, against when they do: the display's clock follows the player's
    /// screen by it. Takes the place of a shift that is still being carried out.
    Phase {
        /// Microseconds later; negative is sooner.
        shift_us: i16,
    },
    /// What the browser's stages took of frames that it has shown, those of about a second.
    Shown(Vec<Shown>),
}

/// What a finger did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TouchPhase {
    /// It came down.
    Down,
    /// It moved.
    Move,
    /// It went up.
    Up,
    /// The system took it.
    Cancel,
}

/// Why bytes are no input packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Larger than any packet.
    #[error("larger than any input packet")]
    TooLarge,
    /// Shorter than its kind needs.
    #[error("shorter than its kind needs")]
    Short,
    /// Longer than its kind needs.
    #[error("longer than its kind needs")]
    Long,
    /// Another version of this wire.
    #[error("version {0} of the input wire is not spoken here")]
    Version(u8),
    /// No such kind.
    #[error("unknown kind {0:#04x}")]
    Kind(u8),
    /// A value out of its range.
    #[error("a value is out of its range")]
    Value,
}

impl Packet {
    /// The packet as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(26);
        out.push(INPUT_VERSION);
        out.push(self.event.kind());
        out.extend(self.seq.to_le_bytes());
        out.extend(self.client_us.to_le_bytes());
        match &self.event {
            Event::Key { code, pressed } => {
                out.extend(code.to_le_bytes());
                out.push(u8::from(*pressed));
            }
            Event::Text(text) | Event::Clipboard(text) | Event::Layout(text) => {
                out.extend(text.as_bytes())
            }
            Event::PointerAbsolute { x, y } => {
                out.extend(x.to_le_bytes());
                out.extend(y.to_le_bytes());
            }
            Event::PointerRelative { dx, dy } => {
                out.extend(dx.to_le_bytes());
                out.extend(dy.to_le_bytes());
            }
            Event::PointerButton {
                button,
                pressed,
                position,
            } => {
                out.extend([*button, u8::from(*pressed)]);
                let (x, y) = position.unwrap_or_default();
                out.extend(x.to_le_bytes());
                out.extend(y.to_le_bytes());
                out.push(u8::from(position.is_some()));
            }
            Event::Wheel { dx, dy } => {
                out.extend(dx.to_le_bytes());
                out.extend(dy.to_le_bytes());
            }
            Event::ReleaseAll | Event::Ping => {}
            Event::Gamepad {
                seat,
                buttons,
                axes,
            } => {
                out.push(*seat);
                out.extend(buttons.to_le_bytes());
                for axis in axes {
                    out.extend(axis.to_le_bytes());
                }
            }
            Event::Touch { id, phase, x, y } => {
                out.extend([*id, *phase as u8]);
                out.extend(x.to_le_bytes());
                out.extend(y.to_le_bytes());
            }
            Event::Display { width, height, hz } => {
                for value in [width, height, hz] {
                    out.extend(value.to_le_bytes());
                }
            }
            Event::Wish {
                kbps_max,
                height_max,
                fps_max,
            } => {
                out.extend(kbps_max.to_le_bytes());
                out.extend(height_max.to_le_bytes());
                out.extend(fps_max.to_le_bytes());
            }
            Event::Phase { shift_us } => out.extend(shift_us.to_le_bytes()),
            Event::Shown(frames) => frames.iter().for_each(|frame| frame.encode(&mut out)),
        }
        out
    }

    /// The packet in `bytes`.
    ///
    /// # Errors
    /// [`DecodeError`] for anything that [`Packet::encode`] does not make.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > INPUT_PACKET_BYTES_MAX {
            return Err(DecodeError::TooLarge);
        }
        let mut r = Reader(bytes);
        let version = r.u8().ok_or(DecodeError::Short)?;
        if version != INPUT_VERSION {
            return Err(DecodeError::Version(version));
        }
        let kind = r.u8().ok_or(DecodeError::Short)?;
        let seq = r.u32().ok_or(DecodeError::Short)?;
        let client_us = r.u64().ok_or(DecodeError::Short)?;
        let event = Event::decode(kind, &mut r)?;
        if !r.is_empty() {
            return Err(DecodeError::Long);
        }
        Ok(Self {
            seq,
            client_us,
            event,
        })
    }
}

impl Event {
    /// Whether this event counts as the player being there (a ping does not).
    pub fn is_activity(&self) -> bool {
        !matches!(
            self,
            Self::Ping
                | Self::ReleaseAll
                | Self::Layout(_)
                | Self::Clipboard(_)
                | Self::Display { .. }
                | Self::Wish { .. }
                | Self::Phase { .. }
                | Self::Shown(_)
        )
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Key { .. } => 0x01,
            Self::Text(_) => 0x02,
            Self::PointerAbsolute { .. } => 0x03,
            Self::PointerRelative { .. } => 0x04,
            Self::PointerButton { .. } => 0x05,
            Self::Wheel { .. } => 0x06,
            Self::ReleaseAll => 0x07,
            Self::Clipboard(_) => 0x08,
            Self::Layout(_) => 0x09,
            Self::Ping => 0x0a,
            Self::Gamepad { .. } => 0x0b,
            Self::Touch { .. } => 0x0c,
            Self::Display { .. } => 0x0d,
            Self::Wish { .. } => 0x0e,
            Self::Phase { .. } => 0x0f,
            Self::Shown(_) => 0x10,
        }
    }

    fn decode(kind: u8, r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match kind {
            0x01 => {
                let code = field(r.u16())?;
                if !crate::keycode::is_known(code) {
                    return Err(DecodeError::Value);
                }
                Self::Key {
                    code,
                    pressed: flag(r)?,
                }
            }
            0x02 => Self::Text(text(r, TEXT_BYTES_MAX)?),
            0x03 => Self::PointerAbsolute {
                x: field(r.u16())?,
                y: field(r.u16())?,
            },
            0x04 => Self::PointerRelative {
                dx: field(r.i32())?,
                dy: field(r.i32())?,
            },
            0x05 => Self::decode_button(r)?,
            0x06 => Self::Wheel {
                dx: field(r.i16())?,
                dy: field(r.i16())?,
            },
            0x07 => Self::ReleaseAll,
            0x08 => Self::Clipboard(text(r, CLIPBOARD_BYTES_MAX)?),
            0x09 => {
                let layout = text(r, 32)?;
                if !is_layout_name(&layout) {
                    return Err(DecodeError::Value);
                }
                Self::Layout(layout)
            }
            0x0a => Self::Ping,
            0x0b => {
                let seat = field(r.u8())?;
                if seat >= GAMEPAD_SEATS {
                    return Err(DecodeError::Value);
                }
                let buttons = field(r.u32())?;
                let mut axes = [0; 6];
                for axis in &mut axes {
                    *axis = field(r.i16())?;
                }
                Self::Gamepad {
                    seat,
                    buttons,
                    axes,
                }
            }
            0x0c => {
                let id = field(r.u8())?;
                let phase = match field(r.u8())? {
                    0 => TouchPhase::Down,
                    1 => TouchPhase::Move,
                    2 => TouchPhase::Up,
                    3 => TouchPhase::Cancel,
                    _ => return Err(DecodeError::Value),
                };
                Self::Touch {
                    id,
                    phase,
                    x: field(r.u16())?,
                    y: field(r.u16())?,
                }
            }
            0x0d => Self::decode_display(r)?,
            0x0e => Self::Wish {
                kbps_max: field(r.u32())?,
                height_max: field(r.u16())?,
                fps_max: field(r.u16())?,
            },
            0x0f => Self::Phase {
                shift_us: field(r.i16())?,
            },
            0x10 => Self::Shown(shown::decode(r)?),
            other => return Err(DecodeError::Kind(other)),
        })
    }

    fn decode_display(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let side = |value: u16| {
            let sides = DISPLAY_SIDE_MIN..=DISPLAY_SIDE_MAX;
            let fits = sides.contains(&u32::from(value));
            if fits {
                Ok(value)
            } else {
                Err(DecodeError::Value)
            }
        };
        let (width, height) = (side(field(r.u16())?)?, side(field(r.u16())?)?);
        let hz = field(r.u16())?;
        if hz == 0 || u32::from(hz) > DISPLAY_HZ_MAX {
            return Err(DecodeError::Value);
        }
        Ok(Self::Display { width, height, hz })
    }

    fn decode_button(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let button = field(r.u8())?;
        if button > 4 {
            return Err(DecodeError::Value);
        }
        let pressed = flag(r)?;
        let place = (field(r.u16())?, field(r.u16())?);
        let position = flag(r)?.then_some(place);
        if position.is_none() && place != (0, 0) {
            return Err(DecodeError::Value);
        }
        Ok(Self::PointerButton {
            button,
            pressed,
            position,
        })
    }
}

/// Whether `name` may be handed to xkb as a layout: `de`, `us(intl)`, `ch(fr)`.
pub fn is_layout_name(name: &str) -> bool {
    let (layout, variant) = match name.split_once('(') {
        None => (name, None),
        Some((layout, rest)) => (layout, Some(rest.strip_suffix(')').unwrap_or(""))),
    };
    let word = |s: &str, max: usize| {
        (1..=max).contains(&s.len())
            && s.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
    };
    word(layout, 8) && variant.is_none_or(|v| word(v, 20))
}

fn field<T>(value: Option<T>) -> Result<T, DecodeError> {
    value.ok_or(DecodeError::Short)
}

fn flag(r: &mut Reader<'_>) -> Result<bool, DecodeError> {
    match field(r.u8())? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeError::Value),
    }
}

fn text(r: &mut Reader<'_>, bytes_max: usize) -> Result<String, DecodeError> {
    let bytes = r.rest();
    if bytes.len() > bytes_max {
        return Err(DecodeError::TooLarge);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| DecodeError::Value)?;
    if text.contains('\0') {
        return Err(DecodeError::Value);
    }
    Ok(text.to_owned())
}

#[cfg(test)]
#[path = "input/test.rs"]
mod test;
