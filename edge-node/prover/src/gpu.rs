//! A device that runs shaders, one after the other.
//!
//! **Invariant.** No more than [`IN_FLIGHT`] dispatches wait: whoever ends the program, as for a session that comes, waits
//! for these at most.

use nearlight_proof::porc::exchange::program::Device as Described;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use wgpu::util::{BufferInitDescriptor, DeviceExt};
use wgpu::{
    Adapter, BindGroupDescriptor, BindGroupEntry, Buffer, BufferDescriptor, BufferUsages,
    CommandEncoderDescriptor, ComputePassDescriptor, ComputePipeline, ComputePipelineDescriptor,
    Device, DeviceDescriptor, DeviceLostReason, DeviceType, Instance, InstanceDescriptor, Limits,
    MapMode, PollType, Queue, ShaderModuleDescriptor, ShaderSource, SubmissionIndex,
};

/// What every shader begins with.
const SHARED: &str = include_str!("wgsl/shared.wgsl");
/// What is read back at a time, bytes.
const STAGING_BYTES: u64 = 16 << 20;
/// The largest buffer of a fill, bytes, on a device that would take more.
const BUFFER_BYTES_MAX: u64 = 1 << 30;
/// The most buffers of a fill, on a device that would take more: the reads' shader names each of them.
const BUFFERS_MAX: u32 = 1 << 10;

/// Dispatches that are submitted and not done: one runs, and the next one is there when it ends.
const IN_FLIGHT: usize = 2;

/// Why a GPU does not do it.
#[derive(Debug, thiserror::Error)]
pub enum GpuError {
    /// There is none with that number.
    #[error("there is no such GPU; wgpu finds those that a Vulkan or GL driver shows")]
    None,
    /// It cannot be opened.
    #[error("the GPU cannot be opened")]
    Device(#[from] wgpu::RequestDeviceError),
    /// A fill needs more buffers than a shader may have.
    #[error("the fill needs {needs} buffers, and a shader of this GPU takes {has}")]
    Buffers {
        /// How many it needs.
        needs: usize,
        /// How many there may be.
        has: usize,
    },
    /// It stopped answering, or has no memory left.
    #[error("the GPU does not go on: {0}")]
    Lost(String),
}

/// The first thing that a device or its driver complained of.
type Fault = Arc<Mutex<Option<String>>>;

/// A GPU.
#[derive(Debug)]
pub struct Gpu {
    device: Device,
    queue: Queue,
    fault: Fault,
    dispatches: AtomicU64,
    in_flight: Mutex<VecDeque<SubmissionIndex>>,
    /// Its name, as its driver says.
    pub name: String,
    /// Whether it is a CPU that plays one.
    pub is_software: bool,
}

/// What is known of an adapter before it is opened, and how it is told apart from the others.
#[must_use]
pub fn describe(adapter: &Adapter, number: usize) -> Described {
    let (info, limits) = (adapter.get_info(), adapter.limits());
    let pci = info.device_pci_bus_id;
    Described {
        id: match pci.as_str() {
            "" => format!("adapter-{number}"),
            pci => format!("pci-{pci}"),
        },
        name: info.name,
        pci,
        is_software: info.device_type == DeviceType::Cpu,
        fill_mib: (buffer_bytes_max(&limits) >> 20) * fill_buffers_max(&limits) as u64,
    }
}

/// The devices that there are, each once: by Vulkan if it can be had so. One that sits on no bus is a device with each
/// driver that shows it.
#[must_use]
pub fn devices() -> Vec<(Described, Adapter)> {
    let mut found: Vec<(Described, Adapter)> = Vec::new();
    for (number, adapter) in adapters().into_iter().enumerate() {
        let device = describe(&adapter, number);
        let is_known = |(known, _): &(Described, Adapter)| known.pci == device.pci;
        if device.pci.is_empty() || !found.iter().any(is_known) {
            found.push((device, adapter));
        }
    }
    found
}

/// Opens the device with this id.
///
/// # Errors
/// [`GpuError::None`], [`GpuError::Device`].
pub fn open(id: &str) -> Result<Gpu, GpuError> {
    let found = devices().into_iter().find(|(device, _)| device.id == id);
    Gpu::open(&found.ok_or(GpuError::None)?.1)
}

fn buffer_bytes_max(limits: &Limits) -> u64 {
    let binding = limits.max_storage_buffer_binding_size;
    binding.min(limits.max_buffer_size).min(BUFFER_BYTES_MAX)
}

/// One more holds the lanes' values.
fn fill_buffers_max(limits: &Limits) -> usize {
    let all = limits.max_storage_buffers_per_shader_stage.min(BUFFERS_MAX);
    all.saturating_sub(1) as usize
}

/// All adapters that there are, Vulkan's before GL's.
#[must_use]
pub fn adapters() -> Vec<Adapter> {
    let instance = Instance::new(InstanceDescriptor::new_without_display_handle());
    let mut all = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()));
    all.sort_by_key(|adapter| adapter.get_info().backend != wgpu::Backend::Vulkan);
    all
}

