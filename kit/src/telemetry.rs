//! Logs on stderr, metrics for Prometheus. stdout belongs to a role's one ready line.
//!
//! A line that cannot be written (a full disk, a reader that is gone) is lost, and nothing else.
//!
//! `NEARLIGHT_LOG` filters (`info` by default; `edge_node=debug,info` and the like),
//! `NEARLIGHT_LOG_FORMAT=json` makes each line one JSON object with the role in it.

use anyhow::{Context, bail};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::fmt;
use std::io::IsTerminal;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::format::{Format, FormatEvent, FormatFields, Json, Writer};
use tracing_subscriber::fmt::{FmtContext, format, layer};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, registry};

/// From 100 µs, below which no stage of a frame's way is worth telling apart, to ten seconds, past
/// which every wait on a peer is over.
const SECONDS_BUCKETS: [f64; 16] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.016, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0,
    2.5, 10.0,
];

/// Our own life at `info`. The WebRTC core logs every state of every viewer at `info`, and ordinary
/// events of a page that reloads at `warn`; what matters of them the transport says itself.
const DEFAULT_FILTER: &str = "info,rtc=error,rtc_ice=error,rtc_dtls=error,rtc_sctp=error";

/// What writes whole messages of a wire at `trace`, and grants, tickets and secrets with them: whatever the
/// filter says, it is never more talkative than `debug`.
const NO_PAYLOADS: [&str; 2] = ["tungstenite", "tokio_tungstenite"];

/// Starts logging for this process.
pub fn init(role: &'static str) -> anyhow::Result<()> {
    let filter = match std::env::var("NEARLIGHT_LOG") {
        Ok(text) => EnvFilter::try_new(&text)
            .with_context(|| format!("NEARLIGHT_LOG={text} is not a filter; try `info`"))?,
        Err(_) => EnvFilter::new(DEFAULT_FILTER),
    };
    let lines = layer()
        .with_writer(std::io::stderr)
        // It would say so on stderr, of all places, and panic in whoever logs.
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal());
    let filtered = filtered(filter);
    let installed = match std::env::var("NEARLIGHT_LOG_FORMAT").as_deref() {
        Ok("json") => {
            let inner = format().json();
            let lines = lines.json().event_format(RoleFirst { role, inner });
            filtered.with(lines).try_init()
        }
        Ok("text" | "") | Err(_) => filtered.with(lines).try_init(),
        Ok(other) => bail!("NEARLIGHT_LOG_FORMAT={other} is not a format; use `text` or `json`"),
    };
    installed.map_err(|error| anyhow::anyhow!("logging was already started: {error}"))
}

/// What passes `filter`, and carries no payload.
fn filtered(filter: EnvFilter) -> impl Subscriber + for<'a> LookupSpan<'a> + Send + Sync {
    registry().with(filter).with(filter_fn(|line| {
        let program = line.target().split("::").next().unwrap_or_default();
        *line.level() <= Level::DEBUG || !NO_PAYLOADS.contains(&program)
    }))
}

/// How often samples of histograms become counts of their buckets.
const UPKEEP: Duration = Duration::from_secs(5);

/// Installs the metrics recorder of this process, once, and hands out what renders it. A thread of
/// its own keeps it small for as long as the process lives.
///
/// # Panics
/// If something else has installed a recorder, which no role does, or if no thread is to be had.
pub fn prometheus() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE
        .get_or_init(|| {
            let handle = PrometheusBuilder::new()
                .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS_BUCKETS)
                .expect("the buckets are not empty")
                .install_recorder()
                .expect("this is the only recorder of the process");
            keep_small(handle.clone(), UPKEEP_THREAD, UPKEEP);
            handle
        })
        .clone()
}

/// Sums up `every` so often what histograms were given. The recorder keeps each sample until then or
/// until it is scraped, and nobody has to scrape a role: at sixty frames a second those of one
/// session are hundreds of megabytes a day.
fn keep_small(handle: PrometheusHandle, thread: &str, every: Duration) {
    thread::Builder::new()
        .name(thread.to_owned())
        .spawn(move || {
            loop {
                thread::sleep(every);
                handle.run_upkeep();
            }
        })
        .expect("a thread that sleeps takes next to nothing");
}

