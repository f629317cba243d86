//! Where the ports of jobs are: written by each job's task, read by tunnels.
//!
//! **Invariants.** A session has ports here only while it is ready. Bounded by the slots of the node and the
//! ports of a spec. The lock is held for a look-up, never across an await.
//!
//! **What it does not know:** who may use a port, tunnels, HTTP.

use nearlight_protocol::id::SessionId;
use nearlight_protocol::job::PortAccess;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The ports of all jobs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Endpoints {
    table: Arc<Mutex<BTreeMap<SessionId, Entry>>>,
}

#[derive(Debug, Default)]
struct Entry {
    ports: Vec<(String, SocketAddr, PortAccess)>,
    seen: u64,
}

impl Endpoints {
    fn table(&self) -> MutexGuard<'_, BTreeMap<SessionId, Entry>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session is ready: these are its ports, the first one first.
    pub(crate) fn open(&self, session: &SessionId, ports: Vec<(String, SocketAddr, PortAccess)>) {
        let mut table = self.table();
        table.entry(session.clone()).or_default().ports = ports;
    }

    /// The session is not ready any more, or over.
    pub(crate) fn close(&self, session: &SessionId) {
        self.table().remove(session);
    }

    /// Requests to the session since it was opened.
    pub(crate) fn seen(&self, session: &SessionId) -> u64 {
        self.table().get(session).map_or(0, |entry| entry.seen)
    }

    /// Where a port is, and who may use it, and counts the request; the first port for an empty name.
    #[cfg_attr(not(test), expect(dead_code, reason = "tunnels read it"))]
    pub(crate) fn get(&self, session: &SessionId, port: &str) -> Option<(SocketAddr, PortAccess)> {
        let mut table = self.table();
        let entry = table.get_mut(session)?;
        let is_it =
            |(name, _, _): &&(String, SocketAddr, PortAccess)| port.is_empty() || name == port;
        let (_, address, access) = entry.ports.iter().find(is_it)?;
        entry.seen += 1;
        Some((*address, *access))
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_port_is_found_while_its_session_is_ready_and_requests_are_counted() {
        let endpoints = Endpoints::default();
        let session = nearlight_kit::ids::session();
        let at = |port: u16| SocketAddr::from(([10, 231, 0, 2], port));
        let ports = vec![
            ("api".to_owned(), at(8000), PortAccess::Ticket),
            ("ui".to_owned(), at(8001), PortAccess::Public),
        ];
        assert_eq!(endpoints.get(&session, "api"), None);
        endpoints.open(&session, ports);
        let first = Some((at(8000), PortAccess::Ticket));
        assert_eq!(endpoints.get(&session, ""), first);
        assert_eq!(endpoints.get(&session, "api"), first);
        assert_eq!(
            endpoints.get(&session, "ui"),
            Some((at(8001), PortAccess::Public))
        );
        assert_eq!(endpoints.get(&session, "no"), None);
        assert_eq!(endpoints.seen(&session), 3);
        endpoints.close(&session);
        assert_eq!(endpoints.get(&session, ""), None);
        assert_eq!(endpoints.seen(&session), 0);
    }
}
