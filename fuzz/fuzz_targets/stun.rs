//! Datagrams on the node's UDP port, before anybody has proved anything.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|datagram: &[u8]| nearlight_transport::fuzz::stun(datagram));
