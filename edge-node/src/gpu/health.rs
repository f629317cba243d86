//! Whether a GPU is well, from what was read of it: pure, and a table in its tests.
//!
//! A fault keeps further jobs away until it is gone, whatever it is. What becomes of the job that has the
//! GPU depends on it: where the GPU computes nothing right any more, or nothing at all, it ends; where
//! only a reset is due, or the driver has contained the fault, it goes on.
//!
//! XIDs are the driver's error numbers. Which of them are the hardware's is NVIDIA's catalogue
//! (docs.nvidia.com/deploy/xid-errors); those of a job's own bug (13, 31, 43, 45) say nothing of the GPU.

use super::reading::Reading;
use std::collections::BTreeSet;

/// What is wrong with a GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// For the operator, with what to do.
    pub(crate) why: String,
    /// Whether the job on it cannot go on.
    pub(crate) ends_job: bool,
}

/// XIDs of the hardware: what each means, and whether the job on the GPU ends.
const XIDS: [(u64, &str, bool); 12] = [
    (
        46,
        "the GPU has stopped processing; reset it (nvidia-smi -r)",
        true,
    ),
    (
        48,
        "memory error that ECC could not correct; reset the GPU",
        true,
    ),
    (
        62,
        "the GPU's own controller has halted; reset the GPU",
        true,
    ),
    (
        63,
        "a row of memory waits to be remapped; reset the GPU when it is free",
        false,
    ),
    (
        64,
        "a row of memory could not be remapped; have the GPU replaced",
        true,
    ),
    (
        74,
        "NVLink error; reset the GPU, and look at the link if it comes again",
        true,
    ),
    (
        79,
        "the GPU has fallen off the bus; reboot, and look at power and seating if it comes again",
        true,
    ),
    (
        92,
        "many memory errors that ECC corrected; run NVIDIA's diagnostics",
        false,
    ),
    (
        94,
        "contained memory error: one program was hit; reset the GPU when it is free",
        false,
    ),
    (
        95,
        "uncontained memory error; reset the GPU before anything else runs on it",
        true,
    ),
    (
        119,
        "the GPU's system processor does not answer; reset the GPU",
        true,
    ),
    (
        120,
        "error of the GPU's system processor; reset the GPU",
        true,
    ),
];

/// Whether an XID is of the hardware.
pub(crate) fn is_hardware(xid: u64) -> bool {
    XIDS.iter().any(|(number, ..)| *number == xid)
}

/// What is wrong with a GPU, the worst first; `xids` were seen of it.
pub(crate) fn fault(reading: &Reading, xids: &BTreeSet<u64>) -> Option<Fault> {
    let by_xid = XIDS.iter().filter(|(number, ..)| xids.contains(number));
    let by_xid = by_xid.map(|(number, means, ends_job)| Fault {
        why: format!("XID {number}: {means}"),
        ends_job: *ends_job,
    });
    let yes = |value: Option<bool>| value == Some(true);
    let volatile = reading.ecc_volatile.unwrap_or(0);
    let read = [
        (
            reading.lost,
            "the driver says that the GPU is lost; reboot".to_owned(),
            true,
        ),
        (
            yes(reading.rows_failed),
            "a row of memory could not be remapped; have the GPU replaced".to_owned(),
            true,
        ),
        (
            volatile > 0,
            format!("{volatile} memory errors that ECC could not correct; reset the GPU"),
            false,
        ),
        (
            yes(reading.rows_pending),
            "a row of memory waits to be remapped; reset the GPU when it is free".to_owned(),
            false,
        ),
        (
            yes(reading.pages_pending),
            "a page of memory waits to be retired; reboot when the GPU is free".to_owned(),
            false,
        ),
    ];
    let read = read.into_iter().filter(|(is_so, ..)| *is_so);
    let read = read.map(|(_, why, ends_job)| Fault { why, ends_job });
    let mut all: Vec<Fault> = by_xid.chain(read).collect();
    all.sort_by_key(|fault| !fault.ends_job);
    all.into_iter().next()
}

/// Memory above what was in use before that is not told from the driver's own coming and going, MiB.
const SLACK_MIB: u64 = 64;
/// In use at the most by nobody, where nothing was seen before: MiB, and parts of all.
const UNSEEN_MIB: u64 = 1024;
const UNSEEN_PARTS: u64 = 50;

