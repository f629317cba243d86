//! The verifier as a page has it: three functions over the module's memory, and no glue.
//!
//! ```text
//!   page                                     module
//!    | -- verify_room(bytes) ---------------> |  where to write the question (nearlight_verifier::page)
//!    | .. writes it ..                        |
//!    | -- verify_asked() -------------------> |  how long the answer is
//!    | -- verify_answer() ------------------> |  where it is
//! ```
//!
//! **Invariants.** One question at a time; an answer stays until the next room is asked for. Nothing is imported:
//! it can compute, and nothing else.
//!
//! **What it does not know:** where receipt, proof and policy came from.

#![deny(missing_docs)]
#![allow(
    unsafe_code,
    reason = "a name that a page can call is `no_mangle`, which the compiler cannot check; nothing else is unsafe"
)]

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The question until it is asked, then the answer.
static ROOM: Mutex<Vec<u8>> = Mutex::new(Vec::new());
/// The longest question: a receipt with as many later entries as are looked at.
const ASKED_BYTES_MAX: usize = 64 << 20;

fn room() -> MutexGuard<'static, Vec<u8>> {
    ROOM.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Room for a question of so many bytes, and where it is. Null for one that is too long.
#[unsafe(no_mangle)]
pub extern "C" fn verify_room(bytes: usize) -> *mut u8 {
    if bytes > ASKED_BYTES_MAX {
        return std::ptr::null_mut();
    }
    let mut room = room();
    *room = vec![0; bytes];
    room.as_mut_ptr()
}

/// Answers the question in the room, which it takes the place of. How many bytes it has.
#[unsafe(no_mangle)]
pub extern "C" fn verify_asked() -> usize {
    let mut room = room();
    *room = nearlight_verifier::page::page(&room);
    room.len()
}

/// Where the answer is.
#[unsafe(no_mangle)]
pub extern "C" fn verify_answer() -> *const u8 {
    room().as_ptr()
}
