//! What a session runs, as columns of its row.

use crate::ledger::StoreError;
use crate::ledger::phase_row::{APP, JOB, hex};
use crate::ledger::tx::json;
use nearlight_protocol::app::{AppSpec, DisplayMode};
use nearlight_protocol::work::{AppWork, Work};
use sha2::{Digest, Sha256};

/// What the row of a job has where that of an app has its display.
pub(super) const NO_DISPLAY: DisplayMode = DisplayMode {
    width: 0,
    height: 0,
    hz: 0,
};

/// What the columns of a session's row have of its work.
#[derive(Debug)]
pub(super) struct Columns<'a> {
    pub(super) kind: &'static str,
    pub(super) app_id: &'a str,
    pub(super) app_digest: String,
    pub(super) app: String,
    pub(super) display: DisplayMode,
    pub(super) keyboard_layout: &'a str,
}

impl<'a> Columns<'a> {
    pub(super) fn of(work: &'a Work) -> Result<Self, StoreError> {
        let Some(AppWork {
            app,
            display,
            keyboard_layout,
        }) = work.app()
        else {
            return Ok(Self {
                kind: JOB,
                app_id: "",
                app_digest: String::new(),
                app: String::new(),
                display: NO_DISPLAY,
                keyboard_layout: "",
            });
        };
        let text = json(app)?;
        Ok(Self {
            kind: APP,
            app_id: app.id.as_str(),
            app_digest: digest_of(&text),
            app: text,
            display: *display,
            keyboard_layout,
        })
    }
}

/// The name of an edition, of its text.
fn digest_of(app: &str) -> String {
    hex(&Sha256::digest(app).into())
}

/// The name of an app's edition.
pub(in crate::ledger) fn edition_of(app: &AppSpec) -> Result<String, StoreError> {
    json(app).map(|app| digest_of(&app))
}
