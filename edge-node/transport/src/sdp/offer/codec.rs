//! Which of the offered payload types we send.

use super::{
    Audio, Data, FLEXFEC_FMTP, Lines, OPUS_FMTP, PLAYOUT_DELAY_URI, TRANSPORT_CC_URI, Video,
    is_token, line,
};
use nearlight_protocol::worker::VideoCodec;
use std::cmp::Reverse;
use std::fmt::Write as _;

/// The codec's name in SDP.
pub(super) fn name(codec: VideoCodec) -> &'static str {
    match codec {
        VideoCodec::H264 => "H264",
        VideoCodec::VP8 => "VP8",
        VideoCodec::VP9 => "VP9",
        VideoCodec::H265 => "H265",
        VideoCodec::AV1 => "AV1",
    }
}

/// One offered payload type.
struct Format<'a> {
    payload_type: u8,
    /// `name/clock` in lower case, with channels where there are some.
    encoding: String,
    fmtp: &'a str,
}

impl Format<'_> {
    fn parameter(&self, key: &str) -> Option<&str> {
        self.fmtp.split(';').find_map(|pair| {
            let (k, v) = pair.split_once('=')?;
            k.trim().eq_ignore_ascii_case(key).then_some(v.trim())
        })
    }
}

/// The payload types of a section, in the viewer's order.
fn formats<'a>(lines: &Lines<'a>) -> Vec<Format<'a>> {
    let of = |name: &'a str, pt: u8| {
        lines
            .values(name)
            .filter_map(|value| value.split_once(' '))
            .find(move |(number, _)| number.parse() == Ok(pt))
            .map(|(_, rest)| rest.trim())
    };
    lines
        .media
        .iter()
        .skip(3)
        .filter_map(|word| word.parse::<u8>().ok().filter(|pt| *pt < 128))
        .filter_map(|payload_type| {
            Some(Format {
                payload_type,
                encoding: of("rtpmap", payload_type)?.to_ascii_lowercase(),
                fmtp: of("fmtp", payload_type).unwrap_or_default(),
            })
        })
        .collect()
}

/// The best video format for a session with `encoders`: the encoder's order decides, for only the
/// node knows what an encoder costs it; among the formats of one codec the one that we encode, and
/// among equals the first, which is the viewer's own preference.
pub(super) fn video(lines: &Lines<'_>, encoders: &[VideoCodec]) -> Option<Video> {
    let formats = formats(lines);
    let best = formats
        .iter()
        .filter_map(|format| {
            let (codec, rank) = rank(format)?;
            let place = encoders.iter().position(|encoder| *encoder == codec)?;
            Some((format, codec, (place, Reverse(rank))))
        })
        .min_by_key(|(_, _, liked)| *liked)?;
    let (format, codec, _) = best;
    let pt = format.payload_type;
    let rtx = formats.iter().find(|other| {
        other.encoding == "rtx/90000"
            && other.parameter("apt").and_then(|apt| apt.parse().ok()) == Some(pt)
    });
    Some(Video {
        codec,
        payload_type: pt,
        fmtp: match codec {
            VideoCodec::H264 => h264_fmtp(format),
            VideoCodec::VP8 => String::new(),
            VideoCodec::VP9 => echo(format, &["profile-id"]),
            VideoCodec::H265 => echo(format, &["level-id", "profile-id", "tier-flag", "tx-mode"]),
            VideoCodec::AV1 => echo(format, &["level-idx", "profile", "tier"]),
        },
        rtx: rtx.map(|rtx| rtx.payload_type),
        flexfec: (formats.iter())
            .find(|other| other.encoding == "flexfec-03/90000")
            .map(|other| other.payload_type),
        playout_delay: lines.extension(PLAYOUT_DELAY_URI),
        transport_cc: lines.extension(TRANSPORT_CC_URI),
        feedback: lines.feedback(pt),
    })
}

/// How much a format is liked: constrained baseline first, for that is what we encode.
fn rank(format: &Format<'_>) -> Option<(VideoCodec, u8)> {
    match format.encoding.as_str() {
        "h264/90000" => {
            if format.parameter("packetization-mode") != Some("1") {
                return None;
            }
            let profile = profile_level_id(format)?;
            // 42 with the constraint bits e0 is constrained baseline; any baseline decoder takes it.
            let rank = match (profile >> 16, (profile >> 8) & 0xff) {
                (0x42, flags) if flags & 0x40 != 0 => 3,
                (0x42, _) => 2,
                _ => return None,
            };
            Some((VideoCodec::H264, rank))
        }
        "vp8/90000" => Some((VideoCodec::VP8, 1)),
        // 4:2:0 with 8 bits is profile 0 of VP9 and AV1, and profile 1 (main) of HEVC; each is what
        // the parameter's absence means.
        "vp9/90000" => is(format, "profile-id", "0").then_some((VideoCodec::VP9, 1)),
        "av1/90000" => is(format, "profile", "0").then_some((VideoCodec::AV1, 1)),
        "h265/90000" => {
            let main = is(format, "profile-id", "1") && is(format, "tx-mode", "SRST");
            main.then_some((VideoCodec::H265, 1))
        }
        _ => None,
    }
}

/// Whether a parameter has the value that it also has when it is absent.
fn is(format: &Format<'_>, key: &str, default: &str) -> bool {
    let value = format.parameter(key);
    value.is_none_or(|value| value.eq_ignore_ascii_case(default))
}