impl Gpu {
    /// Opens an adapter, with all that it can hold.
    ///
    /// # Errors
    /// [`GpuError::Device`].
    pub fn open(adapter: &Adapter) -> Result<Self, GpuError> {
        let info = adapter.get_info();
        let wanted = DeviceDescriptor {
            label: Some("prover"),
            required_limits: adapter.limits(),
            ..DeviceDescriptor::default()
        };
        let (device, queue) = pollster::block_on(adapter.request_device(&wanted))?;
        let fault = Fault::default();
        // Without a handler of ours wgpu ends the program, and nobody would hear why.
        let of_errors = fault.clone();
        device.on_uncaptured_error(Arc::new(move |error| note(&of_errors, &error.to_string())));
        let of_loss = fault.clone();
        device.set_device_lost_callback(move |reason, why| {
            if reason != DeviceLostReason::Destroyed {
                note(&of_loss, &why);
            }
        });
        Ok(Self {
            device,
            queue,
            fault,
            dispatches: AtomicU64::new(0),
            in_flight: Mutex::default(),
            name: info.name,
            is_software: info.device_type == DeviceType::Cpu,
        })
    }

    /// The largest buffer that a shader can have whole, bytes.
    #[must_use]
    pub fn buffer_bytes_max(&self) -> u64 {
        buffer_bytes_max(&self.device.limits())
    }

    /// Buffers that a fill may have.
    #[must_use]
    pub fn fill_buffers_max(&self) -> usize {
        fill_buffers_max(&self.device.limits())
    }

    /// How many dispatches were submitted: a leg is cut into them, so that whoever else wants the device waits for
    /// one of them at most.
    #[must_use]
    pub fn dispatches(&self) -> u64 {
        self.dispatches.load(Ordering::Relaxed)
    }

    /// Whether the device has complained of anything.
    ///
    /// # Errors
    /// [`GpuError::Lost`].
    pub fn check(&self) -> Result<(), GpuError> {
        let fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        fault.clone().map_or(Ok(()), |why| Err(GpuError::Lost(why)))
    }

    pub(crate) fn pipeline(&self, label: &str, source: &str) -> ComputePipeline {
        let module = self.device.create_shader_module(ShaderModuleDescriptor {
            label: Some(label),
            source: ShaderSource::Wgsl(format!("{SHARED}\n{source}").into()),
        });
        self.device
            .create_compute_pipeline(&ComputePipelineDescriptor {
                label: Some(label),
                layout: None,
                module: &module,
                entry_point: Some("main"),
                compilation_options: Default::default(),
                cache: None,
            })
    }

    /// A buffer that shaders write.
    pub(crate) fn empty(&self, words: u64) -> Buffer {
        self.device.create_buffer(&BufferDescriptor {
            label: None,
            size: words.max(1) * 4,
            usage: BufferUsages::STORAGE | BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        })
    }

