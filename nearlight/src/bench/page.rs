//! A page under measurement: opened, driven like a player drives it, and read.
//!
//! ```text
//!   Floor:   open floor.html ------------------------------> press … press -> take
//!   Session: lobby -> click Play -> first picture -> settle -> press … press -> take -> end
//! ```
//!
//! Owns: the tab. Does not know: the DevTools protocol; how pixels are read (page.js).

use super::browser::Browser;
use super::cdp::CdpError;
use super::plan::Mode;
use super::sample::{Answer, Press};
use super::tab::{Key, Notice, Tab};
use serde::Deserialize;
use serde_json::Value;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const FLOOR: &str = include_str!("floor.html");
/// The reason that a page gives where the node has no image of the app.
const IMAGE_MISSING: &str = "image-missing";
/// The lobby shows its cards within a second.
const LOBBY_DEADLINE: Duration = Duration::from_secs(30);
/// A cold start of a container on a busy machine.
const PICTURE_DEADLINE: Duration = Duration::from_secs(90);
/// A press that has no picture by then is counted as unseen.
const SEEN_DEADLINE: Duration = Duration::from_secs(2);
const END_DEADLINE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);

/// Why a page could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// The browser.
    #[error(transparent)]
    Cdp(#[from] CdpError),
    /// The floor's page.
    #[error("cannot write the floor's page")]
    Floor(#[source] std::io::Error),
    /// Nobody serves the lobby.
    #[error(
        "the browser cannot open {url}: {why}. Is Nearlight running? Start it with `nearlight up`, or have the bench start one: --up"
    )]
    Unreachable {
        /// What was opened.
        url: String,
        /// Chromium's name of the error.
        why: String,
    },
    /// No card of the app.
    #[error("the lobby at {url} shows no app `{app}`; `nearlight app list` shows what there is")]
    NoApp {
        /// Where.
        url: String,
        /// Which.
        app: String,
    },
    /// A card that cannot be played.
    #[error(
        "no node can start `{0}` now: make its image (scripts/images.sh docker {0}; without a Docker engine scripts/images.sh sandbox {0}), or end other sessions"
    )]
    Unavailable(String),
    /// The session ended.
    #[error("the session is {phase}{}{reason}", if reason.is_empty() { "" } else { ": " })]
    Over {
        /// The page's phase.
        phase: String,
        /// And its reason.
        reason: String,
    },
    /// No picture.
    #[error("no picture came within {} s (the page is {phase}); the node's log says why", PICTURE_DEADLINE.as_secs())]
    NoPicture {
        /// The page's phase.
        phase: String,
    },
    /// Another picture than calibrate's.
    #[error(
        "the picture of `{0}` is not calibrate's (docs/calibrate.md); name an app that runs calibrate with --app"
    )]
    NotCalibrate(String),
    /// A key that does nothing.
    #[error(
        "the app does not answer keys, or does not switch to the mode {0} by F10; is its image up to date?"
    )]
    Deaf(&'static str),
    /// It does not end.
    #[error("the session did not end within {} s", END_DEADLINE.as_secs())]
    Endless,
}

/// What the picture shows.
#[derive(Debug, Deserialize)]
struct Shows {
    light: Option<bool>,
    calibrate: bool,
    immediate: Option<bool>,
}

/// What a run left in the page.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Taken {
    /// Presses whose picture was seen.
    pub(super) presses: Vec<Press>,
    /// What the player page told of inputs, all of them.
    pub(super) answers: Vec<Answer>,
}

const KEY: Key = Key {
    code: "KeyA",
    key: "a",
    number: 65,
};
/// Switches calibrate's mode.
const MODE_KEY: Key = Key {
    code: "F10",
    key: "F10",
    number: 121,
};

/// A page of a fresh guest.
#[derive(Debug)]
pub(super) struct Page<'a> {
    tab: Tab<'a>,
}

impl<'a> Page<'a> {
    /// A blank one.
    pub(super) async fn open(browser: &'a mut Browser) -> Result<Self, PageError> {
        let tab = Tab::open(browser).await?;
        Ok(Self { tab })
    }

    /// Shows the floor's canvas.
    pub(super) async fn show_floor(&mut self) -> Result<(), PageError> {
        let path = self.tab.folder().join("floor.html");
        std::fs::write(&path, FLOOR).map_err(PageError::Floor)?;
        let url = format!("file://{}", path.display());
        self.navigate(&url).await?;
        // The canvas is painted by its own script, which has run once the page is there.
        self.until(
            "document.readyState === 'complete' && document.querySelector('canvas') !== null",
        )
        .await?;
        self.read().await.map(drop)
    }

    /// Clicks Play on the card of `app`, as a player does. Answers the seconds until the first
    /// picture in the browser.
    pub(super) async fn play(&mut self, url: &str, app: &str) -> Result<f64, PageError> {
        self.navigate(url).await?;
        let card = format!("document.querySelector('[data-app=\"{app}\"]')");
        if !self.until(&format!("{card} !== null")).await? {
            let (url, app) = (url.to_owned(), app.to_owned());
            return Err(PageError::NoApp { url, app });
        }
        let button = format!("{card}.querySelector('[data-action=play]')");
        if !self
            .until(&format!("{button} !== null && !{button}.disabled"))
            .await?
        {
            return Err(PageError::Unavailable(app.to_owned()));
        }
        let place = format!(
            "(() => {{ const button = {button}; button.scrollIntoView({{ block: 'center' }}); \
             const box = button.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; }})()"
        );
        let (x, y): (f64, f64) = self.tab.evaluate(&place).await?;
        self.tab.click(x, y).await?;
        self.first_picture(app).await
    }