/// The parameters among `keys`, as offered: an answer that differs in one names another format.
fn echo(format: &Format<'_>, keys: &[&str]) -> String {
    let mut out = String::new();
    for key in keys {
        let value = format.parameter(key).filter(|value| {
            let plain = value.bytes().all(|b| b.is_ascii_alphanumeric());
            plain && (1..=8).contains(&value.len())
        });
        if let Some(value) = value {
            let comma = if out.is_empty() { "" } else { ";" };
            // Writing into a String cannot fail.
            let _ = write!(out, "{comma}{key}={value}");
        }
    }
    out
}

fn profile_level_id(format: &Format<'_>) -> Option<u32> {
    // RFC 6184 section 8.1: without the parameter it is baseline, level 1.
    let text = format.parameter("profile-level-id").unwrap_or("42000a");
    (text.len() == 6).then(|| u32::from_str_radix(text, 16).ok())?
}

fn h264_fmtp(format: &Format<'_>) -> String {
    let profile = profile_level_id(format).unwrap_or(0x42_e01f);
    format!("level-asymmetry-allowed=1;packetization-mode=1;profile-level-id={profile:06x}")
}

/// Opus, if it is offered.
pub(super) fn audio(lines: &Lines<'_>) -> Option<Audio> {
    let formats = formats(lines);
    let opus = formats.iter().find(|f| f.encoding == "opus/48000/2")?;
    let red = formats.iter().find(|other| {
        let mut carried = other.fmtp.split('/').peekable();
        other.encoding == "red/48000/2"
            && carried.peek().is_some()
            && carried.all(|pt| pt.trim().parse() == Ok(opus.payload_type))
    });
    Some(Audio {
        payload_type: opus.payload_type,
        red: red.map(|red| red.payload_type),
        transport_cc: lines.extension(TRANSPORT_CC_URI),
        feedback: lines.feedback(opus.payload_type),
    })
}

/// Data channels over SCTP over DTLS (RFC 8841).
pub(super) fn data(lines: &Lines<'_>) -> Option<Data> {
    if lines.media.get(3).copied() != Some("webrtc-datachannel") {
        return None;
    }
    let number = |name| lines.value(name).map(|v| v.parse::<u32>());
    let sctp_port = match number("sctp-port") {
        None => 5000,
        Some(port) => u16::try_from(port.ok()?).ok()?,
    };
    let max_message_bytes = match number("max-message-size") {
        None => 65_536,
        Some(size) => size.ok()?,
    };
    Some(Data {
        sctp_port,
        max_message_bytes,
    })
}

impl Video {
    pub(super) fn write(&self, out: &mut String) {
        let pt = self.payload_type;
        let rtx = self.rtx.map(|rtx| format!(" {rtx}")).unwrap_or_default();
        let fec = self
            .flexfec
            .map(|fec| format!(" {fec}"))
            .unwrap_or_default();
        let section = "m=video 9 UDP/TLS/RTP/SAVPF";
        line(out, format_args!("{section} {pt}{rtx}{fec}"));
        media_lines(out, pt, self.transport_cc, &self.feedback);
        if let Some(id) = self.playout_delay {
            line(out, format_args!("a=extmap:{id} {PLAYOUT_DELAY_URI}"));
        }
        line(
            out,
            format_args!("a=rtpmap:{pt} {}/90000", name(self.codec)),
        );
        if !self.fmtp.is_empty() {
            line(out, format_args!("a=fmtp:{pt} {}", self.fmtp));
        }
        if let Some(rtx) = self.rtx {
            line(out, format_args!("a=rtpmap:{rtx} rtx/90000"));
            line(out, format_args!("a=fmtp:{rtx} apt={pt}"));
        }
        if let Some(fec) = self.flexfec {
            line(out, format_args!("a=rtpmap:{fec} flexfec-03/90000"));
            line(out, format_args!("a=fmtp:{fec} {FLEXFEC_FMTP}"));
        }
    }
}

impl Audio {
    pub(super) fn write(&self, out: &mut String) {
        let pt = self.payload_type;
        let red = self.red.map(|red| format!(" {red}")).unwrap_or_default();
        line(out, format_args!("m=audio 9 UDP/TLS/RTP/SAVPF {pt}{red}"));
        media_lines(out, pt, self.transport_cc, &self.feedback);
        line(out, format_args!("a=rtpmap:{pt} opus/48000/2"));
        line(out, format_args!("a=fmtp:{pt} {OPUS_FMTP}"));
        if let Some(red) = self.red {
            line(out, format_args!("a=rtpmap:{red} red/48000/2"));
            line(out, format_args!("a=fmtp:{red} {pt}/{pt}"));
        }
    }
}

impl Data {
    pub(super) fn write(&self, out: &mut String) {
        let section = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel";
        line(out, format_args!("{section}"));
        line(out, format_args!("c=IN IP4 0.0.0.0"));
        line(out, format_args!("a=sctp-port:{}", self.sctp_port));
        let size = self.max_message_bytes;
        line(out, format_args!("a=max-message-size:{size}"));
    }
}

fn media_lines(out: &mut String, pt: u8, transport_cc: Option<u8>, feedback: &[&'static str]) {
    debug_assert!(
        feedback
            .iter()
            .all(|f| f.split(' ').all(|w| is_token(w, '-')))
    );
    line(out, format_args!("c=IN IP4 0.0.0.0"));
    line(out, format_args!("a=recvonly"));
    line(out, format_args!("a=rtcp-mux"));
    line(out, format_args!("a=rtcp-rsize"));
    for kind in feedback {
        line(out, format_args!("a=rtcp-fb:{pt} {kind}"));
    }
    if let Some(id) = transport_cc {
        line(out, format_args!("a=extmap:{id} {TRANSPORT_CC_URI}"));
    }
}
