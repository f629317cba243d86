//! The end of a command, against a caller that still sends; and whether a caller that is gone is noticed.

use super::{Counts, PIECE_BYTES, close, said};
use futures_util::{SinkExt, StreamExt};
use nearlight_protocol::inside::Frame;
use std::cell::Cell;
use std::time::Duration;
use tokio::io::{AsyncWriteExt, duplex};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{Error, Message};

#[tokio::test]
async fn input_on_its_way_is_read_until_the_caller_closes() {
    let (ours, theirs) = duplex(PIECE_BYTES);
    let socket = WebSocketStream::from_raw_socket(ours, Role::Server, None).await;
    let (sink, stream) = socket.split();
    let caller = async {
        let socket = WebSocketStream::from_raw_socket(theirs, Role::Client, None).await;
        let (mut sink, mut stream) = socket.split();
        // More than the way holds, and all of it before a look at what came.
        for _ in 0..64 {
            let input = Frame::Stdin(&[0; PIECE_BYTES]).to_message();
            sink.send(Message::Binary(input.into())).await?;
        }
        let mut heard = Vec::new();
        while let Some(message) = stream.next().await {
            heard.push(message?);
        }
        Ok::<_, Error>(heard)
    };
    let (closed, heard) = tokio::join!(close(sink, stream, Some("It ends.")), caller);
    closed.unwrap();
    let heard = heard.unwrap();
    let why = Frame::Failed("It ends.").to_message();
    assert_eq!(heard[0], Message::Binary(why.into()));
    assert!(matches!(heard[1..], [Message::Close(Some(_))]), "{heard:?}");
}

#[tokio::test]
async fn a_caller_of_a_silent_command_is_pinged_whatever_its_node_says_for_itself() {
    let (ours, theirs) = duplex(PIECE_BYTES);
    let socket = WebSocketStream::from_raw_socket(ours, Role::Server, None).await;
    let (mut sink, _stream) = socket.split();
    let (mut node, reads) = duplex(PIECE_BYTES);
    let pinged = Cell::new(false);
    let beats = async {
        // Far more often than the caller is to hear something, and for far longer.
        for _ in 0..2000 {
            let beat = Frame::Stdout(b"").to_tunnel();
            node.write_all(&beat).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
            if pinged.get() {
                break;
            }
        }
        node.write_all(&Frame::Exit(0).to_tunnel()).await.unwrap();
    };
    let counts = Counts::default();
    let talk = async {
        let every = Duration::from_millis(100);
        let (said, ()) = tokio::join!(said(reads, &mut sink, &counts, every), beats);
        sink.close().await.unwrap();
        said.unwrap()
    };
    let caller = async {
        let mut socket = WebSocketStream::from_raw_socket(theirs, Role::Client, None).await;
        while let Some(Ok(message)) = socket.next().await {
            if message.is_close() {
                break;
            }
            if message.is_ping() {
                pinged.set(true);
            }
        }
    };
    let (status, ()) = tokio::join!(talk, caller);
    assert_eq!(status, Some(0));
    assert!(pinged.get(), "the node's beats are no word to the caller");
}
