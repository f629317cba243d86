//! Entries of a log: an envelope that is taken is written as it was read, and its statement, too; so is a sample, a
//! checker's pass, and the name of a beacon.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nearlight_proof::beacon::used::Beacon;
use nearlight_proof::porw::pass::Pass;
use nearlight_proof::receipt::quality::Quality;
use nearlight_proof::receipt::{Envelope, Statement};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(envelope) = Envelope::parse(bytes) {
        assert_eq!(envelope.to_bytes(), bytes);
        if let Ok(statement) = Statement::parse(&envelope) {
            let again = statement.envelope().expect("what was read fits");
            assert_eq!(again.payload, envelope.payload);
        }
    }
    // What a player's page says it measured.
    if let Some(quality) = std::str::from_utf8(bytes).ok().and_then(Quality::read) {
        assert_eq!(quality.text().as_bytes(), bytes);
    }
    // What a program that plays for a checker shows.
    if let Some(pass) = std::str::from_utf8(bytes).ok().and_then(Pass::parse) {
        assert_eq!(pass.to_string().as_bytes(), bytes);
    }
    // What an entry, a broker and whoever starts a checker say of where rounds take their values from.
    if let Some(Ok(beacon)) = std::str::from_utf8(bytes).ok().map(str::parse::<Beacon>) {
        assert_eq!(beacon.to_string().as_bytes(), bytes);
    }
    if let Ok(value) = nearlight_proof::canon::parse(bytes) {
        assert_eq!(nearlight_proof::canon::to_bytes(&value), bytes);
    }
});
