//! Records of probes, as evidence: what is taken is written as it was read, and replaying it proves nothing that was
//! not signed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nearlight_proof::key::SecretKey;
use nearlight_proof::porc::exchange::record::Record;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(record) = Record::parse(bytes) {
        assert_eq!(record.to_bytes(), bytes);
        let node = SecretKey::from_seed(&[1; 32]).public();
        if let Ok(heard) = record.replay(&node) {
            assert!(heard.opening.is_none() || heard.secrets.iter().all(Option::is_some));
        }
    }
});
