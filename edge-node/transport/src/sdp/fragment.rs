//! Trickled candidates: `application/trickle-ice-sdpfrag` (RFC 8840), the body of a WHEP PATCH.

use crate::limits::REMOTE_CANDIDATES_MAX;
use nearlight_protocol::limits::SDP_BYTES_MAX;

/// Why a fragment is refused. The text goes to whoever sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FragmentError {
    #[error("the fragment is larger than {SDP_BYTES_MAX} bytes")]
    TooLarge,
    #[error("the fragment has more than {REMOTE_CANDIDATES_MAX} candidates")]
    TooManyCandidates,
    #[error("an ICE restart is not offered here: POST a new offer")]
    Restart,
}

/// The candidates in `fragment`, without `a=`, for the attachment whose viewer goes by `ufrag`.
///
/// # Errors
/// [`FragmentError`], for whoever sent it.
pub(crate) fn candidates<'a>(
    fragment: &'a str,
    ufrag: &str,
) -> Result<Vec<&'a str>, FragmentError> {
    if fragment.len() > SDP_BYTES_MAX {
        return Err(FragmentError::TooLarge);
    }
    let mut found = Vec::new();
    // A lone CR ends a line, too: it must not get into what is kept.
    let lines = fragment.split(['\r', '\n']);
    for attribute in lines.filter_map(|l| l.trim().strip_prefix("a=")) {
        if attribute
            .strip_prefix("ice-ufrag:")
            .is_some_and(|u| u != ufrag)
        {
            return Err(FragmentError::Restart);
        }
        if attribute.starts_with("candidate:") {
            if found.len() == REMOTE_CANDIDATES_MAX {
                return Err(FragmentError::TooManyCandidates);
            }
            found.push(attribute);
        }
    }
    Ok(found)
}

/// A candidate that full ICE may check: UDP, an address of its own, nothing of ours or of nobody.
pub(crate) fn is_usable(candidate: &str) -> bool {
    let words: Vec<&str> = candidate.split_ascii_whitespace().take(8).collect();
    let [_, component, protocol, _, address, port, "typ", kind] = words[..] else {
        return false;
    };
    let Ok(ip) = address.parse::<std::net::IpAddr>() else {
        // mDNS names: resolving them means multicast, and the viewer's own check finds us anyway.
        return false;
    };
    component == "1"
        && protocol.eq_ignore_ascii_case("udp")
        && !ip.is_unspecified()
        && !ip.is_multicast()
        && port.parse::<u16>().is_ok_and(|port| port > 0)
        && ["host", "srflx", "prflx", "relay"].contains(&kind)
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn candidates_are_taken_and_a_restart_is_refused() {
        let fragment = "a=ice-ufrag:abcd\r\na=ice-pwd:x\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\n\
                        a=mid:0\r\na=candidate:1 1 udp 2130706431 192.0.2.5 5000 typ host\r\n\
                        a=end-of-candidates\r\n";
        assert_eq!(
            candidates(fragment, "abcd"),
            Ok(vec!["candidate:1 1 udp 2130706431 192.0.2.5 5000 typ host"])
        );
        assert_eq!(candidates(fragment, "efgh"), Err(FragmentError::Restart));
        assert_eq!(
            candidates("a=candidate:1\ra=candidate:2", "abcd"),
            Ok(vec!["candidate:1", "candidate:2"])
        );
        let many = "a=candidate:1 1 udp 1 192.0.2.5 5000 typ host\n".repeat(33);
        assert_eq!(
            candidates(&many, "abcd"),
            Err(FragmentError::TooManyCandidates)
        );
    }

    #[test]
    fn only_plain_udp_addresses_are_checked() {
        for (candidate, usable) in [
            ("candidate:1 1 udp 1 192.0.2.5 5000 typ host", true),
            (
                "candidate:1 1 UDP 1 2001:db8::1 5000 typ srflx raddr :: rport 0",
                true,
            ),
            (
                "candidate:1 1 tcp 1 192.0.2.5 9 typ host tcptype active",
                false,
            ),
            ("candidate:1 1 udp 1 6b0c.local 5000 typ host", false),
            ("candidate:1 1 udp 1 224.0.0.1 5000 typ host", false),
            ("candidate:1 1 udp 1 192.0.2.5 0 typ host", false),
            ("candidate:1 2 udp 1 192.0.2.5 5000 typ host", false),
            ("candidate:", false),
        ] {
            assert_eq!(is_usable(candidate), usable, "{candidate}");
        }
    }
}
