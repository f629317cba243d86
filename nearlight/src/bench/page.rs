//! A page under measurement: opened, driven like a player drives it, and read.
//!
//! ```text
//!   Floor:   open floor.html ------------------------------> press … press -> take
//!   Session: lobby -> click Play -> first picture -> settle -> press … press -> take -> end
//! ```
//!
//! Owns: the browser context (cookies of one guest) and the target in it. What runs inside the page
//! is page.js.

use super::browser::Browser;
use super::cdp::CdpError;
use super::plan::Mode;
use super::sample::{Answer, Press};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, sleep};

const SCRIPT: &str = include_str!("page.js");
const FLOOR: &str = include_str!("floor.html");
/// The display that is asked for: the window is as large, so that no pixel is scaled.
const WIDTH: u32 = 1280;
const HEIGHT: u32 = 720;

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

/// What page.js tells by itself.
#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case", tag = "kind")]
enum Notice {
    /// The picture that answers the last press was seen.
    Seen,
    /// The first picture, so long after the click on Play.
    Picture { after_ms: Option<f64> },
    /// The player page is in another phase.
    Phase { phase: String, reason: String },
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

/// A key, as the protocol names it.
struct Key {
    code: &'static str,
    key: &'static str,
    number: u32,
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

/// A page, alone in its browser context.
#[derive(Debug)]
pub(super) struct Page<'a> {
    browser: &'a mut Browser,
    context: String,
    target: String,
}

impl<'a> Page<'a> {
    /// A blank page with a guest's empty cookies.
    pub(super) async fn open(browser: &'a mut Browser) -> Result<Self, PageError> {
        browser.cdp.forget_notices();
        let context: Value = browser
            .cdp
            .call(None, "Target.createBrowserContext", json!({}))
            .await?;
        let context = text(&context, "browserContextId");
        let blank = json!({ "url": "about:blank", "browserContextId": context, "width": WIDTH, "height": HEIGHT });
        let created: Value = browser.cdp.call(None, "Target.createTarget", blank).await?;
        let attach = json!({ "targetId": text(&created, "targetId"), "flatten": true });
        let attached: Value = browser
            .cdp
            .call(None, "Target.attachToTarget", attach)
            .await?;
        let mut page = Self {
            target: text(&attached, "sessionId"),
            browser,
            context,
        };
        let metrics =
            json!({ "width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": false });
        page.call("Page.enable", json!({})).await?;
        page.call("Runtime.enable", json!({})).await?;
        page.call("Runtime.addBinding", json!({ "name": "nearlightBench" }))
            .await?;
        page.call(
            "Page.addScriptToEvaluateOnNewDocument",
            json!({ "source": SCRIPT }),
        )
        .await?;
        page.call("Emulation.setDeviceMetricsOverride", metrics)
            .await?;
        page.call(
            "Emulation.setFocusEmulationEnabled",
            json!({ "enabled": true }),
        )
        .await?;
        page.call("Page.bringToFront", json!({})).await?;
        Ok(page)
    }

    /// Shows the floor's canvas.
    pub(super) async fn show_floor(&mut self) -> Result<(), PageError> {
        let path = self.browser.folder().join("floor.html");
        std::fs::write(&path, FLOOR).map_err(PageError::Floor)?;
        self.navigate(&format!("file://{}", path.display())).await?;
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
        let (x, y): (f64, f64) = self.evaluate(&place).await?;
        for kind in ["mousePressed", "mouseReleased"] {
            let click = json!({ "type": kind, "x": x, "y": y, "button": "left", "clickCount": 1 });
            self.call("Input.dispatchMouseEvent", click).await?;
        }
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
                return self
                    .evaluate::<Value>("nearlightRig.forget()")
                    .await
                    .map(drop);
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
        self.evaluate("nearlightRig.take()").await
    }

    /// How the stream is, in the player page's own words.
    pub(super) async fn stats(&mut self) -> Result<Value, PageError> {
        let words = "JSON.parse(document.querySelector('#nearlight-stats')?.textContent ?? 'null')";
        self.evaluate(words).await
    }

    /// Ends the session of this page, and waits until the node has room again.
    pub(super) async fn end_session(&mut self) -> Result<(), PageError> {
        let end = "fetch('/v1/sessions' + location.pathname.slice('/play'.length), { method: 'DELETE' }).then(() => null)";
        self.evaluate::<Value>(end).await?;
        let deadline = Instant::now() + END_DEADLINE;
        let over = "fetch('/v1/sessions' + location.pathname.slice('/play'.length)).then((answer) => answer.json()).then((session) => (session.state?.phase ?? 'ended') === 'ended')";
        while Instant::now() < deadline {
            if self.evaluate(over).await? {
                return Ok(());
            }
            sleep(POLL).await;
        }
        Err(PageError::Endless)
    }

