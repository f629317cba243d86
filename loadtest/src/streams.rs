//! `loadtest fleet`: what a control stream costs a broker, and how a fleet comes back.
//!
//! Real nodes' streams by the thousand (mTLS, WebSocket, heartbeats; [`crate::fleet`]) against one real
//! broker with the settings that it carries. Three things happen to them:
//!
//! 1. They attach, and beat three times each: memory and CPU a stream.
//! 2. All lose their streams at once and come back: how long that takes, and what memory is left.
//! 3. The broker is killed with -9 and started again, while sessions are created at a steady rate: how
//!    long until all are back, and how long creating takes meanwhile.
//!
//! A time to create counts from the arrival that was scheduled, as in [`crate::sessions`].

use crate::edge::{cpu_s, resident_kib};
use crate::fleet::{Done, Fleet, Shape};
use crate::sessions::http::Client;
use crate::sessions::process::{Process, Setup};
use anyhow::{Result, ensure};
use bytes::Bytes;
use hyper::Method;
use serde::Serialize;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::time::Instant;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);
/// Longest wait for a fleet to be back.
const BACK_WITHIN: Duration = Duration::from_secs(600);
/// Heartbeats of each node before memory is looked at.
const BEATS: u64 = 3;
/// Times to create are told by windows of so many seconds.
const WINDOW_S: u64 = 10;
/// How long sessions are created after the restart.
const CREATE_FOR: Duration = Duration::from_secs(120);
const APP: &str = "calibrate";

/// Control streams by the thousand.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// How many.
    #[arg(long, default_value_t = 5000)]
    streams: usize,
    /// Slots of each node.
    #[arg(long, default_value_t = 4)]
    slots: usize,
    /// Sessions created a second while the broker is restarted.
    #[arg(long, default_value_t = 50)]
    rate: u32,
    /// The ledger: a postgres:// URL [default: a file in --data].
    #[arg(long)]
    ledger: Option<String>,
    /// An empty directory for the broker's data.
    #[arg(long)]
    data: PathBuf,
    /// The broker's program [default: the one beside this one].
    #[arg(long)]
    broker: Option<PathBuf>,
}

/// What was measured.
#[derive(Debug, Serialize)]
struct Report {
    streams: usize,
    /// Of the broker before the first stream, KiB.
    rss_kib_before: u64,
    /// With every stream up, after three heartbeats each.
    rss_kib: u64,
    rss_kib_per_stream: f64,
    attach_s: f64,
    /// CPU of the broker for one attach, milliseconds.
    attach_cpu_ms: f64,
    /// CPU of the broker for all heartbeats, cores.
    idle_cores: f64,
    storm: Back,
    /// Memory after the storm over memory before it.
    rss_after_storm: f64,
    restart: Back,
    /// Over the longest back-off: 1.5 is the aim.
    restart_over_backoff_cap: f64,
    /// From the restart, by ten seconds.
    creates: Vec<Window>,
}

/// How a fleet came back.
#[derive(Debug, Serialize)]
struct Back {
    /// Until half of the streams, and all, were up again, seconds.
    half_s: f64,
    all_s: f64,
    dials: u64,
    rss_kib: u64,
}

/// Sessions created within some seconds.
#[derive(Debug, Serialize)]
struct Window {
    /// When it began, seconds after the restart.
    from_s: u64,
    created: usize,
    /// Refused, or not answered.
    failed: usize,
    /// Of all that were asked for: `None` where so many failed that there is no such time.
    ms_p50: Option<f64>,
    ms_p99: Option<f64>,
}

/// Runs it; prints the report as JSON. `false` if creating sessions still failed at the end. A stream that does not
/// come back is an error.
///
/// # Errors
/// Nothing could be measured.
pub fn run(args: &Args) -> Result<bool> {
    let report = crate::report::measured(measure(args))?;
    let last = report.creates.last();
    Ok(last.is_some_and(|last| last.created > 0 && last.failed == 0))
}

async fn measure(args: &Args) -> Result<Report> {
    let mut setup = Setup::on(&args.data, args.broker.as_deref(), args.ledger.as_deref())?;
    let broker = Process::start(&setup).await?;
    setup.node_listen = Some(broker.node_listen);
    let pid = broker.pid()?;
    let (before, cpu) = (resident_kib(pid)?, cpu_s(pid)?);
    let shape = Shape {
        nodes: args.streams,
        slots: args.slots,
        hold: Duration::from_secs(1),
        redials: true,
    };
    let began = Instant::now();
    let fleet = Fleet::attach(&setup.pki(), broker.node_listen, shape).await?;
    let attach_s = began.elapsed().as_secs_f64();
    let attach_cpu_ms = (cpu_s(pid)? - cpu) * 1000.0 / args.streams as f64;
    let (cpu, idle) = (cpu_s(pid)?, Instant::now());
    beats(&fleet.done, args.streams).await;
    let idle_cores = (cpu_s(pid)? - cpu) / idle.elapsed().as_secs_f64();
    let rss = resident_kib(pid)?;

    fleet.hang_up();
    let mut storm = back(&fleet.done, args.streams, Instant::now()).await?;
    beats(&fleet.done, args.streams).await;
    storm.rss_kib = resident_kib(pid)?;

    broker.kill().await?;
    let broker = Process::start(&setup).await?;
    let key = setup.key()?;
    let restarted = Instant::now();
    let (restart, creates) = tokio::join!(
        back(&fleet.done, args.streams, restarted),
        create(broker.listen, &key, args.rate, restarted),
    );
    let mut restart = restart?;
    restart.rss_kib = resident_kib(broker.pid()?)?;
    let cap_s = fleet.backoff_max().as_secs_f64();
    Ok(Report {
        streams: args.streams,
        rss_kib_before: before,
        rss_kib: rss,
        rss_kib_per_stream: rss.saturating_sub(before) as f64 / args.streams as f64,
        attach_s,
        attach_cpu_ms,
        idle_cores,
        rss_after_storm: storm.rss_kib as f64 / rss as f64,
        storm,
        restart_over_backoff_cap: restart.all_s / cap_s,
        restart,
        creates: windows(creates),
    })
}