    /// A buffer with these words, to be read.
    pub(crate) fn storage(&self, words: &[u32]) -> Buffer {
        self.init(words, BufferUsages::STORAGE)
    }

    /// What a dispatch is told, a multiple of four words.
    pub(crate) fn uniform(&self, words: &[u32]) -> Buffer {
        self.init(words, BufferUsages::UNIFORM)
    }

    fn init(&self, words: &[u32], usage: BufferUsages) -> Buffer {
        let contents: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.device.create_buffer_init(&BufferInitDescriptor {
            label: None,
            contents: &contents,
            usage,
        })
    }

    /// Runs a shader with these buffers, bound in their order.
    pub(crate) fn run(&self, pipeline: &ComputePipeline, buffers: &[&Buffer], groups: (u32, u32)) {
        let entries: Vec<_> = (0..)
            .zip(buffers)
            .map(|(binding, buffer)| BindGroupEntry {
                binding,
                resource: buffer.as_entire_binding(),
            })
            .collect();
        let group = self.device.create_bind_group(&BindGroupDescriptor {
            label: None,
            layout: &pipeline.get_bind_group_layout(0),
            entries: &entries,
        });
        let mut encoder = self.encoder();
        let mut pass = encoder.begin_compute_pass(&ComputePassDescriptor::default());
        pass.set_pipeline(pipeline);
        pass.set_bind_group(0, &group, &[]);
        pass.dispatch_workgroups(groups.0, groups.1, 1);
        drop(pass);
        self.submitted(self.queue.submit([encoder.finish()]));
    }

    /// Waits until no more than [`IN_FLIGHT`] are left. A device that does not go on is [`Self::check`]'s to say.
    fn submitted(&self, last: SubmissionIndex) {
        self.dispatches.fetch_add(1, Ordering::Relaxed);
        let mut in_flight = self
            .in_flight
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        in_flight.push_back(last);
        while in_flight.len() > IN_FLIGHT {
            let (submission_index, timeout) = (in_flight.pop_front(), None);
            let _ = self.device.poll(PollType::Wait {
                submission_index,
                timeout,
            });
        }
    }

    /// Reads words back, piece by piece.
    pub(crate) fn read(
        &self,
        buffer: &Buffer,
        words: u64,
        mut piece: impl FnMut(&[u32]),
    ) -> Result<(), GpuError> {
        self.check()?;
        let bytes = words * 4;
        let staging = self.device.create_buffer(&BufferDescriptor {
            label: None,
            size: bytes.clamp(4, STAGING_BYTES),
            usage: BufferUsages::MAP_READ | BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let mut from = 0;
        while from < bytes {
            let length = (bytes - from).min(STAGING_BYTES);
            let mut encoder = self.encoder();
            encoder.copy_buffer_to_buffer(buffer, from, &staging, 0, length);
            self.queue.submit([encoder.finish()]);
            staging.map_async(MapMode::Read, 0..length, |_| ());
            let lost = |error: &dyn std::fmt::Display| GpuError::Lost(error.to_string());
            self.device
                .poll(PollType::wait_indefinitely())
                .map_err(|error| lost(&error))?;
            self.check()?;
            let mapped = staging.get_mapped_range(0..length);
            let mapped = mapped.map_err(|error| lost(&error))?;
            let words = mapped.as_chunks::<4>().0;
            let words: Vec<u32> = words.iter().map(|of| u32::from_le_bytes(*of)).collect();
            drop(mapped);
            staging.unmap();
            piece(&words);
            from += length;
        }
        Ok(())
    }

    fn encoder(&self) -> wgpu::CommandEncoder {
        self.device
            .create_command_encoder(&CommandEncoderDescriptor::default())
    }
}

/// The first complaint is the cause, those behind it follow from it.
fn note(fault: &Fault, why: &str) {
    let mut first = fault.lock().unwrap_or_else(PoisonError::into_inner);
    // Drivers write over several lines, and the rest is about our own code.
    let line = why.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    first.get_or_insert(line);
}