const UPKEEP_THREAD: &str = "metrics-upkeep";

/// JSON lines that start with the role, so that the logs of all roles can be read as one stream.
struct RoleFirst {
    role: &'static str,
    inner: Format<Json>,
}

impl<S, N> FormatEvent<S, N> for RoleFirst
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::new();
        self.inner
            .format_event(context, Writer::new(&mut line), event)?;
        match line.strip_prefix('{') {
            Some(rest) => write!(writer, "{{\"role\":\"{}\",{rest}", self.role),
            None => writer.write_str(&line),
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use std::io;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_json_line_carries_the_role() {
        let sink = Sink::default();
        let writer = sink.clone();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .event_format(RoleFirst {
                role: "edge-node",
                inner: format().json(),
            })
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(session_id = "ses_1", "started");
        });
        let bytes = sink.0.lock().unwrap().clone();
        let line: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(line["role"], "edge-node");
        assert_eq!(line["fields"]["session_id"], "ses_1");
    }

    #[test]
    fn what_writes_payloads_is_as_quiet_as_the_filter_and_never_says_all() {
        let lines = |filter| {
            let sink = Sink::default();
            let writer = sink.clone();
            let lines = layer().with_ansi(false).with_writer(move || writer.clone());
            let subscriber = filtered(EnvFilter::new(filter)).with(lines);
            tracing::subscriber::with_default(subscriber, || {
                tracing::trace!(target: "tungstenite::protocol", "a grant");
                tracing::debug!(target: "tungstenite::handshake::client", "shook hands");
                tracing::trace!(target: "nearlight_kit", "ours");
            });
            let bytes = sink.0.lock().unwrap().clone();
            let text = String::from_utf8(bytes).unwrap();
            ["a grant", "shook hands", "ours"].map(|line| text.contains(line))
        };
        assert_eq!(lines(DEFAULT_FILTER), [false, false, false]);
        assert_eq!(lines("trace"), [false, true, true]);
        assert_eq!(lines("tungstenite=trace"), [false, true, false]);
    }

    #[test]
    fn the_recorder_is_installed_once() {
        let first = prometheus();
        let again = prometheus();
        assert_eq!(first.render(), again.render());
    }

    fn threads() -> Vec<String> {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let names = tasks.filter_map(|task| {
            // A thread may end while it is looked at.
            std::fs::read_to_string(task.ok()?.path().join("comm")).ok()
        });
        names.map(|name| name.trim().to_owned()).collect()
    }

    fn resident_kib() -> usize {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.unwrap().trim().trim_end_matches(" kB");
        kib.parse().unwrap()
    }

    #[test]
    fn samples_that_nobody_scrapes_take_no_memory() {
        let recorder = PrometheusBuilder::new().build_recorder();
        keep_small(recorder.handle(), "of-a-test", Duration::from_millis(1));
        let frames = metrics::with_local_recorder(&recorder, || metrics::histogram!("frames"));
        frames.record(1.0);
        let before = resident_kib();
        // 128 MiB, if each is kept.
        for sample in 0..8 << 20 {
            frames.record(f64::from(sample));
            if sample % (1 << 16) == 0 {
                thread::sleep(Duration::from_millis(4));
            }
        }
        let grown = resident_kib().saturating_sub(before);
        assert!(grown < 32 << 10, "{grown} KiB");
    }

    #[test]
    fn a_role_s_recorder_is_kept_small() {
        prometheus();
        // The thread gives itself its name.
        let patience = std::time::Instant::now() + Duration::from_secs(30);
        while !threads().iter().any(|name| name == UPKEEP_THREAD) {
            assert!(std::time::Instant::now() < patience, "{:?}", threads());
            thread::yield_now();
        }
    }
}
