//! Whether what nodes say of their GPUs is what nvidia-smi says: which there are, and every value of each. What only one
//! of the two gives differs, as a value that is another does; what neither gives is said to be so.
//!
//! Some values move. So NVML is asked before and after nvidia-smi, and what that says has to be between; a few rounds are
//! tried.

use super::super::report::Check;
use super::smi::{Printed, Told};
use crate::gpu::{self, Gpu, Reading};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;

const NVIDIA_SMI: &str = "nvidia-smi";
const ROUNDS: usize = 5;
/// Both print whole MiB of bytes.
const ROUNDING_MIB: u64 = 1;
const FIX: &str = "Two tools of one driver should agree: restart after an update of the driver.";

/// Asks both. `offered` is what jobs are offered.
pub(super) fn check(name: &'static str, offered: &[String]) -> Check {
    compare(name, offered, Path::new(NVIDIA_SMI), || {
        gpu::looked().iter().map(by_nvml).collect()
    })
}

fn compare(
    name: &'static str,
    offered: &[String],
    program: &Path,
    look: impl Fn() -> Vec<Told>,
) -> Check {
    let mut differs = String::new();
    for _ in 0..ROUNDS {
        let before = look();
        let Some(printed) = Printed::by(program) else {
            let fix = "It comes with the driver (Debian: nvidia-smi).";
            return Check::skip(name, "nvidia-smi is not here, or fails", Some(fix));
        };
        let after = look();
        let same = (printed.read()).and_then(|theirs| same(offered, [&before, &after], &theirs));
        match same {
            Ok(detail) => return Check::pass(name, detail),
            Err(detail) => differs = detail,
        }
    }
    Check::fail(name, differs, FIX)
}

/// What NVML says of one, as the two are compared.
fn by_nvml((gpu, reading): &(Gpu, Reading)) -> Told {
    let programs = reading.processes.as_ref();
    Told {
        uuid: gpu.uuid.clone().unwrap_or_default(),
        parent: gpu.parent.clone(),
        model: gpu.model.clone(),
        capability: (gpu.compute_capability > 0).then(|| gpu.compute_capability.into()),
        total_mib: gpu.vram_mib,
        used_mib: reading.used_mib,
        busy_percent: reading.busy_percent.map(u64::from),
        ecc_on: reading.ecc_on,
        ecc_volatile: reading.ecc_volatile,
        ecc_aggregate: reading.ecc_aggregate,
        programs: programs.map(|all| all.iter().map(|p| (p.pid, p.used_mib)).collect()),
    }
}

/// What was compared, in words.
///
/// # Errors
/// The first that differs.
fn same(offered: &[String], ours: [&[Told]; 2], theirs: &[Told]) -> Result<String, String> {
    let is_cut = |gpu: &&Told| {
        theirs
            .iter()
            .any(|of| of.parent.as_ref() == Some(&gpu.uuid))
    };
    let for_jobs = theirs.iter().filter(|gpu| !is_cut(gpu));
    if let Some(gpu) = for_jobs.clone().find(|gpu| !offered.contains(&gpu.uuid)) {
        return Err(format!("{} is not offered to jobs", gpu.uuid));
    }
    let listed = |uuid: &&String| for_jobs.clone().any(|gpu| gpu.uuid == **uuid);
    if let Some(uuid) = offered.iter().find(|uuid| !listed(uuid)) {
        return Err(format!("nvidia-smi does not list {uuid}"));
    }
    let mut not_given = Vec::new();
    let mut computing = 0;
    for told in theirs {
        let own = |all: &[Told]| all.iter().find(|own| own.uuid == told.uuid).cloned();
        let (Some(before), Some(after)) = (own(ours[0]), own(ours[1])) else {
            return Err(format!("NVML does not list {}", told.uuid));
        };
        let mut all = Comparison::new(&told.uuid);
        if told.parent.is_none() {
            all.whole([&before, &after], told);
            let programs = [ours[0], ours[1]].map(|all| programs_of(&told.uuid, all));
            let seen = programs_of(&told.uuid, theirs);
            computing += seen.as_ref().map_or(0, BTreeMap::len);
            all.programs(programs, seen);
        }
        all.between(
            "memory",
            [before.total_mib, after.total_mib],
            told.total_mib,
            ROUNDING_MIB,
        );
        all.between(
            "used memory",
            [before.used_mib, after.used_mib],
            told.used_mib,
            ROUNDING_MIB,
        );
        not_given.extend(all.done()?);
    }
    let slices = theirs.iter().filter(|told| told.parent.is_some()).count();
    let not_given = match not_given.is_empty() {
        true => String::new(),
        false => format!("; given by neither: {}", not_given.join(", ")),
    };
    Ok(format!(
        "{} GPUs, {slices} slices and {computing} programs on them are as nvidia-smi says{not_given}",
        theirs.len() - slices
    ))
}

