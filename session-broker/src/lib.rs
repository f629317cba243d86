//! The session broker: HTTP API, placement, ledger, control streams.
