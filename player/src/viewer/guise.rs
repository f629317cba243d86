//! What a browser's page would say to a node, for a connection that is none: the offer of a recorded Chromium with this
//! connection's own credentials in it, and the candidates that follow. Pure: chance comes in.
//!
//! The recording (`recorded/`) is what client-web's page offers in that version, once, with four places left open. Another
//! version of Chromium offers something else, and then it has to be recorded anew.
//!
//! **What it does not know:** what of the offer the connection can really take: [`super::peer`] registers H.264, VP8 and
//! what mends them, and whatever else a node chooses cannot be decoded.

/// What client-web's page offers in Chromium 156.
const OFFER: &str = include_str!("../../recorded/chromium-156.sdp");
/// As long as Chromium's.
pub(super) const UFRAG_CHARS: usize = 4;
/// As long as Chromium's.
pub(super) const PASSWORD_CHARS: usize = 24;
/// What Chromium says of a network that it was not allowed to look at.
const NETWORK_COST: u32 = 999;
/// Of a host candidate by UDP over the first network of a machine.
const PRIORITY: u32 = 2_113_937_151;

/// A connection's own part.
#[derive(Clone, Debug)]
pub(super) struct Own<'a> {
    pub(super) ufrag: &'a str,
    pub(super) password: &'a str,
    /// The SDP that the connection made for itself.
    pub(super) sdp: &'a str,
}

/// Offer and candidates, as a page sends them one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) offer: String,
    pub(super) fragment: String,
}

/// What the page would say. `id` is the number of the session of SDP, `name` what the machine is called to multicast
/// DNS; `foundation` tells candidates apart. `None` if the connection made no offer.
pub(super) fn dress(own: &Own<'_>, id: u64, name: &str, foundation: u32) -> Option<Said> {
    let fingerprint = value(own.sdp, "a=fingerprint:")?;
    let offer = OFFER
        .replace("{id}", &id.to_string())
        .replace("{ufrag}", own.ufrag)
        .replace("{pwd}", own.password)
        .replace("{fingerprint}", fingerprint)
        .replace('\n', "\r\n");
    let candidate = value(own.sdp, "a=candidate:")?;
    let port: u16 = candidate.split(' ').nth(5)?.parse().ok()?;
    // Lines as client-web's `fragment` has them.
    let lines = [
        format!("a=ice-ufrag:{}", own.ufrag),
        format!("a=ice-pwd:{}", own.password),
        "m=video 9 UDP/TLS/RTP/SAVPF 0".to_owned(),
        "a=mid:0".to_owned(),
        format!(
            "a=candidate:{foundation} 1 udp {PRIORITY} {name}.local {port} typ host generation 0 ufrag {} \
             network-cost {NETWORK_COST}",
            own.ufrag
        ),
        "a=end-of-candidates".to_owned(),
    ];
    Some(Said {
        offer,
        fragment: lines.join("\r\n") + "\r\n",
    })
}

fn value<'a>(sdp: &'a str, start: &str) -> Option<&'a str> {
    sdp.lines().find_map(|line| line.strip_prefix(start))
}

#[cfg(test)]
mod test {
    use super::*;

    const OWN: &str = "v=0\r\na=fingerprint:sha-256 AA:BB\r\nm=video 9 X 102\r\n\
                       a=candidate:1 1 udp 2130706431 127.0.0.1 40000 typ host\r\n";

    #[test]
    fn the_offer_is_the_recorded_one_with_ones_own_credentials() {
        let own = Own {
            ufrag: "abcd",
            password: "p",
            sdp: OWN,
        };
        let said = dress(&own, 77, "machine", 5).unwrap();
        assert!(
            said.offer
                .starts_with("v=0\r\no=- 77 2 IN IP4 127.0.0.1\r\n")
        );
        assert_eq!(
            said.offer
                .matches("a=fingerprint:sha-256 AA:BB\r\n")
                .count(),
            3
        );
        assert!(!said.offer.contains('{') && !said.offer.contains("a=candidate"));
        assert!(said.fragment.contains(" machine.local 40000 typ host "));
        assert!(said.fragment.ends_with("a=end-of-candidates\r\n"));
        assert_eq!(
            dress(
                &Own {
                    sdp: "v=0\r\n",
                    ..own
                },
                1,
                "m",
                1
            ),
            None
        );
    }
}
