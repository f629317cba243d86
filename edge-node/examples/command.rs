//! The command that people type, for tests of the agent: it is built with them.

use std::process::ExitCode;

fn main() -> ExitCode {
    nearlight::program::run()
}
