//! A broker that takes one node, says what a test tells it to, and shows what the node says.

use super::line::{self, Line};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use nearlight_kit::clock::WallClock;
use nearlight_kit::pki;
use nearlight_protocol::api::EndReason;
use nearlight_protocol::app::AppSpec;
use nearlight_protocol::control::{
    AckOutcome, FAULT_FEATURE, FromEdge, Hello, Inventory, Order, RUNNING_PARTS_FEATURE,
    RunningSession, SessionReport, Start, ToEdge, USED_FEATURE, Welcome,
};
use nearlight_protocol::endpoint::EndpointClaims;
use nearlight_protocol::endpoint::scope::TicketScope;
use nearlight_protocol::grant::{GRANT_TYP, Grant, ISSUER};
use nearlight_protocol::id::{NodeId, SessionId, SlotId};
use nearlight_protocol::unit::U64;
use nearlight_protocol::work::{AppWork, Secrets, Work};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// Far longer than anything takes; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// A listening broker.
pub struct Broker {
    listener: Arc<TcpListener>,
    acceptor: TlsAcceptor,
    key: EncodingKey,
    pub node: NodeId,
    pub address: SocketAddr,
}

/// A node that is attached to it.
pub struct Attached {
    line: Line,
    pub hello: Hello,
    pub inventory: Inventory,
    pub running: Vec<RunningSession>,
    /// Reports of ends that came before `running`.
    pub ended: Vec<(SessionId, EndReason)>,
    commands: u64,
}

impl Broker {
    /// Listens, with identities for itself and one node in `dir`.
    pub async fn listen(dir: &Path) -> Self {
        let node = nearlight_kit::ids::node();
        let ca = Arc::new(pki::ensure_ca(dir).unwrap());
        let broker = pki::Identity {
            spiffe: "spiffe://nearlight/broker".to_owned(),
            dns: vec!["nearlight-broker".to_owned()],
            ips: Vec::new(),
        };
        let edge = pki::Identity {
            spiffe: format!("spiffe://nearlight/node/{node}"),
            ..pki::Identity::default()
        };
        ca.issue(dir, "node", edge).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0");
        let listener = line::aside(async { listener.await.unwrap() }).await;
        Self {
            address: listener.local_addr().unwrap(),
            listener: Arc::new(listener),
            acceptor: Arc::new(pki::ServerIdentity::new(ca, broker))
                .server_config()
                .unwrap()
                .into(),
            key: signing_key(1),
            node,
        }
    }

    /// The next node that dials, up to its hello.
    async fn accept(&self) -> (Line, Hello) {
        let (listener, acceptor) = (self.listener.clone(), self.acceptor.clone());
        let accept = line::aside(async move {
            let (tcp, _) = listener.accept().await.unwrap();
            let tls = acceptor.accept(tcp).await.unwrap();
            let socket = tokio_tungstenite::accept_async(tls).await.unwrap();
            let mut line = Line::keep(socket);
            match line.next().await {
                FromEdge::Hello(hello) => (line, hello),
                other => panic!("{other:?} is no hello"),
            }
        });
        tokio::time::timeout(PATIENCE, accept).await.unwrap()
    }

    /// Takes the next node that dials, with so many seconds of grace.
    pub async fn attach_with_grace(&self, grace_s: u32) -> Attached {
        let (line, hello) = self.accept().await;
        let mut attached = Attached {
            line,
            hello,
            inventory: Inventory {
                slots: Vec::new(),
                cpu_milli: 0,
                mem_mib: 0,
                encode_cpu_milli: 0,
                gpu: nearlight_protocol::app::GpuClass::None,
                gpu_models: Vec::new(),
                vram_mib: 0,
                encoders: Vec::new(),
                runtime: String::new(),
                images: Vec::new(),
                image_faults: Vec::new(),
                fault: String::new(),
                warm: Vec::new(),
                uplink_kbps: None,
                jobs: None,
            },
            running: Vec::new(),
            ended: Vec::new(),
            commands: 0,
        };
        let mut jwk = Jwk::from_encoding_key(&self.key, Algorithm::EdDSA).unwrap();
        jwk.common.key_id = Some("test".to_owned());
        let welcome = Welcome {
            proto: 1,
            heartbeat_s: 1,
            backoff_min_s: 0,
            backoff_max_s: 1,
            grace_s,
            jwks: serde_json::json!({ "keys": [jwk] }),
            features: [FAULT_FEATURE, USED_FEATURE, RUNNING_PARTS_FEATURE]
                .map(str::to_owned)
                .to_vec(),
        };
        attached.line.say(ToEdge::Welcome(welcome)).await;
        attached.introduction().await;
        attached
    }

    pub async fn attach(&self) -> Attached {
        self.attach_with_grace(600).await
    }

    /// A grant, signed.
    pub fn grant(&self, session: &SessionId, slot: &SlotId, epoch: u64) -> String {
        self.grant_with(session, slot, epoch, Vec::new())
    }

    /// A grant that names GPUs.
    pub fn grant_with(
        &self,
        session: &SessionId,
        slot: &SlotId,
        epoch: u64,
        gpus: Vec<String>,
    ) -> String {
        let grant = Grant {
            iss: ISSUER.to_owned(),
            session: session.clone(),
            node: self.node.clone(),
            slot: slot.clone(),
            epoch: U64(epoch),
            user: user(),
            iat_ms: 1,
            gpus,
            row: None,
        };
        sign(&grant, &self.key)
    }

