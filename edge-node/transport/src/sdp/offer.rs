//! Reads a viewer's offer: what it can receive, and what of that we send.
//!
//! Pure. Only lines that are understood have an effect; everything that is kept has been checked
//! against its grammar, because it is written out again, to `rtc` and to the viewer.
//!
//! **Invariant.** An [`Offer`] of a viewer has a video section that we can fill; audio and data are
//! optional. The offer of a line check has data and nothing else.

use nearlight_protocol::limits::SDP_BYTES_MAX;
use nearlight_protocol::worker::VideoCodec;
use std::collections::BTreeMap;
use std::fmt::Write as _;

mod codec;

/// Sections that an offer may have.
const SECTIONS_MAX: usize = 16;
/// Header extension for the playout delay.
pub(crate) const PLAYOUT_DELAY_URI: &str =
    "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay";
/// Header extension for transport-wide sequence numbers.
pub(crate) const TRANSPORT_CC_URI: &str =
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
/// Feedback that we act on.
const FEEDBACK: [&str; 4] = ["nack", "nack pli", "ccm fir", "transport-cc"];

/// Why an offer cannot be answered. The text goes to whoever made the offer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OfferError {
    #[error("the offer is larger than {SDP_BYTES_MAX} bytes")]
    TooLarge,
    #[error("the offer has more than {SECTIONS_MAX} media sections")]
    TooManySections,
    #[error("the offer is not SDP: {0}")]
    Syntax(&'static str),
    #[error("the offer lacks {0}")]
    Missing(&'static str),
    #[error("bundle all media sections on one transport (a=group:BUNDLE, a=rtcp-mux)")]
    NotBundled,
    #[error("an ICE-lite viewer cannot connect here; run full ICE")]
    Lite,
    #[error(
        "nothing that we can send: offer to receive a codec that the session has (H.264 with a \
         baseline profile and packetization-mode=1); this session has {0}"
    )]
    NoVideo(String),
    #[error("a line check needs data channels: create them before the offer")]
    NoData,
}

/// A viewer's offer, reduced to what matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) ice: Credentials,
    pub(crate) video: Option<Video>,
    pub(crate) audio: Option<Audio>,
    pub(crate) data: Option<Data>,
    /// Candidates, without `a=`.
    pub(crate) candidates: Vec<String>,
    /// Every section in the order of the offer, for the answer must have as many.
    pub(crate) sections: Vec<Section>,
    fingerprint: String,
    setup: &'static str,
}

/// User name fragment and password of ICE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) ufrag: String,
    pub(crate) password: String,
}

/// The section that takes the picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Video {
    pub(crate) codec: VideoCodec,
    pub(crate) payload_type: u8,
    pub(crate) fmtp: String,
    /// Payload type of retransmissions (RFC 4588).
    pub(crate) rtx: Option<u8>,
    /// Payload type of repair packets (`flexfec-03`).
    pub(crate) flexfec: Option<u8>,
    pub(crate) playout_delay: Option<u8>,
    pub(crate) transport_cc: Option<u8>,
    pub(crate) feedback: Vec<&'static str>,
}

/// The section that takes the sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Audio {
    pub(crate) payload_type: u8,
    /// Payload type of redundant sound (RFC 2198).
    pub(crate) red: Option<u8>,
    pub(crate) transport_cc: Option<u8>,
    pub(crate) feedback: Vec<&'static str>,
}

/// The section that carries the data channels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Data {
    sctp_port: u16,
    max_message_bytes: u32,
}

/// One media section of the offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) mid: String,
    pub(crate) media: String,
    pub(crate) protocol: String,
    pub(crate) format: String,
    pub(crate) role: Role,
}

/// What a section is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Video,
    Audio,
    Data,
    /// Answered with port 0.
    Refused,
}

/// What a repair packet may be late by, microseconds, as Chromium says it.
pub(crate) const FLEXFEC_FMTP: &str = "repair-window=10000000";
/// Opus as we send it, and as it is answered.
pub(crate) const OPUS_FMTP: &str = "minptime=10;useinbandfec=1;stereo=1;sprop-stereo=1";

/// The lines of one section, or of the session before the first.
#[derive(Default)]
struct Lines<'a> {
    /// What follows `m=`, split.
    media: Vec<&'a str>,
    /// `a=` lines: name and value.
    attributes: Vec<(&'a str, &'a str)>,
}

