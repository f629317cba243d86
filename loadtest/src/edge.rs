//! An edge node seen from outside: its listener for operators, and /proc.
//!
//! Does not know its protocol: what is counted here is what the kernel says that the process holds.

use anyhow::{Context, Result};
use nearlight_protocol::id::SessionId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;
use ureq::Agent;

/// The listener answers at once or is broken.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Clock ticks of /proc/PID/stat a second: USER_HZ, which Linux has fixed at 100.
const TICKS_PER_S: f64 = 100.0;

/// An edge node on this machine.
#[derive(Debug)]
pub struct Edge {
    agent: Agent,
    admin: String,
    pid: u32,
}

/// A session in the edge's `/sessions`, as far as it is looked at here.
#[derive(Clone, Debug, Deserialize)]
pub struct EdgeSession {
    /// Which.
    pub session: SessionId,
    /// Its worker's process.
    pub worker_pid: Option<u32>,
    /// Totals of the transport, once there are any.
    pub transport: Option<Totals>,
}

/// Totals of the transport.
#[derive(Clone, Debug, Deserialize)]
pub struct Totals {
    /// Attachments so far.
    pub attachments: u64,
}

/// What a process holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Holdings {
    /// Open file descriptors.
    pub files: usize,
    /// Threads.
    pub threads: usize,
    /// UDP sockets.
    pub udp_sockets: usize,
    /// Tasks of the asynchronous runtime.
    pub tasks: u64,
    /// Viewers connected.
    pub attachments: u64,
}

/// What the process of a worker or a broker holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ProcessHoldings {
    /// Open file descriptors.
    pub files: usize,
    /// Threads.
    pub threads: usize,
}

impl Edge {
    /// The node whose listener for operators is at `admin`, such as `http://127.0.0.1:9900`.
    ///
    /// # Errors
    /// Nothing listens there, or it is of another user.
    pub fn find(admin: &str) -> Result<Self> {
        let address = admin.trim_end_matches('/').rsplit('/').next();
        let port = address.and_then(|address| address.rsplit_once(':')?.1.parse().ok());
        let port: u16 = port.with_context(|| format!("{admin} has no port"))?;
        let pid = listener(port)?.with_context(|| {
            format!("no process that can be looked at listens on port {port}; run as its user")
        })?;
        Ok(Self {
            agent: Agent::config_builder()
                .timeout_global(Some(ANSWER_TIMEOUT))
                // A connection that is kept would be a file and a task of the node's.
                .max_idle_connections(0)
                .build()
                .into(),
            admin: admin.trim_end_matches('/').to_owned(),
            pid,
        })
    }

    /// The agent's process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Its sessions.
    ///
    /// # Errors
    /// It does not answer.
    pub fn sessions(&self) -> Result<Vec<EdgeSession>> {
        Ok(serde_json::from_str(&self.get("/sessions")?)?)
    }

    /// What the agent's process holds.
    ///
    /// # Errors
    /// It is gone.
    pub fn holdings(&self) -> Result<Holdings> {
        let metrics = self.get("/metrics")?;
        let gauge = |name: &str| -> Result<u64> {
            let line = metrics.lines().find_map(|line| {
                let rest = line.strip_prefix(name)?;
                rest.trim().parse::<f64>().ok()
            });
            let value = line.with_context(|| format!("the node's /metrics has no {name}"))?;
            Ok(value as u64)
        };
        let process = process(self.pid);
        let sockets = sockets_of(self.pid)?;
        Ok(Holdings {
            files: count(&process.join("fd"))?,
            threads: count(&process.join("task"))?,
            udp_sockets: udp_inodes(self.pid)?.intersection(&sockets).count(),
            tasks: gauge("edge_tasks ")?,
            attachments: gauge("edge_transport_attachments ")?,
        })
    }

    fn get(&self, path: &str) -> Result<String> {
        let url = format!("{}{path}", self.admin);
        let answer = self.agent.get(&url).header("Connection", "close").call();
        let answer = answer.with_context(|| format!("{url} does not answer"))?;
        Ok(answer.into_body().read_to_string()?)
    }
}

/// What the process of a worker or a broker holds.
///
/// # Errors
/// It is gone.
pub fn process_holdings(pid: u32) -> Result<ProcessHoldings> {
    Ok(ProcessHoldings {
        files: count(&process(pid).join("fd"))?,
        threads: count(&process(pid).join("task"))?,
    })
}

