//! A network between a viewer and the node: a UDP relay that loses what it is told to, and that can
//! come from another port, as a NAT does when it forgets a mapping.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

/// The relay.
pub(crate) struct Relay {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    inside: UdpSocket,
    outside: Mutex<UdpSocket>,
    viewer: Mutex<Option<SocketAddr>>,
    node: SocketAddr,
    /// Large packets towards the viewer that are still to be lost.
    lose: AtomicU32,
    over: AtomicBool,
}

impl Relay {
    pub(crate) fn to(port: u16) -> Self {
        let inside = UdpSocket::bind("127.0.0.1:0").unwrap();
        let own = inside.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            inside,
            outside: Mutex::new(UdpSocket::bind("127.0.0.1:0").unwrap()),
            viewer: Mutex::new(None),
            node: SocketAddr::from(([127, 0, 0, 1], port)),
            lose: AtomicU32::new(0),
            over: AtomicBool::new(false),
        });
        let outbound = Arc::clone(&shared);
        std::thread::spawn(move || outbound.carry_out());
        Arc::clone(&shared).watch();
        Self { port: own, shared }
    }

    /// The answer with the relay in place of the node.
    pub(crate) fn rewrite(&self, answer: &str) -> String {
        let node = format!(" {} typ host", self.shared.node.port());
        answer.replace(&node, &format!(" {} typ host", self.port))
    }

    /// Loses the next `count` packets of more than 500 bytes towards the viewer.
    pub(crate) fn lose(&self, count: u32) {
        self.shared.lose.store(count, SeqCst);
    }

    /// From now on the node sees another address.
    pub(crate) fn move_outside(&self) {
        let new = UdpSocket::bind("127.0.0.1:0").unwrap();
        *self.shared.outside.lock().unwrap() = new;
        Arc::clone(&self.shared).watch();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.over.store(true, SeqCst);
        let own = self.shared.inside.local_addr().unwrap();
        // Wakes the thread that reads it.
        let _ = self.shared.inside.send_to(b"", own);
    }
}

impl Shared {
    fn carry_out(&self) {
        let mut buffer = [0; 2048];
        while let Ok((len, from)) = self.inside.recv_from(&mut buffer) {
            if self.over.load(SeqCst) {
                return;
            }
            *self.viewer.lock().unwrap() = Some(from);
            let outside = self.outside.lock().unwrap();
            let _ = outside.send_to(&buffer[..len], self.node);
        }
    }

    fn watch(self: Arc<Self>) {
        let outside = self.outside.lock().unwrap().try_clone().unwrap();
        std::thread::spawn(move || {
            let mut buffer = [0; 2048];
            while let Ok(len) = outside.recv(&mut buffer) {
                let lost = len > 500
                    && self
                        .lose
                        .fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1))
                        .is_ok();
                let viewer = *self.viewer.lock().unwrap();
                if let Some(viewer) = viewer.filter(|_| !lost) {
                    let _ = self.inside.send_to(&buffer[..len], viewer);
                }
                if self.over.load(SeqCst) {
                    return;
                }
            }
        });
    }
}
