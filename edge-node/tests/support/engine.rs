//! A way to the container engine that a test can shut, for all or for one thing. What is asked meanwhile waits, as for an engine that hangs, or is
//! cut off, as for one that is gone; the engine itself and what runs in it are none the worse.

use super::line::KEEPER;
use super::node::PATIENCE;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

const ENGINE: &str = "/var/run/docker.sock";

#[derive(Clone, Copy, PartialEq)]
enum State {
    Open,
    Hangs,
    HangsAt(&'static str),
    Gone,
}

/// The way.
pub struct Way {
    pub socket: PathBuf,
    state: Arc<watch::Sender<State>>,
    /// Requests that met it shut.
    unheard: Arc<watch::Sender<u32>>,
}

impl Way {
    /// An open one, with its socket in `dir`.
    pub fn open_in(dir: &Path) -> Self {
        let socket = dir.join("engine.sock");
        let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        listener.set_nonblocking(true).unwrap();
        let state = Arc::new(watch::channel(State::Open).0);
        let unheard = Arc::new(watch::channel(0).0);
        let (way, count) = (state.clone(), unheard.clone());
        // By a thread of its own: tests look at containers meanwhile.
        KEEPER.spawn(async move {
            let listener = UnixListener::from_std(listener).unwrap();
            while let Ok((agent, _)) = listener.accept().await {
                let (way, count) = (way.clone(), count.clone());
                KEEPER.spawn(async move {
                    // Either side may go at any time.
                    let _ = relay(agent, &way, &count).await;
                });
            }
        });
        Self {
            socket,
            state,
            unheard,
        }
    }

    /// The engine hangs from now on.
    pub fn hang(&self) {
        self.state.send_replace(State::Hangs);
    }

    /// The engine hangs from now on when it is asked for something that has this word in it.
    pub fn hang_at(&self, word: &'static str) {
        self.state.send_replace(State::HangsAt(word));
    }

    /// The engine is gone from now on.
    pub fn cut(&self) {
        self.state.send_replace(State::Gone);
    }

    pub fn reopen(&self) {
        self.state.send_replace(State::Open);
    }

    /// Waits until so many more requests have met it shut.
    pub async fn unheard(&self, more: u32) {
        let mut unheard = self.unheard.subscribe();
        let until = *unheard.borrow() + more;
        let met = unheard.wait_for(|unheard| *unheard >= until);
        let met = tokio::time::timeout(PATIENCE, met).await;
        met.expect("nothing asks the engine").unwrap();
    }
}

async fn relay(
    agent: UnixStream,
    way: &watch::Sender<State>,
    unheard: &watch::Sender<u32>,
) -> io::Result<()> {
    let engine = UnixStream::connect(ENGINE).await?;
    let (mut from_agent, mut to_agent) = agent.into_split();
    let (mut from_engine, mut to_engine) = engine.into_split();
    let mut way = way.subscribe();
    let up = async {
        let mut bytes = vec![0; 16 * 1024];
        loop {
            let read = from_agent.read(&mut bytes).await?;
            if read == 0 {
                return to_engine.shutdown().await;
            }
            let now = *way.borrow_and_update();
            let is_shut = match now {
                State::Open => false,
                State::Hangs | State::Gone => true,
                State::HangsAt(word) => has(&bytes[..read], word),
            };
            if is_shut {
                unheard.send_modify(|unheard| *unheard += 1);
                if now == State::Gone {
                    return Err(io::ErrorKind::ConnectionReset.into());
                }
                let open = way.wait_for(|state| *state == State::Open);
                open.await.map_err(io::Error::other)?;
            }
            to_engine.write_all(&bytes[..read]).await?;
        }
    };
    let down = tokio::io::copy(&mut from_engine, &mut to_agent);
    tokio::try_join!(up, down).map(drop)
}

fn has(asked: &[u8], word: &str) -> bool {
    asked
        .windows(word.len())
        .any(|part| part == word.as_bytes())
}
