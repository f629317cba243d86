//! A network between a viewer and the node: a UDP relay that loses what it is told to, that can come
//! from another port, as a NAT does when it forgets a mapping, and that can be narrow.

use nearlight_sim::path::{Conditions, Fate, Path, Queue};
use std::collections::VecDeque;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

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
    /// How often it moved: what is sent to where it was before is lost.
    moves: AtomicU32,
    /// Large packets towards the viewer that are still to be lost.
    lose: AtomicU32,
    over: AtomicBool,
    /// Towards the viewer, once it is narrow: the path, and where it puts what arrives later.
    narrow: Mutex<Option<(Path, Sender<Late>)>>,
    start: Instant,
}

/// A datagram on a narrow path and when it arrives.
type Late = (Instant, Vec<u8>);

impl Relay {
    pub(crate) fn to(port: u16) -> Self {
        let inside = UdpSocket::bind("127.0.0.1:0").unwrap();
        let own = inside.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            inside,
            outside: Mutex::new(UdpSocket::bind("127.0.0.1:0").unwrap()),
            viewer: Mutex::new(None),
            node: SocketAddr::from(([127, 0, 0, 1], port)),
            moves: AtomicU32::new(0),
            lose: AtomicU32::new(0),
            over: AtomicBool::new(false),
            narrow: Mutex::new(None),
            start: Instant::now(),
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

    /// From now on no more than `kbps` go towards the viewer, behind a drop-tail queue.
    pub(crate) fn narrow(&self, kbps: u32, queue_us: u64) {
        let conditions = Conditions {
            rate_kbps: Some(kbps),
            queue: Queue::Span { us: queue_us },
            ..Conditions::CLEAN
        };
        let (tx, rx) = channel();
        *self.shared.narrow.lock().unwrap() = Some((Path::new(conditions, 1), tx));
        let shared = Arc::clone(&self.shared);
        std::thread::spawn(move || shared.deliver(&rx));
    }

    /// From now on the node sees another address, and what it sends to the old one is lost.
    pub(crate) fn move_outside(&self) {
        let new = UdpSocket::bind("127.0.0.1:0").unwrap();
        *self.shared.outside.lock().unwrap() = new;
        self.shared.moves.fetch_add(1, SeqCst);
        Arc::clone(&self.shared).watch();
    }

    /// From now on the viewer pretends to be at `victim`'s address; what is sent to its own still
    /// reaches it.
    pub(crate) fn pretend_to_be(&self, victim: &UdpSocket) {
        *self.shared.outside.lock().unwrap() = victim.try_clone().unwrap();
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

    fn pass_on(&self, datagram: &[u8]) {
        let mut narrow = self.narrow.lock().unwrap();
        let Some((path, late)) = narrow.as_mut() else {
            return self.hand_over(datagram);
        };
        let now_us = u64::try_from(self.start.elapsed().as_micros()).unwrap();
        let bytes = u32::try_from(datagram.len() + 28).unwrap();
        if let Fate::Deliver { at_us, .. } = path.offer(now_us, bytes) {
            let at = self.start + Duration::from_micros(at_us);
            late.send((at, datagram.to_vec())).unwrap();
        }
    }

    fn hand_over(&self, datagram: &[u8]) {
        if let Some(viewer) = *self.viewer.lock().unwrap() {
            let _ = self.inside.send_to(datagram, viewer);
        }
    }

    /// Hands over each datagram when it is due; they come in the order in which they are due.
    fn deliver(&self, late: &Receiver<Late>) {
        let mut waiting: VecDeque<Late> = VecDeque::new();
        while !self.over.load(SeqCst) {
            let due = waiting.front().map(|(at, _)| *at);
            let patience = due.map_or(Duration::from_secs(1), |at| {
                at.saturating_duration_since(Instant::now())
            });
            match late.recv_timeout(patience) {
                Ok(datagram) => waiting.push_back(datagram),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            while let Some((_, datagram)) = waiting.pop_front_if(|(at, _)| *at <= Instant::now()) {
                self.hand_over(&datagram);
            }
        }
    }

    fn watch(self: Arc<Self>) {
        let outside = self.outside.lock().unwrap().try_clone().unwrap();
        let moves = self.moves.load(SeqCst);
        std::thread::spawn(move || {
            let mut buffer = [0; 2048];
            while let Ok(len) = outside.recv(&mut buffer) {
                let lost = len > 500
                    && self
                        .lose
                        .fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1))
                        .is_ok();
                if self.moves.load(SeqCst) != moves {
                    return;
                }
                if !lost {
                    self.pass_on(&buffer[..len]);
                }
                if self.over.load(SeqCst) {
                    return;
                }
            }
        });
    }
}
