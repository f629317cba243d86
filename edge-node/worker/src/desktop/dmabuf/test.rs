//! Programs that describe buffers right and wrong. The desktop announces one format on Mesa's
//! renderer by CPU; what it is asked to import is no buffer.

use super::super::rig::Rig;
use super::*;
use smithay::backend::allocator::{Fourcc, Modifier};
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use wayland_client::backend::WaylandError;
use wayland_client::globals::{GlobalListContents, registry_queue_init};
use wayland_client::protocol::wl_buffer::WlBuffer as Buffer;
use wayland_client::protocol::wl_registry::WlRegistry;
use wayland_client::{
    Connection, Dispatch as Listen, DispatchError, EventQueue, QueueHandle, delegate_noop,
    event_created_child,
};
use wayland_protocols::wp::linux_dmabuf::zv1::client::zwp_linux_buffer_params_v1::{
    self as answer, Flags, ZwpLinuxBufferParamsV1 as Params,
};
use wayland_protocols::wp::linux_dmabuf::zv1::client::zwp_linux_dmabuf_feedback_v1::{
    self as feedback, ZwpLinuxDmabufFeedbackV1 as Feedback,
};
use wayland_protocols::wp::linux_dmabuf::zv1::client::zwp_linux_dmabuf_v1::ZwpLinuxDmabufV1 as Dmabuf1;

const DEVICE: u64 = 0xe280;
const XRGB: u32 = Fourcc::Xrgb8888 as u32;
const SIDE: i32 = 64;
const STRIDE: u32 = 256;
/// Halves of a modifier: one of NVIDIA's.
const UNANNOUNCED: (u32, u32) = (0x0300_0000, 0x0060_6014);

/// What a program was answered.
#[derive(Default)]
struct Answers {
    failed: u32,
    created: u32,
    main_device: Option<Vec<u8>>,
    format_table: Vec<u8>,
}

struct Program {
    queue: EventQueue<Answers>,
    answers: Answers,
    dmabuf: Dmabuf1,
}

fn rig() -> Rig {
    let mut rig = Rig::on_gpu();
    let format = Format {
        code: Fourcc::Xrgb8888,
        modifier: Modifier::Linear,
    };
    let display = rig.desktop.display.clone();
    rig.desktop.dmabufs = Dmabufs::announcing(&display, DEVICE, vec![format]);
    rig
}

impl Program {
    fn over(stream: UnixStream) -> Self {
        let connection = Connection::from_socket(stream).unwrap();
        let (globals, queue) = registry_queue_init::<Answers>(&connection).unwrap();
        let dmabuf = globals.bind(&queue.handle(), 4..=5, ()).unwrap();
        Self {
            queue,
            answers: Answers::default(),
            dmabuf,
        }
    }

    fn qh(&self) -> QueueHandle<Answers> {
        self.queue.handle()
    }

    fn params(&self) -> Params {
        self.dmabuf.create_params(&self.qh(), ())
    }

    /// Params with one plane of `file`, all right if that were a buffer.
    fn with_plane(&self, file: &File) -> Params {
        let params = self.params();
        params.add(file.as_fd(), 0, 0, STRIDE, 0, 0);
        params
    }

    /// The protocol error that ended the connection, if one did.
    fn error(&mut self) -> Option<u32> {
        match self.queue.roundtrip(&mut self.answers) {
            Ok(_) => None,
            Err(DispatchError::Backend(WaylandError::Protocol(error))) => Some(error.code),
            Err(other) => panic!("{other}"),
        }
    }
}

fn file() -> File {
    let file = tempfile::tempfile().unwrap();
    file.set_len(u64::from(STRIDE) * SIDE as u64).unwrap();
    file
}

/// How a program ends that does `attack`, and what the session says of it.
fn ends(attack: impl FnOnce(&mut Program) + Send + 'static) -> (Option<u32>, Option<String>) {
    let mut rig = rig();
    let code = rig.serve(|stream| {
        let mut program = Program::over(stream);
        attack(&mut program);
        program.error()
    });
    // Its connection is closed only now, and the desktop still works.
    rig.round();
    let violation = rig.desktop.take_violation();
    assert_eq!(rig.serve(|stream| Program::over(stream).error()), None);
    (code, violation)
}

fn is_cut_off(expected: Error, attack: impl FnOnce(&mut Program) + Send + 'static) {
    let (code, violation) = ends(attack);
    assert_eq!(code, Some(expected as u32), "{expected:?} {violation:?}");
    assert!(violation.is_some_and(|v| v.contains("protocol error")));
}

#[test]
fn sizes_that_no_buffer_has() {
    for (width, height) in [
        (0, SIDE),
        (SIDE, 0),
        (-1, SIDE),
        (SIDE, i32::MIN),
        (1 << 20, 1),
    ] {
        for immediately in [false, true] {
            is_cut_off(Error::InvalidDimensions, move |program| {
                let params = program.with_plane(&file());
                if immediately {
                    let qh = program.qh();
                    params.create_immed(width, height, XRGB, Flags::empty(), &qh, ());
                } else {
                    params.create(width, height, XRGB, Flags::empty());
                }
            });
        }
    }
}

#[test]
fn planes_outside_their_memory() {
    for (offset, stride) in [
        (u32::MAX, 1),
        (1, u32::MAX),
        (0, 1 << 30),
        (1 << 30, 4),
        (1 << 31, 4),
        (i32::MAX as u32 - 3, 4),
        (0, 0),
    ] {
        is_cut_off(Error::OutOfBounds, move |program| {
            let params = program.params();
            params.add(file().as_fd(), 0, offset, stride, 0, 0);
            params.create(SIDE, SIDE, XRGB, Flags::empty());
        });
    }
}

