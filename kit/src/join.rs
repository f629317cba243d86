//! Join tokens: all that a new node needs to know to come in, in one word.
//!
//! ```text
//!   nlj1_<base64url of:>
//!     version 1 | SHA-256 of the CA certificate, 32 | secret, 32 | addresses, UTF-8 with commas
//!     | first 4 bytes of the SHA-256 of all before
//! ```
//!
//! The hash pins the broker's CA: the secret is told to nobody else. The check bytes tell a token
//! that was pasted in part from one that is void.
//!
//! **What it does not know:** whether the token still holds; the broker does.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

const PREFIX: &str = "nlj1_";
const VERSION: u8 = 1;
const HASH_LEN: usize = 32;
const CHECK_LEN: usize = 4;
/// Longest token, bytes.
pub const TOKEN_BYTES_MAX: usize = 1024;
/// Addresses in one token.
pub const ADDRESSES_MAX: usize = 8;
/// Longest address: a host name of 253, a colon and a port.
const ADDRESS_BYTES_MAX: usize = 259;

/// A join token.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// Where the broker's node listener is, `HOST:PORT`, the first one that answers.
    pub addresses: Vec<String>,
    /// SHA-256 of the CA's certificate.
    pub ca: [u8; HASH_LEN],
    /// What the broker knows the token by.
    pub secret: [u8; HASH_LEN],
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The secret stays out of logs.
        f.debug_struct("JoinToken")
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}

/// Why a text is no join token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Something else.
    #[error(
        "this is no join token; it begins with {PREFIX} and is printed by `nearlight node token create`"
    )]
    Foreign,
    /// Not all of it.
    #[error("the join token is damaged; was all of it copied?")]
    Damaged,
    /// A newer version, or an address that is none.
    #[error("the join token is of another version; use the `nearlight` of the broker's version")]
    Version,
}

impl JoinToken {
    /// The secret as it is sent and hashed.
    pub fn secret_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.secret)
    }
}

/// Whether this is `HOST:PORT`.
pub fn is_address(text: &str) -> bool {
    let parts = text.rsplit_once(':');
    text.len() <= ADDRESS_BYTES_MAX
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-.:[]".contains(&b))
        && parts.is_some_and(|(host, port)| {
            !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0)
        })
}

impl fmt::Display for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut body = vec![VERSION];
        body.extend(self.ca);
        body.extend(self.secret);
        body.extend(self.addresses.join(",").as_bytes());
        let check = Sha256::digest(&body);
        body.extend(&check[..CHECK_LEN]);
        write!(f, "{PREFIX}{}", URL_SAFE_NO_PAD.encode(body))
    }
}

impl FromStr for JoinToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let body = text.trim().strip_prefix(PREFIX);
        let body = body.ok_or(TokenError::Foreign)?;
        if body.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Damaged);
        }
        let body = URL_SAFE_NO_PAD.decode(body);
        let body = body.map_err(|_| TokenError::Damaged)?;
        let (body, check) = body
            .split_last_chunk::<CHECK_LEN>()
            .ok_or(TokenError::Damaged)?;
        if Sha256::digest(body)[..CHECK_LEN] != *check {
            return Err(TokenError::Damaged);
        }
        let (version, body) = body.split_first().ok_or(TokenError::Damaged)?;
        if *version != VERSION {
            return Err(TokenError::Version);
        }
        let (ca, body) = body.split_first_chunk().ok_or(TokenError::Damaged)?;
        let (secret, body) = body.split_first_chunk().ok_or(TokenError::Damaged)?;
        let addresses = std::str::from_utf8(body).map_err(|_| TokenError::Damaged)?;
        let addresses: Vec<String> = addresses.split(',').map(str::to_owned).collect();
        if addresses.len() > ADDRESSES_MAX || !addresses.iter().all(|a| is_address(a)) {
            return Err(TokenError::Damaged);
        }
        Ok(Self {
            addresses,
            ca: *ca,
            secret: *secret,
        })
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn token() -> JoinToken {
        JoinToken {
            addresses: vec!["edge.example.org:8443".to_owned(), "[::1]:1".to_owned()],
            ca: [7; 32],
            secret: [9; 32],
        }
    }

    #[test]
    fn a_token_says_all_that_a_new_node_needs() {
        let text = token().to_string();
        assert!(
            text.starts_with("nlj1_") && text.len() < TOKEN_BYTES_MAX,
            "{text}"
        );
        assert_eq!(format!(" {text}\n").parse(), Ok(token()));
        assert!(!format!("{:?}", token()).contains('9'));
    }

    #[test]
    fn a_token_that_was_cut_or_changed_is_told_from_a_void_one() {
        let text = token().to_string();
        for end in 5..text.len() {
            assert_eq!(text[..end].parse::<JoinToken>(), Err(TokenError::Damaged));
        }
        for at in 5..text.len() - 1 {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert_eq!(changed.parse::<JoinToken>(), Err(TokenError::Damaged));
        }
        assert_eq!("nlk_x".parse::<JoinToken>(), Err(TokenError::Foreign));
    }

    #[test]
    fn only_hosts_with_ports_are_dialled() {
        for good in ["a:1", "10.0.0.1:8443", "[2001:db8::1]:8443", "a-b.c:65535"] {
            assert!(is_address(good), "{good}");
        }
        for bad in [
            "", "a", ":1", "a:", "a:0", "a:65536", "a b:1", "a/b:1", "\n:1", "a,b:1",
        ] {
            assert!(!is_address(bad), "{bad}");
        }
        let mut none = token();
        none.addresses = vec![String::new()];
        assert_eq!(
            none.to_string().parse::<JoinToken>(),
            Err(TokenError::Damaged)
        );
    }
}
