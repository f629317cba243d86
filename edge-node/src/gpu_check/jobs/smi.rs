//! What nvidia-smi says of GPUs and of their slices, read from what it prints: its CSV where that has a value, its list
//! for UUIDs of slices, its XML for their memory.
//!
//! A value that it does not give (`[N/A]`, `N/A`, `[Not Supported]`) is `None`; what cannot be read at all is an error.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::str::FromStr;

const WHOLE: [&str; 2] = [
    "--query-gpu=uuid,name,memory.total,compute_cap,memory.used,utilization.gpu,ecc.mode.current,\
     ecc.errors.uncorrected.volatile.total,ecc.errors.uncorrected.aggregate.total",
    "--format=csv,noheader,nounits",
];
const PROGRAMS: [&str; 2] = [
    "--query-compute-apps=gpu_uuid,pid,used_memory",
    "--format=csv,noheader,nounits",
];
/// A small tool that does not end has failed.
const WITHIN_S: &str = "20";

/// What one of the two, the driver's library or its tool, says of a GPU or of a slice. `None`: it does not give it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) uuid: String,
    /// Of a slice: the GPU that it is of.
    pub(super) parent: Option<String>,
    pub(super) model: Option<String>,
    /// Compute capability, times ten.
    pub(super) capability: Option<u64>,
    pub(super) total_mib: Option<u64>,
    pub(super) used_mib: Option<u64>,
    pub(super) busy_percent: Option<u64>,
    /// Whether ECC is on.
    pub(super) ecc_on: Option<bool>,
    pub(super) ecc_volatile: Option<u64>,
    pub(super) ecc_aggregate: Option<u64>,
    /// Programs that compute there, by pid: the memory of each, MiB.
    pub(super) programs: Option<BTreeMap<u32, Option<u64>>>,
}

/// What it prints.
#[derive(Clone, Debug, Default)]
pub(super) struct Printed {
    pub(super) whole: String,
    pub(super) listed: String,
    /// `None` where it takes no such question.
    pub(super) programs: Option<String>,
    pub(super) xml: String,
}

impl Printed {
    /// Asks it; `None` if it is not there, or fails.
    pub(super) fn by(program: &Path) -> Option<Self> {
        Some(Self {
            whole: said(program, &WHOLE)?,
            listed: said(program, &["-L"])?,
            programs: said(program, &PROGRAMS),
            xml: said(program, &["-q", "-x"])?,
        })
    }

    /// Every GPU, followed by its slices.
    ///
    /// # Errors
    /// What is not understood.
    pub(super) fn read(&self) -> Result<Vec<Told>, String> {
        let mut programs = self.programs.as_deref().map(programs).transpose()?;
        let memory = memory_of_slices(&self.xml)?;
        let mut listed = listed(&self.listed);
        let mut all = Vec::new();
        for line in self.whole.lines().filter(|line| !line.trim().is_empty()) {
            let mut gpu = whole(line)?;
            let mut own = |uuid: &str| {
                let all = programs.as_mut()?;
                Some(all.remove(uuid).unwrap_or_default())
            };
            gpu.programs = own(&gpu.uuid);
            let slices = listed.remove(&gpu.uuid).unwrap_or_default();
            let slices = slices.into_iter().map(|(index, uuid)| {
                let [total_mib, used_mib] = memory
                    .get(&(gpu.uuid.clone(), index))
                    .copied()
                    .unwrap_or_default();
                Told {
                    programs: own(&uuid),
                    parent: Some(gpu.uuid.clone()),
                    total_mib,
                    used_mib,
                    uuid,
                    ..Told::default()
                }
            });
            let slices: Vec<Told> = slices.collect();
            all.push(gpu);
            all.extend(slices);
        }
        Ok(all)
    }
}

fn said(program: &Path, args: &[&str]) -> Option<String> {
    let output = Command::new("timeout")
        .arg(WITHIN_S)
        .arg(program)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then_some(text)
}

/// What it prints for one value.
fn value<T: FromStr>(text: &str) -> Result<Option<T>, String> {
    let text = text.trim();
    let text = text.strip_suffix("MiB").map_or(text, str::trim_end);
    if text.starts_with('[') || text.eq_ignore_ascii_case("n/a") {
        return Ok(None);
    }
    let read = text.parse().map(Some);
    read.map_err(|_| format!("nvidia-smi says what is not understood: {text:?}"))
}

