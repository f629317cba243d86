//! The CA of the broker of a test, what it certifies, and the listener for those that it did.

use crate::scripted::{Asked, Script, Scripted, problem};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nearlight_kit::clock::WallClock;
use nearlight_kit::pki::{
    Ca, CheckerName, Identity, ServerIdentity, SigningRequest, renewal_proof, spiffe_of,
};
use nearlight_proof::key::PublicKey;
use nearlight_protocol::enrol::{NONCE_PATH, RENEW_PATH};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use tempfile::TempDir;

/// The CA of the broker of a test.
pub(crate) struct Pki {
    pub(crate) dir: TempDir,
    pub(crate) ca: Arc<Ca>,
}

impl Pki {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ca = Arc::new(Ca::ensure(dir.path(), WallClock::system()).unwrap());
        Self { dir, ca }
    }

    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        let broker = Identity {
            spiffe: "spiffe://nearlight/broker".to_owned(),
            dns: vec!["nearlight-broker".to_owned()],
            ips: Vec::new(),
        };
        let identity = Arc::new(ServerIdentity::new(self.ca.clone(), broker));
        identity.server_config().unwrap()
    }

    /// A certificate for the key of this request.
    pub(crate) fn certified(&self, request: &str, identity: Identity) -> String {
        let request = SigningRequest::parse(request).unwrap();
        self.ca.certify(&request, identity).unwrap()
    }

    /// For what a checker sends to come in.
    pub(crate) fn joined(&self, asked: &Value, at: &str) -> Value {
        let key = PublicKey::from_hex(asked["key"].as_str().unwrap()).unwrap();
        let account = nearlight_kit::ids::key();
        let name = CheckerName::new(&key.id().to_string(), account).unwrap();
        self.given(asked, Identity::checker(&name), at)
    }

    pub(crate) fn given(&self, asked: &Value, identity: Identity, at: &str) -> Value {
        let request = asked["request"].as_str().unwrap();
        json!({
            "certificate": self.certified(request, identity), "ca": self.ca.bundle(),
            "addresses": [at],
        })
    }

    /// Who proves to have the key of a certificate, over or not.
    pub(crate) fn renewed(&self, asked: &Value) -> Value {
        let text = |name: &str| asked[name].as_str().unwrap();
        let signature = URL_SAFE_NO_PAD.decode(text("signature")).unwrap();
        let message = renewal_proof(NONCE, text("request"));
        let known = self
            .ca
            .recognise_late(text("certificate"), &message, &signature);
        let spiffe = known.unwrap();
        let identity = Identity {
            spiffe,
            ..Identity::default()
        };
        json!({ "certificate": self.certified(text("request"), identity), "ca": self.ca.bundle() })
    }
}

/// What is to be signed at the door.
pub(crate) const NONCE: &str = "once";

/// A connection: as it comes, or in TLS.
pub(crate) trait Line: Read + Write {
    /// Says that there is no more to come.
    fn end(&mut self);
}

impl Line for TcpStream {
    fn end(&mut self) {}
}

impl Line for StreamOwned<ServerConnection, TcpStream> {
    fn end(&mut self) {
        self.conn.send_close_notify();
        let _ = self.flush();
    }
}

impl Scripted {
    /// One connection to the listener that takes certificates.
    pub(crate) fn serve_certified(&self, stream: TcpStream, tls: Arc<ServerConfig>) {
        let mut tls = StreamOwned::new(ServerConnection::new(tls).unwrap(), stream);
        while tls.conn.is_handshaking() {
            // Whoever has the wrong certificate, or believes another CA.
            if tls.conn.complete_io(&mut tls.sock).is_err() {
                self.change(|script| script.hung_up += 1);
                return;
            }
        }
        let shown = tls.conn.peer_certificates().and_then(<[_]>::first);
        let spiffe = shown.map(|of| spiffe_of(of).unwrap());
        let at_the_door = spiffe.is_none();
        self.serve(&mut tls, Some(spiffe.unwrap_or_default()));
        if at_the_door {
            // The nonce is good on this connection.
            self.serve(&mut tls, Some(String::new()));
        }
        tls.end();
    }

    /// The listener for those with a certificate, and its door.
    pub(crate) fn to_certified(
        &self,
        script: &mut Script,
        asked: &Asked,
        spiffe: &str,
    ) -> Option<(u16, Value)> {
        let void = || problem("unauthenticated", "The checker was shut out.");
        match (asked.path.as_str(), spiffe) {
            (NONCE_PATH, "") => Some((200, json!({ "nonce": NONCE }))),
            (RENEW_PATH, "") if script.shut_out => {
                Some((403, problem("forbidden", "The checker was shut out.")))
            }
            (RENEW_PATH, "") if script.busy > 0 => {
                script.busy -= 1;
                Some((400, problem("bad-request", "The nonce is over.")))
            }
            (RENEW_PATH, "") => Some((200, self.pki.renewed(&asked.body))),
            (_, "") => Some((404, problem("not-found", "no certificate"))),
            _ if script.shut_out => Some((401, void())),
            ("/v1/checkers/me/certificate", spiffe) => {
                let identity = Identity {
                    spiffe: spiffe.to_owned(),
                    ..Identity::default()
                };
                Some((200, self.pki.given(&asked.body, identity, &self.at)))
            }
            _ => self.answer(script, asked),
        }
    }
}