/// Programs on a GPU or on a slice of it: which of the two names them differs by driver.
fn programs_of(uuid: &str, all: &[Told]) -> Option<BTreeMap<u32, Option<u64>>> {
    let is_of = |told: &&Told| told.uuid == uuid || told.parent.as_deref() == Some(uuid);
    let mut given = all
        .iter()
        .filter(is_of)
        .filter_map(|told| told.programs.as_ref());
    let first = given.next()?.clone();
    Some(given.fold(first, |mut all, more| {
        all.extend(more);
        all
    }))
}

/// The values of one GPU.
struct Comparison<'a> {
    uuid: &'a str,
    not_given: Vec<String>,
    differs: Option<String>,
}

impl<'a> Comparison<'a> {
    const fn new(uuid: &'a str) -> Self {
        Self {
            uuid,
            not_given: Vec::new(),
            differs: None,
        }
    }

    /// What neither gives.
    fn done(self) -> Result<Vec<String>, String> {
        self.differs.map_or(Ok(self.not_given), Err)
    }

    /// What is said of no slice.
    fn whole(&mut self, ours: [&Told; 2], theirs: &Told) {
        let [before, after] = ours;
        self.equal("model", before.model.as_ref(), theirs.model.as_ref());
        self.equal(
            "capability",
            before.capability.as_ref(),
            theirs.capability.as_ref(),
        );
        self.equal("ECC", after.ecc_on.as_ref(), theirs.ecc_on.as_ref());
        let both = |own: fn(&Told) -> Option<u64>| ours.map(own);
        self.between(
            "utilisation",
            both(|told| told.busy_percent),
            theirs.busy_percent,
            0,
        );
        self.between(
            "ECC errors",
            both(|told| told.ecc_volatile),
            theirs.ecc_volatile,
            0,
        );
        self.between(
            "ECC errors ever",
            both(|told| told.ecc_aggregate),
            theirs.ecc_aggregate,
            0,
        );
    }

    fn equal<T: PartialEq + Display>(&mut self, what: &str, ours: Option<&T>, theirs: Option<&T>) {
        match (ours, theirs) {
            (None, None) => self.neither_gives(what),
            (Some(ours), Some(theirs)) if ours == theirs => {}
            (ours, theirs) => self.differ(what, &said(ours), &said(theirs)),
        }
    }

    fn between(&mut self, what: &str, ours: [Option<u64>; 2], theirs: Option<u64>, slack: u64) {
        match (ours, theirs) {
            ([None, None], None) => self.neither_gives(what),
            ([Some(before), Some(after)], Some(theirs))
                if before.min(after) <= theirs + slack && theirs <= before.max(after) + slack => {}
            ([before, after], theirs) => {
                let ours = format!("{} and {}", said(before.as_ref()), said(after.as_ref()));
                self.differ(what, &ours, &said(theirs.as_ref()));
            }
        }
    }

    /// The same pids as before or as after, each with its memory.
    fn programs(
        &mut self,
        ours: [Option<BTreeMap<u32, Option<u64>>>; 2],
        theirs: Option<BTreeMap<u32, Option<u64>>>,
    ) {
        let (before, after, theirs) = match (ours, theirs) {
            ([None, None], None) => return self.neither_gives("programs"),
            ([Some(before), Some(after)], Some(theirs)) => (before, after, theirs),
            (ours, theirs) => {
                let given = |all: &Option<_>| match all {
                    Some(_) => "given",
                    None => "not given",
                };
                let [before, after] = [given(&ours[0]), given(&ours[1])];
                return self.differ("programs", &format!("{before} and {after}"), given(&theirs));
            }
        };
        let pids = |all: &BTreeMap<u32, Option<u64>>| all.keys().copied().collect::<Vec<u32>>();
        let (then, now, seen) = (pids(&before), pids(&after), pids(&theirs));
        if seen != then && seen != now {
            let ours = format!("{then:?} and {now:?}");
            return self.differ("programs", &ours, &format!("{seen:?}"));
        }
        for (pid, mib) in theirs {
            let of = |all: &BTreeMap<u32, Option<u64>>| all.get(&pid).copied();
            let (then, now) = (of(&before), of(&after));
            let ours = [then.or(now).flatten(), now.or(then).flatten()];
            self.between(&format!("memory of program {pid}"), ours, mib, ROUNDING_MIB);
        }
    }

    fn neither_gives(&mut self, what: &str) {
        self.not_given.push(format!("{} {what}", self.uuid));
    }

    fn differ(&mut self, what: &str, ours: &str, theirs: &str) {
        let said = format!(
            "{} of {}: {ours} by NVML, {theirs} by nvidia-smi",
            what, self.uuid
        );
        self.differs.get_or_insert(said);
    }
}

fn said<T: Display>(value: Option<&T>) -> String {
    value.map_or_else(|| "not given".to_owned(), ToString::to_string)
}

#[cfg(test)]
mod test;
