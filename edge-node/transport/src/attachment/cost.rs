//! What the packets of a picture weigh on the wire, and what each of them allocates, `rtc`'s part
//! included: on real packets, behind a real handshake.

use super::rig::Rig;
use super::*;
use crate::counting::{allocations, sites};
use crate::limits::PACKET_BYTES;
use crate::picture::{Cutter, PAYLOAD_BYTES, PROTECTED_PAYLOAD_BYTES};
use nearlight_protocol::worker::Video;
use nearlight_stream::congestion::{Kind as Label, Outcome};
use std::collections::BTreeMap;

fn picture(number: u32, bytes: usize, bytes_max: usize) -> Picture {
    let mut data = vec![0, 0, 0, 1, if number == 1 { 0x65 } else { 0x41 }];
    data.extend((0..bytes).map(|i| (i % 251) as u8 + 1));
    let video = Video {
        codec: VideoCodec::H264,
        key: number == 1,
        frame: number,
        commit_us: u64::from(number) * 16_667,
        captured_us: u64::from(number) * 16_667,
        encoded_us: u64::from(number) * 16_667,
        input_us: 0,
        input_host_us: 0,
        data,
    };
    Cutter::new(VideoCodec::H264).cut(video, bytes_max)
}

/// The longest packet of each kind.
fn longest(rig: &Rig, packets: &[Vec<u8>]) -> BTreeMap<String, usize> {
    let mut longest = BTreeMap::new();
    for packet in packets {
        let kind = rig.attachment.streams.read(packet).kind;
        let most = longest.entry(format!("{kind:?}")).or_insert(0);
        *most = packet.len().max(*most);
    }
    longest
}

/// The picture's packets: sequence numbers, and their source.
fn numbers(rig: &Rig, packets: &[Vec<u8>]) -> (Vec<u16>, u32) {
    let is_media = |packet: &&Vec<u8>| rig.attachment.streams.read(packet).kind == Label::Video;
    let media: Vec<&Vec<u8>> = packets.iter().filter(is_media).collect();
    let source = media[0][8..12].try_into().unwrap();
    let number = |packet: &&Vec<u8>| u16::from_be_bytes([packet[2], packet[3]]);
    (
        media.iter().map(number).collect(),
        u32::from_be_bytes(source),
    )
}

#[test]
fn no_packet_is_larger_than_1200_bytes_repair_and_retransmission_included() {
    let mut rig = Rig::connected();
    let send = |rig: &mut Rig, number, bytes_max| {
        // 40 packets: masks of two words, so that repair packets are at their longest.
        let picture = picture(number, 40 * bytes_max, bytes_max);
        rig.attachment.send_video(rig.now, &picture).unwrap();
        rig.drained()
    };
    let plain = send(&mut rig, 1, PAYLOAD_BYTES);
    // Two less: the number of one that is sent again.
    assert_eq!(longest(&rig, &plain)["Video"], PACKET_BYTES - 2);

    assert!(!rig.attachment.protects());
    let video = rig.attachment.video.as_mut().unwrap();
    video.protect(30);
    assert!(rig.attachment.protects());
    let protected = send(&mut rig, 2, PROTECTED_PAYLOAD_BYTES);
    assert_eq!(longest(&rig, &protected)["Repair"], PACKET_BYTES);
    // As they would be if the picture were cut as without repair packets.
    let unfit = send(&mut rig, 3, PAYLOAD_BYTES);
    assert!(longest(&rig, &unfit)["Repair"] > PACKET_BYTES);

    let (numbers, media_ssrc) = numbers(&rig, &plain);
    rig.asks_again(&numbers, media_ssrc);
    let again = rig.drained();
    assert_eq!(longest(&rig, &again)["Retransmit"], PACKET_BYTES);
}

/// The transport-wide numbers of packets.
fn told(rig: &Rig, packets: &[Vec<u8>]) -> Vec<u16> {
    let number = |packet: &Vec<u8>| rig.attachment.streams.read(packet).sequence;
    packets.iter().filter_map(number).collect()
}