impl<'a> Lines<'a> {
    fn value(&self, name: &str) -> Option<&'a str> {
        self.attributes
            .iter()
            .find(|(n, _)| *n == name)
            .map(|(_, v)| *v)
    }

    fn values<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'a str> + 's {
        self.attributes
            .iter()
            .filter(move |(n, _)| *n == name)
            .map(|(_, v)| *v)
    }

    fn has(&self, name: &str) -> bool {
        self.attributes.iter().any(|(n, _)| *n == name)
    }

    fn is_open(&self) -> bool {
        // Port 0 without bundle-only is a section that the viewer itself gave up.
        self.media.get(1).is_some_and(|port| *port != "0") || self.has("bundle-only")
    }

    fn wants_media(&self) -> bool {
        !self.has("sendonly") && !self.has("inactive")
    }

    /// The id of a header extension, if it is offered in a way that one byte can carry.
    fn extension(&self, uri: &str) -> Option<u8> {
        self.values("extmap").find_map(|value| {
            let mut words = value.split_ascii_whitespace();
            let id = words.next()?;
            let id = id.split('/').next()?.parse().ok()?;
            (words.next()? == uri && (1..=14).contains(&id)).then_some(id)
        })
    }

    fn feedback(&self, payload_type: u8) -> Vec<&'static str> {
        let offered = |wanted: &str| {
            self.values("rtcp-fb").any(|value| {
                value.split_once(' ').is_some_and(|(pt, feedback)| {
                    (pt == "*" || pt.parse() == Ok(payload_type)) && feedback.trim() == wanted
                })
            })
        };
        FEEDBACK.into_iter().filter(|f| offered(f)).collect()
    }
}

impl Offer {
    /// Reads a viewer's `sdp`, for a session that can encode with `encoders`, best first.
    ///
    /// # Errors
    /// [`OfferError`], for whoever made the offer.
    pub(crate) fn read(sdp: &str, encoders: &[VideoCodec]) -> Result<Self, OfferError> {
        let take = |lines: &Lines<'_>, roles: &mut Roles| roles.take(lines, encoders);
        Self::parse(sdp, take, |roles| match roles.video {
            Some(_) => Ok(()),
            None => {
                let names: Vec<&str> = encoders.iter().map(|codec| codec::name(*codec)).collect();
                Err(OfferError::NoVideo(names.join(", ")))
            }
        })
    }

    /// Reads the `sdp` of a line check: its data channels, and nothing else.
    ///
    /// # Errors
    /// [`OfferError`], for whoever made the offer.
    pub(crate) fn read_line_check(sdp: &str) -> Result<Self, OfferError> {
        let take = |lines: &Lines<'_>, roles: &mut Roles| roles.take_data(lines);
        Self::parse(sdp, take, |roles| match roles.data {
            Some(_) => Ok(()),
            None => Err(OfferError::NoData),
        })
    }

