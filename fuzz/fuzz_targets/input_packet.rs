//! Input packets, from a browser: what is taken is canonical, and within the limits.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nearlight_protocol::input::{Event, Packet};
use nearlight_protocol::limits::{
    CLIPBOARD_BYTES_MAX, DISPLAY_HZ_MAX, DISPLAY_SIDE_MAX, DISPLAY_SIDE_MIN, GAMEPAD_SEATS,
    INPUT_PACKET_BYTES_MAX, SHOWN_FRAMES_MAX, TEXT_BYTES_MAX,
};

fuzz_target!(|bytes: &[u8]| {
    let Ok(packet) = Packet::decode(bytes) else {
        return;
    };
    assert!(bytes.len() <= INPUT_PACKET_BYTES_MAX);
    assert_eq!(packet.encode(), bytes, "one packet, one encoding");
    match &packet.event {
        Event::Text(text) => assert!(text.len() <= TEXT_BYTES_MAX),
        Event::Clipboard(text) => assert!(text.len() <= CLIPBOARD_BYTES_MAX),
        Event::Layout(name) => assert!(name.is_ascii() && name.len() <= 32),
        Event::Gamepad { seat, .. } => assert!(*seat < GAMEPAD_SEATS),
        Event::Shown(frames) => assert!((1..=SHOWN_FRAMES_MAX).contains(&frames.len())),
        Event::Display { width, height, hz } => {
            let sides = DISPLAY_SIDE_MIN..=DISPLAY_SIDE_MAX;
            assert!(sides.contains(&u32::from(*width)) && sides.contains(&u32::from(*height)));
            assert!((1..=DISPLAY_HZ_MAX).contains(&u32::from(*hz)));
        }
        Event::Key { .. }
        | Event::PointerAbsolute { .. }
        | Event::PointerRelative { .. }
        | Event::PointerButton { .. }
        | Event::Wheel { .. }
        | Event::ReleaseAll
        | Event::Ping
        | Event::Touch { .. }
        | Event::Wish { .. }
        | Event::Phase { .. } => {}
    }
});
