//! As much of STUN (RFC 8489) as a front door needs: tell what a datagram is, whose it claims to
//! be, and whether it proves it, before anything is allocated for it.
//!
//! Pure, but for the numbers that ICE wants random. The ICE agent behind the door parses again what is let through.

use rtc::crypto::{HmacAlgorithm, RTCCryptoProvider};
use rtc::ice::attributes::control::AttrControlled;
use rtc::ice::attributes::priority::PriorityAttr;
use rtc::stun::attributes::AttrType as StunAttribute;
use rtc::stun::fingerprint::FINGERPRINT;
use rtc::stun::integrity::MessageIntegrity;
use rtc::stun::message::{BINDING_REQUEST, Message, Setter, TransactionId};
use rtc::stun::textattrs::Username;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const COOKIE: u32 = 0x2112_a442;
const HEADER_BYTES: usize = 20;
const INTEGRITY_BYTES: usize = 20;
const ATTR_USERNAME: u16 = 0x0006;
const ATTR_INTEGRITY: u16 = 0x0008;
const ATTR_XOR_MAPPED_ADDRESS: u16 = 0x0020;
const ATTR_USE_CANDIDATE: u16 = 0x0025;
/// Of a candidate that the peer has not been told of (RFC 8445, section 5.1.2).
const PEER_REFLEXIVE_PRIORITY: u32 = (110 << 24) | (65_535 << 8) | 255;

/// What a STUN binding message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Request,
    Indication,
    Success,
    Error,
}

/// A well-formed STUN binding message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Binding<'a> {
    pub(crate) class: Class,
    pub(crate) transaction: [u8; 12],
    datagram: &'a [u8],
}

/// Whether RFC 7983 gives the datagram to STUN.
pub(crate) fn is_stun(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| *first < 4)
}

impl<'a> Binding<'a> {
    /// The binding message in `datagram`, if it is one and its length is right.
    pub(crate) fn parse(datagram: &'a [u8]) -> Option<Self> {
        let header = datagram.first_chunk::<HEADER_BYTES>()?;
        let class = match u16::from_be_bytes([header[0], header[1]]) {
            0x0001 => Class::Request,
            0x0011 => Class::Indication,
            0x0101 => Class::Success,
            0x0111 => Class::Error,
            _ => return None,
        };
        let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let cookie = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
        if cookie != COOKIE || length % 4 != 0 || datagram.len() != HEADER_BYTES + length {
            return None;
        }
        let transaction = *datagram[8..].first_chunk::<12>()?;
        Some(Self {
            class,
            transaction,
            datagram,
        })
    }

