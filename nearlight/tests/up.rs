//! `nearlight up` as a process, around roles that are small shell scripts: what it starts, with which
//! flags, what it does when they die, and in which order it stops them.

#![allow(
    clippy::unwrap_used,
    reason = "a test says what it could not do by failing"
)]

use nearlight_kit::clock::WallClock;
use nearlight_kit::pki::{Ca, CheckerName, Identity};
use nearlight_protocol::api::{App, AppList};
use nearlight_protocol::app::{DisplayMode, GpuClass, Shelf};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use tempfile::TempDir;

/// A machine with the program, its roles and a broker's answer.
struct Machine {
    dir: TempDir,
}

/// A running `nearlight up`.
struct Up {
    child: Child,
    stdout: BufReader<ChildStdout>,
    stderr: BufReader<ChildStderr>,
}

impl Machine {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let machine = Self { dir };
        let nearlight = machine.path("nearlight");
        fs::copy(env!("CARGO_BIN_EXE_nearlight"), nearlight).unwrap();
        fs::create_dir(machine.path("web")).unwrap();
        fs::write(machine.path("web/index.html"), "").unwrap();
        let api = serve_one_app();
        let broker = format!(
            r#"{{"ready":{{"listen":"{api}","node_listen":"127.0.0.1:4433","jobs_listen":"127.0.0.1:4435"}}}}"#
        );
        machine.role("session-broker", &broker);
        let edge = r#"{"ready":{"node":"nod_x","rtc_port":5004,"admin":"127.0.0.1:4434"}}"#;
        machine.role("edge-node", edge);
        machine.role("edge-worker", "");
        fs::create_dir(machine.path("data")).unwrap();
        fs::write(machine.path("data/dev.key"), "nlk_test\n").unwrap();
        machine
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    /// A role that logs its flags and its end, says `ready`, and lives until SIGTERM.
    fn role(&self, name: &str, ready: &str) {
        let log = self.path("log").display().to_string();
        let pid = self.path(&format!("{name}.pid")).display().to_string();
        let script = format!(
            "#!/bin/sh\necho \"{name} up $*\" >>{log}\necho $$ >{pid}\n\
             trap 'echo \"{name} down\" >>{log}; kill $!; exit 0' TERM\n\
             tail --pid=$$ -f /dev/null >/dev/null 2>&1 &\necho '{ready}'\necho 'hello from {name}' >&2\nwait\n"
        );
        self.program(name, &script);
    }

    /// A checker that came in so many days ago, and was off since.
    fn has_checker(&self, n: u32, days: i64) {
        const DAY_S: i64 = 24 * 3600;
        let dir = self.path(&format!("data/checkers/{n}"));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("checker.key"), "").unwrap();
        fs::write(dir.join("network.json"), "{}").unwrap();
        let (pki, tls) = (self.path("data/pki"), dir.join("tls"));
        // The CA is older than all of them.
        Ca::ensure(&pki, WallClock::ahead_by(-200 * DAY_S)).unwrap();
        let then = Ca::ensure(&pki, WallClock::ahead_by(-days * DAY_S)).unwrap();
        let name = CheckerName::new(&"ab".repeat(32), nearlight_kit::ids::key()).unwrap();
        then.issue(&tls, "checker", Identity::checker(&name))
            .unwrap();
        fs::copy(pki.join("ca.pem"), tls.join("ca.pem")).unwrap();
    }

    /// The checker's program: it logs its flags and its end, and lives until SIGTERM.
    fn checker(&self) {
        let log = self.path("log").display().to_string();
        self.program(
            "checker",
            &format!(
                "#!/bin/sh\ncase \"$1\" in\nkey) echo 'public abc'; exit 0;;\ntable) exit 0;;\nwitness) echo \"w+$4\"; exit 0;;\nesac\n\
                 echo \"checker up $*\" >>{log}\ntrap 'echo \"checker down\" >>{log}; kill $!; exit 0' TERM\n\
                 tail --pid=$$ -f /dev/null >/dev/null 2>&1 &\necho '{{\"ready\":{{}}}}'\nwait\n"
            ),
        );
    }

    fn program(&self, name: &str, script: &str) {
        let path = self.path(name);
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn up(&self, flags: &[&str]) -> Up {
        let mut child = Command::new(self.path("nearlight"))
            .args(["up", "--listen", "127.0.0.1:0", "--client-web"])
            .arg(self.path("web"))
            .arg("--data")
            .arg(self.path("data"))
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Up {
            child,
            stdout,
            stderr,
        }
    }

    fn log(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("log")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn pid_of(&self, role: &str) -> Pid {
        let text = fs::read_to_string(self.path(&format!("{role}.pid"))).unwrap();
        Pid::from_raw(text.trim().parse().unwrap())
    }
}

impl Up {
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// What is said before a line with this.
    fn wait_for_log(&mut self, word: &str) -> String {
        let mut seen = String::new();
        loop {
            let mut line = String::new();
            assert!(
                self.stderr.read_line(&mut line).unwrap() > 0,
                "no {word:?} in {seen}"
            );
            if line.contains(word) {
                return seen;
            }
            seen.push_str(&line);
        }
    }

    fn signal(&self, signal: Signal) {
        kill(
            Pid::from_raw(i32::try_from(self.child.id()).unwrap()),
            signal,
        )
        .unwrap();
    }

    /// The exit status and what was left to read on stderr.
    fn end(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        self.stderr.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}

/// A broker that answers everything with a catalogue of one available app.
fn serve_one_app() -> SocketAddr {
    let app = App {
        id: "freedoom".parse().unwrap(),
        title: "Freedoom".to_owned(),
        summary: String::new(),
        picture: String::new(),
        shelf: Shelf::Game,
        controls: vec![],
        gpu: GpuClass::None,
        display: DisplayMode::default(),
        available: true,
        saves: false,
    };
    let body = serde_json::to_string(&AppList { apps: vec![app] }).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for connection in listener.incoming().map_while(Result::ok) {
            let mut request = BufReader::new(connection.try_clone().unwrap());
            let mut line = String::new();
            while request.read_line(&mut line).is_ok_and(|n| n > 2) {
                line.clear();
            }
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let mut connection = connection;
            // A client that has gone away is no matter of this test.
            let _ = connection.write_all(format!("{head}{body}").as_bytes());
        }
    });
    address
}

