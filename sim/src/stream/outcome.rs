//! What a run measured, and figures of it over spans of time.

/// A span of a run, microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// From here on.
    pub from_us: u64,
    /// Up to here.
    pub to_us: u64,
}

impl Span {
    /// From and to, in seconds.
    pub const fn seconds(from: u64, to: u64) -> Self {
        Self {
            from_us: from * 1_000_000,
            to_us: to * 1_000_000,
        }
    }

    fn contains(&self, at_us: u64) -> bool {
        (self.from_us..self.to_us).contains(&at_us)
    }
}

/// What a run measured, each with its time.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The queue that each packet of ours met.
    queues: Vec<(u64, u64)>,
    /// Bytes of picture and sound that arrived for the first time, with their headers.
    useful: Vec<(u64, u32)>,
    /// Bytes of the Cubic flow.
    cubic: Vec<(u64, u64)>,
    /// When a frame was shown, and how long after it was encoded.
    frames: Vec<(u64, u64)>,
    /// The encoder's target and the controller's rate, ten times a second.
    targets: Vec<(u64, u32, u32)>,
    /// What the path was said to carry, as often.
    paths: Vec<(u64, u32)>,
    /// When the encoder was asked to wait.
    holds: Vec<u64>,
    /// How long the pacer kept each packet of the picture.
    paced: Vec<(u64, u64)>,
}

impl Outcome {
    pub(super) fn waited(&mut self, at_us: u64, queued_us: u64) {
        self.queues.push((at_us, queued_us));
    }

    pub(super) fn useful(&mut self, at_us: u64, bytes: u32) {
        self.useful.push((at_us, bytes));
    }

    pub(super) fn cubic(&mut self, at_us: u64, bytes: u64) {
        self.cubic.push((at_us, bytes));
    }

    pub(super) fn shown(&mut self, at_us: u64, encoded_us: u64) {
        self.frames.push((at_us, at_us - encoded_us));
    }

    pub(super) fn target(&mut self, at_us: u64, kbps: u32, rate: u32) {
        self.targets.push((at_us, kbps, rate));
    }

    pub(super) fn path(&mut self, at_us: u64, kbps: u32) {
        self.paths.push((at_us, kbps));
    }

    pub(super) fn held(&mut self, at_us: u64) {
        self.holds.push(at_us);
    }

    pub(super) fn paced(&mut self, at_us: u64, encoded_us: u64) {
        self.paced.push((at_us, at_us - encoded_us));
    }

    /// To what share of what it was before, 0 to 1, the path was said to fall over a span.
    pub fn path_fell_to(&self, span: Span) -> f64 {
        let within = self.paths.iter().filter(|(at, _)| span.contains(*at));
        let (_, share) = within.fold((1, 1.0), |(most, share), (_, kbps)| {
            let most = most.max(*kbps);
            (most, f64::min(share, f64::from(*kbps) / f64::from(most)))
        });
        share
    }

    /// The longest that the pacer kept a packet over a span, microseconds.
    pub fn paced_us(&self, span: Span) -> u64 {
        quantile(1.0, &[span], &self.paced)
    }

    /// How often the encoder was asked to wait over a span.
    pub fn holds(&self, span: Span) -> usize {
        self.holds.iter().filter(|at| span.contains(**at)).count()
    }

    /// The share of packets (0 to 1) that met a queue of at most the result, microseconds, over the
    /// spans.
    pub fn queue_us(&self, share: f64, spans: &[Span]) -> u64 {
        quantile(share, spans, &self.queues)
    }

    /// The same of the time from a frame's encoding to its showing.
    pub fn frame_us(&self, share: f64, spans: &[Span]) -> u64 {
        quantile(share, spans, &self.frames)
    }

    /// Useful kbit/s over a span.
    pub fn useful_kbps(&self, span: Span) -> f64 {
        rate(span, self.useful.iter().map(|(at, b)| (*at, u64::from(*b))))
    }

    /// The Cubic flow's kbit/s over a span.
    pub fn cubic_kbps(&self, span: Span) -> f64 {
        rate(span, self.cubic.iter().copied())
    }

    /// Frames shown per second over a span.
    pub fn fps(&self, span: Span) -> f64 {
        let shown = self.frames.iter().filter(|(at, _)| span.contains(*at));
        shown.count() as f64 * 1e6 / (span.to_us - span.from_us) as f64
    }

    /// The longest time without a new frame within the spans, microseconds.
    pub fn freeze_us(&self, spans: &[Span]) -> u64 {
        let mut longest = 0;
        for span in spans {
            let mut last = span.from_us;
            let within = self.frames.iter().filter(|(at, _)| span.contains(*at));
            for at in within.map(|(at, _)| *at).chain([span.to_us]) {
                longest = longest.max(at - last);
                last = at;
            }
        }
        longest
    }

    /// When useful bits first came at `kbps` or more over half a second, after `from_us`.
    pub fn reached_us(&self, kbps: f64, from_us: u64) -> Option<u64> {
        let end = self.useful.last().map_or(0, |(at, _)| *at);
        (from_us..end).step_by(50_000).find(|at| {
            let span = Span {
                from_us: *at,
                to_us: at + 500_000,
            };
            self.useful_kbps(span) >= kbps
        })
    }

    /// How often the encoder got another target, over a span.
    pub fn changes(&self, span: Span) -> usize {
        let within = self.targets.iter().filter(|(at, ..)| span.contains(*at));
        let kbps: Vec<u32> = within.map(|(_, kbps, _)| *kbps).collect();
        kbps.windows(2).filter(|pair| pair[0] != pair[1]).count()
    }

    /// Time, target, rate, the queue's p95 and useful kbit/s, second by second, to read a run.
    pub fn trace(&self) -> String {
        let mut text = String::new();
        for (at, kbps, rate) in self.targets.iter().step_by(5) {
            let span = Span {
                from_us: *at,
                to_us: at + 500_000,
            };
            let queue = self.queue_us(0.95, &[span]) / 1000;
            let useful = self.useful_kbps(span);
            let cubic = self.cubic_kbps(span);
            let line = format!(
                "{:6.1} s target {kbps:6} rate {rate:6} queue {queue:4} ms useful {useful:7.0} cubic {cubic:7.0} fps {:3.0}\n",
                *at as f64 / 1e6,
                self.fps(span),
            );
            text.push_str(&line);
        }
        text
    }
}

fn quantile(share: f64, spans: &[Span], samples: &[(u64, u64)]) -> u64 {
    let within = samples
        .iter()
        .filter(|(at, _)| spans.iter().any(|span| span.contains(*at)));
    let mut values: Vec<u64> = within.map(|(_, value)| *value).collect();
    values.sort_unstable();
    let index = ((values.len() as f64 * share) as usize).min(values.len().saturating_sub(1));
    values.get(index).copied().unwrap_or(0)
}

fn rate(span: Span, bytes: impl Iterator<Item = (u64, u64)>) -> f64 {
    let within = bytes.filter(|(at, _)| span.contains(*at));
    let total: u64 = within.map(|(_, bytes)| bytes).sum();
    (total * 8) as f64 * 1000.0 / (span.to_us - span.from_us) as f64
}
