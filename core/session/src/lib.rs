//! Session lifecycle, claims, leases and epochs as pure state machines.
