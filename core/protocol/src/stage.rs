//! Where the time goes between a player's input and the picture that answers it. Overlay, metrics,
//! loadtest and benchmarks all use these names; who cannot know a stage leaves it out.
//!
//! | stage | from | to | known to |
//! |---|---|---|---|
//! | `input` | the browser's event | its arrival at the node | the browser; the node takes half a round trip for it |
//! | `render` | there | the app's commit of the first frame that contains it | both |
//! | `capture` | a commit | the converted copy of its buffer | both |
//! | `encode` | the copy | the access unit | both |
//! | `pace` | the access unit | its last packet with the kernel | both |
//! | `network` | there | its arrival in the browser | the browser; the node takes half a round trip for it |
//! | `decode` | there | the decoded picture | the browser |
//! | `present` | there | the display | the browser |

/// One stage. See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Browser to node.
    Input,
    /// The app.
    Render,
    /// The copy out of the app's buffer.
    Capture,
    /// The encoder.
    Encode,
    /// Packets, until the last one is with the kernel.
    Pace,
    /// Node to browser.
    Network,
    /// The decoder.
    Decode,
    /// Jitter buffer and compositor.
    Present,
}

impl Stage {
    /// All of them, in the order of the way.
    pub const ALL: [Self; 8] = [
        Self::Input,
        Self::Render,
        Self::Capture,
        Self::Encode,
        Self::Pace,
        Self::Network,
        Self::Decode,
        Self::Present,
    ];

    /// The name that everybody uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Render => "render",
            Self::Capture => "capture",
            Self::Encode => "encode",
            Self::Pace => "pace",
            Self::Network => "network",
            Self::Decode => "decode",
            Self::Present => "present",
        }
    }
}
