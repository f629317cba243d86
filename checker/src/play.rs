//! A probe of a stream, by the program `checker-play` beside this one, and its receipt: `checker play` once, wherever the
//! session comes to be; `checker run` on the node that was assigned.
//!
//! ```text
//! checker-play (no key, a decoder) --Played, JSON--> checker (the key, no decoder) --porw/v1--> file, log
//!                                                       `-- session/v1 of that session, from the log: which node
//! ```
//!
//! **Invariants.** What decodes a stranger's stream and what holds the key are two processes. A receipt names the node that
//! the session's own receipt names, not the one that the player program was told. The player program is given no more
//! time than it needs, and what it says is bounded before it is read.
//!
//! **What it does not know:** how a stream is played (player/), and by which rule it passes (core/proof, `porw`).

use crate::broker::Broker;
use crate::cli::PlayArgs;
use crate::failure::Failure;
use crate::member::Network;
use nearlight_kit::files::write_atomic;
use nearlight_proof::key::{KeyId, SecretKey};
use nearlight_proof::porw::{Played, statement};
use nearlight_proof::receipt::envelope::Envelope;
use nearlight_proof::receipt::predicate::{Finding, Porw, Predicate};
use nearlight_proof::receipt::statement::Statement;
use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// Where the player program finds a pass.
const PASS: &str = "NEARLIGHT_STREAM_PASS";
/// The program beside this one.
pub const PROGRAM: &str = "checker-play";
/// The most that it says.
const SAID_BYTES_MAX: u64 = 64 * 1024;
/// What starting, attaching and waiting for the session's receipt may take, beyond playing.
const AROUND: Duration = Duration::from_secs(300);
/// Between two looks whether it is done.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What a probe came to.
#[derive(Debug)]
pub struct Found {
    /// What the receipt says.
    pub porw: Porw,
    /// The node, by id.
    pub node: String,
    /// What the broker's log said.
    pub logged: Result<String, String>,
}

impl Found {
    /// For people.
    #[must_use]
    pub fn summary(&self) -> String {
        let Porw {
            finding,
            reason,
            markers: [found, made],
            quality,
            signs,
            ..
        } = &self.porw;
        let finding = match finding {
            Finding::Pass => "pass".to_owned(),
            Finding::Fail => format!("fail: {reason}"),
            Finding::Inconclusive => format!("inconclusive: {reason}"),
        };
        let logged = match &self.logged {
            Ok(place) => format!("in the log: {place}"),
            Err(why) => format!("not in the log: {why}"),
        };
        let [width, height] = quality.size;
        let pictures = match (made, signs) {
            (0, None) => "nothing was looked for in the pictures".to_owned(),
            (0, Some([agree, against, looked])) => {
                format!("{agree} of {looked} signs of the session's marker agree, {against} do not")
            }
            _ => format!("pictures count {found} of {made} presses"),
        };
        format!(
            "{finding}\n{}: {width}x{height}, {}.{:03} frames a second over {} s, {} freezes\n\
             input to picture {} ms, round trip {} ms, encoding {} ms (50th percentiles)\n\
             {pictures}\n{logged}",
            self.node,
            quality.fps_milli / 1000,
            quality.fps_milli % 1000,
            quality.seconds,
            quality.freezes,
            quality.input_us[0] / 1000,
            quality.rtt_us[0] / 1000,
            quality.encode_us[0] / 1000,
        )
    }

    /// 0 passed, 2 failed, 3 nothing can be said.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self.porw.finding {
            Finding::Pass => ExitCode::SUCCESS,
            Finding::Fail => ExitCode::from(2),
            Finding::Inconclusive => ExitCode::from(3),
        }
    }
}

/// What the player program is started with.
#[derive(Clone, Debug)]
pub struct Game {
    /// The broker's address.
    pub url: String,
    /// An API key of a player; without one it comes as a guest.
    pub token: Option<String>,
    /// The pass to a node.
    pub pass: Option<String>,
    /// What is played.
    pub app: String,
    /// For how long.
    pub seconds: u32,
    /// Recorded input, instead of what ships.
    pub input: Option<PathBuf>,
    /// Address to receive at.
    pub bind: IpAddr,
}

/// What was played, and what is to be signed of it.
#[derive(Debug)]
pub struct Signed {
    /// What the receipt says.
    pub porw: Porw,
    /// The node, by id.
    pub node: String,
    /// The node's key, by id.
    pub node_key: KeyId,
    /// The receipt.
    pub bytes: Vec<u8>,
}

