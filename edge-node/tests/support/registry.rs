//! A real registry on loopback, behind a gate that lets so many bytes through and no more.

use super::{IMAGE, skipped};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use tempfile::TempDir;

/// Let through at once.
const CHUNK: usize = 16 * 1024;

/// A registry; it ends with this.
pub struct Registry {
    child: Child,
    /// Where images are pushed.
    at: String,
    /// Where they are pulled from: through the gate.
    pub gate_at: String,
    gate: Arc<Gate>,
    made: Vec<String>,
    /// What the tests' own `docker push` logs in with; it holds the configuration, too.
    dir: TempDir,
}

/// Who may pull from a private one.
pub const USER: &str = "ci";
/// Their password, and its bcrypt: the one kind that the registry takes.
pub const PASSWORD: &str = "correct-horse";
const HASH: &str = "$2y$05$abcdefghijklmnopqrstuuZ0Fx87Pb/Aqb0E90lfvCwzXnaFKUHpS";
const BASIC: &str = "Y2k6Y29ycmVjdC1ob3JzZQ==";

#[derive(Debug, Default)]
struct Gate {
    left: Mutex<u64>,
    opened: Condvar,
}

impl Gate {
    /// Waits until something may pass, and takes up to so much.
    fn take(&self, most: usize) -> usize {
        let mut left = self.left.lock().unwrap();
        while *left == 0 {
            left = self.opened.wait(left).unwrap();
        }
        let taken = most.min(usize::try_from(*left).unwrap_or(most));
        *left -= taken as u64;
        taken
    }

    fn open(&self, bytes: u64) {
        *self.left.lock().unwrap() = bytes;
        self.opened.notify_all();
    }
}

impl Registry {
    /// Starts one. `None`, and a word of it, where the program is not installed.
    pub fn start() -> Option<Self> {
        Self::start_for("")
    }

    /// The same, that lets in nobody but [`USER`].
    pub fn start_private() -> Option<Self> {
        let auth = "auth:\n  htpasswd:\n    realm: tests\n    path: HTPASSWD\n";
        Self::start_for(auth)
    }

    fn start_for(auth: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("config.yml");
        let root = dir.path().join("images");
        let text = format!(
            "version: 0.1\nlog:\n  level: info\nstorage:\n  filesystem:\n    rootdirectory: {}\n\
             http:\n  addr: 127.0.0.1:0\n{}",
            root.display(),
            auth.replace("HTPASSWD", dir.path().join("htpasswd").to_str().unwrap())
        );
        std::fs::write(dir.path().join("htpasswd"), format!("{USER}:{HASH}\n")).unwrap();
        std::fs::write(&config, text).unwrap();
        let spawned = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut child) = spawned else {
            skipped("docker-registry is not installed (Debian: docker-registry)");
            return None;
        };
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let at = log.by_ref().find_map(|line| {
            let line = line.unwrap();
            let (_, rest) = line.split_once("listening on ")?;
            Some(rest.split(['"', ' ', ',']).next()?.to_owned())
        });
        // Its log must go somewhere, or it stands still.
        std::thread::spawn(move || log.for_each(drop));
        let at = at.expect("the registry says where it listens");
        let gate = Arc::new(Gate::default());
        gate.open(u64::MAX);
        let gate_at = gated(&at, &gate);
        Some(Self {
            child,
            at,
            gate_at,
            gate,
            made: Vec::new(),
            dir,
        })
    }

    /// So many bytes pass from now on.
    pub fn let_through(&self, bytes: u64) {
        self.gate.open(bytes);
    }

    /// Makes an image of the tests' own with so many bytes that nobody has, which is in the registry alone;
    /// its reference through the gate.
    pub fn image(&mut self, name: &str, bytes: usize) -> String {
        self.image_on(IMAGE, name, bytes)
    }

    /// The same on another image of the tests.
    pub fn image_on(&mut self, base: &str, name: &str, bytes: usize) -> String {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ballast");
        let mut ballast = vec![0; bytes];
        let random = std::fs::File::open("/dev/urandom").unwrap();
        (&random).read_exact(&mut ballast).unwrap();
        std::fs::write(&file, ballast).unwrap();
        let pushed = format!("{}/{name}:1", self.at);
        let container = docker(&["create", base, "/bin/sh"]);
        let target = format!("{container}:/ballast");
        docker(&["cp", file.to_str().unwrap(), &target]);
        docker(&["commit", &container, &pushed]);
        docker(&["rm", &container]);
        let auths = format!(r#"{{"auths":{{"{}":{{"auth":"{BASIC}"}}}}}}"#, self.at);
        std::fs::write(self.dir.path().join("config.json"), auths).unwrap();
        let config = self.dir.path().to_str().unwrap();
        docker(&["--config", config, "push", &pushed]);
        docker(&["rmi", &pushed]);
        let image = format!("{}/{name}:1", self.gate_at);
        self.made.push(image.clone());
        image
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.gate.open(u64::MAX);
        for image in &self.made {
            // One that was never pulled is not there.
            let _ = Command::new("docker")
                .args(["rmi", "-f", image])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether the engine has an image.
pub fn is_here(image: &str) -> bool {
    let look = Command::new("docker")
        .args(["image", "inspect", image])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    look.unwrap().success()
}

fn docker(args: &[&str]) -> String {
    let output = Command::new("docker").args(args).output().unwrap();
    assert!(output.status.success(), "docker {args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn gated(at: &str, gate: &Arc<Gate>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (at, gate) = (at.to_owned(), gate.clone());
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let Ok(client) = client else { return };
            let Ok(server) = TcpStream::connect(&at) else {
                return;
            };
            let up = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || pass(up.0, up.1, |most| most));
            let gate = gate.clone();
            std::thread::spawn(move || pass(server, client, |most| gate.take(most)));
        }
    });
    address
}

fn pass(mut from: TcpStream, mut to: TcpStream, may: impl Fn(usize) -> usize) {
    let mut chunk = [0; CHUNK];
    loop {
        let most = may(CHUNK);
        match from.read(&mut chunk[..most]) {
            Ok(n) if n > 0 && to.write_all(&chunk[..n]).is_ok() => {}
            _ => break,
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
