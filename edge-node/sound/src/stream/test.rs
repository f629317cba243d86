//! The stream's policy: when it asks, starts, runs dry and ends.

use super::*;
use proptest::prelude::*;
use pulseaudio::protocol::SampleFormat;

const TICK: usize = 480;
/// 20 ms of 48 kHz stereo in 16 bits, and 10 ms.
const TARGET: usize = 3_840;
const HALF: usize = 1_920;

struct Bench {
    stream: Stream,
    scratch: Scratch,
    signals: Vec<Signal>,
    glitch_ms: u64,
}

impl Bench {
    fn new(attr: BufferAttr) -> Self {
        let spec = SampleSpec {
            format: SampleFormat::S16Le,
            channels: 2,
            sample_rate: RATE,
        };
        let stream = Stream::new(Setup {
            index: 0,
            spec,
            map: ChannelMap::stereo(),
            attr,
            volume: ChannelVolume::norm(2),
            muted: false,
            corked: false,
            variable_rate: false,
            props: Props::new(),
        });
        Self {
            stream,
            scratch: Scratch::default(),
            signals: Vec::new(),
            glitch_ms: 0,
        }
    }

    fn usual() -> Self {
        Self::new(BufferAttr::default())
    }

    /// Writes so many bytes of a constant.
    fn write(&mut self, bytes: usize) -> Vec<Signal> {
        let samples: Vec<u8> = [0, 0x40].into_iter().cycle().take(bytes).collect();
        self.stream
            .write(Seek::Write, 0, &samples, &mut self.signals)
            .unwrap();
        std::mem::take(&mut self.signals)
    }

    /// A tick: how many of its frames sounded, and what it signalled.
    fn tick(&mut self) -> (usize, Vec<Signal>) {
        let mut out = [[0.0; 2]; TICK];
        self.glitch_ms += self
            .stream
            .mix(&mut out, &mut self.scratch, &mut self.signals);
        let heard = out.iter().filter(|frame| frame[0] > 0.4).count();
        (heard, std::mem::take(&mut self.signals))
    }
}

#[test]
fn it_starts_when_enough_is_there_and_asks_for_what_it_played() {
    let mut bench = Bench::usual();
    assert_eq!(bench.write(HALF), []);
    assert_eq!(bench.tick(), (0, vec![]));
    assert_eq!(bench.write(HALF), []);
    let asked = Signal::Request(HALF as u32);
    assert_eq!(bench.tick(), (TICK, vec![Signal::Started, asked]));
    assert_eq!(bench.write(HALF), []);
    assert_eq!(bench.tick(), (TICK, vec![asked]));
    assert_eq!(bench.stream.indices(), (TARGET as i64, 3 * HALF as i64));
}

#[test]
fn running_dry_is_told_once_and_counted_when_it_ends() {
    let mut bench = Bench::usual();
    bench.write(TARGET);
    bench.tick();
    bench.tick();
    let (heard, signals) = bench.tick();
    let more = Signal::Request(HALF as u32);
    assert_eq!(heard, 0);
    assert_eq!(signals, [Signal::Underflow(TARGET as i64), more]);
    assert_eq!(bench.tick(), (0, vec![]));
    assert_eq!(bench.glitch_ms, 0);
    bench.write(TARGET);
    let (heard, signals) = bench.tick();
    assert_eq!((heard, signals[0]), (TICK, Signal::Started));
    assert_eq!(bench.glitch_ms, 20);
}

/// The app's queue after it was asked for the first time, was late `times` times and then wrote
/// what it was asked for during so many ticks.
fn queue_after(times: usize, ticks: usize) -> usize {
    let mut bench = Bench::usual();
    let mut asked = TARGET;
    let sum = |signals: &[Signal]| {
        let request = |signal: &Signal| match signal {
            Signal::Request(bytes) => *bytes as usize,
            _ => 0,
        };
        signals.iter().map(request).sum::<usize>()
    };
    for _ in 0..times {
        let mut signals = bench.write(std::mem::take(&mut asked));
        while !signals.iter().any(|s| matches!(s, Signal::Underflow(_))) {
            asked += sum(&signals);
            signals = bench.tick().1;
        }
        asked += sum(&signals);
    }
    for _ in 0..ticks {
        asked = sum(&bench.write(asked)) + sum(&bench.tick().1);
    }
    bench.write(asked);
    bench.stream.queue.len()
}

#[test]
fn who_is_late_gets_a_longer_queue_until_all_is_well_again() {
    assert_eq!(queue_after(0, 10), TARGET);
    assert_eq!(queue_after(1, 10), TARGET + HALF);
    assert_eq!(queue_after(3, 10), TARGET + 3 * HALF);
    assert_eq!(queue_after(40, 10), TARGET + 6 * HALF);
    assert_eq!(queue_after(3, 2_500), TARGET + HALF);
    assert_eq!(queue_after(3, 10_000), TARGET);
}

#[test]
fn a_pause_of_the_app_is_no_underrun() {
    let mut bench = Bench::usual();
    bench.write(TARGET);
    for _ in 0..200 {
        bench.tick();
    }
    bench.write(TARGET);
    bench.tick();
    assert_eq!(bench.glitch_ms, 0);
}

#[test]
fn a_drain_ends_when_the_last_sample_is_played() {
    let mut bench = Bench::usual();
    bench.write(HALF + 40);
    bench.stream.drain(9, &mut bench.signals);
    assert_eq!(bench.tick().0, TICK);
    let (heard, signals) = bench.tick();
    assert_eq!(heard, 10);
    assert!(!signals.contains(&Signal::Drained(9)));
    assert_eq!(bench.tick(), (0, vec![Signal::Drained(9)]));
    assert!(!bench.stream.is_playing());
}

