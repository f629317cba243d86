use super::*;
use proptest::prelude::*;

const FINGERPRINT: &str = "a=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:\
                           00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r\n";
const BOTH: [VideoCodec; 2] = [VideoCodec::H264, VideoCodec::VP8];

/// As Chromium offers, shortened.
fn chromium() -> String {
    let transport = format!(
        "a=ice-ufrag:Wx3K\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=ice-options:trickle\r\n\
         {FINGERPRINT}a=setup:actpass\r\n"
    );
    format!(
        "v=0\r\no=- 46117 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1 2\r\n\
         a=extmap-allow-mixed\r\na=msid-semantic: WMS\r\n\
         m=video 9 UDP/TLS/RTP/SAVPF 96 97 102 103 104 105 106 107 45 49\r\nc=IN IP4 0.0.0.0\r\n\
         {transport}a=mid:0\r\n\
         a=extmap:3 {TRANSPORT_CC_URI}\r\na=extmap:5 {PLAYOUT_DELAY_URI}\r\n\
         a=extmap:16 urn:example:two-byte\r\na=recvonly\r\na=rtcp-mux\r\na=rtcp-rsize\r\n\
         a=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 nack\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n\
         a=rtpmap:102 H264/90000\r\na=rtcp-fb:102 goog-remb\r\na=rtcp-fb:102 transport-cc\r\n\
         a=rtcp-fb:102 ccm fir\r\na=rtcp-fb:102 nack\r\na=rtcp-fb:102 nack pli\r\n\
         a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f\r\n\
         a=rtpmap:103 rtx/90000\r\na=fmtp:103 apt=102\r\n\
         a=rtpmap:104 H264/90000\r\na=rtcp-fb:104 nack\r\na=rtcp-fb:104 nack pli\r\n\
         a=fmtp:104 level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42e01f\r\n\
         a=rtpmap:105 rtx/90000\r\na=fmtp:105 apt=104\r\n\
         a=rtpmap:106 H264/90000\r\na=rtcp-fb:106 nack\r\na=rtcp-fb:106 nack pli\r\n\
         a=fmtp:106 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n\
         a=rtpmap:107 rtx/90000\r\na=fmtp:107 apt=106\r\na=rtpmap:45 AV1/90000\r\n\
         a=rtpmap:49 flexfec-03/90000\r\na=fmtp:49 repair-window=10000000\r\n\
         m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9\r\nc=IN IP4 0.0.0.0\r\n{transport}a=mid:1\r\n\
         a=recvonly\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\na=rtcp-fb:111 transport-cc\r\n\
         a=fmtp:111 minptime=10;useinbandfec=1\r\na=rtpmap:63 red/48000/2\r\na=fmtp:63 111/111\r\na=rtpmap:9 G722/8000\r\n\
         m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\n{transport}\
         a=mid:2\r\na=sctp-port:5000\r\na=max-message-size:262144\r\n\
         a=candidate:1 1 udp 2113937151 6b0c.local 50000 typ host\r\n"
    )
}

#[test]
fn constrained_baseline_with_packetization_mode_1_is_preferred() {
    let offer = Offer::read(&chromium(), &BOTH).unwrap();
    let video = offer.video.as_ref().unwrap();
    assert_eq!((video.codec, video.payload_type), (VideoCodec::H264, 106));
    assert_eq!((video.rtx, video.playout_delay), (Some(107), Some(5)));
    assert_eq!(video.feedback, ["nack", "nack pli"]);
    assert_eq!(offer.audio.as_ref().unwrap().payload_type, 111);
    assert_eq!(offer.data.as_ref().unwrap().sctp_port, 5000);
    assert_eq!(offer.candidates.len(), 1);
    let roles: Vec<Role> = offer.sections.iter().map(|s| s.role).collect();
    assert_eq!(roles, [Role::Video, Role::Audio, Role::Data]);
}