/// What is left on a GPU that no job has: memory that was not given back, or a program that computes.
/// `before` is what was in use when it was known to be free, MiB. Where the driver tells neither, nothing.
pub(crate) fn leftover(reading: &Reading, before: Option<u64>) -> Option<String> {
    let processes = reading.processes.as_deref().unwrap_or_default();
    if let Some(first) = processes.first() {
        let others = match processes.len() - 1 {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        return Some(format!(
            "process {}{others} of no job computes on it",
            first.pid
        ));
    }
    let used = reading.used_mib?;
    let unseen = UNSEEN_MIB.max(reading.total_mib.unwrap_or(0) / UNSEEN_PARTS);
    let most = before.map_or(unseen, |before| before + SLACK_MIB);
    (used > most)
        .then(|| format!("{used} MiB of its memory are in use by no job, {most} at most when free"))
}

#[cfg(test)]
mod test {
    use super::super::reading::Process;
    use super::*;

    fn check(change: impl FnOnce(&mut Reading), xids: &[u64], expected: Option<(&str, bool)>) {
        let mut reading = Reading {
            used_mib: Some(4),
            ecc_volatile: Some(0),
            ecc_aggregate: Some(3),
            pages_pending: Some(false),
            rows_pending: Some(false),
            rows_failed: Some(false),
            temperature_c: Some(90),
            ..Reading::default()
        };
        change(&mut reading);
        let found = fault(&reading, &xids.iter().copied().collect());
        match (found, expected) {
            (None, None) => {}
            (Some(fault), Some((says, ends_job))) => {
                assert!(fault.why.contains(says), "{fault:?}");
                assert_eq!(fault.ends_job, ends_job, "{fault:?}");
            }
            (found, expected) => panic!("{found:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn a_gpu_is_sick_by_what_its_driver_says_and_ends_its_job_where_nothing_comes_right() {
        check(|_| {}, &[], None);
        check(|r| *r = Reading::default(), &[], None);
        for own_bug in [13, 31, 43, 45, 68] {
            check(|_| {}, &[own_bug], None);
            assert!(!is_hardware(own_bug));
        }
        for (xid, ends_job) in [
            (46, true),
            (48, true),
            (62, true),
            (63, false),
            (64, true),
            (74, true),
            (79, true),
            (92, false),
            (94, false),
            (95, true),
            (119, true),
            (120, true),
        ] {
            let says = format!("XID {xid}");
            check(|_| {}, &[xid], Some((&says, ends_job)));
            assert!(is_hardware(xid));
        }
        check(|_| {}, &[63, 79], Some(("XID 79", true)));
        check(|r| r.lost = true, &[63], Some(("lost", true)));
        let failed = |r: &mut Reading| r.rows_failed = Some(true);
        check(failed, &[], Some(("could not be remapped", true)));
        let ecc = |r: &mut Reading| r.ecc_volatile = Some(2);
        check(ecc, &[], Some(("2 memory errors", false)));
        let rows = |r: &mut Reading| r.rows_pending = Some(true);
        check(rows, &[], Some(("remapped", false)));
        let pages = |r: &mut Reading| r.pages_pending = Some(true);
        check(pages, &[], Some(("retired", false)));
        let old = |r: &mut Reading| r.ecc_aggregate = Some(900);
        check(old, &[], None);
    }

    #[test]
    fn a_gpu_is_free_once_nothing_computes_on_it_and_its_memory_is_back() {
        let reading = |used_mib, total_mib, pids: Option<&[u32]>| Reading {
            used_mib,
            total_mib,
            processes: pids.map(|pids| {
                let process = |pid: &u32| Process {
                    pid: *pid,
                    used_mib: None,
                };
                pids.iter().map(process).collect()
            }),
            ..Reading::default()
        };
        let left = |reading: Reading, before| leftover(&reading, before);
        let none: Option<&[u32]> = Some(&[]);
        assert_eq!(left(reading(Some(300), None, none), Some(240)), None);
        let more = left(reading(Some(305), None, none), Some(240)).unwrap();
        assert!(more.contains("305 MiB"), "{more}");
        // Nobody has seen it free.
        assert_eq!(left(reading(Some(1000), Some(24_000), none), None), None);
        assert_eq!(left(reading(Some(1500), Some(81_920), none), None), None);
        assert!(left(reading(Some(1100), Some(24_000), none), None).is_some());
        let one = left(reading(Some(3), None, Some(&[7])), Some(3)).unwrap();
        assert!(one.contains("process 7 of"), "{one}");
        let two = left(reading(None, None, Some(&[7, 8])), None).unwrap();
        assert!(two.contains("7 and 1 more"), "{two}");
        assert_eq!(left(Reading::default(), None), None, "nobody tells");
    }
}