    /// Closes the page and forgets its guest.
    pub(super) async fn close(self) -> Result<(), PageError> {
        let context = json!({ "browserContextId": self.context });
        let method = "Target.disposeBrowserContext";
        self.browser
            .cdp
            .call::<Value>(None, method, context)
            .await?;
        Ok(())
    }

    async fn press_key(&mut self, key: &Key) -> Result<bool, PageError> {
        self.browser.cdp.forget_notices();
        self.key("rawKeyDown", key).await?;
        let deadline = Instant::now() + SEEN_DEADLINE;
        let seen = loop {
            match self.notice(deadline).await? {
                Some(Notice::Seen) => break true,
                Some(Notice::Phase { phase, reason }) if is_over(&phase) => {
                    return Err(PageError::Over { phase, reason });
                }
                Some(_) => {}
                None => break false,
            }
        };
        self.key("keyUp", key).await?;
        if !seen {
            // The flip may still come: the next press starts from what is there then.
            self.steady().await?;
        }
        Ok(seen)
    }

    async fn key(&mut self, kind: &str, key: &Key) -> Result<(), PageError> {
        let event = json!({
            "type": kind,
            "code": key.code,
            "key": key.key,
            "windowsVirtualKeyCode": key.number,
            "nativeVirtualKeyCode": key.number,
        });
        self.call("Input.dispatchKeyEvent", event).await
    }

    async fn first_picture(&mut self, app: &str) -> Result<f64, PageError> {
        let deadline = Instant::now() + PICTURE_DEADLINE;
        let mut phase = "lobby".to_owned();
        loop {
            match self.notice(deadline).await? {
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
        self.evaluate("nearlightRig.read()").await
    }

    /// Whether `condition` came true before the lobby's deadline.
    async fn until(&mut self, condition: &str) -> Result<bool, PageError> {
        let deadline = Instant::now() + LOBBY_DEADLINE;
        while Instant::now() < deadline {
            if self.evaluate(condition).await? {
                return Ok(true);
            }
            sleep(POLL).await;
        }
        Ok(false)
    }

    async fn navigate(&mut self, url: &str) -> Result<(), PageError> {
        let answer: Value = self
            .browser
            .cdp
            .call(Some(&self.target), "Page.navigate", json!({ "url": url }))
            .await?;
        match answer.get("errorText").and_then(Value::as_str) {
            None | Some("") => Ok(()),
            Some(why) => Err(PageError::Unreachable {
                url: url.to_owned(),
                why: why.to_owned(),
            }),
        }
    }

    async fn notice(&mut self, deadline: Instant) -> Result<Option<Notice>, PageError> {
        let Some(payload) = self.browser.cdp.notice(deadline).await? else {
            return Ok(None);
        };
        let notice = serde_json::from_str(&payload).map_err(|source| CdpError::Strange {
            method: "Runtime.bindingCalled",
            source,
        })?;
        Ok(Some(notice))
    }

    async fn call(&mut self, method: &'static str, params: Value) -> Result<(), PageError> {
        self.browser
            .cdp
            .call::<Value>(Some(&self.target), method, params)
            .await?;
        Ok(())
    }

    /// The value of an expression, or of its promise.
    async fn evaluate<T: DeserializeOwned>(&mut self, expression: &str) -> Result<T, PageError> {
        const METHOD: &str = "Runtime.evaluate";
        let params =
            json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let mut answer: Value = self
            .browser
            .cdp
            .call(Some(&self.target), METHOD, params)
            .await?;
        if let Some(failure) = answer.get("exceptionDetails") {
            let words = failure["exception"]["description"].as_str();
            let words = words.or(failure["text"].as_str()).unwrap_or("no reason");
            return Err(CdpError::Script(words.to_owned()).into());
        }
        let value = answer["result"]["value"].take();
        serde_json::from_value(value).map_err(|source| {
            CdpError::Strange {
                method: METHOD,
                source,
            }
            .into()
        })
    }
}

/// Whether nothing will be played in this phase any more without a person's doing.
fn is_over(phase: &str) -> bool {
    ["ended", "refused", "detached", "elsewhere"].contains(&phase)
}

fn text(answer: &Value, name: &str) -> String {
    answer[name].as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn notices_are_those_that_the_script_tells() {
        let parse = |text: &str| serde_json::from_str::<Notice>(text).unwrap();
        assert_eq!(parse(r#"{"kind":"seen"}"#), Notice::Seen);
        let picture = parse(r#"{"kind":"picture","after_ms":812.5}"#);
        assert_eq!(
            picture,
            Notice::Picture {
                after_ms: Some(812.5)
            }
        );
        for kind in ["seen", "picture", "phase"] {
            assert!(SCRIPT.contains(&format!("kind: \"{kind}\"")), "{kind}");
        }
    }

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
