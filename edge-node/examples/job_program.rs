//! What jobs run in the tests of the agent: a small HTTP server that does to its container what it is asked to,
//! hostile things too.
//!
//! `serve PORT`, `flaky PORT` (fails the first two times), `deaf PORT` (hears no SIGTERM), `exit STATUS`, `hog`,
//! `linger`, `greet PORT` (says hello to whoever connects), `meet PORT` (meets the other replicas of its cluster, then
//! serves, and greets on port 8001).
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a program of the tests says where it fails"
)]

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

static SICK: AtomicBool = AtomicBool::new(false);
static CALM: AtomicBool = AtomicBool::new(false);

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["serve", port] => serve(port),
        ["flaky", port] => flaky(port),
        ["deaf", port] => {
            let ignored = nix::sys::signal::SigHandler::SigIgn;
            #[allow(unsafe_code, reason = "nix has no safe way to ignore a signal")]
            // SAFETY: no handler of ours is replaced, and none runs.
            unsafe { nix::sys::signal::signal(nix::sys::signal::SIGTERM, ignored) }.unwrap();
            serve(port);
        }
        ["exit", status] => {
            println!("my last words");
            std::process::exit(status.parse().unwrap());
        }
        ["hog"] => hog(),
        ["linger"] => std::thread::sleep(Duration::from_secs(3600)),
        ["greet", port] => greet(port),
        ["meet", port] => meet(port),
        other => panic!("{other:?}"),
    }
}

fn greet(port: &str) {
    let listener = TcpListener::bind(("0.0.0.0", port.parse().unwrap())).unwrap();
    println!("listening");
    for stream in listener.incoming() {
        // Whoever connected may be gone.
        let _ = stream.unwrap().write_all(b"hello");
    }
}

/// Replica 0 waits until all others have said their number, and tells each how many they are.
fn meet(port: &str) {
    let told = |name: &str| std::env::var(name).unwrap();
    let others: usize = told("NNODES").parse::<usize>().unwrap() - 1;
    let (rank, meeting) = (told("NODE_RANK"), told("MASTER_PORT"));
    if rank == "0" {
        let listener = TcpListener::bind(("0.0.0.0", meeting.parse().unwrap())).unwrap();
        let mut ranks = Vec::new();
        for stream in listener.incoming().take(others) {
            let mut stream = stream.unwrap();
            let mut said = [0; 1];
            stream.read_exact(&mut said).unwrap();
            ranks.push((said[0], stream));
        }
        ranks.sort_by_key(|(rank, _)| *rank);
        let all: String = ranks.iter().map(|(rank, _)| char::from(*rank)).collect();
        for (_, mut stream) in ranks {
            stream.write_all(all.as_bytes()).unwrap();
        }
        fs::write("/tmp/met", all).unwrap();
    } else {
        let at = format!("{}:{meeting}", told("MASTER_ADDR"));
        // It was made before this one started; its program may be behind.
        let mut stream = (0..600)
            .find_map(|_| {
                std::thread::sleep(Duration::from_millis(50));
                TcpStream::connect(&at).ok()
            })
            .expect("replica 0 listens");
        stream.write_all(rank.as_bytes()).unwrap();
        let mut all = String::new();
        stream.read_to_string(&mut all).unwrap();
        fs::write("/tmp/met", all).unwrap();
    }
    println!("met");
    std::thread::spawn(|| greet("8001"));
    serve(port);
}

fn flaky(port: &str) {
    let file = "/tmp/starts";
    let starts = fs::read_to_string(file).map_or(0, |text| text.len()) + 1;
    fs::write(file, "x".repeat(starts)).unwrap();
    println!("start {starts}");
    if starts < 3 {
        std::process::exit(7);
    }
    serve(port);
}

fn serve(port: &str) {
    let listener = TcpListener::bind(("0.0.0.0", port.parse().unwrap())).unwrap();
    println!("listening");
    for stream in listener.incoming() {
        std::thread::spawn(move || answer(stream.unwrap()));
    }
}

fn answer(mut stream: TcpStream) {
    let mut head = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    head.read_line(&mut line).unwrap();
    let Some(path) = line.split(' ').nth(1).map(str::to_owned) else {
        return;
    };
    loop {
        let mut field = String::new();
        if head.read_line(&mut field).unwrap() == 0 || field == "\r\n" {
            break;
        }
    }
    let (verb, rest) = path[1..].split_once('/').unwrap_or((&path[1..], ""));
    let sick = SICK.load(Ordering::Relaxed) && verb == "healthz";
    let status = if sick { "500 Sick" } else { "200 OK" };
    let body = act(verb, rest);
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    // Whoever asked may be gone.
    let _ = stream.write_all(answer.as_bytes());
}

