//! The end of a command, against a caller that still sends.

use super::{PIECE_BYTES, close};
use futures_util::{SinkExt, StreamExt};
use nearlight_protocol::inside::Frame;
use tokio::io::duplex;
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
