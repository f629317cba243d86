//! Whether what nodes say of their GPUs is what nvidia-smi says: which there are, and every value of each. What only one
//! of the two gives differs, as a value that is another does; what neither gives is said to be so.
//!
//! Some values move. So NVML is asked before and after nvidia-smi, some rounds of it, and what that says of each value has
//! to be between what NVML said so far. Once is enough: what jumps, as the utilisation of a GPU that works, is not between
//! each time, and of several GPUs never all at a time.

use super::super::report::Check;
use super::smi::{Printed, Told};
use crate::gpu::{self, Gpu, Reading};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::path::Path;

const NVIDIA_SMI: &str = "nvidia-smi";
const ROUNDS: usize = 10;
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
    let (mut looks, mut agreed) = (vec![look()], BTreeSet::new());
    let mut differs = String::new();
    for _ in 0..ROUNDS {
        let Some(printed) = Printed::by(program) else {
            let fix = "It comes with the driver (Debian: nvidia-smi).";
            return Check::skip(name, "nvidia-smi is not here, or fails", Some(fix));
        };
        looks.push(look());
        let same = (printed.read()).and_then(|it| same(offered, &looks, &it, &mut agreed));
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

/// What was compared, in words. `looks` are NVML's until now; values that agree once are added to those that did.
///
/// # Errors
/// The first that differs and never agreed.
fn same(
    offered: &[String],
    looks: &[Vec<Told>],
    theirs: &[Told],
    agreed: &mut BTreeSet<String>,
) -> Result<String, String> {
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
    let mut all = Comparison::new(agreed);
    let mut computing = 0;
    for told in theirs {
        let own = |look: &Vec<Told>| look.iter().find(|own| own.uuid == told.uuid).cloned();
        let ours: Option<Vec<Told>> = looks.iter().map(own).collect();
        let Some(ours) = ours else {
            return Err(format!("NVML does not list {}", told.uuid));
        };
        all.uuid.clone_from(&told.uuid);
        if told.parent.is_none() {
            all.whole(&ours, told);
            let programs = looks.iter().map(|look| programs_of(&told.uuid, look));
            let seen = programs_of(&told.uuid, theirs);
            computing += seen.as_ref().map_or(0, BTreeMap::len);
            all.programs(&programs.collect::<Vec<_>>(), seen);
        }
        let both = |own: fn(&Told) -> Option<u64>| ours.iter().map(own).collect::<Vec<_>>();
        let total = both(|told| told.total_mib);
        all.between("memory", &total, told.total_mib, ROUNDING_MIB);
        let used = both(|told| told.used_mib);
        all.between("used memory", &used, told.used_mib, ROUNDING_MIB);
    }
    let not_given = all.done()?;
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

/// The values of GPUs, of one after the other.
struct Comparison<'a> {
    uuid: String,
    agreed: &'a mut BTreeSet<String>,
    not_given: Vec<String>,
    differs: Option<String>,
}

impl<'a> Comparison<'a> {
    const fn new(agreed: &'a mut BTreeSet<String>) -> Self {
        Self {
            uuid: String::new(),
            agreed,
            not_given: Vec::new(),
            differs: None,
        }
    }

    /// What neither gives.
    fn done(self) -> Result<Vec<String>, String> {
        self.differs.map_or(Ok(self.not_given), Err)
    }

    /// What is said of no slice.
    fn whole(&mut self, ours: &[Told], theirs: &Told) {
        type Value = fn(&Told) -> Option<u64>;
        let last = ours.last();
        let model = last.and_then(|told| told.model.as_ref());
        self.equal("model", model, theirs.model.as_ref());
        let capability = last.and_then(|told| told.capability.as_ref());
        self.equal("capability", capability, theirs.capability.as_ref());
        let ecc = last.and_then(|told| told.ecc_on.as_ref());
        self.equal("ECC", ecc, theirs.ecc_on.as_ref());
        let of: [(&str, Value); 3] = [
            ("utilisation", |told| told.busy_percent),
            ("ECC errors", |told| told.ecc_volatile),
            ("ECC errors ever", |told| told.ecc_aggregate),
        ];
        for (what, value) in of {
            let ours: Vec<Option<u64>> = ours.iter().map(value).collect();
            self.between(what, &ours, value(theirs), 0);
        }
    }

    fn equal<T: PartialEq + Display>(&mut self, what: &str, ours: Option<&T>, theirs: Option<&T>) {
        match (ours, theirs) {
            (None, None) => self.neither_gives(what),
            (Some(ours), Some(theirs)) if ours == theirs => self.agree(what),
            (ours, theirs) => self.differ(what, &said(ours), &said(theirs)),
        }
    }

    fn between(&mut self, what: &str, ours: &[Option<u64>], theirs: Option<u64>, slack: u64) {
        let given = || ours.iter().flatten().copied();
        match (given().min().zip(given().max()), theirs) {
            (None, None) => self.neither_gives(what),
            (Some((least, most)), Some(theirs))
                if least <= theirs + slack && theirs <= most + slack =>
            {
                self.agree(what);
            }
            (ours, theirs) => {
                let ours = ours.map(|(least, most)| match least == most {
                    true => least.to_string(),
                    false => format!("{least} to {most}"),
                });
                self.differ(what, &said(ours.as_ref()), &said(theirs.as_ref()));
            }
        }
    }

    /// The same pids as at a look, each with its memory.
    fn programs(
        &mut self,
        ours: &[Option<BTreeMap<u32, Option<u64>>>],
        theirs: Option<BTreeMap<u32, Option<u64>>>,
    ) {
        let given: Vec<_> = ours.iter().flatten().collect();
        let theirs = match (given.last(), theirs) {
            (None, None) => return self.neither_gives("programs"),
            (Some(_), Some(theirs)) => theirs,
            (None, Some(_)) => return self.differ("programs", "not given", "given"),
            (Some(_), None) => return self.differ("programs", "given", "not given"),
        };
        let pids = |all: &BTreeMap<u32, Option<u64>>| all.keys().copied().collect::<Vec<u32>>();
        let seen = pids(&theirs);
        if !given.iter().any(|look| pids(look) == seen) {
            let ours: Vec<_> = given.iter().map(|look| pids(look)).collect();
            return self.differ("programs", &format!("{ours:?}"), &format!("{seen:?}"));
        }
        self.agree("programs");
        for (pid, mib) in theirs {
            let ours = given.iter().map(|look| look.get(&pid).copied().flatten());
            let ours: Vec<Option<u64>> = ours.collect();
            self.between(
                &format!("memory of program {pid}"),
                &ours,
                mib,
                ROUNDING_MIB,
            );
        }
    }

    fn neither_gives(&mut self, what: &str) {
        self.not_given.push(format!("{} {what}", self.uuid));
    }

    fn agree(&mut self, what: &str) {
        self.agreed.insert(format!("{what} of {}", self.uuid));
    }

    fn differ(&mut self, what: &str, ours: &str, theirs: &str) {
        let value = format!("{what} of {}", self.uuid);
        if !self.agreed.contains(&value) {
            let said = format!("{value}: {ours} by NVML, {theirs} by nvidia-smi");
            self.differs.get_or_insert(said);
        }
    }
}

fn said<T: Display>(value: Option<&T>) -> String {
    value.map_or_else(|| "not given".to_owned(), ToString::to_string)
}

#[cfg(test)]
mod test;