    /// An order to start.
    /// An endpoint ticket for a session's first port, for an hour.
    pub fn ticket(&self, session: &SessionId) -> String {
        let now_ms = WallClock::system().unix_ms();
        let claims = EndpointClaims {
            iss: ISSUER.to_owned(),
            aud: session.clone(),
            port: String::new(),
            sub: user(),
            jti: "t".to_owned(),
            iat_ms: now_ms,
            exp_ms: now_ms + 3_600_000,
            cookie_until_ms: None,
            by: String::new(),
            node: None,
            scope: TicketScope::default(),
        };
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(claims.typ().to_owned());
        jsonwebtoken::encode(&header, &claims, &self.key).unwrap()
    }

    pub fn start(&self, session: &SessionId, slot: &SlotId, epoch: u64, app: AppSpec) -> Order {
        Order::Start(Box::new(Start {
            session: session.clone(),
            grant: self.grant(session, slot, epoch),
            work: Work::App(AppWork {
                display: app.needs.display,
                app,
                keyboard_layout: "us".to_owned(),
            }),
            secrets: Secrets::default(),
            replica: None,
            storage: None,
            pull: None,
        }))
    }
}

impl Attached {
    pub async fn say(&mut self, message: &ToEdge) {
        self.line.say(message.clone()).await;
    }

    /// Sends a command and returns its number.
    pub async fn order(&mut self, order: Order) -> U64 {
        self.commands += 1;
        let command = U64(self.commands);
        self.say(&ToEdge::Command { command, order }).await;
        command
    }

    /// Sends a command and waits for its ack; reports on the way are dropped.
    pub async fn done(&mut self, order: Order) -> AckOutcome {
        let sent = self.order(order).await;
        loop {
            if let FromEdge::Ack { command, outcome } = self.next().await
                && command == sent
            {
                return outcome;
            }
        }
    }

    /// What came of the next command that is acked.
    pub async fn next_ack(&mut self) -> AckOutcome {
        loop {
            if let FromEdge::Ack { outcome, .. } = self.next().await {
                return outcome;
            }
        }
    }

    /// The next message that is no heartbeat.
    pub async fn next(&mut self) -> FromEdge {
        let message = tokio::time::timeout(PATIENCE, self.line.next());
        message.await.expect("the node says nothing")
    }

    /// Waits for a report of this session that `wanted` likes.
    pub async fn report(
        &mut self,
        of: &SessionId,
        wanted: impl Fn(&SessionReport) -> bool,
    ) -> SessionReport {
        loop {
            if let FromEdge::Report { session, event, .. } = self.next().await
                && session == *of
            {
                if wanted(&event) {
                    return event;
                }
                let over = matches!(event, SessionReport::Ended { .. });
                assert!(!over, "the session is over: {event:?}");
            }
        }
    }

    pub async fn wait_ready(&mut self, session: &SessionId) {
        self.report(session, |event| *event == SessionReport::Ready)
            .await;
    }

    /// Waits for the end and returns why.
    pub async fn ended(&mut self, session: &SessionId) -> (EndReason, String) {
        let is_end = |event: &SessionReport| matches!(event, SessionReport::Ended { .. });
        match self.report(session, is_end).await {
            SessionReport::Ended { reason, detail } => (reason, detail),
            other => unreachable!("{other:?}"),
        }
    }

    /// Why a session of an earlier agent ended, whether that was said before what runs or comes yet.
    pub async fn end_of(&mut self, wanted: &SessionId) -> EndReason {
        loop {
            if let Some((_, reason)) = self.ended.iter().find(|(ended, _)| ended == wanted) {
                return *reason;
            }
            if let FromEdge::Report {
                session,
                event: SessionReport::Ended { reason, .. },
                ..
            } = self.next().await
            {
                self.ended.push((session, reason));
            }
        }
    }

    /// What was shown of one session that runs; `None` of one that does not.
    pub fn runs(&self, session: &SessionId) -> Option<&RunningSession> {
        self.running.iter().find(|shown| shown.session == *session)
    }

    async fn introduction(&mut self) {
        match self.next().await {
            FromEdge::Inventory(inventory) => self.inventory = inventory,
            other => panic!("{other:?} before the inventory"),
        }
        loop {
            match self.next().await {
                FromEdge::RunningPart { sessions } => self.running.extend(sessions),
                FromEdge::Running { sessions } => {
                    self.running.extend(sessions);
                    return;
                }
                // Of what ended, before its end.
                FromEdge::Report {
                    event: SessionReport::Used { .. },
                    ..
                } => {}
                FromEdge::Report {
                    session,
                    event: SessionReport::Ended { reason, .. },
                    ..
                } => self.ended.push((session, reason)),
                other => panic!("{other:?} before what runs"),
            }
        }
    }
}

/// The one player of all tests.
pub fn user() -> nearlight_protocol::id::UserId {
    nearlight_protocol::id::UserId::from_parts(1, [7; 10])
}

pub fn sign(grant: &Grant, key: &EncodingKey) -> String {
    let mut header = Header::new(Algorithm::EdDSA);
    header.typ = Some(GRANT_TYP.to_owned());
    jsonwebtoken::encode(&header, grant, key).unwrap()
}

/// PKCS#8 of an Ed25519 key: a fixed prefix (RFC 8410 section 7) and the seed.
pub fn signing_key(seed: u8) -> EncodingKey {
    let mut der = vec![
        0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04,
        0x20,
    ];
    der.extend([seed; 32]);
    EncodingKey::from_ed_der(&der)
}
