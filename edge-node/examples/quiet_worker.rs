//! A session worker without a desktop, for tests of the agent: it speaks the worker socket's
//! protocol, and takes the first connection to its Wayland socket for the first picture.
//!
//! What a connection to `pulse` sends is done: `fail` says that the app broke the rules, `crash`
//! aborts.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test double speaks as the real worker does, and says where it fails"
)]

use nearlight_protocol::api::EndReason;
use nearlight_protocol::worker::{self, Failed, FromWorker, Ready, ToWorker, VideoCodec};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};

enum Event {
    Agent(UnixStream),
    AgentGone,
    Said(ToWorker),
    Picture,
    Wish(String),
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if args.iter().any(|arg| arg == "--probe-encoders") {
        println!(r#"[["H264","x264enc"]]"#);
        return;
    }
    let dir = args.iter().position(|arg| arg == "--dir").unwrap();
    let dir = PathBuf::from(&args[dir + 1]);
    let (events, inbox) = channel();
    listen(&dir.join("app/wayland-0"), 0o660, &events, |_| {
        Event::Picture
    });
    listen(&dir.join("app/pulse"), 0o660, &events, |mut stream| {
        let mut wish = String::new();
        stream.read_to_string(&mut wish).unwrap();
        Event::Wish(wish)
    });
    listen(&dir.join("agent.sock"), 0o600, &events, Event::Agent);
    eprintln!("the quiet worker listens");
    run(&events, &inbox);
}

fn run(events: &Sender<Event>, inbox: &Receiver<Event>) {
    let mut agent: Option<UnixStream> = None;
    let mut picture = false;
    for event in inbox {
        match event {
            Event::Agent(stream) => {
                read(stream.try_clone().unwrap(), events.clone());
                agent = Some(stream);
                let encoders = vec![(VideoCodec::H264, "x264enc".to_owned())];
                let ready = Ready {
                    width: 640,
                    height: 360,
                    encoders,
                };
                say(&mut agent, &FromWorker::Ready(ready));
                if picture {
                    say(&mut agent, &FromWorker::FirstFrame);
                }
            }
            Event::AgentGone => {}
            Event::Picture if picture => {}
            Event::Picture => {
                picture = true;
                say(&mut agent, &FromWorker::FirstFrame);
            }
            Event::Wish(wish) if wish == "fail" => {
                let failed = Failed {
                    reason: EndReason::DesktopViolation,
                    detail: "asked to".to_owned(),
                };
                say(&mut agent, &FromWorker::Failed(failed));
            }
            Event::Wish(_) => std::process::abort(),
            Event::Said(ToWorker::Shutdown) => return,
            Event::Said(_) => {}
        }
    }
}

fn listen(
    path: &Path,
    mode: u32,
    events: &Sender<Event>,
    event: impl Fn(UnixStream) -> Event + Send + 'static,
) {
    let listener = UnixListener::bind(path).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    let events = events.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            events.send(event(stream.unwrap())).unwrap();
        }
    });
}

fn read(mut stream: UnixStream, events: Sender<Event>) {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let mut chunk = [0; 4096];
        while let Ok(len @ 1..) = stream.read(&mut chunk) {
            bytes.extend_from_slice(&chunk[..len]);
            while let Some(len) = worker::frame_len(&bytes).unwrap()
                && bytes.len() >= len
            {
                let frame: Vec<_> = bytes.drain(..len).collect();
                events
                    .send(Event::Said(ToWorker::decode(&frame).unwrap()))
                    .unwrap();
            }
        }
        let _ = events.send(Event::AgentGone);
    });
}

fn say(agent: &mut Option<UnixStream>, message: &FromWorker) {
    let mut bytes = Vec::new();
    message.encode_into(&mut bytes);
    // An agent that is gone comes back and asks.
    if let Some(stream) = agent
        && stream.write_all(&bytes).is_err()
    {
        *agent = None;
    }
}
