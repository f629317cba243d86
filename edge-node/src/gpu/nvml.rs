//! What NVML says: which GPUs there are, MIG slices one by one, and how each is.
//!
//! A call that a GPU, a driver or a slice does not support is an unknown value, never a failure of the look.
//! One answer is heeded as such: that the GPU is lost.

use super::board::Look;
use super::reading::{Process, Reading};
use super::{Gpu, health, pci_address, render_node};
use crate::gpu_check::lacks_nvenc;
use nvml_wrapper::bitmasks::device::ThrottleReasons;
use nvml_wrapper::bitmasks::event::EventTypes;
use nvml_wrapper::enum_wrappers::device::{EccCounter, MemoryError, TemperatureSensor};
use nvml_wrapper::enums::device::{SampleValue, UsedGpuMemory};
use nvml_wrapper::enums::event::XidError;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::event::EventSet;
use nvml_wrapper::structs::device::FieldId;
use nvml_wrapper::sys_exports::field_id::{
    NVML_FI_DEV_REMAPPED_FAILURE, NVML_FI_DEV_REMAPPED_PENDING,
};
use nvml_wrapper::{Device, Nvml};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const MIB: u64 = 1024 * 1024;
/// Events that are taken in one look; more are of a GPU that is known to be sick by then.
const EVENTS_MAX: usize = 64;
/// Slices of one GPU, more than any has.
const SLICES_MAX: u32 = 16;

/// Reasons for which clocks are held down that an operator can do something about.
const THROTTLES: [(ThrottleReasons, &str); 4] = [
    (ThrottleReasons::SW_POWER_CAP, "power-cap"),
    (ThrottleReasons::HW_SLOWDOWN, "hardware-slowdown"),
    (ThrottleReasons::SW_THERMAL_SLOWDOWN, "heat"),
    (ThrottleReasons::HW_THERMAL_SLOWDOWN, "heat-hardware"),
];

/// The GPUs, each followed by its slices.
pub(super) fn inventory(nvml: &Nvml) -> Vec<Gpu> {
    let mut all = Vec::new();
    for device in devices(nvml) {
        let gpu = about(&device);
        let slices = slices(&device);
        let cut = Gpu {
            is_cut: !slices.is_empty() || is_cut(&device),
            ..gpu
        };
        let slices = slices.iter().map(|slice| Gpu {
            parent: cut.uuid.clone(),
            encodes: false,
            render_node: None,
            compute_capability: cut.compute_capability,
            ..about(slice)
        });
        let slices: Vec<Gpu> = slices.collect();
        all.push(cut);
        all.extend(slices);
    }
    all
}

fn devices(nvml: &Nvml) -> Vec<Device<'_>> {
    let count = nvml.device_count().unwrap_or(0);
    let found = (0..count).filter_map(|index| match nvml.device_by_index(index) {
        Ok(device) => Some(device),
        Err(error) => {
            tracing::warn!(index, %error, "a GPU cannot be used");
            None
        }
    });
    found.collect()
}

fn is_cut(device: &Device<'_>) -> bool {
    device.mig_mode().is_ok_and(|mode| mode.current != 0)
}

/// The slices that are made of a GPU: an index without one is a place for another.
fn slices<'nvml>(device: &Device<'nvml>) -> Vec<Device<'nvml>> {
    if !is_cut(device) {
        return Vec::new();
    }
    let most = device.mig_device_count().unwrap_or(0).min(SLICES_MAX);
    (0..most)
        .filter_map(|index| device.mig_device_by_index(index).ok())
        .collect()
}

fn about(device: &Device<'_>) -> Gpu {
    let model = device.name().ok();
    let capability = device.cuda_compute_capability().ok();
    let capability = capability.and_then(|c| u32::try_from(c.major * 10 + c.minor).ok());
    let pci = device.pci_info().ok();
    Gpu {
        uuid: device.uuid().ok(),
        pci: pci.as_ref().and_then(|pci| pci_address(&pci.bus_id)),
        vram_mib: device.memory_info().ok().map(|memory| memory.total / MIB),
        compute_capability: capability.unwrap_or(0),
        encodes: !model.as_deref().is_some_and(lacks_nvenc),
        render_node: pci.and_then(|pci| {
            let (sysfs, dev) = (Path::new("/sys"), Path::new("/dev/dri"));
            render_node(sysfs, dev, &pci.bus_id)
        }),
        model,
        ..Gpu::default()
    }
}

/// The driver's library, and what it tells of errors as they come.
pub(super) struct Eyes<'nvml> {
    nvml: &'nvml Nvml,
    /// A set for each GPU: one that takes no events must not cost those of the others.
    events: Vec<(String, EventSet<'nvml>)>,
}

impl<'nvml> Eyes<'nvml> {
    pub(super) fn new(nvml: &'nvml Nvml) -> Self {
        let with_events = devices(nvml).into_iter().filter_map(|device| {
            let uuid = device.uuid().ok()?;
            let set = nvml.create_event_set().ok()?;
            match device.register_events(EventTypes::CRITICAL_XID_ERROR, set) {
                Ok(set) => Some((uuid, set)),
                Err(error) => {
                    tracing::info!(gpu = uuid, error = ?error.error, "the driver tells no XIDs of this GPU");
                    None
                }
            }
        });
        Self {
            nvml,
            events: with_events.collect(),
        }
    }

