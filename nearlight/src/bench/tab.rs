//! One tab of the browser: commands and scripts go in, what its script tells comes out.
//!
//! Owns: the browser context (cookies of one guest) and the target in it. What runs inside is
//! page.js. Does not know: what is measured.

use super::browser::Browser;
use super::cdp::CdpError;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::path::Path;
use tokio::time::Instant;

const SCRIPT: &str = include_str!("page.js");
/// The display that is asked for: the window is as large, so that no pixel is scaled.
const WIDTH: u32 = 1280;
const HEIGHT: u32 = 720;

/// What page.js tells by itself.
#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub(super) enum Notice {
    /// The picture that answers the last press was seen.
    Seen,
    /// The first picture, so long after the click on Play.
    Picture {
        /// None if nobody clicked.
        after_ms: Option<f64>,
    },
    /// The player page is in another phase.
    Phase {
        /// As the page tells it.
        phase: String,
        /// Likewise, or empty.
        reason: String,
    },
}

/// A key, as the protocol names it.
#[derive(Debug)]
pub(super) struct Key {
    /// By place.
    pub(super) code: &'static str,
    /// By meaning.
    pub(super) key: &'static str,
    /// As Windows counts them.
    pub(super) number: u32,
}

/// A tab, alone in its browser context.
#[derive(Debug)]
pub(super) struct Tab<'a> {
    browser: &'a mut Browser,
    context: String,
    target: String,
}

impl<'a> Tab<'a> {
    /// A blank tab with a guest's empty cookies.
    pub(super) async fn open(browser: &'a mut Browser) -> Result<Self, CdpError> {
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
        let mut tab = Self {
            target: text(&attached, "sessionId"),
            browser,
            context,
        };
        let metrics =
            json!({ "width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": false });
        tab.call("Page.enable", json!({})).await?;
        tab.call("Runtime.enable", json!({})).await?;
        tab.call("Runtime.addBinding", json!({ "name": "nearlightBench" }))
            .await?;
        tab.call(
            "Page.addScriptToEvaluateOnNewDocument",
            json!({ "source": SCRIPT }),
        )
        .await?;
        tab.call("Emulation.setDeviceMetricsOverride", metrics)
            .await?;
        tab.call(
            "Emulation.setFocusEmulationEnabled",
            json!({ "enabled": true }),
        )
        .await?;
        tab.call("Page.bringToFront", json!({})).await?;
        Ok(tab)
    }

    /// Where files for the tab may be put.
    pub(super) fn folder(&self) -> &Path {
        self.browser.folder()
    }

    /// Opens `url`. Answers why not, in Chromium's words, where that is so.
    pub(super) async fn navigate(&mut self, url: &str) -> Result<Option<String>, CdpError> {
        let mut answer: Value = self
            .browser
            .cdp
            .call(Some(&self.target), "Page.navigate", json!({ "url": url }))
            .await?;
        match answer["errorText"].take() {
            Value::String(why) if !why.is_empty() => Ok(Some(why)),
            _ => Ok(None),
        }
    }

    /// A trusted click.
    pub(super) async fn click(&mut self, x: f64, y: f64) -> Result<(), CdpError> {
        for kind in ["mousePressed", "mouseReleased"] {
            let click = json!({ "type": kind, "x": x, "y": y, "button": "left", "clickCount": 1 });
            self.call("Input.dispatchMouseEvent", click).await?;
        }
        Ok(())
    }

    /// Forgets what the script told so far.
    pub(super) fn forget_notices(&mut self) {
        self.browser.cdp.forget_notices();
    }

    /// A trusted key event: `rawKeyDown` or `keyUp`.
    pub(super) async fn key(&mut self, kind: &str, key: &Key) -> Result<(), CdpError> {
        let event = json!({
            "type": kind,
            "code": key.code,
            "key": key.key,
            "windowsVirtualKeyCode": key.number,
            "nativeVirtualKeyCode": key.number,
        });
        self.call("Input.dispatchKeyEvent", event).await
    }

    /// The next thing that the script tells, or nothing until `deadline`.
    pub(super) async fn notice(&mut self, deadline: Instant) -> Result<Option<Notice>, CdpError> {
        let Some(payload) = self.browser.cdp.notice(deadline).await? else {
            return Ok(None);
        };
        let notice = serde_json::from_str(&payload).map_err(|source| CdpError::Strange {
            method: "Runtime.bindingCalled",
            source,
        })?;
        Ok(Some(notice))
    }

    /// A command of which only its success matters.
    pub(super) async fn call(
        &mut self,
        method: &'static str,
        params: Value,
    ) -> Result<(), CdpError> {
        self.browser
            .cdp
            .call::<Value>(Some(&self.target), method, params)
            .await?;
        Ok(())
    }

    /// The value of an expression, or of its promise.
    pub(super) async fn evaluate<T: DeserializeOwned>(
        &mut self,
        expression: &str,
    ) -> Result<T, CdpError> {
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
            return Err(CdpError::Script(words.to_owned()));
        }
        let value = answer["result"]["value"].take();
        serde_json::from_value(value).map_err(|source| CdpError::Strange {
            method: METHOD,
            source,
        })
    }

    /// Closes the tab and forgets its guest.
    pub(super) async fn close(self) -> Result<(), CdpError> {
        let context = json!({ "browserContextId": self.context });
        let method = "Target.disposeBrowserContext";
        self.browser
            .cdp
            .call::<Value>(None, method, context)
            .await?;
        Ok(())
    }
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
        let after_ms = Some(812.5);
        assert_eq!(picture, Notice::Picture { after_ms });
        for kind in ["seen", "picture", "phase"] {
            assert!(SCRIPT.contains(&format!("kind: \"{kind}\"")), "{kind}");
        }
    }
}
