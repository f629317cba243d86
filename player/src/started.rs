//! Sessions that this program started, which it ends whatever happens: each is noted as soon as the
//! broker has named it, before anything else is asked of it.

use crate::broker::Broker;
use anyhow::Result;
use nearlight_protocol::api::Session;
use nearlight_protocol::app::DisplayMode;
use nearlight_protocol::id::{AppId, SessionId};

/// Ends its sessions when it is dropped.
#[derive(Debug)]
pub struct Started<'a> {
    broker: &'a Broker,
    sessions: Vec<SessionId>,
}

impl<'a> Started<'a> {
    /// None yet.
    pub fn new(broker: &'a Broker) -> Self {
        Self {
            broker,
            sessions: Vec::new(),
        }
    }

    /// Starts one and waits for its first picture.
    ///
    /// # Errors
    /// The broker refuses, or the session ends.
    pub fn start(&mut self, app: &AppId) -> Result<SessionId> {
        self.start_session(app).map(|session| session.id)
    }

    /// As [`Started::start`], with all that the broker says of it.
    ///
    /// # Errors
    /// As [`Started::start`].
    pub fn start_session(&mut self, app: &AppId) -> Result<Session> {
        self.start_as(app, None, None)
    }

    /// As [`Started::start_session`], with a display and a keyboard of the player's own, as a page
    /// tells them.
    ///
    /// # Errors
    /// As [`Started::start`].
    pub fn start_as(
        &mut self,
        app: &AppId,
        display: Option<DisplayMode>,
        keyboard_layout: Option<String>,
    ) -> Result<Session> {
        let id = self.broker.create(app, display, keyboard_layout)?;
        self.sessions.push(id.clone());
        self.broker.wait_for_picture(&id)
    }

    /// Ends them.
    pub fn end(&mut self) {
        for session in self.sessions.drain(..) {
            if let Err(error) = self.broker.end(&session) {
                tracing::warn!(%session, %error, "a session could not be ended");
            }
        }
    }
}

impl Drop for Started<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;
    use std::sync::mpsc::{Receiver, channel};

    const ID: &str = "ses_01kb3x9ktv7q2m5d8r4w6y0zab";

    /// A broker that makes a session, of which it answers any look so; the requests that it got.
    fn broker(look: &'static str) -> (Broker, Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (tx, asked) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let (mut line, mut body) = (String::new(), 0);
                reader.read_line(&mut line).unwrap();
                loop {
                    let mut header = String::new();
                    reader.read_line(&mut header).unwrap();
                    let header = header.trim().to_ascii_lowercase();
                    if let Some(length) = header.strip_prefix("content-length:") {
                        body = length.trim().parse().unwrap();
                    }
                    if header.is_empty() {
                        break;
                    }
                }
                reader.read_exact(&mut vec![0; body]).unwrap();
                let method = line.split(' ').next().unwrap().to_owned();
                tx.send(line.trim().to_owned()).unwrap();
                let (status, answer) = match method.as_str() {
                    "POST" => ("201 Created", session()),
                    "DELETE" => ("204 No Content", String::new()),
                    _ => (look, String::new()),
                };
                let length = answer.len();
                let head = format!(
                    "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
                );
                stream.write_all((head + &answer).as_bytes()).unwrap();
            }
        });
        (Broker::with_key(&url, "key"), asked)
    }

    fn session() -> String {
        format!(
            r#"{{"id":"{ID}","app":"doom","title":"Doom","state":{{"phase":"placing"}},"node":null,
            "owned":true,"created_at":1,"ends_at":null,"play_path":"/play/{ID}"}}"#
        )
    }

    #[test]
    fn a_session_of_which_nothing_more_is_learnt_is_ended_all_the_same() {
        let (broker, asked) = broker("500 Internal Server Error");
        let mut started = Started::new(&broker);
        started.start(&"doom".parse().unwrap()).unwrap_err();
        drop(started);
        let methods: Vec<String> = asked.try_iter().collect();
        let ended = format!("DELETE /v1/sessions/{ID} HTTP/1.1");
        assert_eq!(methods.last(), Some(&ended), "{methods:?}");
        assert_eq!(methods.len(), 3);
    }
}