#[test]
fn what_the_session_cannot_encode_is_not_picked() {
    let offer = Offer::read(&chromium(), &[VideoCodec::VP8]).unwrap();
    let video = offer.video.unwrap();
    assert_eq!((video.codec, video.rtx), (VideoCodec::VP8, Some(97)));
    let baseline = chromium().replace("42e01f", "640032");
    let offer = Offer::read(&baseline, &BOTH).unwrap();
    let video = offer.video.unwrap();
    assert_eq!(video.payload_type, 102);
    assert!(video.fmtp.ends_with("profile-level-id=42001f"));
    let none = chromium().replace("H264", "H265");
    let error = Offer::read(&none, &[VideoCodec::H264]).unwrap_err();
    assert!(
        error.to_string().ends_with("this session has H264"),
        "{error}"
    );
}

#[test]
fn the_session_s_encoders_decide_and_the_viewer_among_equals() {
    let check = |sdp: &str, encoders: &[VideoCodec], expected: (u8, &str)| {
        let video = Offer::read(sdp, encoders).unwrap().video.unwrap();
        let found = (video.payload_type, video.fmtp.as_str());
        assert_eq!(found, expected, "{encoders:?}");
        let again = Offer::read(&Offer::read(sdp, encoders).unwrap().reduced(), encoders);
        assert_eq!(again.unwrap().video.unwrap(), video);
    };
    let more = chromium().replace(
        "a=rtpmap:45 AV1/90000\r\n",
        "a=rtpmap:45 AV1/90000\r\na=fmtp:45 level-idx=5;profile=0;tier=0\r\n\
         a=rtpmap:98 VP9/90000\r\na=fmtp:98 profile-id=2\r\n\
         a=rtpmap:99 VP9/90000\r\na=fmtp:99 profile-id=0\r\n\
         a=rtpmap:50 H265/90000\r\n\
         a=fmtp:50 level-id=180;profile-id=1;tier-flag=0;tx-mode=SRST;x=<>\r\n",
    );
    let more = more.replace("107 45 49\r\n", "107 45 49 98 99 50\r\n");
    use VideoCodec::{AV1, H264, H265, VP8, VP9};
    check(&more, &[AV1, H264], (45, "level-idx=5;profile=0;tier=0"));
    check(&more, &[VP9, AV1], (99, "profile-id=0"));
    let hevc = "level-id=180;profile-id=1;tier-flag=0;tx-mode=SRST";
    check(&more, &[H265, H264, VP8], (50, hevc));
    check(&more, &[VP8, H265], (96, ""));
    // A viewer without the best of them gets the next.
    let without = more.replace("AV1/90000", "AV2/90000");
    check(&without, &[AV1, VP8], (96, ""));
}

#[test]
fn repair_and_redundancy_are_taken_only_where_they_are_whole() {
    let check = |from: &str, to: &str, expected: (Option<u8>, Option<u8>)| {
        let offer = Offer::read(&chromium().replace(from, to), &BOTH).unwrap();
        let video = offer.video.as_ref().unwrap();
        let found = (video.flexfec, offer.audio.as_ref().unwrap().red);
        assert_eq!(found, expected, "{from} -> {to}");
    };
    check("", "", (Some(49), Some(63)));
    check("flexfec-03/90000", "flexfec-03/48000", (None, Some(63)));
    check("a=rtpmap:49 ", "a=rtpmap:300 ", (None, Some(63)));
    check(" 45 49\r\n", " 45\r\n", (None, Some(63)));
    // Carries another codec, nothing, or nonsense.
    check("a=fmtp:63 111/111", "a=fmtp:63 111/9", (Some(49), None));
    check("a=fmtp:63 111/111", "a=fmtp:63 ", (Some(49), None));
    check("a=fmtp:63 111/111", "a=x:1", (Some(49), None));
    check("a=fmtp:63 111/111", "a=fmtp:63 <>/111", (Some(49), None));
    check("red/48000/2", "red/8000", (Some(49), None));
}