#[test]
fn a_second_drain_answers_the_first() {
    let mut bench = Bench::usual();
    bench.stream.drain(1, &mut bench.signals);
    bench.stream.drain(2, &mut bench.signals);
    assert_eq!(bench.tick().1, [Signal::Drained(1), Signal::Drained(2)]);
}

#[test]
fn a_corked_stream_holds_its_samples() {
    let mut bench = Bench::usual();
    bench.write(TARGET);
    bench.stream.cork(true);
    assert_eq!(bench.tick(), (0, vec![]));
    bench.stream.cork(false);
    assert_eq!(bench.tick().0, TICK);
}

#[test]
fn trigger_does_not_wait_and_prebuf_does_again() {
    let mut bench = Bench::usual();
    bench.write(HALF);
    bench.stream.trigger(&mut bench.signals);
    assert_eq!(bench.tick().0, TICK);
    bench.stream.prebuffer(&mut bench.signals);
    bench.write(HALF);
    assert_eq!(bench.tick().0, 0);
}

#[test]
fn a_flush_asks_anew() {
    let mut bench = Bench::usual();
    bench.write(TARGET);
    bench.stream.flush(&mut bench.signals);
    assert_eq!(bench.signals, [Signal::Request(TARGET as u32)]);
    assert_eq!(bench.stream.indices(), (0, 0));
}

#[test]
fn without_prebuf_it_plays_from_the_first_sample() {
    let mut bench = Bench::new(BufferAttr {
        pre_buffering: 0,
        ..BufferAttr::default()
    });
    bench.tick();
    bench.write(400);
    assert_eq!(bench.tick().0, 100);
}

#[test]
fn seeks_overwrite_skip_and_stay_within_the_buffer() {
    let mut bench = Bench::usual();
    bench.write(TARGET);
    let mut seek = |seek, offset, bytes: usize| {
        let done = bench
            .stream
            .write(seek, offset, &vec![1; bytes], &mut bench.signals);
        done.map(|()| (bench.stream.indices().1, std::mem::take(&mut bench.signals)))
    };
    assert_eq!(seek(Seek::Write, -400, 400).unwrap().0, TARGET as i64);
    assert_eq!(seek(Seek::Read, 100, 4).unwrap().0, 104);
    assert_eq!(seek(Seek::Start, -50, 60).unwrap().0, 10);
    let (end, signals) = seek(Seek::End, i64::from(u32::MAX), 8).unwrap();
    assert_eq!(end, i64::from(BUFFER_BYTES_MAX));
    assert_eq!(signals, [Signal::Overflow]);
    assert_eq!(seek(Seek::End, i64::MAX, 8), None);
    assert_eq!(seek(Seek::Start, i64::MIN, 8), None);
}

#[derive(Clone, Debug)]
enum Op {
    Write(u8, i64, usize),
    Tick,
    Cork(bool),
    Flush,
    Trigger,
    Prebuf,
    Drain,
    Attr(u32, u32),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        (0u8..4, -10_000i64..10_000, 0usize..10_000).prop_map(|(s, o, n)| Op::Write(s, o, n)),
        (Just(0), Just(0), 0usize..4_000).prop_map(|(s, o, n)| Op::Write(s, o, n)),
        Just(Op::Tick),
        Just(Op::Tick),
        any::<bool>().prop_map(Op::Cork),
        Just(Op::Flush),
        Just(Op::Trigger),
        Just(Op::Prebuf),
        Just(Op::Drain),
        (any::<u32>(), any::<u32>()).prop_map(|(a, b)| Op::Attr(a, b)),
    ]
}

proptest! {
    #[test]
    fn no_sequence_breaks_the_queue(ops in proptest::collection::vec(op(), 0..100)) {
        let mut bench = Bench::usual();
        let (mut drains, mut drained) = (0, 0);
        for op in ops {
            let stream = &mut bench.stream;
            match op {
                Op::Write(seek, offset, bytes) => {
                    let seek = [Seek::Write, Seek::Start, Seek::Read, Seek::End][usize::from(seek)];
                    let _ = stream.write(seek, offset, &vec![3; bytes], &mut bench.signals);
                }
                Op::Tick => {
                    let mut out = [[0.0; 2]; TICK];
                    stream.mix(&mut out, &mut bench.scratch, &mut bench.signals);
                    prop_assert!(out.iter().flatten().all(|sample| sample.abs() <= 1.0));
                }
                Op::Cork(corked) => stream.cork(corked),
                Op::Flush => stream.flush(&mut bench.signals),
                Op::Trigger => stream.trigger(&mut bench.signals),
                Op::Prebuf => stream.prebuffer(&mut bench.signals),
                Op::Drain => {
                    drains += 1;
                    stream.drain(drains, &mut bench.signals);
                }
                Op::Attr(max_length, target_length) => {
                    let attr = BufferAttr { max_length, target_length, ..BufferAttr::default() };
                    stream.set_attr(attr, &mut bench.signals);
                }
            }
            for signal in bench.signals.drain(..) {
                if let Signal::Drained(seq) = signal {
                    drained += 1;
                    prop_assert_eq!(seq, drained, "each drain is answered once, in order");
                }
            }
            let (read, write) = bench.stream.indices();
            prop_assert!(read <= write);
            prop_assert_eq!(write - read, bench.stream.queue.len() as i64);
            prop_assert!(bench.stream.queue.len() <= bench.stream.setup.attr.max_length as usize);
        }
    }
}
