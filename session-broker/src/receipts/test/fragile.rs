//! A store whose process dies, or stands still, at a write of the test's choice.

use super::super::store::{Object, Store};
use super::PATIENCE;
use std::io;
use std::sync::mpsc as std_mpsc;
use std::sync::{Arc, Mutex as Lock};

/// What becomes of a write to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ends {
    /// The process dies before it.
    Before,
    /// It dies right after it.
    After,
}

/// A store whose process dies, or stands still, at a certain write.
#[derive(Debug)]
pub(super) struct Fragile {
    inner: Arc<dyn Store>,
    pub(super) state: Lock<State>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) writes: usize,
    pub(super) dies_at: Option<(usize, Ends)>,
    pub(super) dead: bool,
    /// At which write it stands still, whom it tells, and for whom it waits.
    pub(super) pauses_at: Option<(usize, Ends, std_mpsc::Sender<()>, std_mpsc::Receiver<()>)>,
}

impl Fragile {
    pub(super) fn new(inner: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            state: Lock::default(),
        })
    }

    fn write(&self, work: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let died = || Err(io::Error::other("the process is dead"));
        let (dies, pauses) = {
            let mut state = self.state.lock().unwrap();
            if state.dead {
                return died();
            }
            let now = state.writes;
            state.writes += 1;
            let dies = state
                .dies_at
                .filter(|(at, _)| *at == now)
                .map(|(_, ends)| ends);
            state.dead = dies.is_some();
            let pauses = state.pauses_at.take_if(|(at, ..)| *at == now);
            (dies, pauses)
        };
        let stand =
            |(_, _, told, go): &(usize, Ends, std_mpsc::Sender<()>, std_mpsc::Receiver<()>)| {
                told.send(()).unwrap();
                go.recv_timeout(PATIENCE).unwrap();
            };
        if let Some(pause) = pauses.as_ref().filter(|pause| pause.1 == Ends::Before) {
            stand(pause);
        }
        if dies == Some(Ends::Before) {
            return died();
        }
        work()?;
        if let Some(pause) = pauses.as_ref().filter(|pause| pause.1 == Ends::After) {
            stand(pause);
        }
        if dies == Some(Ends::After) {
            return died();
        }
        Ok(())
    }
}

impl Store for Fragile {
    fn put(&self, objects: &[Object]) -> io::Result<()> {
        objects
            .iter()
            .try_for_each(|object| self.write(|| self.inner.put(std::slice::from_ref(object))))
    }

    fn get(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        self.inner.get(path)
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        self.inner.list(path)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.write(|| self.inner.remove(path))
    }
}
