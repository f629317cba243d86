//! Real-time priority for the sound thread, where the machine allows it.
#![allow(
    unsafe_code,
    reason = "no safe wrapper of sched_setscheduler is among our dependencies"
)]

/// Above ordinary threads, below those that the kernel runs on.
const PRIORITY: i32 = 10;

/// Asks for round-robin real-time scheduling of the calling thread; says whether it got it. Without
/// the right to it (`RLIMIT_RTPRIO` is 0 for most) nothing changes.
pub(crate) fn raise() -> bool {
    let policy = libc::SCHED_RR | libc::SCHED_RESET_ON_FORK;
    let param = libc::sched_param {
        sched_priority: PRIORITY,
    };
    // SAFETY: `param` is a whole `sched_param` that outlives the call; thread 0 is the caller.
    unsafe { libc::sched_setscheduler(0, policy, &raw const param) == 0 }
}
