//! Entrance for the fuzz target in `fuzz/`. No part of the crate's API.

use crate::desk::{ClientId, Desk};
use crate::limits::{BLOCK_BYTES_MAX, OUTBOX_BYTES_MAX};
use std::collections::BTreeSet;

/// Two clients' bytes in turns, as `(second client, bytes)`, and 10 ms of the mix after each: what
/// is left over is less than a frame, answers are bounded, and the sound is finite.
pub fn desk(turns: &[(bool, &[u8])]) {
    let mut desk = Desk::new();
    let mut here: BTreeSet<ClientId> = [ClientId(0), ClientId(1)].into();
    for id in &here {
        desk.join(*id, 0);
    }
    for (second, bytes) in turns {
        let id = ClientId(u32::from(*second));
        if !here.contains(&id) {
            continue;
        }
        desk.receive(id, bytes);
        let taken = desk.handle(id);
        // As the reactor does: whoever breaks the rules, or does not read, is gone.
        let waiting = desk.outbox(id).map_or(0, |outbox| outbox.len());
        assert!(waiting <= OUTBOX_BYTES_MAX + BLOCK_BYTES_MAX);
        if taken.is_err() {
            desk.leave(id);
            here.remove(&id);
        }
        let mut sound = [[0.0; 2]; 480];
        desk.mix(&mut sound);
        assert!(sound.as_flattened().iter().all(|value| value.is_finite()));
    }
}
