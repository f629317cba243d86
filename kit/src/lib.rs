//! The shared IO crate: config, telemetry, identities, shutdown, problem+json.