    fn parse(
        sdp: &str,
        take: impl Fn(&Lines<'_>, &mut Roles) -> Role,
        check: impl FnOnce(&Roles) -> Result<(), OfferError>,
    ) -> Result<Self, OfferError> {
        if sdp.len() > SDP_BYTES_MAX {
            return Err(OfferError::TooLarge);
        }
        let (session, media) = split(sdp)?;
        if session.has("ice-lite") {
            return Err(OfferError::Lite);
        }
        let mut roles = Roles::default();
        let mut sections = Vec::with_capacity(media.len());
        for lines in &media {
            let role = take(lines, &mut roles);
            sections.push(section(lines, role)?);
        }
        check(&roles)?;
        check_bundle(&session, &media, &sections)?;
        let accepted = || {
            let all = media.iter().zip(&sections);
            all.filter(|(_, s)| s.role != Role::Refused).map(|(l, _)| l)
        };
        // With BUNDLE the transport's attributes are those of the first section, or the session's.
        let first = accepted().next().unwrap_or(&session);
        let find = |name| first.value(name).or_else(|| session.value(name));
        Ok(Self {
            ice: credentials(find("ice-ufrag"), find("ice-pwd"))?,
            fingerprint: fingerprint(find("fingerprint"))?,
            setup: setup(find("setup"))?,
            candidates: accepted()
                .flat_map(|lines| lines.values("candidate"))
                .map(|value| format!("candidate:{value}"))
                .collect(),
            video: roles.video,
            audio: roles.audio,
            data: roles.data,
            sections,
        })
    }

    /// The reduced offer, for `rtc`.
    pub(crate) fn reduced(&self) -> String {
        let mids: Vec<&str> = self.accepted().map(|s| s.mid.as_str()).collect();
        let mut out = String::with_capacity(2048);
        line(&mut out, format_args!("v=0"));
        line(&mut out, format_args!("o=- 1 1 IN IP4 0.0.0.0"));
        line(&mut out, format_args!("s=-"));
        line(&mut out, format_args!("t=0 0"));
        line(&mut out, format_args!("a=group:BUNDLE {}", mids.join(" ")));
        for section in self.accepted() {
            match section.role {
                Role::Video => self.video.iter().for_each(|video| video.write(&mut out)),
                Role::Audio => self.audio.iter().for_each(|audio| audio.write(&mut out)),
                Role::Data => self.data.iter().for_each(|data| data.write(&mut out)),
                Role::Refused => {}
            }
            line(&mut out, format_args!("a=mid:{}", section.mid));
            line(&mut out, format_args!("a=ice-ufrag:{}", self.ice.ufrag));
            line(&mut out, format_args!("a=ice-pwd:{}", self.ice.password));
            line(&mut out, format_args!("a=fingerprint:{}", self.fingerprint));
            line(&mut out, format_args!("a=setup:{}", self.setup));
        }
        out
    }

    /// Whether the viewer insists on starting the DTLS handshake.
    pub(crate) fn viewer_starts_dtls(&self) -> bool {
        self.setup == "active"
    }

    fn accepted(&self) -> impl Iterator<Item = &Section> {
        self.sections.iter().filter(|s| s.role != Role::Refused)
    }
}

/// What the sections seen so far are for: the first of each kind that we can fill wins.
#[derive(Default)]
struct Roles {
    video: Option<Video>,
    audio: Option<Audio>,
    data: Option<Data>,
}

impl Roles {
    fn take(&mut self, lines: &Lines<'_>, encoders: &[VideoCodec]) -> Role {
        if !lines.is_open() {
            return Role::Refused;
        }
        match lines.media.first().copied() {
            Some("video") if self.video.is_none() && lines.wants_media() => {
                self.video = codec::video(lines, encoders);
                self.video.as_ref().map_or(Role::Refused, |_| Role::Video)
            }
            Some("audio") if self.audio.is_none() && lines.wants_media() => {
                self.audio = codec::audio(lines);
                self.audio.as_ref().map_or(Role::Refused, |_| Role::Audio)
            }
            Some("application") => self.take_data(lines),
            Some(_) | None => Role::Refused,
        }
    }

