//! The edge agent: identity, control stream, containers, journal, the UDP port.