#[test]
fn planes_that_are_missing_twice_there_or_too_many() {
    is_cut_off(Error::Incomplete, |program| {
        let params = program.params();
        params.create(SIDE, SIDE, XRGB, Flags::empty());
    });
    is_cut_off(Error::PlaneSet, |program| {
        let params = program.with_plane(&file());
        params.add(file().as_fd(), 0, 0, STRIDE, 0, 0);
    });
    is_cut_off(Error::PlaneIdx, |program| {
        let params = program.params();
        params.add(file().as_fd(), u32::MAX, 0, STRIDE, 0, 0);
    });
    is_cut_off(Error::AlreadyUsed, |program| {
        let params = program.with_plane(&file());
        for _ in 0..2 {
            params.create(SIDE, SIDE, XRGB, Flags::empty());
        }
    });
}

#[test]
fn formats_that_are_none_or_were_not_announced() {
    for format in [0, u32::MAX, Fourcc::Nv12 as u32] {
        is_cut_off(Error::InvalidFormat, move |program| {
            let params = program.with_plane(&file());
            params.create(SIDE, SIDE, format, Flags::empty());
        });
    }
}

#[test]
fn a_file_that_is_no_buffer_fails_and_nothing_else_happens() {
    // A newer Mesa maps whatever it is given, and draws it; the one of Debian 12 imports nothing.
    let maps_files = !Gpu::software().unwrap().formats().is_empty();
    // The layout that was announced, and one that was not, which no driver gets to see.
    for (high, low) in [(0, 0), (UNANNOUNCED.0, UNANNOUNCED.1)] {
        let (code, violation) = ends(move |program| {
            for _ in 0..100 {
                let params = program.params();
                params.add(file().as_fd(), 0, 0, STRIDE, high, low);
                params.create(SIDE, SIDE, XRGB, Flags::all());
                assert_eq!(program.error(), None);
                params.destroy();
            }
            let created = if maps_files && high == 0 { 100 } else { 0 };
            let answers = &program.answers;
            assert_eq!((answers.failed, answers.created), (100 - created, created));
        });
        assert_eq!((code, violation), (None, None));
    }
    is_cut_off(Error::InvalidWlBuffer, |program| {
        let qh = program.qh();
        let params = program.params();
        let (high, low) = UNANNOUNCED;
        params.add(file().as_fd(), 0, 0, STRIDE, high, low);
        params.create_immed(SIDE, SIDE, XRGB, Flags::empty(), &qh, ());
    });
}

#[test]
fn descriptors_without_end() {
    let (code, violation) = ends(|program| {
        for _ in 0..=DMABUF_PARAMS_MAX {
            program.params();
        }
    });
    assert!(code.is_some());
    assert!(violation.unwrap().contains("in preparation"));
}

#[test]
fn apps_are_told_the_device_and_what_it_takes() {
    let answers = rig().serve(|stream| {
        let mut program = Program::over(stream);
        program.dmabuf.get_default_feedback(&program.qh(), ());
        assert_eq!(program.error(), None);
        program.answers
    });
    assert_eq!(answers.main_device.unwrap(), DEVICE.to_ne_bytes());
    let mut table = XRGB.to_ne_bytes().to_vec();
    // Padding, and the linear layout's number.
    table.extend([0; 4]);
    table.extend(0_u64.to_ne_bytes());
    assert_eq!(answers.format_table, table);
}

#[test]
fn without_a_gpu_nothing_is_announced() {
    for mut rig in [Rig::new(None), Rig::on_gpu()] {
        // Mesa's renderer by CPU imports nothing, so there is nothing to announce either.
        let bound = rig.serve(|stream| {
            let connection = Connection::from_socket(stream).unwrap();
            let (globals, queue) = registry_queue_init::<Answers>(&connection).unwrap();
            globals
                .bind::<Dmabuf1, _, _>(&queue.handle(), 1..=5, ())
                .is_ok()
        });
        assert_eq!(bound, !rig.desktop.dmabufs.formats.is_empty());
    }
}

impl Listen<Params, ()> for Answers {
    fn event(
        answers: &mut Self,
        _: &Params,
        event: answer::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        match event {
            answer::Event::Created { .. } => answers.created += 1,
            answer::Event::Failed => answers.failed += 1,
            _ => {}
        }
    }

    event_created_child!(Self, Params, [answer::EVT_CREATED_OPCODE => (Buffer, ())]);
}

impl Listen<Feedback, ()> for Answers {
    fn event(
        answers: &mut Self,
        _: &Feedback,
        event: feedback::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        match event {
            feedback::Event::MainDevice { device } => answers.main_device = Some(device),
            feedback::Event::FormatTable { fd, size } => {
                let mut table = vec![0; size as usize];
                std::os::unix::fs::FileExt::read_exact_at(&File::from(fd), &mut table, 0).unwrap();
                answers.format_table = table;
            }
            _ => {}
        }
    }
}

impl Listen<WlRegistry, GlobalListContents> for Answers {
    fn event(
        _: &mut Self,
        _: &WlRegistry,
        _: wayland_client::protocol::wl_registry::Event,
        _: &GlobalListContents,
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
    }
}

delegate_noop!(Answers: ignore Dmabuf1);
delegate_noop!(Answers: ignore Buffer);
