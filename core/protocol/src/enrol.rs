//! Enrolment: what a node without a valid certificate says on the node listener. JSON over HTTP/1.1
//! in TLS 1.3, whose server certificate the node has checked before it says anything.
//!
//! ```text
//! new node                                broker
//!  | -- POST /v1/enroll {secret, request} ->|   the secret of a join token, once
//!  | <------- {node, certificate, ca, ...}  |
//!
//! node whose certificate is over            (both on one connection)
//!  | -- POST /v1/renew/nonce -------------> |
//!  | <------------------------- {nonce}     |
//!  | -- POST /v1/renew {certificate, ...} ->|   signed with the key of the old certificate
//!  | <------------------ {certificate, ca}  |
//! ```
//!
//! Refusals are problems (RFC 9457), as on the public listener. A node with a certificate that holds
//! renews over the control stream: [`crate::control::FromEdge::Renew`].

use crate::id::NodeId;
use serde::{Deserialize, Serialize};

/// Where a new node comes in.
pub const ENROL_PATH: &str = "/v1/enroll";
/// Where the nonce of a late renewal is.
pub const NONCE_PATH: &str = "/v1/renew/nonce";
/// Where a late renewal goes.
pub const RENEW_PATH: &str = "/v1/renew";
/// The feature of a broker that renews certificates over the control stream.
pub const RENEW_FEATURE: &str = "renew";

/// A new node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrol {
    /// The secret of the join token, base64url.
    pub secret: String,
    /// A PKCS #10 request in PEM. Only its key counts.
    pub request: String,
}

/// It is taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolled {
    /// Its id, which the broker chose.
    pub node: NodeId,
    /// Its certificate in PEM.
    pub certificate: String,
    /// The CA certificates to believe, in PEM.
    pub ca: String,
    /// The name that the token gives it; may be empty.
    #[serde(default)]
    pub name: String,
    /// The region that the token gives it; may be empty.
    #[serde(default)]
    pub region: String,
}

/// What the next renewal on this connection signs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewNonce {
    /// Base64url; good once, on this connection.
    pub nonce: String,
}

/// A certificate that is over is to be renewed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RenewLate {
    /// The certificate in PEM.
    pub certificate: String,
    /// A PKCS #10 request in PEM. Only its key counts.
    pub request: String,
    /// Base64url of an ASN.1 ECDSA signature with the certificate's key over
    /// `"nearlight late renewal 1" 00 nonce 00 request`.
    pub signature: String,
}

/// A certificate that was renewed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewed {
    /// The certificate in PEM.
    pub certificate: String,
    /// The CA certificates to believe, in PEM.
    pub ca: String,
}
