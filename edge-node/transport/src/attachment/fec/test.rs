use super::*;
use proptest::prelude::*;

const SOURCE: u32 = 0x1c64_27c2;

fn packet(sequence_number: u16, timestamp: u32, payload: Vec<u8>) -> rtp::Packet {
    let mut header = rtp::header::Header {
        version: 2,
        marker: sequence_number.is_multiple_of(3),
        payload_type: 102,
        sequence_number,
        timestamp,
        ssrc: SOURCE,
        ..rtp::header::Header::default()
    };
    header
        .set_extension(5, Bytes::from_static(&[0, 0, 0]))
        .unwrap();
    header
        .set_extension(3, Bytes::from_static(&[0, 0]))
        .unwrap();
    let payload = payload.into();
    rtp::Packet { header, payload }
}

fn frame(first: u16, timestamp: u32, sizes: &[usize]) -> Vec<rtp::Packet> {
    let sequences = (0..).map(|i| first.wrapping_add(i));
    let packets = sequences.zip(sizes);
    packets
        .map(|(sequence, size)| {
            let payload = (0..*size).map(|i| (i * 7 + usize::from(sequence)) as u8);
            packet(sequence, timestamp, payload.collect())
        })
        .collect()
}

fn repaired(percent: u8, frames: &[Vec<rtp::Packet>]) -> Vec<rtp::Packet> {
    let mut protection = Protection::new(49, 0x33b6_0c6a);
    protection.set_percent(percent);
    let mut repair = Vec::new();
    for frame in frames {
        protection.protect(frame, &mut repair);
    }
    repair
}

/// The numbers that a repair packet protects, and where its xor begins.
fn protected(repair: &rtp::Packet) -> (Vec<u16>, usize) {
    let payload = &repair.payload;
    let first = u16::from_be_bytes([payload[16], payload[17]]);
    let word = u16::from_be_bytes([payload[18], payload[19]]);
    let mut bits: Vec<bool> = (0..15).map(|i| word & (1 << (14 - i)) != 0).collect();
    let mut at = 20;
    if word & 0x8000 == 0 {
        let next = u32::from_be_bytes(payload[20..24].try_into().unwrap());
        assert!(next & 0x8000_0000 != 0, "there is no third word");
        bits.extend((0..31).map(|i| next & (1 << (30 - i)) != 0));
        at = 24;
    }
    let set = bits.iter().enumerate().filter(|(_, set)| **set);
    let numbers = set.map(|(i, _)| first.wrapping_add(i as u16)).collect();
    (numbers, at)
}

/// What a receiver makes of a repair packet when it has all that it protects but `lost`: written
/// from the draft, section 6.3, and with no code of the encoder.
fn recover(repair: &rtp::Packet, media: &[rtp::Packet], lost: u16) -> Vec<u8> {
    let (numbers, at) = protected(repair);
    let mut head: [u8; 8] = repair.payload[..8].try_into().unwrap();
    let mut body = repair.payload[at..].to_vec();
    for packet in media {
        let number = packet.header.sequence_number;
        if number == lost || !numbers.contains(&number) {
            continue;
        }
        let bytes = packet.marshal().unwrap();
        head[0] ^= bytes[0];
        head[1] ^= bytes[1];
        let len = ((bytes.len() - 12) as u16).to_be_bytes();
        head[2] ^= len[0];
        head[3] ^= len[1];
        for i in 4..8 {
            head[i] ^= bytes[i];
        }
        body.iter_mut().zip(&bytes[12..]).for_each(|(a, b)| *a ^= b);
    }
    let len = usize::from(u16::from_be_bytes([head[2], head[3]]));
    let mut whole = vec![head[0] & 0x3f | 0x80, head[1]];
    whole.extend(lost.to_be_bytes());
    whole.extend(&head[4..8]);
    whole.extend(&repair.payload[12..16]);
    whole.extend(&body[..len]);
    whole
}

#[test]
fn a_repair_packet_is_laid_out_as_the_draft_says() {
    let mut one = packet(0xfffe, 0x0102_0304, vec![0xaa, 0xbb]);
    one.header.marker = true;
    let [repair] = &repaired(100, &[vec![one]])[..] else {
        panic!("one media packet makes one repair packet");
    };
    assert_eq!(
        (repair.header.payload_type, repair.header.ssrc),
        (49, 0x33b6_0c6a)
    );
    assert_eq!(repair.header.timestamp, 0x0102_0304);
    let expected = [
        // Extension bit, marker and payload type 102; length of what follows 12 bytes; timestamp.
        0x10,
        0x80 | 102,
        0,
        14,
        1,
        2,
        3,
        4, // one source
        1,
        0,
        0,
        0,
        0x1c,
        0x64,
        0x27,
        0xc2, // first number, last word, position 0
        0xff,
        0xfe,
        0xc0,
        0x00, // extension block
        0xbe,
        0xde,
        0,
        2,
        0x52,
        0,
        0,
        0,
        0x31,
        0,
        0,
        0, // payload
        0xaa,
        0xbb,
    ];
    assert_eq!(repair.payload[..], expected);
}

