//! An engine for tests: it answers as the test says, and runs nothing.

use super::{AppExit, AppPlan, AppRef, Pulled, Runtime, RuntimeError};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use nearlight_protocol::id::SessionId;
use nearlight_protocol::work::PullLogin;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// An engine that runs nothing, and counts how often it is asked whether it is there, or for its images.
#[derive(Debug)]
pub(crate) struct Scripted {
    asked: AtomicU32,
    /// Whether it answers when it is asked, from 0.
    answers: fn(u32) -> bool,
}

impl Scripted {
    pub(crate) fn new(answers: fn(u32) -> bool) -> Self {
        Self {
            asked: AtomicU32::new(0),
            answers,
        }
    }

    /// How often it was asked.
    pub(crate) fn asked(&self) -> u32 {
        self.asked.load(Ordering::Relaxed)
    }

    fn answer(&self) -> Result<(), RuntimeError> {
        let n = self.asked.fetch_add(1, Ordering::Relaxed);
        (self.answers)(n).then_some(()).ok_or_else(away)
    }
}

fn away() -> RuntimeError {
    RuntimeError::Deadline { action: "answer" }
}

impl Runtime for Scripted {
    fn name(&self) -> &'static str {
        "scripted"
    }
    fn answers(&self) -> BoxFuture<'_, Result<(), RuntimeError>> {
        async { self.answer() }.boxed()
    }
    fn images(&self) -> BoxFuture<'_, Result<Vec<String>, RuntimeError>> {
        async { self.answer().map(|()| Vec::new()) }.boxed()
    }
    fn image_store(&self) -> BoxFuture<'_, Option<PathBuf>> {
        async { None }.boxed()
    }
    fn image_bytes<'a>(
        &'a self,
        _image: &'a str,
    ) -> BoxFuture<'a, Result<Option<u64>, RuntimeError>> {
        async { Err(away()) }.boxed()
    }
    fn remove_image<'a>(&'a self, _image: &'a str) -> BoxFuture<'a, Result<bool, RuntimeError>> {
        async { Err(away()) }.boxed()
    }
    fn fetch<'a>(
        &'a self,
        _image: &'a str,
        _login: Option<&'a PullLogin>,
        _pulled: &'a (dyn Fn(Pulled) + Send + Sync),
    ) -> BoxFuture<'a, Result<(), RuntimeError>> {
        async { Err(away()) }.boxed()
    }
    fn start<'a>(&'a self, _plan: &'a AppPlan) -> BoxFuture<'a, Result<AppRef, RuntimeError>> {
        async { Err(away()) }.boxed()
    }
    fn pid<'a>(&'a self, _app: &'a AppRef) -> BoxFuture<'a, Option<i32>> {
        async { None }.boxed()
    }
    fn wait<'a>(&'a self, _app: &'a AppRef) -> BoxFuture<'a, AppExit> {
        async { AppExit::default() }.boxed()
    }
    fn ask_to_end<'a>(&'a self, _app: &'a AppRef) -> BoxFuture<'a, ()> {
        async {}.boxed()
    }
    fn remove<'a>(&'a self, _app: &'a AppRef) -> BoxFuture<'a, Result<(), RuntimeError>> {
        async { Err(away()) }.boxed()
    }
    fn running(&self) -> BoxFuture<'_, Result<Vec<(SessionId, AppRef)>, RuntimeError>> {
        async { Err(away()) }.boxed()
    }
}
