//! The command line of what a tenant has outside: `registry`, `webhook`.

use clap::Subcommand;
use std::path::PathBuf;

/// `nearlight registry`.
#[derive(Debug, Subcommand)]
pub enum RegistryCommand {
    /// Give your tenant's jobs a credential for a registry, in place of the one that they have.
    Login {
        /// HOST or HOST:PORT, as references of images have it: registry.example, docker.io.
        registry: String,
        /// Who logs in.
        #[arg(long, short, value_name = "NAME")]
        username: String,
        /// A file with the password or token; a line of stdin otherwise.
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
    /// The registries that your tenant has a credential for; without their passwords.
    List,
    /// Forget a credential. Jobs that run go on.
    Remove {
        /// As it was given.
        registry: String,
    },
    /// Show which images your tenant's jobs may have, or set it as a whole.
    Policy {
        /// An image, or the folders that it begins with, such as registry.example/team; may be given
        /// several times.
        #[arg(long, value_name = "PREFIX")]
        allow: Vec<String>,
        /// The public key that has to have signed an image: cosign.pub, ECDSA P-256.
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
        /// Allow any image.
        #[arg(long, conflicts_with_all = ["allow", "key"])]
        any: bool,
    },
}

/// `nearlight webhook`.
#[derive(Debug, Subcommand)]
pub enum WebhookCommand {
    /// Have your tenant told of its jobs at an address. The secret of a new one is shown this once.
    Set {
        /// Where, https. Not the broker, which is `--url`.
        #[arg(value_name = "ENDPOINT")]
        endpoint: String,
    },
    /// Where your tenant is told, and how many notices wait.
    Show,
    /// Give it a new secret, which is shown this once. For a day notices are signed with both.
    Rotate,
    /// Tell nobody any more.
    Remove,
    /// Send a notice, to see whether it comes.
    Test,
    /// What was told or is to be, newest first, and what went wrong.
    Deliveries,
}