fn flag(line: &str, name: &str) -> Option<String> {
    let mut words = line.split(' ').skip_while(|word| *word != name);
    words.next()?;
    words.next().map(str::to_owned)
}

#[test]
fn it_says_ready_and_stops_the_edge_before_the_broker() {
    let machine = Machine::new();
    let mut up = machine.up(&[]);
    let ready = up.line();
    assert!(ready.starts_with("ready http://127.0.0.1:"), "{ready}");
    let curl = up.line();
    assert!(
        curl.starts_with("curl ") && curl.contains("/v1/apps") && curl.contains("dev.key"),
        "{curl}"
    );
    up.signal(Signal::SIGTERM);
    let (status, rest) = up.end();
    assert_eq!(status, Some(0), "{rest}");
    let log = machine.log();
    assert_eq!(
        log[2..],
        ["edge-node down", "session-broker down"],
        "{log:?}"
    );
    assert_eq!(flag(&log[1], "--broker").as_deref(), Some("127.0.0.1:4433"));
    assert!(!machine.path("data/up.url").exists());
}

#[test]
fn slots_go_over_the_nodes_section_of_the_operators_file() {
    let machine = Machine::new();
    let config = machine.path("config.toml");
    fs::write(&config, "[edge-node.slots]\ncount = 2\nmem_mib = 4096\n").unwrap();
    for (flags, expected) in [
        (vec!["--slots", "3"], "[slots]\ncount = 3\n"),
        (
            vec!["--slots", "4", "--config", config.to_str().unwrap()],
            "[slots]\ncount = 4\nmem_mib = 4096\n",
        ),
    ] {
        let mut up = machine.up(&flags);
        up.line();
        up.signal(Signal::SIGTERM);
        assert_eq!(up.end().0, Some(0));
        let log = machine.log();
        let file = flag(&log[log.len() - 3], "--config").unwrap();
        assert_eq!(fs::read_to_string(file).unwrap(), expected, "{log:?}");
    }
}

#[test]
fn a_role_that_dies_comes_back_on_its_ports_and_its_log_is_told_apart() {
    let machine = Machine::new();
    let mut up = machine.up(&[]);
    up.line();
    kill(machine.pid_of("edge-node"), Signal::SIGKILL).unwrap();
    up.wait_for_log("started again");
    up.wait_for_log("edge-node      | hello from edge-node");
    up.signal(Signal::SIGINT);
    assert_eq!(up.end().0, Some(0));
    let log = machine.log();
    assert_eq!(flag(&log[1], "--rtc-port"), None, "{log:?}");
    assert_eq!(
        flag(&log[2], "--rtc-port").as_deref(),
        Some("5004"),
        "{log:?}"
    );
    assert_eq!(
        flag(&log[2], "--admin").as_deref(),
        Some("127.0.0.1:4434"),
        "{log:?}"
    );
}

#[test]
fn a_data_directory_has_one_owner() {
    let machine = Machine::new();
    let mut first = machine.up(&[]);
    first.line();
    let (status, words) = machine.up(&[]).end();
    assert_eq!(status, Some(1));
    assert!(words.contains("--data"), "{words}");
    first.signal(Signal::SIGTERM);
    assert_eq!(first.end().0, Some(0));
}

#[test]
fn a_role_that_cannot_start_ends_it_with_its_last_words() {
    for (role, last) in [
        ("session-broker", None),
        ("edge-node", Some("session-broker down")),
    ] {
        let machine = Machine::new();
        machine.program(role, "#!/bin/sh\necho 'a wrong file' >&2\nexit 70\n");
        let (status, words) = machine.up(&[]).end();
        assert_eq!(status, Some(1));
        for said in [&format!("{role} did not start"), "a wrong file"] {
            assert!(words.contains(said), "{role}: {said}: {words}");
        }
        assert_eq!(machine.log().last().map(String::as_str), last);
    }
}