    /// Lets pings, the estimate of the line and the encoder settle; then sees to it that the app is
    /// in `mode`.
    pub(super) async fn settle(&mut self, mode: Mode, app: &str) -> Result<(), PageError> {
        sleep(super::SETTLE).await;
        for attempt in 0..3 {
            let shows = self.steady().await?;
            if !shows.calibrate {
                return Err(PageError::NotCalibrate(app.to_owned()));
            }
            if shows.immediate == Some(mode == Mode::Immediate) {
                self.tab.evaluate::<Value>("nearlightRig.forget()").await?;
                return Ok(());
            }
            if attempt < 2 {
                self.press_key(&MODE_KEY).await?;
            }
        }
        Err(PageError::Deaf(mode.name()))
    }

    /// One press of a key, held until its picture is seen. False if it never was.
    pub(super) async fn press(&mut self) -> Result<bool, PageError> {
        self.press_key(&KEY).await
    }

    /// What the run left.
    pub(super) async fn take(&mut self) -> Result<Taken, PageError> {
        Ok(self.tab.evaluate("nearlightRig.take()").await?)
    }

    /// How the stream is, in the player page's own words.
    pub(super) async fn stats(&mut self) -> Result<Value, PageError> {
        let words = "JSON.parse(document.querySelector('#nearlight-stats')?.textContent ?? 'null')";
        Ok(self.tab.evaluate(words).await?)
    }

    /// Ends the session of this page, and waits until the node has room again.
    pub(super) async fn end_session(&mut self) -> Result<(), PageError> {
        let end = "fetch('/v1/sessions' + location.pathname.slice('/play'.length), { method: 'DELETE' }).then(() => null)";
        self.tab.evaluate::<Value>(end).await?;
        let deadline = Instant::now() + END_DEADLINE;
        let over = "fetch('/v1/sessions' + location.pathname.slice('/play'.length)).then((answer) => answer.json()).then((session) => (session.state?.phase ?? 'ended') === 'ended')";
        while Instant::now() < deadline {
            if self.tab.evaluate(over).await? {
                return Ok(());
            }
            sleep(POLL).await;
        }
        Err(PageError::Endless)
    }

    /// Closes it.
    pub(super) async fn close(self) -> Result<(), PageError> {
        Ok(self.tab.close().await?)
    }

    async fn press_key(&mut self, key: &Key) -> Result<bool, PageError> {
        self.tab.forget_notices();
        self.tab.key("rawKeyDown", key).await?;
        let deadline = Instant::now() + SEEN_DEADLINE;
        let seen = loop {
            match self.tab.notice(deadline).await? {
                Some(Notice::Seen) => break true,
                Some(Notice::Phase { phase, reason }) if is_over(&phase) => {
                    return Err(PageError::Over { phase, reason });
                }
                Some(_) => {}
                None => break false,
            }
        };
        self.tab.key("keyUp", key).await?;
        if !seen {
            // The flip may still come: the next press starts from what is there then.
            self.steady().await?;
        }
        Ok(seen)
    }

    async fn first_picture(&mut self, app: &str) -> Result<f64, PageError> {
        let deadline = Instant::now() + PICTURE_DEADLINE;
        let mut phase = "lobby".to_owned();
        loop {
            match self.tab.notice(deadline).await? {
                Some(Notice::Phase { reason, .. }) if reason == IMAGE_MISSING => {
                    return Err(PageError::Unavailable(app.to_owned()));
                }
                Some(Notice::Picture { after_ms }) => {
                    return Ok(after_ms.unwrap_or(f64::NAN) / 1000.0);
                }
                Some(Notice::Phase { phase, reason }) if is_over(&phase) => {
                    return Err(PageError::Over { phase, reason });
                }
                Some(Notice::Phase { phase: next, .. }) => phase = next,
                Some(Notice::Seen) => {}
                None => return Err(PageError::NoPicture { phase }),
            }
        }
    }

    /// The picture, once its background is one of the two; calibrate's or not.
    async fn steady(&mut self) -> Result<Shows, PageError> {
        let deadline = Instant::now() + SEEN_DEADLINE;
        loop {
            let shows = self.read().await?;
            if shows.light.is_some() || Instant::now() >= deadline {
                return Ok(shows);
            }
            sleep(POLL).await;
        }
    }

    async fn read(&mut self) -> Result<Shows, PageError> {
        Ok(self.tab.evaluate("nearlightRig.read()").await?)
    }

    /// Whether `condition` came true before the lobby's deadline.
    async fn until(&mut self, condition: &str) -> Result<bool, PageError> {
        let deadline = Instant::now() + LOBBY_DEADLINE;
        while Instant::now() < deadline {
            if self.tab.evaluate(condition).await? {
                return Ok(true);
            }
            sleep(POLL).await;
        }
        Ok(false)
    }

    async fn navigate(&mut self, url: &str) -> Result<(), PageError> {
        match self.tab.navigate(url).await? {
            None => Ok(()),
            Some(why) => Err(PageError::Unreachable {
                url: url.to_owned(),
                why,
            }),
        }
    }
}

/// Whether nothing will be played in this phase any more without a person's doing.
fn is_over(phase: &str) -> bool {
    ["ended", "refused", "detached", "elsewhere"].contains(&phase)
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn errors_say_what_to_do() {
        let unavailable = PageError::Unavailable("calibrate".to_owned()).to_string();
        assert!(
            unavailable.contains("scripts/images.sh docker calibrate"),
            "{unavailable}"
        );
        let over = PageError::Over {
            phase: "ended".to_owned(),
            reason: String::new(),
        };
        assert_eq!(over.to_string(), "the session is ended");
    }
}