#[test]
fn what_is_not_sent_again_is_no_loss_of_the_path_and_hides_none() {
    let mut rig = Rig::connected();
    let send = |rig: &mut Rig, number| {
        let picture = picture(number, 5 * PAYLOAD_BYTES, PAYLOAD_BYTES);
        rig.attachment.send_video(rig.now, &picture).unwrap();
        rig.drained()
    };
    let first = send(&mut rig, 1);
    // A key frame comes: nothing before it is sent again.
    rig.attachment.awaits_key = true;
    let (numbers, media_ssrc) = numbers(&rig, &first);
    rig.asks_again(&numbers, media_ssrc);
    assert!(!longest(&rig, &rig.arrived()).contains_key("Retransmit"));
    rig.attachment.awaits_key = false;
    let second = send(&mut rig, 2);
    let (before, after) = (told(&rig, &first), told(&rig, &second));
    // What was not sent has numbers, too, between those of the pictures.
    let unsent = (before[before.len() - 1] + 1)..after[0];
    assert_eq!(unsent.len(), numbers.len());
    let report = |rig: &mut Rig, numbers: &[u16], arrived_us: Option<u64>| {
        let outcome = |sequence: &u16| Outcome {
            sequence: *sequence,
            arrived_us,
        };
        let outcomes = numbers.iter().map(outcome).collect();
        rig.attachment.signals.reported(outcomes);
        rig.pump();
        rig.attachment.take_feedback(rig.now)
    };
    // The path lost two; what is said of them twice counts once.
    let lost = report(&mut rig, &after[..2], None);
    assert_eq!(lost, (2, 2));
    assert_eq!(report(&mut rig, &after[..2], None), (0, 0));
    let unsent: Vec<u16> = unsent.collect();
    assert_eq!(report(&mut rig, &unsent, None), (0, 0));
    let all = before.len() as u64;
    assert_eq!(report(&mut rig, &before, Some(1_000)), (all, 0));
}

/// What each packet allocates, by the function that does it: docs/performance.md has the same table. The first is
/// ours, for the header that `rtc` wants keeps its extensions in a list; the others are `rtc`'s.
const EACH: [(&str, usize); 5] = [
    ("rtc_rtp::header::Header::set_extension", 1),
    ("rtc_interceptor::chain::Chain", 1),
    ("rtc_shared::marshal::Marshal::marshal", 1),
    (
        "rtc_rtp::header::Header as rtc_shared::marshal::Unmarshal",
        3,
    ),
    ("rtc_srtp::cipher", 1),
];
/// A queue of `rtc`'s that grows with a picture's packets, from nothing each time.
const QUEUE: &str = "RTCPeerConnection>::flush_writes";

#[test]
#[allow(clippy::print_stdout, reason = "where from: see `--no-capture`")]
fn a_packet_allocates_what_the_documents_say() {
    let mut rig = Rig::connected();
    for number in 1..40_u32 {
        let packets = [2, 5, 15][number as usize % 3];
        let bytes = packets * (PAYLOAD_BYTES - 2) - 100;
        let picture = picture(number, bytes, PAYLOAD_BYTES);
        assert_eq!(picture.payloads.len(), packets);
        let send = |rig: &mut Rig| {
            rig.attachment.send_video(rig.now, &picture).unwrap();
            rig.pump();
        };
        // The first pictures make room for those that follow; a report now and then has its own cost.
        let mut found = None;
        let count = match number {
            ..30 => allocations(|| send(&mut rig)),
            _ => {
                let sites = sites(|| send(&mut rig));
                let count = sites.values().sum();
                found = Some(sites);
                count
            }
        };
        rig.drained();
        let Some(sites) = found else {
            continue;
        };
        println!("{packets} packets, {count} allocations: {sites:#?}");
        for (site, each) in EACH {
            let of_it = sites.iter().filter(|(name, _)| name.contains(site));
            let of_it: usize = of_it.map(|(_, count)| count).sum();
            assert_eq!(of_it, each * packets, "{site}");
        }
        let known =
            |name: &str| name.contains(QUEUE) || EACH.iter().any(|(site, _)| name.contains(site));
        let others: usize = sites
            .iter()
            .filter(|(name, _)| !known(name))
            .map(|(_, count)| count)
            .sum();
        // What is kept of the last packets grows, until there are as many as it keeps.
        assert!(others <= 1, "{sites:#?}");
    }
}
