//! A step of a probe: the node's answer, or whose doing it is that there is none.
//!
//! **Invariants.** A node is late only with a question that left: where no connection to the broker comes about, that is
//! nothing of the node's. An answer that is longer than any right one is an answer, cut one byte behind that: it fails by
//! its length. One that breaks off is none, and is told as that.

use super::{ANSWER_BYTES_MAX, Broker, refusal};
use nearlight_proof::porc::exchange::Step;
use nearlight_proof::porc::exchange::exam::Miss;
use nearlight_protocol::problem::ProblemType;
use nearlight_protocol::prove::{NewProbe, SAID_BY, SAID_BY_NODE};
use std::io::Read;
use std::time::Duration;
use ureq::SendBody;

/// Until a broker has to show that it is there.
const THERE_WITHIN: Duration = Duration::from_secs(10);

/// Why there is no answer to a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoAnswer {
    /// It is the node's doing.
    Node(Miss),
    /// It is not, or nobody can tell: nothing of it is the node's.
    Broker(String),
}

/// A message, and whether all of it has left: it is read once there is a connection and the head of the request is
/// written.
struct Leaving<'a>(&'a [u8]);

impl Leaving<'_> {
    const fn has_left(&self) -> bool {
        self.0.is_empty()
    }
}

impl Read for Leaving<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(into)
    }
}

impl Broker {
    /// The node's answer to a step within so long; one byte more than so many of one that is longer.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub fn step(
        &self,
        probe: &NewProbe,
        (step, message): (Step, &[u8]),
        (within, bytes_max): (Duration, usize),
    ) -> Result<Vec<u8>, NoAnswer> {
        let (id, node) = (&probe.id, &probe.node);
        let path = format!("/v1/probes/{id}/{}?node={node}", step.name());
        self.count(message.len());
        let mut leaving = Leaving(message);
        let request = self.agent().post(format!("{}{path}", self.url));
        let request = request.config().timeout_global(Some(within)).build();
        let request = self.known(request);
        let request = request.header("Content-Type", "application/octet-stream");
        let request = request.header("Content-Length", message.len().to_string());
        let answer = request.send(SendBody::from_reader(&mut leaving));
        let mut answer = answer.map_err(|error| match error {
            ureq::Error::Timeout(_) if leaving.has_left() => NoAnswer::Node(Miss::Late),
            error => NoAnswer::Broker(error.to_string()),
        })?;
        let is_answer = answer.status().as_u16() == 200;
        let said_by = answer.headers().get(SAID_BY);
        let is_nodes = said_by.is_some_and(|by| by == SAID_BY_NODE);
        let limit = if is_answer {
            bytes_max as u64
        } else {
            ANSWER_BYTES_MAX
        };
        let mut body = Vec::new();
        // One byte more, so that a longer one is seen to be.
        let mut reader = answer.body_mut().as_reader().take(limit + 1);
        let read = reader.read_to_end(&mut body).map_err(ureq::Error::from);
        self.count(body.len());
        match read {
            Ok(_) if is_answer => Ok(body),
            Ok(_) => Err(match refusal(&body) {
                (_, why) if is_nodes => NoAnswer::Node(Miss::Refused(why)),
                (Some(ProblemType::NodeUnreachable), why) => NoAnswer::Node(Miss::Unreachable(why)),
                (_, why) => NoAnswer::Broker(why),
            }),
            Err(ureq::Error::Timeout(_)) => Err(NoAnswer::Node(Miss::Late)),
            Err(error) if is_answer => Err(NoAnswer::Node(Miss::BrokeOff(error.to_string()))),
            Err(error) => Err(NoAnswer::Broker(error.to_string())),
        }
    }

    /// Whether the broker answers anything at this moment.
    pub(crate) fn is_there(&self) -> bool {
        let request = self.agent().get(format!("{}/healthz", self.url));
        let request = request.config().timeout_global(Some(THERE_WITHIN)).build();
        request.call().is_ok()
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use nearlight_protocol::prove::ProverOffer;
    use nearlight_protocol::unit::U64;
    use std::net::TcpListener;

    fn asked(url: &str) -> Result<Vec<u8>, NoAnswer> {
        let offer = ProverOffer {
            receipt_key: String::new(),
            gpus: Vec::new(),
            mem_mib: U64(1),
            work: U64(1),
            card_mib: None,
            busy: false,
        };
        let probe = NewProbe {
            id: "p".to_owned(),
            node: nearlight_kit::ids::node(),
            offer,
            has_sessions: false,
        };
        let limits = (Duration::from_millis(300), 96);
        Broker::new(url, "").step(&probe, (Step::Begin, b"a question"), limits)
    }

    /// The line, the broker's host, a balancer: whatever it is, the node was never asked.
    #[test]
    fn a_node_is_not_late_where_no_connection_to_the_broker_comes_about() {
        // Connections are taken, and nobody says anything on them: no TLS comes about.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = silent.local_addr().unwrap();
        let NoAnswer::Broker(why) = asked(&format!("https://{at}")).unwrap_err() else {
            panic!("it is the node's doing");
        };
        assert!(why.contains("timeout"), "{why}");
        // The question leaves, and there is no answer to it.
        let late = asked(&format!("http://{at}")).unwrap_err();
        assert_eq!(late, NoAnswer::Node(Miss::Late));
        drop(silent);
        let refused = asked(&format!("http://{at}")).unwrap_err();
        assert!(matches!(refused, NoAnswer::Broker(_)), "{refused:?}");
    }
}
