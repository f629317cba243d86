//! `nearlight login --device`: a player is identified in a browser, on this machine or another one
//! (RFC 8628). The broker asks the provider; this program shows where to go, and waits.
//!
//! The secret comes with the last answer, so it is on no command line and in no history.

use crate::client::{Client, ClientError};
use crate::command::CommandError;
use crate::terminal;
use nearlight_protocol::identity::{DeviceLogin, DeviceLoginState, PollDeviceLogin};
use nearlight_protocol::problem::ProblemType;
use std::time::{Duration, Instant};

/// Bounds of how often the provider is asked, seconds.
const INTERVAL_S: (u32, u32) = (1, 60);
/// A provider that minds is asked so much less often (RFC 8628 section 3.5), seconds.
const SLOWER_S: u32 = 5;
/// Longest wait for a person, seconds.
const EXPIRES_S_MAX: u32 = 1800;

/// The secret of a login at the broker at `url`, once somebody has agreed to it in a browser.
///
/// # Errors
/// [`CommandError`]: the broker offers no such login, or nobody agreed in time.
pub(crate) fn log_in(url: &str) -> Result<String, CommandError> {
    let client = Client::of_nobody(url);
    let begun: DeviceLogin = client.post("/v1/login/device", &())?;
    let until = Instant::now() + Duration::from_secs(begun.expires_s.min(EXPIRES_S_MAX).into());
    let complete = begun.verification_uri_complete.as_deref();
    let at = complete.unwrap_or(&begun.verification_uri);
    terminal::note(format_args!(
        "Open {} in a browser, and check that it shows the code {}",
        readable(at),
        readable(&begun.user_code)
    ));
    let asked = PollDeviceLogin {
        device_code: begun.device_code,
    };
    let mut interval_s = begun.interval_s.clamp(INTERVAL_S.0, INTERVAL_S.1);
    while Instant::now() < until {
        std::thread::sleep(Duration::from_secs(interval_s.into()));
        let slower = match client.post("/v1/login/device/poll", &asked) {
            Ok(DeviceLoginState::Done { secret }) => return Ok(secret),
            Ok(DeviceLoginState::Denied) => return Err(CommandError::LoginDenied),
            Ok(DeviceLoginState::Expired) => return Err(CommandError::LoginExpired),
            Ok(DeviceLoginState::Pending { slower }) => slower,
            Err(error) if is_passing(&error) => true,
            Err(error) => return Err(error.into()),
        };
        if slower {
            interval_s = (interval_s + SLOWER_S).min(INTERVAL_S.1);
        }
    }
    Err(CommandError::LoginExpired)
}

/// Whether the next try may do.
fn is_passing(error: &ClientError) -> bool {
    match error {
        ClientError::Unreachable { .. } | ClientError::Broken(_) => true,
        ClientError::Problem(problem) => matches!(
            problem.name,
            ProblemType::ProviderUnreachable | ProblemType::TooManyRequests
        ),
        ClientError::Foreign { .. }
        | ClientError::BadKey
        | ClientError::ProfileElsewhere { .. }
        | ClientError::BadUrl(_)
        | ClientError::Profile(_)
        | ClientError::NoKey(_) => false,
    }
}

/// Without what a terminal would take for orders: it comes from elsewhere.
fn readable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}