#[test]
fn a_role_that_does_not_start_again_says_so_and_not_that_it_died_once_more() {
    let machine = Machine::new();
    let (program, starts) = (machine.path("edge-node"), machine.path("starts"));
    let works = fs::read_to_string(&program).unwrap();
    let starts = starts.display();
    let fails = format!(
        "#!/bin/sh\necho >>{starts}\ncase $(wc -l <{starts}) in 2|3) echo 'the card is gone' >&2; exit 70;; esac\n"
    );
    machine.program("edge-node", &works.replacen("#!/bin/sh\n", &fails, 1));
    let mut up = machine.up(&[]);
    up.line();
    kill(machine.pid_of("edge-node"), Signal::SIGKILL).unwrap();
    let said = up.wait_for_log("started again");
    let count = |words: &str| said.matches(words).count();
    assert_eq!(count("died"), 1, "{said}");
    assert_eq!(count("the card is gone"), 2, "{said}");
    let why = "edge-node did not start (exit status: 70)";
    assert_eq!(count(why), 2, "{said}");
    assert_eq!(count("again_in_ms"), 3, "{said}");
    up.signal(Signal::SIGINT);
    assert_eq!(up.end().0, Some(0));
}

#[test]
fn a_taken_port_names_the_flag_to_use() {
    let machine = Machine::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut words = String::new();
    let mut child = Command::new(machine.path("nearlight"))
        .args(["up", "--listen", &address])
        .arg("--client-web")
        .arg(machine.path("web"))
        .arg("--data")
        .arg(machine.path("data"))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut words)
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(words.contains("--listen"), "{words}");
    assert!(Path::new(&machine.path("data")).exists() && machine.log().is_empty());
}

/// Checkers that were set up before: they run with the table that the first of them signs, and stop before the node
/// that they check.
#[test]
fn checkers_run_beside_the_node_and_stop_before_it() {
    let machine = Machine::new();
    machine.has_checker(1, 0);
    // Its certificate is over, and it renews that by itself.
    machine.has_checker(2, 30);
    machine.checker();
    let mut up = machine.up(&["--checkers", "2"]);
    let ready = up.line();
    let url = ready.strip_prefix("ready ").unwrap().to_owned();
    up.signal(Signal::SIGTERM);
    let (status, rest) = up.end();
    assert_eq!(status, Some(0), "{rest}");
    let log = machine.log();
    assert!(log[2].starts_with("checker up run --data "), "{log:?}");
    let given = [
        flag(&log[2], "--table-key"),
        flag(&log[2], "--url"),
        flag(&log[3], "--url"),
    ];
    let expected = ["abc", &url, &url].map(|word| Some(word.to_owned()));
    assert_eq!(given, expected, "{log:?}");
    // They show their certificates where the broker listens now, as the node does.
    let at = flag(&log[2], "--at");
    assert_eq!((at.is_some(), &at), (true, &flag(&log[1], "--broker")));
    // Two of two: more than half have to agree before the log shows a head.
    let file = flag(&log[0], "--config").unwrap();
    let config: toml::Table = fs::read_to_string(file).unwrap().parse().unwrap();
    let named = config["log"]["witnesses"].as_array().unwrap();
    assert_eq!(
        (named.len(), config["log"]["quorum"].as_integer()),
        (2, Some(2))
    );
    let dir = machine.path("data/checkers/2").canonicalize().unwrap();
    assert_eq!(named[1].as_str(), Some(&*format!("w+{}", dir.display())));
    let end = [
        "checker down",
        "checker down",
        "edge-node down",
        "session-broker down",
    ];
    assert_eq!(log[4..], end, "{log:?}");
}

/// It was taken for one that is in, and ended as soon as it was started, each time.
#[test]
fn a_checker_whose_certificate_is_of_no_use_comes_in_again() {
    for is_old in [true, false] {
        let machine = Machine::new();
        machine.has_checker(1, if is_old { 92 } else { 0 });
        if !is_old {
            // Of the broker of before.
            fs::remove_dir_all(machine.path("data/pki")).unwrap();
        }
        machine.checker();
        let mut up = machine.up(&["--checkers", "1"]);
        assert_eq!(up.line(), "", "it runs with what it has");
        let (status, said) = up.end();
        // The broker of the test gives no token.
        assert_eq!(status, Some(1), "{said}");
        assert!(said.contains("a checker is not admitted"), "{said}");
    }
}

#[test]
fn tls_is_refused_with_what_to_do_instead() {
    let machine = Machine::new();
    let config = machine.path("config.toml");
    fs::write(&config, "[session-broker.tls]\ncert = \"a\"\nkey = \"b\"\n").unwrap();
    let up = machine.up(&["--config", config.to_str().unwrap()]);
    let (status, said) = up.end();
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("run the roles by themselves"), "{said}");
    assert_eq!(machine.log(), [""; 0], "nothing was started");
}
