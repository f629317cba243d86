//! Round trips, refusals, and the vectors that client-web's codec is tested against too.

use super::*;
use proptest::prelude::*;

#[allow(clippy::too_many_lines, reason = "one sample of each kind, as data")]
fn samples() -> Vec<(&'static str, Packet)> {
    let at = |seq, client_us, event| Packet {
        seq,
        client_us,
        event,
    };
    vec![
        (
            "key down",
            at(
                1,
                1_000,
                Event::Key {
                    code: 30,
                    pressed: true,
                },
            ),
        ),
        (
            "key up",
            at(
                2,
                2_000,
                Event::Key {
                    code: 30,
                    pressed: false,
                },
            ),
        ),
        ("text", at(3, 3_000, Event::Text("né漢".into()))),
        (
            "pointer absolute",
            at(4, 4_000, Event::PointerAbsolute { x: 0, y: 65535 }),
        ),
        (
            "pointer relative",
            at(5, 5_000, Event::PointerRelative { dx: -256, dy: 384 }),
        ),
        (
            "button with position",
            at(
                6,
                6_000,
                Event::PointerButton {
                    button: 2,
                    pressed: true,
                    position: Some((1, 2)),
                },
            ),
        ),
        (
            "button while locked",
            at(
                7,
                7_000,
                Event::PointerButton {
                    button: 0,
                    pressed: false,
                    position: None,
                },
            ),
        ),
        ("wheel", at(8, 8_000, Event::Wheel { dx: -120, dy: 240 })),
        ("release all", at(9, 9_000, Event::ReleaseAll)),
        (
            "clipboard",
            at(10, 10_000, Event::Clipboard("hello".into())),
        ),
        ("layout", at(11, 11_000, Event::Layout("us(intl)".into()))),
        ("ping", at(12, u64::MAX, Event::Ping)),
        (
            "gamepad",
            at(
                13,
                13_000,
                Event::Gamepad {
                    seat: 3,
                    buttons: 0x8000_0001,
                    axes: [-32768, 0, 32767, 1, 2, 3],
                },
            ),
        ),
        (
            "touch",
            at(
                u32::MAX,
                14_000,
                Event::Touch {
                    id: 9,
                    phase: TouchPhase::Up,
                    x: 5,
                    y: 6,
                },
            ),
        ),
        (
            "display",
            at(
                15,
                15_000,
                Event::Display {
                    width: 2560,
                    height: 1440,
                    hz: 144,
                },
            ),
        ),
        (
            "wish",
            at(
                16,
                16_000,
                Event::Wish {
                    kbps_max: 0x0001_0203,
                    height_max: 720,
                    fps_max: 60,
                },
            ),
        ),
        ("phase", at(17, 17_000, Event::Phase { shift_us: -4_000 })),
        (
            "shown",
            at(
                18,
                18_000,
                Event::Shown(vec![
                    Shown {
                        decode: 150,
                        present: 0x0403,
                    },
                    Shown {
                        decode: 0,
                        present: u16::MAX,
                    },
                ]),
            ),
        ),
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn every_kind_round_trips() {
    for (name, packet) in samples() {
        assert_eq!(Packet::decode(&packet.encode()), Ok(packet), "{name}");
    }
}

/// `vectors/input.json` is read by vitest too. To change the wire, change it by hand.
#[test]
fn vectors_hold() {
    let vectors: Vec<(String, String)> =
        serde_json::from_str(include_str!("../../vectors/input.json")).unwrap();
    let ours: Vec<_> = samples()
        .into_iter()
        .map(|(name, packet)| (name.to_owned(), hex(&packet.encode())))
        .collect();
    assert_eq!(ours, vectors);
}

#[test]
fn bad_packets_are_refused() {
    let good = Packet {
        seq: 1,
        client_us: 2,
        event: Event::Key {
            code: 30,
            pressed: true,
        },
    }
    .encode();
    let with = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        Packet::decode(&bytes)
    };
    assert_eq!(Packet::decode(&[]), Err(DecodeError::Short));
    assert_eq!(
        Packet::decode(&good[..good.len() - 1]),
        Err(DecodeError::Short)
    );
    assert_eq!(
        Packet::decode(&[good.clone(), vec![0]].concat()),
        Err(DecodeError::Long)
    );
    assert_eq!(with(0, 2), Err(DecodeError::Version(2)));
    assert_eq!(with(1, 0x7f), Err(DecodeError::Kind(0x7f)));
    assert_eq!(with(14, 0xff), Err(DecodeError::Value), "an unknown key");
    assert_eq!(with(16, 2), Err(DecodeError::Value), "half pressed");
    let display = Event::Display {
        width: 63,
        height: 720,
        hz: 60,
    };
    let small = Packet {
        seq: 1,
        client_us: 2,
        event: display,
    };
    assert_eq!(
        Packet::decode(&small.encode()),
        Err(DecodeError::Value),
        "a display that is too small"
    );
    assert_eq!(
        Packet::decode(&vec![1; INPUT_PACKET_BYTES_MAX + 1]),
        Err(DecodeError::TooLarge)
    );
}

#[test]
fn layout_names() {
    for (name, valid) in [
        ("de", true),
        ("us(intl)", true),
        ("", false),
        ("us(", false),
        ("us()", false),
        ("../x", false),
        ("us(a)(b)", false),
    ] {
        assert_eq!(is_layout_name(name), valid, "{name}");
    }
}

proptest! {
    #[test]
    fn decoding_never_panics_and_is_canonical(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(packet) = Packet::decode(&bytes) {
            prop_assert_eq!(packet.encode(), bytes);
        }
    }
}