#[test]
fn as_many_losses_in_a_row_come_back_as_there_are_repair_packets() {
    let media = frame(
        65_530,
        90,
        &[1160, 1160, 1160, 700, 3, 1160, 1160, 1160, 1160, 99],
    );
    let repair = repaired(30, std::slice::from_ref(&media));
    assert_eq!(repair.len(), 3);
    for start in 0..8 {
        for packet in &media[start..start + 3] {
            let lost = packet.header.sequence_number;
            let saves = |repair: &&rtp::Packet| protected(repair).0.contains(&lost);
            let [saving] = repair.iter().filter(saves).collect::<Vec<_>>()[..] else {
                panic!("{lost} is protected once");
            };
            assert_eq!(recover(saving, &media, lost), packet.marshal().unwrap());
            let others = &protected(saving).0;
            let burst = media[start..start + 3]
                .iter()
                .map(|p| p.header.sequence_number);
            assert_eq!(burst.filter(|n| others.contains(n)).count(), 1);
        }
    }
}

/// Whether a receiver that takes one loss after the other gets all of `lost` back.
fn comes_back(repair: &[rtp::Packet], mut lost: Vec<u16>) -> bool {
    let masks: Vec<_> = repair.iter().map(|r| protected(r).0).collect();
    loop {
        let missing = |mask: &&Vec<u16>| mask.iter().filter(|n| lost.contains(n)).count() == 1;
        let Some(mask) = masks.iter().find(missing) else {
            return lost.is_empty();
        };
        lost.retain(|number| !mask.contains(number));
    }
}

#[test]
fn any_two_losses_and_short_runs_come_back_from_pairs() {
    let media = frame(1, 90, &[1160; 15]);
    let repair = repaired(40, std::slice::from_ref(&media));
    assert_eq!(repair.len(), 6);
    for one in 1..=15 {
        for other in 1..one {
            assert!(comes_back(&repair, vec![one, other]), "{one} and {other}");
        }
        let run: Vec<u16> = (one..(one + 4).min(16)).collect();
        assert!(comes_back(&repair, run.clone()), "{run:?}");
    }
    let all = (1..=15).collect();
    assert!(!comes_back(&repair, all));
}

#[test]
fn of_frames_through_five_percent_loss_hardly_any_stays_broken_with_nothing_but_repair_packets() {
    let mut seed = 1_u32;
    let mut lose = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        seed >> 16 < 65_536 / 20
    };
    let mut broken = (0, 0);
    for n in 0..1_000_u16 {
        let media = frame(n.wrapping_mul(15), u32::from(n) * 1500, &[1160; 15]);
        // What is chosen for such a loss (core/stream).
        let mut repair = repaired(41, std::slice::from_ref(&media));
        repair.retain(|_| !lose());
        let numbers = media.iter().map(|packet| packet.header.sequence_number);
        let lost: Vec<u16> = numbers.filter(|_| lose()).collect();
        broken.0 += u32::from(!lost.is_empty());
        broken.1 += u32::from(!comes_back(&repair, lost));
    }
    assert!(broken.0 > 450 && broken.1 < 20, "{broken:?}");
}

#[test]
fn small_frames_share_one_and_long_ones_make_several_groups() {
    let small = [
        frame(1, 90, &[50]),
        frame(2, 180, &[60]),
        frame(3, 270, &[70]),
    ];
    let repair = repaired(10, &small);
    assert_eq!(repair.len(), 1);
    assert_eq!(protected(&repair[0]).0, [1, 2]);
    let long = frame(100, 90, &[1160; 90]);
    let repair = repaired(20, std::slice::from_ref(&long));
    assert_eq!(repair.len(), 18);
    let mut all: Vec<u16> = repair.iter().flat_map(|r| protected(r).0).collect();
    all.sort_unstable();
    let twice = (100..190).flat_map(|number| [number, number]);
    assert_eq!(all, twice.collect::<Vec<u16>>());
    assert!(repaired(0, &[long]).is_empty());
}

#[test]
fn the_share_holds_over_many_frames() {
    let frames: Vec<_> = (0..100_u16)
        .map(|i| frame(i * 14, u32::from(i) * 1500, &[1160; 14]))
        .collect();
    for percent in [10, 25, 50] {
        let repair = repaired(percent, &frames).len();
        assert!(repair.abs_diff(14 * usize::from(percent)) <= 1, "{repair}");
    }
}

proptest! {
    #[test]
    fn any_single_loss_comes_back(
        sizes in proptest::collection::vec(1_usize..1200, 1..120),
        first: u16, percent in 1_u8..=100, lost: prop::sample::Index,
    ) {
        let media = frame(first, 7, &sizes);
        let repair = repaired(percent, &[media.clone(), frame(first.wrapping_add(sizes.len() as u16), 8, &[5])]);
        let lost = lost.get(&media);
        let number = lost.header.sequence_number;
        let saving = repair.iter().find(|r| protected(r).0.contains(&number));
        let saving = saving.expect("every packet is protected");
        let mut all = media.clone();
        all.extend(frame(first.wrapping_add(sizes.len() as u16), 8, &[5]));
        prop_assert_eq!(recover(saving, &all, number), lost.marshal().unwrap().to_vec());
    }
}
