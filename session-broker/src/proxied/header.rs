//! The header of the PROXY protocol, version 2, as haproxy's proxy-protocol.txt section 2.2 has it.
//!
//! **What it does not know:** sockets, and whom to believe.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Signature, version and command, family, length.
pub(crate) const FIXED_BYTES: usize = 16;
/// Addresses and extensions. Ours have 36 bytes, and haproxy's extensions stay far below this.
pub(crate) const REST_BYTES_MAX: usize = 1024;

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;

/// Whom a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Header {
    /// The load balancer itself: a health check.
    Itself,
    /// This client.
    Of(SocketAddr),
}

/// Why a header is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    /// Something else was sent.
    #[error("no PROXY protocol of version 2; let the load balancer use send-proxy-v2")]
    Signature,
    /// More than any load balancer has to say.
    #[error("a PROXY header of {0} bytes")]
    Long(usize),
    /// It names no TCP client.
    #[error("a PROXY header of another command, family or length")]
    Content,
}

/// How many bytes follow the fixed part.
pub(crate) fn rest_len(fixed: &[u8; FIXED_BYTES]) -> Result<usize, Malformed> {
    if !fixed.starts_with(&SIGNATURE) {
        return Err(Malformed::Signature);
    }
    let [.., high, low] = *fixed;
    let len = usize::from(u16::from_be_bytes([high, low]));
    if len > REST_BYTES_MAX {
        return Err(Malformed::Long(len));
    }
    Ok(len)
}

/// What a whole header says. `rest` has as many bytes as [`rest_len`] said; extensions are passed over.
pub(crate) fn parse(fixed: &[u8; FIXED_BYTES], rest: &[u8]) -> Result<Header, Malformed> {
    let [.., command, family, _, _] = *fixed;
    match (command, family) {
        (LOCAL, _) => Ok(Header::Itself),
        (PROXY, TCP_OVER_IPV4) => {
            let addresses: [u8; 12] = first(rest)?;
            let [a, b, c, d, _, _, _, _, high, low, _, _] = addresses;
            let ip = IpAddr::V4(Ipv4Addr::new(a, b, c, d));
            Ok(Header::Of((ip, u16::from_be_bytes([high, low])).into()))
        }
        (PROXY, TCP_OVER_IPV6) => {
            let addresses: [u8; 36] = first(rest)?;
            let source: [u8; 16] = first(&addresses)?;
            let [.., high, low, _, _] = addresses;
            let ip = IpAddr::V6(Ipv6Addr::from(source));
            Ok(Header::Of((ip, u16::from_be_bytes([high, low])).into()))
        }
        _ => Err(Malformed::Content),
    }
}

fn first<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Malformed> {
    let found = bytes.first_chunk::<N>();
    found.copied().ok_or(Malformed::Content)
}

#[cfg(test)]
mod test {
    use super::*;

    fn fixed(command: u8, family: u8, len: u16) -> [u8; FIXED_BYTES] {
        let mut bytes = [0; FIXED_BYTES];
        bytes[..12].copy_from_slice(&SIGNATURE);
        bytes[12..14].copy_from_slice(&[command, family]);
        bytes[14..].copy_from_slice(&len.to_be_bytes());
        bytes
    }

    #[test]
    fn a_header_names_its_client_and_extensions_are_passed_over() {
        let mut v4 = vec![192, 0, 2, 7, 10, 0, 0, 1, 0xd4, 0x31, 1, 187];
        let client = Header::Of("192.0.2.7:54321".parse().unwrap());
        assert_eq!(parse(&fixed(PROXY, TCP_OVER_IPV4, 12), &v4), Ok(client));
        v4.extend([4, 0, 1, 0]);
        assert_eq!(parse(&fixed(PROXY, TCP_OVER_IPV4, 16), &v4), Ok(client));
        let mut v6 = [0; 36];
        v6[..2].copy_from_slice(&[0x20, 1]);
        v6[15] = 9;
        v6[32..34].copy_from_slice(&443_u16.to_be_bytes());
        let client = Header::Of("[2001::9]:443".parse().unwrap());
        assert_eq!(parse(&fixed(PROXY, TCP_OVER_IPV6, 36), &v6), Ok(client));
        assert_eq!(parse(&fixed(LOCAL, 0, 0), &[]), Ok(Header::Itself));
    }

    #[test]
    fn what_is_no_header_is_named() {
        assert_eq!(rest_len(b"GET / HTTP/1.1\r\n"), Err(Malformed::Signature));
        assert_eq!(
            rest_len(&fixed(PROXY, TCP_OVER_IPV4, 5000)),
            Err(Malformed::Long(5000))
        );
        for (command, family, len) in [
            (PROXY, TCP_OVER_IPV4, 11),
            (PROXY, 0x12, 12),
            (0x22, 0x11, 12),
        ] {
            let fixed = fixed(command, family, len);
            let rest = vec![0; rest_len(&fixed).unwrap()];
            assert_eq!(parse(&fixed, &rest), Err(Malformed::Content));
        }
    }
}