/// Plays as the command line says, writes the receipt and hands it in.
///
/// # Errors
/// What keeps a probe from being played, or its receipt from being written.
pub fn once(data: &Path, args: &PlayArgs, key: &SecretKey) -> Result<Found, Failure> {
    let url = match &args.broker {
        Some(url) => url.clone(),
        None => Network::load(data)?.url,
    };
    let game = Game {
        url,
        token: args.token.clone(),
        pass: None,
        app: args.app.clone(),
        seconds: args.seconds,
        input: args.input.clone(),
        bind: args.bind,
    };
    // Anyone may read the log.
    let broker = Broker::new(&game.url, "");
    let found = signed(&broker, &played(&game, &|| false)?, key)?;
    write_atomic(&args.out, &found.bytes, 0o644).map_err(|source| Failure::File {
        path: args.out.clone(),
        source,
    })?;
    Ok(Found {
        porw: found.porw,
        node: found.node,
        logged: broker.hand_in(&found.bytes),
    })
}

/// Plays, by the program beside this one. Ends early once it is to stop.
///
/// # Errors
/// Why nothing was played.
pub fn played(game: &Game, stops: &dyn Fn() -> bool) -> Result<Played, Failure> {
    play(&beside()?, game, stops)
}

/// Signs what was played, once the session's own receipt is in the log.
///
/// # Errors
/// What keeps it from being signed.
pub fn signed(broker: &Broker, played: &Played, key: &SecretKey) -> Result<Signed, Failure> {
    let envelope = broker.logged(played.receipt).map_err(Failure::Broker)?;
    let node_key = served_by(&envelope, played)?;
    let now_s = nearlight_kit::clock::unix_ms() / 1000;
    let said = statement(played, node_key, key.public().id(), now_s);
    let Predicate::Porw(porw) = said.predicate.clone() else {
        return Err(Failure::Player(
            "the statement is of another kind".to_owned(),
        ));
    };
    let mut receipt = said
        .envelope()
        .map_err(|error| Failure::Player(error.to_string()))?;
    receipt.sign(key);
    Ok(Signed {
        porw,
        node: played.node.clone(),
        node_key,
        bytes: receipt.to_bytes(),
    })
}

/// The player program.
///
/// # Errors
/// [`Failure::NoPlayer`].
pub fn beside() -> Result<PathBuf, Failure> {
    let this = std::env::current_exe().ok();
    let path = this.and_then(|path| Some(path.parent()?.join(PROGRAM)));
    path.filter(|path| path.is_file()).ok_or(Failure::NoPlayer)
}

fn play(program: &Path, game: &Game, stops: &dyn Fn() -> bool) -> Result<Played, Failure> {
    let mut command = Command::new(program);
    command
        .args(["--url", &game.url, "--app", &game.app])
        .args(["--seconds", &game.seconds.to_string()])
        .args(["--bind", &game.bind.to_string()])
        .env_remove("NEARLIGHT_TOKEN")
        .env_remove(PASS)
        .env_remove("CHECKER_DATA")
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    if let Some(input) = &game.input {
        command.arg("--input").arg(input);
    }
    // Not on its command line, which every process of the machine can read.
    if let Some(token) = &game.token {
        command.env("NEARLIGHT_TOKEN", token);
    }
    if let Some(pass) = &game.pass {
        command.env(PASS, pass);
    }
    let file = |source| Failure::File {
        path: program.to_owned(),
        source,
    };
    let mut child = command.spawn().map_err(file)?;
    let said = child.stdout.take().map(|out| out.take(SAID_BYTES_MAX));
    let reading = std::thread::spawn(move || {
        let mut text = Vec::new();
        let read = said.map(|mut said| said.read_to_end(&mut text));
        read.transpose().map(|_| text)
    });
    let within = Duration::from_secs(game.seconds.into()) + AROUND;
    let ended = wait(&mut child, within, stops).map_err(file)?;
    let text = match reading.join() {
        Ok(text) => text.map_err(file)?,
        Err(_) => Vec::new(),
    };
    if !ended {
        return Err(Failure::Player(
            "nothing was played; why stands above".to_owned(),
        ));
    }
    let played: Option<Played> = serde_json::from_slice(&text).ok();
    played.filter(Played::is_sane).ok_or_else(|| {
        Failure::Player(format!(
            "`{PROGRAM}` says something else than it should; is it of the same version?"
        ))
    })
}