/// Waits until each node has beaten its three times.
async fn beats(done: &Done, streams: usize) {
    let from = done.beats.load(Relaxed);
    let wanted = BEATS * streams as u64;
    while done.beats.load(Relaxed) - from < wanted {
        tokio::time::sleep(LOOK).await;
    }
}

/// Waits until every stream is up again that was lost at `from`, or a moment later.
async fn back(done: &Done, streams: usize, from: Instant) -> Result<Back> {
    let dials = done.dials.load(Relaxed);
    let attached = || usize::try_from(done.attached.load(Relaxed)).unwrap_or(usize::MAX);
    // Streams that were lost without anybody's noticing are noticed by the next heartbeat.
    while attached() > streams / 2 {
        ensure!(from.elapsed() < BACK_WITHIN, "the streams are not lost");
        tokio::time::sleep(LOOK).await;
    }
    let mut half_s = None;
    loop {
        let up = attached();
        let now_s = from.elapsed().as_secs_f64();
        if up >= streams.div_ceil(2) {
            half_s.get_or_insert(now_s);
        }
        if up == streams {
            return Ok(Back {
                half_s: half_s.unwrap_or(now_s),
                all_s: now_s,
                dials: done.dials.load(Relaxed) - dials,
                rss_kib: 0,
            });
        }
        ensure!(
            from.elapsed() < BACK_WITHIN,
            "{} of {streams} streams did not come back",
            streams - up
        );
        tokio::time::sleep(LOOK).await;
    }
}

/// A session that was asked for: when, after the restart, and how long it took, if it came to one.
#[derive(Clone, Copy, Debug)]
struct Created {
    at: Duration,
    took: Option<Duration>,
}

async fn create(broker: SocketAddr, key: &str, rate: u32, from: Instant) -> Vec<Created> {
    let mut asked = tokio::task::JoinSet::new();
    let key: Arc<str> = key.into();
    let mut clients: Vec<Client> = Vec::new();
    let mut created = Vec::new();
    for n in 0.. {
        let at = Duration::from_secs(1) * n / rate;
        if at >= CREATE_FOR {
            break;
        }
        tokio::time::sleep_until(from + at).await;
        while let Some(done) = asked.try_join_next() {
            if let Ok((client, one)) = done {
                clients.push(client);
                created.push(one);
            }
        }
        let client = clients.pop().unwrap_or_else(|| Client::new(broker, &key));
        asked.spawn(create_one(client, from + at, at));
    }
    let rest = asked.join_all().await;
    created.extend(rest.into_iter().map(|(_, one)| one));
    created
}

async fn create_one(mut client: Client, scheduled: Instant, at: Duration) -> (Client, Created) {
    let key = nearlight_kit::ids::request();
    let body = Bytes::from(format!("{{\"app\":\"{APP}\"}}"));
    let asked = client.ask(Method::POST, "/v1/sessions", Some(key.as_str()), body);
    let is_created = matches!(asked.await, Ok((201, _)));
    let took = is_created.then(|| scheduled.elapsed());
    (client, Created { at, took })
}

fn windows(created: Vec<Created>) -> Vec<Window> {
    let of = |from_s: u64| {
        let within = |c: &&Created| (from_s..from_s + WINDOW_S).contains(&c.at.as_secs());
        let all: Vec<&Created> = created.iter().filter(within).collect();
        let took = all.iter().filter_map(|c| c.took);
        let mut took: Vec<f64> = took.map(|took| took.as_secs_f64() * 1000.0).collect();
        took.sort_unstable_by(f64::total_cmp);
        // What failed took longer than anything.
        let quantile = |q: f64| {
            let at = (q * all.len() as f64).ceil() as usize;
            took.get(at.saturating_sub(1)).copied()
        };
        Window {
            from_s,
            created: took.len(),
            failed: all.len() - took.len(),
            ms_p50: quantile(0.5),
            ms_p99: quantile(0.99),
        }
    };
    let windows = CREATE_FOR.as_secs() / WINDOW_S;
    (0..windows).map(|n| of(n * WINDOW_S)).collect()
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn windows_tell_when_creating_was_slow_and_when_it_failed() {
        let one = |s: u64, ms: Option<u64>| Created {
            at: Duration::from_secs(s),
            took: ms.map(Duration::from_millis),
        };
        let told = windows(vec![
            one(0, Some(5)),
            one(9, Some(900)),
            one(10, None),
            one(19, Some(7)),
        ]);
        let shown = |w: &Window| (w.from_s, w.created, w.failed, w.ms_p50, w.ms_p99);
        assert_eq!(shown(&told[0]), (0, 2, 0, Some(5.0), Some(900.0)));
        assert_eq!(shown(&told[1]), (10, 1, 1, Some(7.0), None));
        assert_eq!((told.len(), told[2].created), (12, 0));
        assert_eq!(told[2].ms_p50, None, "nothing is no short time");
    }
}
