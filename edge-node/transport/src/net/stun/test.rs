use super::*;
use proptest::prelude::*;
use rtc::stun::attributes::ATTR_USERNAME as USERNAME;
use rtc::stun::integrity::MessageIntegrity;
use rtc::stun::message::{BINDING_REQUEST, BINDING_SUCCESS, Message, TransactionId};
use rtc::stun::textattrs::Username;
use rtc::stun::xoraddr::XorMappedAddress;

fn request(username: &str, password: &str) -> Vec<u8> {
    let provider = rtc::crypto::default_provider().unwrap();
    let mut message = Message::new();
    message
        .build(&[
            Box::new(BINDING_REQUEST),
            Box::new(TransactionId::new()),
            Box::new(Username::new(USERNAME, username.to_owned())),
            Box::new(MessageIntegrity::new_short_term_integrity_with_provider(
                password.to_owned(),
                provider.crypto(),
            )),
        ])
        .unwrap();
    message.raw
}

#[test]
fn a_request_names_our_fragment_and_proves_the_password() {
    let provider = rtc::crypto::default_provider().unwrap();
    let bytes = request("ours:theirs", "secret");
    let binding = Binding::parse(&bytes).unwrap();
    assert_eq!(binding.class, Class::Request);
    assert_eq!(binding.ufrag(), Some("ours"));
    assert!(!binding.use_candidate());
    assert!(binding.is_authentic("secret", &*provider));
    assert!(!binding.is_authentic("other", &*provider));

    let mut forged = bytes.clone();
    forged[25] ^= 1;
    let binding = Binding::parse(&forged).unwrap();
    assert!(!binding.is_authentic("secret", &*provider));
}

#[test]
fn a_server_says_where_it_saw_us() {
    for address in ["203.0.113.7:41000", "[2001:db8::7]:41000"] {
        let address: SocketAddr = address.parse().unwrap();
        let mut message = Message::new();
        message
            .build(&[
                Box::new(BINDING_SUCCESS),
                Box::new(TransactionId::new()),
                Box::new(XorMappedAddress {
                    ip: address.ip(),
                    port: address.port(),
                }),
            ])
            .unwrap();
        let binding = Binding::parse(&message.raw).unwrap();
        assert_eq!(binding.class, Class::Success);
        assert_eq!(binding.mapped_address(), Some(address));
    }
}

#[test]
fn our_question_is_a_binding_request() {
    let bytes = binding_request([7; 12]);
    let binding = Binding::parse(&bytes).unwrap();
    assert_eq!(binding.class, Class::Request);
    assert_eq!(binding.transaction, [7; 12]);
    assert_eq!(binding.ufrag(), None);
}

#[test]
fn a_question_to_a_viewer_is_one_that_its_ice_agent_takes() {
    let provider = rtc::crypto::default_provider().unwrap();
    let bytes = ice_request([7; 12], ("viewer", "node"), "secret", &*provider).unwrap();
    let binding = Binding::parse(&bytes).unwrap();
    assert_eq!(
        (binding.class, binding.transaction),
        (Class::Request, [7; 12])
    );
    assert_eq!(binding.ufrag(), Some("viewer"));
    assert!(binding.is_authentic("secret", &*provider));
    let mut message = Message::new();
    message.raw.clone_from(&bytes);
    message.decode().unwrap();
    FINGERPRINT.check(&message).unwrap();
    PriorityAttr::default().get_from(&message).unwrap();
    // Hardly more than what makes us ask.
    assert!(bytes.len() <= 120, "{}", bytes.len());
}

proptest! {
    #[test]
    fn no_datagram_makes_the_front_door_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), fix: bool) {
        let provider = rtc::crypto::default_provider().unwrap();
        if fix && bytes.len() >= HEADER_BYTES {
            // Looks like STUN, so that the attributes are reached.
            let length = (bytes.len() - HEADER_BYTES) / 4 * 4;
            bytes.truncate(HEADER_BYTES + length);
            bytes[0] = 0;
            bytes[1] = 1;
            bytes[2..4].copy_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
            bytes[4..8].copy_from_slice(&COOKIE.to_be_bytes());
        }
        if let Some(binding) = Binding::parse(&bytes) {
            let _ = binding.ufrag();
            let _ = binding.use_candidate();
            let _ = binding.mapped_address();
            prop_assert!(!binding.is_authentic("secret", &*provider));
        }
    }
}
