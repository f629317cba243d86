//! The command line of recipes: `recipe`.

use clap::Subcommand;

/// `nearlight recipe`.
#[derive(Debug, Subcommand)]
pub enum RecipeCommand {
    /// The broker's recipes. `nearlight session start --recipe ID` starts one.
    List,
    /// The job.toml of one, to change it and start it with `nearlight session start -f job.toml`.
    Show {
        /// Its id.
        recipe: String,
    },
}
