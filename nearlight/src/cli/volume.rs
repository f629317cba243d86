//! The command line of what jobs have kept: `volume`.

use clap::Subcommand;

/// `nearlight volume`.
#[derive(Debug, Subcommand)]
pub enum VolumeCommand {
    /// Your volumes. A job makes one by naming it.
    List,
    /// One volume.
    Show {
        /// Its name, or its id.
        volume: String,
    },
    /// Delete a volume that no job has; its node wipes it.
    Delete {
        /// Its name, or its id.
        volume: String,
    },
}