fn act(verb: &str, rest: &str) -> String {
    match verb {
        "sick" => {
            SICK.store(true, Ordering::Relaxed);
            String::new()
        }
        "exit" => std::process::exit(rest.parse().unwrap()),
        "hog" => hog(),
        "say" => {
            println!("{rest}");
            String::new()
        }
        "burn" => burn(rest.parse().unwrap()),
        "scorch" => scorch().to_string(),
        "calm" => {
            CALM.store(true, Ordering::Relaxed);
            String::new()
        }
        "keep" => keep(rest.parse().unwrap()),
        "read" => said(fs::read_to_string(format!("/{rest}"))),
        "touch" => said(fs::write(format!("/{rest}"), "x").map(|()| "wrote".to_owned())),
        "fill" => fill(&format!("/{rest}")).to_string(),
        "connect" => connect(&rest.parse().unwrap()),
        "resolve" => said(
            (rest, 80)
                .to_socket_addrs()
                .map(|all| format!("{:?}", all.collect::<Vec<_>>())),
        ),
        "call" => call(rest),
        "env" => std::env::vars()
            .map(|(k, v)| format!("{k}={v}\n"))
            .collect(),
        "threads" => threads().to_string(),
        "forks" => forks().to_string(),
        "flood" => flood(rest.parse().unwrap()),
        _ => String::new(),
    }
}

/// Computes until the process has had so much CPU time, milliseconds.
fn burn(ms: u64) -> String {
    let clock = nix::time::ClockId::CLOCK_PROCESS_CPUTIME_ID;
    let used = || Duration::from(nix::time::clock_gettime(clock).unwrap());
    while used() < Duration::from_millis(ms) {
        std::hint::spin_loop();
    }
    used().as_millis().to_string()
}

/// Computes on every core that there is until it is told to be calm; on how many.
fn scorch() -> usize {
    let cores = nix::sched::sched_getaffinity(nix::unistd::Pid::this()).unwrap();
    let all = (0..nix::sched::CpuSet::count()).filter(|core| cores.is_set(*core).unwrap());
    let spin = || {
        while !CALM.load(Ordering::Relaxed) {
            std::hint::spin_loop();
        }
    };
    all.map_while(|_| std::thread::Builder::new().spawn(spin).ok())
        .count()
}

/// Has so much memory from now on, MiB.
fn keep(mib: usize) -> String {
    let kept = vec![7_u8; mib * 1024 * 1024];
    Box::leak(kept.into_boxed_slice()).len().to_string()
}

fn said(result: std::io::Result<String>) -> String {
    result.unwrap_or_else(|error| format!("failed: {error}"))
}

fn connect(to: &SocketAddr) -> String {
    match TcpStream::connect_timeout(to, Duration::from_secs(1)) {
        Ok(mut stream) => {
            let mut hello = [0; 5];
            stream
                .set_read_timeout(Some(Duration::from_secs(2)))
                .unwrap();
            said(
                stream
                    .read(&mut hello)
                    .map(|n| format!("connected {}", String::from_utf8_lossy(&hello[..n]))),
            )
        }
        Err(error) => format!("failed: {error}"),
    }
}

/// What the kernel says to a call that takes a right.
fn call(which: &str) -> String {
    use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};
    let result = match which {
        "unshare" => nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS),
        "user" => nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWUSER),
        "chroot" => nix::unistd::chroot("/tmp"),
        "device" => {
            use nix::sys::stat::{Mode, SFlag, makedev, mknod};
            mknod("/tmp/mem", SFlag::S_IFCHR, Mode::S_IRWXU, makedev(1, 1))
        }
        "clock" => {
            let clock = nix::time::ClockId::CLOCK_REALTIME;
            nix::time::clock_settime(clock, nix::sys::time::TimeSpec::new(0, 0))
        }
        "root" => nix::unistd::setuid(nix::unistd::Uid::from_raw(0)),
        "raw" => {
            let protocol = SockProtocol::Icmp;
            let flags = SockFlag::empty();
            socket(AddressFamily::Inet, SockType::Raw, flags, protocol).map(drop)
        }
        other => panic!("{other}"),
    };
    result.map_or_else(|error| format!("{error:?}"), |()| "done".to_owned())
}

/// Writes until nothing more fits; how many MiB did.
fn fill(path: &str) -> usize {
    let opened = OpenOptions::new().create(true).append(true).open(path);
    let Ok(mut file) = opened else { return 0 };
    let mib = vec![7; 1 << 20];
    let mut written = 0;
    while file.write_all(&mib).is_ok() {
        written += 1;
    }
    written
}

/// Threads until no more are to be had; how many there were.
fn threads() -> usize {
    let mut count = 0;
    let forever = || std::thread::sleep(Duration::from_secs(3600));
    while std::thread::Builder::new()
        .stack_size(16 * 1024)
        .spawn(forever)
        .is_ok()
    {
        count += 1;
    }
    count
}

/// Processes until no more are to be had; how many there were. None is left.
fn forks() -> usize {
    let fork = || {
        std::process::Command::new("/proc/self/exe")
            .arg("linger")
            .spawn()
    };
    let children: Vec<_> = std::iter::from_fn(|| fork().ok()).collect();
    let count = children.len();
    for mut child in children {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    count
}

fn flood(mib: usize) -> String {
    let line = format!("{}\n", "flood ".repeat(170));
    let mut out = std::io::stdout().lock();
    for _ in 0..mib * 1024 {
        out.write_all(line.as_bytes()).unwrap();
    }
    String::new()
}

fn hog() -> ! {
    let mut kept: Vec<Vec<u8>> = Vec::new();
    loop {
        kept.push(vec![7; 1 << 20]);
    }
}