    /// The ICE user name fragment of ours that a request is for: what is before the colon.
    pub(crate) fn ufrag(&self) -> Option<&'a str> {
        let (_, value) = self.attributes().find(|a| a.kind == ATTR_USERNAME)?.parts();
        let name = std::str::from_utf8(value).ok()?;
        name.split_once(':').map(|(ours, _)| ours)
    }

    /// Whether the controlling agent nominates the pair.
    pub(crate) fn use_candidate(&self) -> bool {
        self.attributes().any(|a| a.kind == ATTR_USE_CANDIDATE)
    }

    /// The address at which the server saw us.
    pub(crate) fn mapped_address(&self) -> Option<SocketAddr> {
        let (_, value) = self
            .attributes()
            .find(|a| a.kind == ATTR_XOR_MAPPED_ADDRESS)?
            .parts();
        let port = u16::from_be_bytes([*value.get(2)?, *value.get(3)?]) ^ (COOKIE >> 16) as u16;
        let mut mask = [0; 16];
        mask[..4].copy_from_slice(&COOKIE.to_be_bytes());
        mask[4..].copy_from_slice(&self.transaction);
        let ip = match (value.get(1)?, value.len()) {
            (1, 8) => {
                let mut octets = *value[4..].first_chunk::<4>()?;
                octets.iter_mut().zip(mask).for_each(|(o, m)| *o ^= m);
                IpAddr::V4(Ipv4Addr::from(octets))
            }
            (2, 20) => {
                let mut octets = *value[4..].first_chunk::<16>()?;
                octets.iter_mut().zip(mask).for_each(|(o, m)| *o ^= m);
                IpAddr::V6(Ipv6Addr::from(octets))
            }
            _ => return None,
        };
        Some(SocketAddr::new(ip, port))
    }

    /// Whether MESSAGE-INTEGRITY is right for `password` (RFC 8489 section 14.5).
    pub(crate) fn is_authentic(&self, password: &str, crypto: &dyn RTCCryptoProvider) -> bool {
        let Some(integrity) = self.attributes().find(|a| a.kind == ATTR_INTEGRITY) else {
            return false;
        };
        let (offset, value) = integrity.parts();
        if value.len() != INTEGRITY_BYTES {
            return false;
        }
        // The MAC covers everything before the attribute, with the header's length ending with it.
        let covered = offset + 4 + INTEGRITY_BYTES - HEADER_BYTES;
        let Ok(length) = u16::try_from(covered) else {
            return false;
        };
        let mut front = [self.datagram[0], self.datagram[1], 0, 0];
        front[2..].copy_from_slice(&length.to_be_bytes());
        let parts: [&[u8]; 2] = [&front, &self.datagram[4..offset]];
        crypto
            .crypto()
            .new_hmac(HmacAlgorithm::Sha1, password.as_bytes())
            .is_ok_and(|mut mac| mac.verify(&parts, value).is_ok())
    }

    fn attributes(&self) -> Attributes<'a> {
        Attributes {
            datagram: self.datagram,
            offset: HEADER_BYTES,
        }
    }
}

/// A binding request with nothing in it, for a STUN server.
pub(crate) fn binding_request(transaction: [u8; 12]) -> [u8; HEADER_BYTES] {
    let mut out = [0; HEADER_BYTES];
    out[1] = 1;
    out[4..8].copy_from_slice(&COOKIE.to_be_bytes());
    out[8..].copy_from_slice(&transaction);
    out
}

/// A check of ICE's (RFC 8445, section 7.2.2) by the controlled side, keyed with the `password` of the
/// peer that is asked; `names` are its name fragment and ours. `None` if the library does not make it.
pub(crate) fn ice_request(
    transaction: [u8; 12],
    names: (&str, &str),
    password: &str,
    crypto: &dyn RTCCryptoProvider,
) -> Option<Vec<u8>> {
    let mut message = Message::new();
    let username = format!("{}:{}", names.0, names.1);
    let integrity = MessageIntegrity::new_short_term_integrity_with_provider(
        password.to_owned(),
        crypto.crypto(),
    );
    let parts: [Box<dyn Setter + '_>; 7] = [
        Box::new(BINDING_REQUEST),
        Box::new(TransactionId(transaction)),
        Box::new(Username::new(StunAttribute(ATTR_USERNAME), username)),
        Box::new(AttrControlled(rand::random())),
        Box::new(PriorityAttr(PEER_REFLEXIVE_PRIORITY)),
        Box::new(integrity),
        Box::new(FINGERPRINT),
    ];
    message.build(&parts).ok()?;
    Some(message.raw)
}

struct Attribute<'a> {
    kind: u16,
    offset: usize,
    value: &'a [u8],
}

impl<'a> Attribute<'a> {
    fn parts(&self) -> (usize, &'a [u8]) {
        (self.offset, self.value)
    }
}

struct Attributes<'a> {
    datagram: &'a [u8],
    offset: usize,
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Attribute<'a>> {
        let rest = self.datagram.get(self.offset..)?;
        let head = rest.first_chunk::<4>()?;
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let value = rest.get(4..4 + length)?;
        let offset = self.offset;
        self.offset += 4 + length.next_multiple_of(4);
        Some(Attribute {
            kind: u16::from_be_bytes([head[0], head[1]]),
            offset,
            value,
        })
    }
}

#[cfg(test)]
#[path = "stun/test.rs"]
mod test;
