//! Who is connected, how each left, and how much they use up together.

use super::Desktop;
use crate::limits::{CLIENTS_MAX, OBJECTS_MAX};
use smithay::reexports::wayland_server::backend::{ClientData, ClientId, DisconnectReason};
use smithay::wayland::compositor::CompositorClientState;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};

/// What the session's clients use up.
#[derive(Debug, Default)]
pub struct Clients {
    pub(crate) surfaces: usize,
    pub(crate) pools: usize,
    pub(crate) buffers: usize,
    pub(crate) dmabufs: usize,
    pub(crate) dmabuf_params: usize,
    gone: Arc<Mutex<Vec<Gone>>>,
    connected: Arc<Mutex<usize>>,
}

/// A client that left.
#[derive(Debug)]
struct Gone {
    /// What it was told, if it was cut off.
    error: Option<String>,
}

/// One client, as the Wayland library keeps it.
#[derive(Debug)]
pub struct ClientState {
    /// What smithay keeps per client.
    pub compositor: CompositorClientState,
    gone: Arc<Mutex<Vec<Gone>>>,
    connected: Arc<Mutex<usize>>,
}

impl ClientData for ClientState {
    fn disconnected(&self, _client: ClientId, reason: DisconnectReason) {
        let error = match reason {
            DisconnectReason::ConnectionClosed => None,
            DisconnectReason::ProtocolError(e) => Some(e.to_string()),
        };
        *lock(&self.connected) -= 1;
        lock(&self.gone).push(Gone { error });
    }
}

impl Desktop {
    /// A program connected to the desktop.
    pub fn connect(&mut self, stream: UnixStream) {
        let connected = &self.clients.connected;
        if *lock(connected) >= CLIENTS_MAX {
            // Dropping the stream is the refusal; the app sees a closed connection.
            tracing::warn!(CLIENTS_MAX, "too many programs on one desktop, refused");
            return;
        }
        let state = ClientState {
            compositor: CompositorClientState::default(),
            gone: Arc::clone(&self.clients.gone),
            connected: Arc::clone(connected),
        };
        *lock(connected) += 1;
        match self.display.insert_client(stream, Arc::new(state)) {
            Ok(client) => tracing::info!(client = ?client.id(), "program connected"),
            Err(error) => {
                *lock(&self.clients.connected) -= 1;
                tracing::warn!(%error, "a program could not connect");
            }
        }
    }

    /// After each round: whoever was cut off for breaking the protocol ends the session, for every
    /// client is part of the app.
    pub(crate) fn check_gone(&mut self) {
        let gone = std::mem::take(&mut *lock(&self.clients.gone));
        for client in gone {
            match client.error {
                None => tracing::info!("program disconnected"),
                Some(error) => self.violation(&format!("protocol error: {error}")),
            }
        }
    }

    /// Now and then: bounds that no single request can be checked for.
    pub(crate) fn check_objects(&mut self) {
        let handle = self.display.backend_handle();
        let mut clients = Vec::new();
        handle.with_all_clients(|id| clients.push(id));
        for client in clients {
            let mut objects = 0usize;
            // A client that just left has none.
            let _ = handle.with_all_objects_for(client.clone(), |_| objects += 1);
            if objects > OBJECTS_MAX {
                handle.kill_client(client, DisconnectReason::ConnectionClosed);
                self.violation(&format!("one program made {objects} objects"));
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