    /// Looks at every GPU and slice once.
    pub(super) fn look(&self) -> Look {
        let mut xids = self.xids();
        let mut all = Look::new();
        for device in devices(self.nvml) {
            let Ok(uuid) = device.uuid() else { continue };
            let reading = read(&device);
            let own = xids.remove(&uuid).unwrap_or_default();
            for slice in slices(&device) {
                if let Ok(uuid) = slice.uuid() {
                    let reading = read(&slice).with_parent(&reading);
                    all.insert(uuid, (reading, own.clone()));
                }
            }
            all.insert(uuid, (reading, own));
        }
        // What is no device any more still had its last word.
        for (uuid, own) in xids {
            let lost = Reading {
                lost: true,
                ..Reading::default()
            };
            all.insert(uuid, (lost, own));
        }
        all
    }

    /// The XIDs since the last look, by GPU. Does not wait.
    fn xids(&self) -> BTreeMap<String, BTreeSet<u64>> {
        let mut all: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
        for (uuid, set) in &self.events {
            let own = all.entry(uuid.clone()).or_default();
            for _ in 0..EVENTS_MAX {
                match set.wait(0) {
                    Ok(event) => {
                        if let Some(XidError::Value(xid)) = event.event_data {
                            let hardware = health::is_hardware(xid);
                            tracing::warn!(
                                gpu = uuid,
                                xid,
                                hardware,
                                "the driver reports an error"
                            );
                            own.insert(xid);
                        }
                    }
                    Err(NvmlError::GpuLost) => {
                        // The number of a GPU that has fallen off the bus.
                        own.insert(79);
                        break;
                    }
                    Err(_) => break,
                }
            }
        }
        all
    }
}

/// One look at one of them.
pub(super) fn read_one(nvml: &Nvml, uuid: &str) -> Option<Reading> {
    let device = nvml.device_by_uuid(uuid).ok()?;
    Some(read(&device))
}

fn read(device: &Device<'_>) -> Reading {
    let memory = device.memory_info();
    let lost = matches!(memory, Err(NvmlError::GpuLost));
    let memory = memory.ok();
    let ecc = |counter| {
        let kind = MemoryError::Uncorrected;
        device.total_ecc_errors(kind, counter).ok()
    };
    let [rows_pending, rows_failed] = remapping(device);
    Reading {
        lost,
        used_mib: memory.as_ref().map(|memory| memory.used / MIB),
        total_mib: memory.as_ref().map(|memory| memory.total / MIB),
        processes: processes(device),
        busy_percent: device.utilization_rates().ok().map(|rates| rates.gpu),
        ecc_on: (device.is_ecc_enabled().ok()).map(|mode| mode.currently_enabled),
        ecc_volatile: ecc(EccCounter::Volatile),
        ecc_aggregate: ecc(EccCounter::Aggregate),
        pages_pending: device.are_pages_pending_retired().ok(),
        rows_pending,
        rows_failed,
        temperature_c: device.temperature(TemperatureSensor::Gpu).ok(),
        power_mw: device.power_usage().ok(),
        throttled: device.current_throttle_reasons().ok().map(throttles),
    }
}

fn processes(device: &Device<'_>) -> Option<Vec<Process>> {
    let all = device.running_compute_processes().ok()?;
    let process = |info: nvml_wrapper::struct_wrappers::device::ProcessInfo| Process {
        pid: info.pid,
        used_mib: match info.used_gpu_memory {
            UsedGpuMemory::Used(bytes) => Some(bytes / MIB),
            UsedGpuMemory::Unavailable => None,
        },
    };
    Some(all.into_iter().map(process).collect())
}

/// Whether rows wait to be remapped, and whether one could not be.
fn remapping(device: &Device<'_>) -> [Option<bool>; 2] {
    let fields = [NVML_FI_DEV_REMAPPED_PENDING, NVML_FI_DEV_REMAPPED_FAILURE];
    let values = device.field_values_for(&fields.map(FieldId));
    let values = values.unwrap_or_default();
    let is_set = |at: usize| {
        let sample = values.get(at)?.as_ref().ok()?;
        match sample.value.as_ref().ok()? {
            SampleValue::U32(value) => Some(*value != 0),
            SampleValue::U64(value) => Some(*value != 0),
            SampleValue::I64(value) => Some(*value != 0),
            SampleValue::F64(_) => None,
        }
    };
    [is_set(0), is_set(1)]
}

fn throttles(reasons: ThrottleReasons) -> Vec<&'static str> {
    let known = THROTTLES
        .iter()
        .filter(|(reason, _)| reasons.contains(*reason));
    known.map(|(_, name)| *name).collect()
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn only_what_an_operator_can_change_is_named() {
        let idle = ThrottleReasons::GPU_IDLE;
        assert!(throttles(idle).is_empty());
        let hot = ThrottleReasons::SW_THERMAL_SLOWDOWN | idle;
        assert_eq!(throttles(hot), ["heat"]);
    }
}
