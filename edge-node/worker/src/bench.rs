//! The encoder alone: what a frame costs without a desktop, a link or a viewer. The same encoder,
//! settings and threads as a session's, fed at the display's rate with BGRx frames, one conversion
//! included. A session's own figures are held against this one.

use crate::cli::Options;
use crate::clock::mono_us;
use crate::encode::form::Form;
use crate::encode::ladder::Settings;
use crate::encode::picture::{Order, Pictures};
use crate::encode::pipeline::{Output, Pipeline};
use crate::encode::probe;
use anyhow::{Context, bail};
use nearlight_protocol::id::SessionId;
use nearlight_stream::marker::{Key, Pen};
use nix::sys::resource::{UsageWho, getrusage};
use serde::Serialize;
use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

/// Frames that do not count: caches, threads and the rate control warm up.
const WARM_UP: u32 = 30;
/// Frames held in memory; longer recordings are cut.
const FRAMES_MAX: usize = 120;

/// What was measured. Times are microseconds.
#[derive(Debug, Serialize)]
struct Report {
    encoder: &'static str,
    width: u32,
    height: u32,
    hz: u32,
    kbps: u32,
    threads: u32,
    frames: usize,
    bytes_per_frame: usize,
    /// What the encoder delivered of `kbps`.
    kbps_delivered: u64,
    /// Access units, bytes.
    bytes: Spread,
    convert: Spread,
    encode: Spread,
    total: Spread,
    /// CPU of this process, percent of a core.
    cpu_percent: f64,
}

#[derive(Debug, Serialize)]
struct Spread {
    p50: u64,
    p90: u64,
    p99: u64,
}

/// Runs the benchmark and returns its report as text.
///
/// # Errors
/// If there is no encoder or the frames cannot be read.
pub fn run(options: &Options) -> anyhow::Result<String> {
    let (width, height) = options.display();
    let pictures = Pictures::new((width, height), 100, options.hz)?;
    let settings = Settings {
        shape: pictures.shape(),
        threads: options.threads,
        kbps: options.kbps,
    };
    let frame_bytes = (width * height * 4) as usize;
    let frames = match &options.bench_encoder {
        Some(path) => load(path, frame_bytes)?,
        None => synthetic(width as usize, height as usize),
    };
    let ladder = match &options.encoders[..] {
        [] => probe::probe(),
        known => probe::trusted(known),
    };
    let recipe = ladder
        .into_iter()
        .find(|recipe| recipe.codec == options.codec)
        .with_context(|| format!("no encoder for {:?} works here", options.codec))?;
    let (tell, told) = sync_channel(16);
    let pipeline = Pipeline::start(recipe, &settings, Form::Memory, move |output| {
        // The loop below reads one answer for each picture, so there is always room.
        let _ = tell.try_send(output);
    })?;
    let (samples, cpu_percent) = measure(&pipeline, &told, &pictures, &frames, options.frames)?;
    let spread = |f: fn(&Sample) -> u64| Spread::of(samples.iter().map(f).collect());
    let report = Report {
        encoder: recipe.element,
        width,
        height,
        hz: options.hz,
        kbps: options.kbps,
        threads: options.threads,
        frames: samples.len(),
        bytes_per_frame: samples.iter().map(|s| s.bytes).sum::<usize>() / samples.len().max(1),
        kbps_delivered: samples.iter().map(|s| s.bytes as u64).sum::<u64>()
            * 8
            * u64::from(options.hz)
            / samples.len().max(1) as u64
            / 1000,
        bytes: spread(|s| s.bytes as u64),
        convert: spread(|s| s.convert_us),
        encode: spread(|s| s.encode_us),
        total: spread(|s| s.convert_us + s.encode_us),
        cpu_percent,
    };
    if options.json {
        return Ok(serde_json::to_string(&report)?);
    }
    Ok(format!(
        "{} {width}x{height}@{} {} of {} kbit/s, {} threads: bytes {} / {} / {}, convert {} / {} / {}, encode {} / {} / {}, \
         total {} / {} / {} us (p50 / p90 / p99), {:.1} % of a core",
        report.encoder,
        report.hz,
        report.kbps_delivered,
        report.kbps,
        report.threads,
        report.bytes.p50,
        report.bytes.p90,
        report.bytes.p99,
        report.convert.p50,
        report.convert.p90,
        report.convert.p99,
        report.encode.p50,
        report.encode.p90,
        report.encode.p99,
        report.total.p50,
        report.total.p90,
        report.total.p99,
        report.cpu_percent,
    ))
}

struct Sample {
    convert_us: u64,
    encode_us: u64,
    bytes: usize,
}