/// Whether it ended well, in time, and before it was to stop.
fn wait(child: &mut Child, within: Duration, stops: &dyn Fn() -> bool) -> std::io::Result<bool> {
    let until = Instant::now() + within;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.success());
        }
        if Instant::now() >= until || stops() {
            child.kill()?;
            child.wait()?;
            return Ok(false);
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// The key of the node that served the session, as the session's own receipt has it.
fn served_by(envelope: &str, played: &Played) -> Result<KeyId, Failure> {
    let statement = Envelope::parse(envelope.as_bytes())
        .ok()
        .and_then(|envelope| Statement::parse(&envelope).ok());
    let is_of_it = |statement: &Statement| statement.subject.sha256 == played.commitment();
    match statement
        .filter(is_of_it)
        .map(|statement| statement.predicate)
    {
        Some(Predicate::Session(session)) => Ok(session.node),
        _ => Err(Failure::Player(
            "the receipt that the broker names is not that of the session that was played"
                .to_owned(),
        )),
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use nearlight_proof::receipt::quality::Quality;
    use nearlight_proof::receipt::session::{EdgeSide, SUBJECT, Session};
    use nearlight_proof::receipt::statement::{Assurance, Countersign, Head, Subject};

    fn played() -> Played {
        Played {
            session: "ses_1".to_owned(),
            node: "node_1".to_owned(),
            app: "calibrate".to_owned(),
            input: KeyId([1; 32]),
            presses: Some([9, 9]),
            signs: None,
            quality: Quality {
                seconds: 10,
                frames: 500,
                ..Quality::default()
            },
            faults: Vec::new(),
            receipt: 3,
            salt: KeyId([2; 32]),
            bytes: 9,
        }
    }

    fn receipt_of(sha256: KeyId) -> String {
        let broker = SecretKey::from_seed(&[5; 32]);
        let edge = EdgeSide {
            node: KeyId([7; 32]),
            started_at_s: 1,
            stopped_at_s: 11,
            segments: KeyId([0; 32]),
            quality: Quality::default(),
        };
        let statement = Statement {
            subject: Subject {
                name: SUBJECT.to_owned(),
                sha256,
            },
            head: Head {
                issuer: broker.public().id(),
                issued_at_s: 12,
                countersign: Countersign::None,
                assurance: Assurance::Timing,
                does_not_prove: Vec::new(),
                evidence: Vec::new(),
            },
            predicate: Predicate::Session(Box::new(Session::new(edge, Vec::new()))),
        };
        let mut envelope = statement.envelope().unwrap();
        envelope.sign(&broker);
        String::from_utf8(envelope.to_bytes()).unwrap()
    }

    #[test]
    fn the_node_is_the_one_of_that_sessions_receipt_and_of_no_other() {
        let right = receipt_of(played().commitment());
        assert_eq!(served_by(&right, &played()).unwrap(), KeyId([7; 32]));
        let other = receipt_of(KeyId([8; 32]));
        assert!(served_by(&other, &played()).is_err(), "another session's");
        assert!(served_by("{}", &played()).is_err());
    }

    fn ran(script: &str, seconds: u32) -> Result<Played, Failure> {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join(PROGRAM);
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&program, mode).unwrap();
        let game = Game {
            url: "http://127.0.0.1:1".to_owned(),
            token: Some("nlk_secret".to_owned()),
            pass: Some("7.a.b.c".to_owned()),
            app: "calibrate".to_owned(),
            seconds,
            input: None,
            bind: [127, 0, 0, 1].into(),
        };
        play(&program, &game, &|| script == STOPPED)
    }

    /// The script of one that is stopped.
    const STOPPED: &str = "exec sleep 600";

    #[test]
    fn one_that_is_stopped_is_ended_and_says_nothing() {
        assert!(matches!(ran(STOPPED, 5), Err(Failure::Player(_))));
    }

    #[test]
    fn what_the_player_program_says_is_read_if_it_ended_well_and_makes_sense() {
        let text = serde_json::to_string(&played()).unwrap();
        let said = format!(
            "test \"$NEARLIGHT_TOKEN $NEARLIGHT_STREAM_PASS\" = 'nlk_secret 7.a.b.c' && echo '{text}'"
        );
        assert_eq!(ran(&said, 5).unwrap(), played());
        let mut odd = played();
        odd.node = "node 1\n".to_owned();
        let odd = serde_json::to_string(&odd).unwrap();
        for script in [
            "exit 1".to_owned(),
            "echo no".to_owned(),
            format!("echo '{odd}'"),
        ] {
            assert!(
                matches!(ran(&script, 5), Err(Failure::Player(_))),
                "{script}"
            );
        }
        let endless = ran("head -c 100000 /dev/zero", 5);
        assert!(matches!(endless, Err(Failure::Player(_))));
    }
}
