//! Which exit status a failure has, so that scripts can tell them apart.

use crate::bench::BenchError;
use crate::client::ClientError;
use crate::command::CommandError;
use crate::join::JoinError;
use nearlight_kit::enrol::EnrolError;
use nearlight_verifier::audit::AuditError;
use nearlight_verifier::rerun::RerunError;

/// Why the program ends with another status than 0.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A question to a broker.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// `nearlight up`.
    #[error("{0:#}")]
    Up(anyhow::Error),
    /// `nearlight bench`.
    #[error(transparent)]
    Bench(#[from] BenchError),
    /// The doctor found that no session can run here.
    #[error("no session can run here: the lines marked `missing` say what to do")]
    Unfit,
}

impl Failure {
    /// The exit status; `nearlight --help` lists them.
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Up(_) | Self::Bench(_) | Self::Unfit => 1,
            Self::Command(CommandError::Client(error)) => client_status(error),
            Self::Command(CommandError::Join(error)) => join_status(error),
            Self::Command(
                CommandError::StreamEnded
                | CommandError::Profile(_)
                | CommandError::NoSuchReceipt(_)
                | CommandError::NoKey(_)
                | CommandError::EmptyKey
                | CommandError::NoPassword(_)
                | CommandError::NoImageKey(_)
                | CommandError::LoginDenied
                | CommandError::LoginExpired
                | CommandError::NoBroker(_)
                | CommandError::NoNode(_)
                | CommandError::NoNodeHere
                | CommandError::NotBootstrapped
                | CommandError::NotKept
                | CommandError::File(_)
                | CommandError::Job(_)
                | CommandError::NoVolume(_)
                | CommandError::NoRecipe { .. }
                | CommandError::Recipe(_)
                | CommandError::NotRead { .. }
                | CommandError::NotWritten { .. },
            ) => 1,
            Self::Command(CommandError::Receipt(_) | CommandError::NoReceipt) => {
                nearlight_verifier::EXIT_USAGE
            }
            Self::Command(CommandError::Rerun(error)) => match error {
                RerunError::Source(error) => client_status(error),
                RerunError::NoReceipt | RerunError::Kind(_) | RerunError::Sizes => {
                    nearlight_verifier::EXIT_USAGE
                }
            },
            Self::Command(CommandError::Audit(error)) => match error {
                AuditError::Source(error) => client_status(error),
                AuditError::Garbled { .. } => 3,
                AuditError::Remembered => 1,
                AuditError::Node => 2,
            },
            Self::Command(CommandError::Inside(error)) => error.exit_status(),
            Self::Command(CommandError::NoLabel(_)) => 2,
            Self::Command(CommandError::NoApp { .. }) => 4,
            Self::Command(CommandError::Ended { .. }) => 5,
        }
    }

    /// What caused it, below the first line.
    pub fn causes(&self) -> Vec<String> {
        let mut causes = Vec::new();
        let mut next = std::error::Error::source(self);
        let mut said = self.to_string();
        while let Some(cause) = next {
            let words = cause.to_string();
            // Some errors say their cause themselves.
            if !said.contains(&words) {
                causes.push(words.clone());
            }
            said = words;
            next = cause.source();
        }
        causes
    }
}

fn client_status(error: &ClientError) -> u8 {
    match error {
        ClientError::Broken(_) | ClientError::NoKey(_) | ClientError::Profile(_) => 1,
        ClientError::BadKey | ClientError::ProfileElsewhere { .. } | ClientError::BadUrl(_) => 2,
        ClientError::Unreachable { .. } | ClientError::Foreign { .. } => 3,
        ClientError::Problem(_) => 4,
    }
}

fn join_status(error: &JoinError) -> u8 {
    match error {
        JoinError::NoToken | JoinError::Token(_) => 2,
        JoinError::Enrol(EnrolError::Refused { .. }) => 4,
        JoinError::Enrol(EnrolError::Answer(_) | EnrolError::Pki(_)) => 1,
        JoinError::Enrol(_) => 3,
        JoinError::Taken(_)
        | JoinError::BrokersOwn(_)
        | JoinError::Running(_)
        | JoinError::Pki(_)
        | JoinError::File { .. } => 1,
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use nearlight_protocol::problem::{Problem, ProblemType};

    #[test]
    fn statuses_tell_failures_apart() {
        let status = |error: ClientError| Failure::from(CommandError::from(error)).exit_status();
        let problem = Problem::new(ProblemType::NotFound, "", "");
        assert_eq!(status(ClientError::Problem(Box::new(problem))), 4);
        assert_eq!(status(ClientError::BadUrl(String::new())), 2);
        let ended = CommandError::Ended {
            id: "ses_1".to_owned(),
            detail: String::new(),
        };
        assert_eq!(Failure::from(ended).exit_status(), 5);
    }
}