#[test]
fn a_line_check_has_data_and_refuses_the_rest() {
    let offer = Offer::read_line_check(&chromium()).unwrap();
    assert!(offer.video.is_none() && offer.audio.is_none() && offer.data.is_some());
    let roles: Vec<Role> = offer.sections.iter().map(|s| s.role).collect();
    assert_eq!(roles, [Role::Refused, Role::Refused, Role::Data]);
    assert!(!offer.reduced().contains("rtpmap"));
    let media = chromium().replace("m=application", "m=text");
    assert_eq!(Offer::read_line_check(&media), Err(OfferError::NoData));
}

#[test]
fn the_reduced_offer_reads_as_the_same_offer() {
    let offer = Offer::read(&chromium(), &BOTH).unwrap();
    let again = Offer::read(&offer.reduced(), &BOTH).unwrap();
    assert_eq!(again.video, offer.video);
    assert_eq!(again.audio, offer.audio);
    assert_eq!(again.data, offer.data);
    assert_eq!(again.ice, offer.ice);
    assert!(again.candidates.is_empty());
}

#[test]
fn sections_that_we_cannot_fill_are_refused_and_keep_their_place() {
    let camera = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:cam\r\na=sendonly\r\na=rtcp-mux\r\n\
                  a=rtpmap:96 VP8/90000\r\nm=video";
    let offer = Offer::read(&chromium().replacen("m=video", camera, 1), &BOTH).unwrap();
    assert_eq!(offer.sections[0].role, Role::Refused);
    assert_eq!(offer.sections[1].role, Role::Video);
    assert!(!offer.reduced().contains("cam"));
}

#[test]
fn an_offer_that_cannot_work_says_what_to_change() {
    let check = |from: &str, to: &str, expected: OfferError| {
        let sdp = chromium().replace(from, to);
        assert_eq!(Offer::read(&sdp, &BOTH), Err(expected), "{from} -> {to}");
    };
    check(
        "v=0",
        "v=1",
        OfferError::Syntax("it does not start with v=0"),
    );
    check("a=group:BUNDLE 0 1 2\r\n", "", OfferError::NotBundled);
    check("a=rtcp-mux\r\n", "", OfferError::NotBundled);
    check("a=mid:1", "a=mid:0", OfferError::NotBundled);
    check(
        "a=mid:2",
        "a=mid:<2>",
        OfferError::Missing("a=mid in a media section"),
    );
    check("a=extmap-allow-mixed", "a=ice-lite", OfferError::Lite);
    check(
        "a=setup:actpass\r\n",
        "",
        OfferError::Missing("a=setup:actpass"),
    );
    check(
        "a=ice-ufrag:Wx3K\r\n",
        "",
        OfferError::Missing("a=ice-ufrag"),
    );
    check(
        "sha-256",
        "sha-1",
        OfferError::Syntax("a=fingerprint is malformed, or its hash too weak"),
    );
    let many = chromium() + &"m=video 9 RTP/AVP 0\r\na=mid:x\r\n".repeat(14);
    assert_eq!(Offer::read(&many, &BOTH), Err(OfferError::TooManySections));
    let large = chromium() + &"a=x\r\n".repeat(10_000);
    assert_eq!(Offer::read(&large, &BOTH), Err(OfferError::TooLarge));
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC*") {
        let _ = Offer::read(&text, &BOTH);
    }

    #[test]
    fn a_mangled_offer_is_refused_or_reduced_to_one_that_reads(
        cuts in proptest::collection::vec((any::<prop::sample::Index>(), "[ -~\r\n]{0,8}"), 1..6),
    ) {
        let mut text = chromium().into_bytes();
        for (at, with) in cuts {
            let at = at.index(text.len());
            text.splice(at..(at + with.len()).min(text.len()), with.bytes());
        }
        let text = String::from_utf8(text).unwrap();
        if let Ok(offer) = Offer::read(&text, &BOTH) {
            let again = Offer::read(&offer.reduced(), &BOTH);
            prop_assert_eq!(again.map(|o| o.video), Ok(offer.video));
        }
    }
}
