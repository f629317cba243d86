//! The control stream as a node speaks it.

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::{SinkExt, StreamExt};
use nearlight_kit::pki;
use nearlight_protocol::app::GpuClass;
use nearlight_protocol::control::{
    FromEdge, Hello, Inventory, JobHost, PROTOCOL_VERSION, Slot, ToEdge,
};
use nearlight_protocol::grant::Grant;
use nearlight_protocol::id::NodeId;
use nearlight_protocol::job::ContainerRuntime;
use rustls_pki_types::ServerName;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// CPU of a node, thousandths of a core: less than its slots could take, so that both are counted.
const CPU_MILLI: u32 = 5_500;

pub(super) type Socket = WebSocketStream<TlsStream<TcpStream>>;

/// Dials a broker and says hello; the stream, and the grace time that the broker gives.
pub(super) async fn dial(pki: &Path, at: SocketAddr, node: &NodeId) -> Result<(Socket, Duration)> {
    let config = pki::client_config(pki, node.as_str())?;
    let tcp = TcpStream::connect(at).await?;
    tcp.set_nodelay(true)?;
    let name = ServerName::try_from("nearlight-broker")?;
    let tls = TlsConnector::from(config).connect(name, tcp).await?;
    let (mut socket, _) = tokio_tungstenite::client_async("ws://nearlight-broker/", tls).await?;
    let hello = Hello {
        proto_min: PROTOCOL_VERSION,
        proto_max: PROTOCOL_VERSION,
        node: node.clone(),
        build: "loadtest".to_owned(),
        name: "scripted".to_owned(),
        region: "here".to_owned(),
        receipt_key: None,
        proves: Vec::new(),
    };
    say(&mut socket, &FromEdge::Hello(hello)).await?;
    socket.flush().await?;
    match hear(&mut socket).await?.context("no welcome")? {
        Some(ToEdge::Welcome(welcome)) => Ok((socket, Duration::from_secs(welcome.grace_s.into()))),
        other => bail!("no welcome but {other:?}"),
    }
}

/// What a node has.
pub(super) fn inventory(slots: Vec<Slot>) -> Inventory {
    Inventory {
        slots,
        cpu_milli: CPU_MILLI,
        mem_mib: 65_536,
        encode_cpu_milli: 0,
        gpu: GpuClass::RenderEncode,
        gpu_models: vec!["none".to_owned()],
        vram_mib: 0,
        encoders: vec!["none".to_owned()],
        runtime: "docker".to_owned(),
        images: Vec::new(),
        image_faults: Vec::new(),
        fault: String::new(),
        warm: Vec::new(),
        uplink_kbps: None,
        jobs: Some(JobHost {
            runtimes: vec![ContainerRuntime::Runc],
            disk_mib: 65_536,
            ..JobHost::default()
        }),
    }
}

/// A grant's claims. Whether its signature is right is not asked here.
pub(super) fn grant_of(token: &str) -> Result<Grant> {
    let payload = token.split('.').nth(1).context("a grant is a JWT")?;
    Ok(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload)?)?)
}

/// The same token with other claims: what somebody makes of it who has no key.
pub(super) fn forged(token: &str, change: impl FnOnce(&mut Grant)) -> Result<String> {
    let mut grant = grant_of(token)?;
    change(&mut grant);
    let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    parts[1] = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&grant)?);
    Ok(parts.join("."))
}

/// Hands a message over; a flush sends it.
pub(super) async fn say(socket: &mut Socket, message: &FromEdge) -> Result<()> {
    let text = serde_json::to_string(message)?;
    Ok(socket.feed(Message::text(text)).await?)
}

/// The next message; within that `None` for a sign of life, or `None` at the end.
pub(super) async fn hear(socket: &mut Socket) -> Result<Option<Option<ToEdge>>> {
    Ok(match socket.next().await.transpose()? {
        Some(Message::Text(text)) => Some(Some(serde_json::from_str(&text)?)),
        Some(Message::Close(_)) | None => None,
        Some(_) => Some(None),
    })
}