/// CPU time that a process has used, all its threads, seconds.
///
/// # Errors
/// It is gone.
pub fn cpu_s(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(process(pid).join("stat"))?;
    // The name before it may hold anything.
    let (_, fields) = stat
        .rsplit_once(") ")
        .context("/proc/PID/stat has a name")?;
    let mut fields = fields.split(' ').skip(11);
    let mut ticks = || -> Result<f64> {
        let field = fields.next().context("/proc/PID/stat has 52 fields")?;
        Ok(field.parse()?)
    };
    Ok((ticks()? + ticks()?) / TICKS_PER_S)
}

/// CPU time that the threads of a process named `name` have used, nanoseconds.
///
/// # Errors
/// The process is gone.
pub fn threads_cpu_ns(pid: u32, name: &str) -> Result<u64> {
    let mut ns = 0;
    for task in std::fs::read_dir(process(pid).join("task"))? {
        let path = task?.path();
        let comm = std::fs::read_to_string(path.join("comm")).unwrap_or_default();
        if comm.trim() == name {
            let stat = std::fs::read_to_string(path.join("schedstat"))?;
            let first = stat.split(' ').next();
            ns += first
                .context("schedstat has three fields")?
                .parse::<u64>()?;
        }
    }
    Ok(ns)
}

/// Resident memory, KiB.
///
/// # Errors
/// The process is gone.
pub fn resident_kib(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(process(pid).join("status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    Ok(kib.context("/proc/PID/status has VmRSS")?.trim().parse()?)
}

fn process(pid: u32) -> std::path::PathBuf {
    Path::new("/proc").join(pid.to_string())
}

fn count(dir: &Path) -> Result<usize> {
    let entries = std::fs::read_dir(dir).with_context(|| dir.display().to_string())?;
    Ok(entries.count())
}

/// Inodes of the sockets that a process has open.
fn sockets_of(pid: u32) -> Result<BTreeSet<u64>> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(process(pid).join("fd"))? {
        // A descriptor may close while its list is read.
        let Ok(target) = std::fs::read_link(entry?.path()) else {
            continue;
        };
        let target = target.to_string_lossy();
        let inode = target
            .strip_prefix("socket:[")
            .and_then(|rest| rest.strip_suffix(']'));
        found.extend(inode.and_then(|inode| inode.parse::<u64>().ok()));
    }
    Ok(found)
}

/// Inodes of the UDP sockets in a process's network namespace.
fn udp_inodes(pid: u32) -> Result<BTreeSet<u64>> {
    let mut found = BTreeSet::new();
    for table in ["net/udp", "net/udp6"] {
        let text = std::fs::read_to_string(process(pid).join(table)).unwrap_or_default();
        found.extend(table_rows(&text).map(|(_, _, inode)| inode));
    }
    Ok(found)
}

/// Rows of /proc/net/{tcp,udp}: local port, state and inode.
fn table_rows(text: &str) -> impl Iterator<Item = (u16, u8, u64)> {
    text.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (_, port) = fields.get(1)?.rsplit_once(':')?;
        let port = u16::from_str_radix(port, 16).ok()?;
        let state = u8::from_str_radix(fields.get(3)?, 16).ok()?;
        Some((port, state, fields.get(9)?.parse().ok()?))
    })
}

/// The process that listens on a TCP port of this machine.
fn listener(port: u16) -> Result<Option<u32>> {
    const LISTEN: u8 = 0x0a;
    let mut wanted = BTreeSet::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = std::fs::read_to_string(table).unwrap_or_default();
        let rows = table_rows(&text).filter(|(at, state, _)| *at == port && *state == LISTEN);
        wanted.extend(rows.map(|(_, _, inode)| inode));
    }
    for entry in std::fs::read_dir("/proc")? {
        let Ok(pid) = entry?.file_name().to_string_lossy().parse::<u32>() else {
            continue;
        };
        if sockets_of(pid).is_ok_and(|sockets| !sockets.is_disjoint(&wanted)) {
            return Ok(Some(pid));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod test {
    use super::*;
    use std::net::{TcpListener, UdpSocket};

    #[test]
    fn a_listener_is_found_and_so_are_udp_sockets() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let own = std::process::id();
        let port = tcp.local_addr().unwrap().port();
        assert_eq!(listener(port).unwrap(), Some(own));
        let mine = || {
            let all = udp_inodes(own).unwrap();
            all.intersection(&sockets_of(own).unwrap()).count()
        };
        assert!(mine() >= 1);
        drop(udp);
        drop(tcp);
        assert_eq!(listener(port).unwrap(), None);
    }

    #[test]
    fn a_process_has_used_cpu_and_memory() {
        let own = std::process::id();
        assert!(cpu_s(own).is_ok());
        assert!(resident_kib(own).unwrap() > 100);
        assert!(cpu_s(u32::MAX).is_err());
    }
}