fn whole(line: &str) -> Result<Told, String> {
    let fields: Vec<&str> = line.split(',').map(str::trim).collect();
    let [
        uuid,
        model,
        total,
        capability,
        used,
        busy,
        ecc,
        volatile,
        aggregate,
    ] = fields[..]
    else {
        return Err(format!("nvidia-smi says what is not understood: {line:?}"));
    };
    let ecc_on = match ecc {
        "Enabled" => Some(true),
        "Disabled" => Some(false),
        other => value(other)?,
    };
    Ok(Told {
        uuid: uuid.to_owned(),
        model: value(model)?,
        capability: value(&capability.replace('.', ""))?,
        total_mib: value(total)?,
        used_mib: value(used)?,
        busy_percent: value(busy)?,
        ecc_on,
        ecc_volatile: value(volatile)?,
        ecc_aggregate: value(aggregate)?,
        ..Told::default()
    })
}

/// Programs by the UUID of their GPU, or slice.
fn programs(text: &str) -> Result<BTreeMap<String, BTreeMap<u32, Option<u64>>>, String> {
    let mut all: BTreeMap<String, BTreeMap<u32, Option<u64>>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        let [uuid, pid, mib] = fields[..] else {
            return Err(format!("nvidia-smi says what is not understood: {line:?}"));
        };
        if let Some(pid) = value(pid)? {
            let own = all.entry(uuid.to_owned()).or_default();
            own.insert(pid, value(mib)?);
        }
    }
    Ok(all)
}

/// Of each GPU that is listed its slices: their places, and their UUIDs.
fn listed(text: &str) -> BTreeMap<String, Vec<(u64, String)>> {
    let mut all: BTreeMap<String, Vec<(u64, String)>> = BTreeMap::new();
    let mut last = String::new();
    for line in text.lines() {
        let Some(uuid) = uuid_of(line) else { continue };
        let place = line.trim_start().strip_prefix("MIG ");
        let place = place.and_then(|rest| rest.split_once("Device"));
        let place = place.and_then(|(_, rest)| rest.split_once(':'));
        match place.and_then(|(place, _)| place.trim().parse().ok()) {
            Some(place) => {
                let own = all.entry(last.clone()).or_default();
                own.push((place, uuid.to_owned()));
            }
            None => uuid.clone_into(&mut last),
        }
    }
    all
}

/// The UUID in a line of its list.
pub(super) fn uuid_of(line: &str) -> Option<&str> {
    let (_, uuid) = line.split_once("UUID: ")?;
    Some(uuid.trim_end().trim_end_matches(')').trim())
}

/// By GPU and place: all memory of a slice and what is in use, MiB.
type Memory = BTreeMap<(String, u64), [Option<u64>; 2]>;

/// The XML has an element a line.
fn memory_of_slices(xml: &str) -> Result<Memory, String> {
    let mut all = Memory::new();
    let mut path: Vec<&str> = Vec::new();
    let (mut gpu, mut place, mut memory) = (String::new(), None, [None; 2]);
    let mut own = Vec::new();
    for line in xml.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("</") {
            match name.trim_end_matches('>') {
                "mig_device" => own.extend(place.take().map(|place| (place, memory))),
                "gpu" => {
                    let named = own
                        .drain(..)
                        .map(|(at, memory)| ((gpu.clone(), at), memory));
                    all.extend(named);
                }
                _ => {}
            }
            path.pop();
            continue;
        }
        let Some((name, value_of)) = element(line) else {
            continue;
        };
        let Some(text) = value_of else {
            path.push(name);
            if name == "mig_device" {
                memory = [None; 2];
            }
            continue;
        };
        let in_slice = path.contains(&"mig_device");
        match (path.last().copied(), name) {
            (Some("gpu"), "uuid") => text.clone_into(&mut gpu),
            (Some("mig_device"), "index") => place = value(text)?,
            (Some("fb_memory_usage"), "total") if in_slice => memory[0] = value(text)?,
            (Some("fb_memory_usage"), "used") if in_slice => memory[1] = value(text)?,
            _ => {}
        }
    }
    Ok(all)
}

/// The name of the element that begins in a line, and what is in it if it ends there, too.
fn element(line: &str) -> Option<(&str, Option<&str>)> {
    let (head, rest) = line.strip_prefix('<')?.split_once('>')?;
    if head.starts_with(['?', '!']) || head.ends_with('/') {
        return None;
    }
    let name = head.split(' ').next()?;
    let inside = rest.strip_suffix('>');
    let inside = inside.and_then(|rest| rest.strip_suffix(name)?.strip_suffix("</"));
    Some((name, inside))
}