    fn take_data(&mut self, lines: &Lines<'_>) -> Role {
        let wanted = lines.media.first() == Some(&"application") && lines.is_open();
        if !wanted || self.data.is_some() {
            return Role::Refused;
        }
        self.data = codec::data(lines);
        self.data.as_ref().map_or(Role::Refused, |_| Role::Data)
    }
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing into a String cannot fail.
    let _ = out.write_fmt(text);
    out.push_str("\r\n");
}

fn split(sdp: &str) -> Result<(Lines<'_>, Vec<Lines<'_>>), OfferError> {
    if !sdp.starts_with("v=0") {
        return Err(OfferError::Syntax("it does not start with v=0"));
    }
    let mut session = Lines::default();
    let mut media: Vec<Lines<'_>> = Vec::new();
    // A lone CR ends a line, too: it must not get into what is kept.
    for text in sdp.split(['\r', '\n']) {
        let text = text.trim_end();
        if let Some(rest) = text.strip_prefix("m=") {
            if media.len() == SECTIONS_MAX {
                return Err(OfferError::TooManySections);
            }
            let words: Vec<&str> = rest.split_ascii_whitespace().collect();
            if words.len() < 4 || !words.iter().take(4).all(|word| is_token(word, '/')) {
                return Err(OfferError::Syntax("an m= line is malformed"));
            }
            media.push(Lines {
                media: words,
                ..Lines::default()
            });
        } else if let Some(attribute) = text.strip_prefix("a=") {
            let (name, value) = attribute.split_once(':').unwrap_or((attribute, ""));
            let lines = media.last_mut().unwrap_or(&mut session);
            lines.attributes.push((name, value.trim()));
        }
    }
    Ok((session, media))
}

fn section(lines: &Lines<'_>, role: Role) -> Result<Section, OfferError> {
    let mid = lines.value("mid").unwrap_or_default();
    if !is_token(mid, '-') || mid.len() > 32 {
        return Err(OfferError::Missing("a=mid in a media section"));
    }
    Ok(Section {
        mid: mid.to_owned(),
        media: lines.media[0].to_owned(),
        protocol: lines.media[2].to_owned(),
        format: lines.media[3].to_owned(),
        role,
    })
}

fn check_bundle(
    session: &Lines<'_>,
    media: &[Lines<'_>],
    sections: &[Section],
) -> Result<(), OfferError> {
    let mut bundles = session.values("group").filter_map(|group| {
        let rest = group.strip_prefix("BUNDLE ")?;
        Some(rest.split_ascii_whitespace().collect::<Vec<&str>>())
    });
    let bundle = bundles.next().unwrap_or_default();
    let accepted = media
        .iter()
        .zip(sections)
        .filter(|(_, section)| section.role != Role::Refused);
    let alone = accepted.clone().count() == 1;
    let mut seen = BTreeMap::new();
    for (lines, section) in accepted {
        let bundled = alone || bundle.contains(&section.mid.as_str());
        let muxed = section.role == Role::Data || lines.has("rtcp-mux");
        if !bundled || !muxed || seen.insert(&section.mid, ()).is_some() {
            return Err(OfferError::NotBundled);
        }
    }
    Ok(())
}

fn credentials(ufrag: Option<&str>, password: Option<&str>) -> Result<Credentials, OfferError> {
    let ufrag = ufrag.ok_or(OfferError::Missing("a=ice-ufrag"))?;
    let password = password.ok_or(OfferError::Missing("a=ice-pwd"))?;
    // RFC 8839 section 5.4. Chromium and Firefox keep to it; some stacks add `-` and `_`.
    let is_ice = |s: &str| {
        s.bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+/-_=".contains(&b))
    };
    if !(4..=256).contains(&ufrag.len()) || !(22..=256).contains(&password.len()) {
        return Err(OfferError::Syntax("ICE credentials have a wrong length"));
    }
    if !is_ice(ufrag) || !is_ice(password) {
        return Err(OfferError::Syntax("ICE credentials have wrong characters"));
    }
    Ok(Credentials {
        ufrag: ufrag.to_owned(),
        password: password.to_owned(),
    })
}

fn fingerprint(value: Option<&str>) -> Result<String, OfferError> {
    let value = value.ok_or(OfferError::Missing("a=fingerprint"))?;
    let bad = OfferError::Syntax("a=fingerprint is malformed, or its hash too weak");
    let (algorithm, digest) = value.split_once(' ').ok_or(bad.clone())?;
    let algorithm = algorithm.to_ascii_lowercase();
    let bytes = match algorithm.as_str() {
        "sha-256" => 32,
        "sha-384" => 48,
        "sha-512" => 64,
        _ => return Err(bad),
    };
    let is_pair = |pair: &str| pair.len() == 2 && pair.bytes().all(|b| b.is_ascii_hexdigit());
    let mut pairs = digest.split(':');
    if pairs.clone().count() != bytes || !pairs.all(is_pair) {
        return Err(bad);
    }
    Ok(format!("{algorithm} {digest}"))
}

fn setup(value: Option<&str>) -> Result<&'static str, OfferError> {
    match value {
        Some("actpass") => Ok("actpass"),
        Some("active") => Ok("active"),
        Some("passive") => Ok("passive"),
        Some(_) | None => Err(OfferError::Missing("a=setup:actpass")),
    }
}

/// Whether `text` is a token of SDP (RFC 8866 section 9), or has `also` in it.
fn is_token(text: &str, also: char) -> bool {
    !text.is_empty()
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`{|}~".contains(c) || c == also)
}

#[cfg(test)]
#[path = "offer/test.rs"]
mod test;