fn measure(
    pipeline: &Pipeline,
    told: &Receiver<Output>,
    pictures: &Pictures,
    frames: &[Vec<u8>],
    count: u32,
) -> anyhow::Result<(Vec<Sample>, f64)> {
    let shape = pictures.shape();
    let mut pen = Pen::new(Key::of(&SessionId::from_parts(0, [0; 10])));
    let interval_us = 1_000_000 / u64::from(shape.hz);
    let first_us = mono_us() + interval_us;
    let mut samples = Vec::with_capacity(count as usize);
    let mut began = (first_us, cpu_us()?);
    for (n, frame) in (0..count + WARM_UP).zip(frames.iter().cycle()) {
        let due_us = first_us + u64::from(n) * interval_us;
        std::thread::sleep(Duration::from_micros(due_us.saturating_sub(mono_us())));
        let start_us = mono_us();
        if n == WARM_UP {
            began = (start_us, cpu_us()?);
        }
        let mut canvas = pictures.canvas()?;
        canvas.draw(frame, shape.width * 4, Order::Bgrx)?;
        let picture = canvas.finish(Some(&mut pen), start_us)?;
        let converted_us = mono_us();
        if !pipeline.push(&picture, start_us) {
            bail!("the encoder takes no picture");
        }
        match told.recv_timeout(crate::limits::ENCODE_MAX) {
            Ok(Output::Unit(unit)) if n >= WARM_UP => samples.push(Sample {
                convert_us: converted_us - start_us,
                encode_us: unit.encoded_us - converted_us,
                bytes: unit.data.len(),
            }),
            Ok(Output::Unit(_)) => {}
            Ok(Output::Broken(reason)) => bail!("the encoder broke: {reason}"),
            Err(_) => bail!("the encoder returned nothing"),
        }
    }
    let (began_us, began_cpu_us) = began;
    let wall_us = mono_us().saturating_sub(began_us).max(1);
    let cpu_percent = 100.0 * (cpu_us()? - began_cpu_us) as f64 / wall_us as f64;
    Ok((samples, cpu_percent))
}

/// CPU time of this process so far, all its threads.
fn cpu_us() -> anyhow::Result<i64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let us = |time: nix::sys::time::TimeVal| time.tv_sec() * 1_000_000 + time.tv_usec();
    Ok(us(usage.user_time()) + us(usage.system_time()))
}

impl Spread {
    fn of(mut values: Vec<u64>) -> Self {
        values.sort_unstable();
        let at = |percent: usize| {
            let index = (values.len() * percent / 100).min(values.len().saturating_sub(1));
            values.get(index).copied().unwrap_or(0)
        };
        Self {
            p50: at(50),
            p90: at(90),
            p99: at(99),
        }
    }
}

fn load(path: &Path, frame_bytes: usize) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut files = vec![path.to_path_buf()];
    if path.is_dir() {
        files = std::fs::read_dir(path)?
            .map(|e| Ok(e?.path()))
            .collect::<std::io::Result<_>>()?;
        files.retain(|file| file.extension().is_some_and(|e| e == "bgrx"));
        files.sort();
    }
    let mut frames = Vec::new();
    for file in files {
        let bytes =
            std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let room = FRAMES_MAX - frames.len();
        frames.extend(
            bytes
                .chunks_exact(frame_bytes)
                .take(room)
                .map(<[u8]>::to_vec),
        );
    }
    if frames.is_empty() {
        bail!(
            "{} holds no frame of {frame_bytes} bytes; check --width and --height",
            path.display()
        );
    }
    Ok(frames)
}

/// A textured picture that scrolls, with a bar that moves over it.
fn synthetic(width: usize, height: usize) -> Vec<Vec<u8>> {
    (0..60)
        .map(|n| {
            let mut frame = Vec::with_capacity(width * height * 4);
            for y in 0..height {
                for x in 0..width {
                    let texture = (((x + 4 * n) ^ y) & 0xff) as u8 / 4;
                    let bar = (x + width - 16 * n % width) % width < 32;
                    let level = if bar { 0xf0 } else { 0x30 + texture };
                    frame.extend([level, level / 2 + (y * 64 / height) as u8, texture, 0]);
                }
            }
            frame
        })
        .collect()
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted_values() {
        let spread = Spread::of((1..=100).rev().collect());
        assert_eq!((spread.p50, spread.p90, spread.p99), (51, 91, 100));
        assert_eq!(Spread::of(Vec::new()).p50, 0);
    }

    #[test]
    fn recordings_are_cut_into_frames() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("1.bgrx"), [1; 16]).unwrap();
        std::fs::write(dir.path().join("2.bgrx"), [2; 32]).unwrap();
        std::fs::write(dir.path().join("note.txt"), [3; 64]).unwrap();
        let frames = load(dir.path(), 16).unwrap();
        assert_eq!(frames, [vec![1; 16], vec![2; 16], vec![2; 16]]);
        assert!(load(dir.path(), 1000).is_err());
    }
}
