//! What the server says of itself: one sink, its silent monitor, the clients and their streams.
//!
//! There is a source only because programs take the default source's name for granted; nothing can
//! be recorded from it.

use super::client::{Client, ClientId};
use super::{Desk, format, props};
use crate::resample::RATE;
use crate::stream::Stream;
use pulseaudio::protocol::{
    ChannelMap, ClientInfo, FormatEncoding, FormatInfo, ServerInfo, SinkFlags, SinkInfo,
    SinkInputInfo, SinkState, SourceFlags, SourceInfo, SourceState, Volume,
};
use std::ffi::{CStr, CString};

/// Name and number of the sink.
pub(super) const SINK_NAME: &CStr = c"nearlight";
/// See [`SINK_NAME`].
pub(super) const SINK_INDEX: u32 = 0;
/// Name and number of its monitor.
pub(super) const SOURCE_NAME: &CStr = c"nearlight.monitor";
/// See [`SOURCE_NAME`].
pub(super) const SOURCE_INDEX: u32 = 0;
/// What the sink adds: one packet.
pub(super) const SINK_LATENCY_US: u64 = 10_000;

const DRIVER: &CStr = c"nearlight-sound";

/// Whether an index or a name mean the device.
pub(super) fn means(
    index: Option<u32>,
    name: Option<&CString>,
    device: (u32, &CStr, &CStr),
) -> bool {
    let (number, own, default) = device;
    match (index, name) {
        (Some(index), _) => index == number,
        (None, Some(name)) => name.as_c_str() == own || name.as_c_str() == default,
        (None, None) => true,
    }
}

/// Whether an index or a name mean the sink.
pub(super) fn means_sink(index: Option<u32>, name: Option<&CString>) -> bool {
    let default = pulseaudio::protocol::DEFAULT_SINK;
    means(index, name, (SINK_INDEX, SINK_NAME, default))
}

/// Whether an index or a name mean the monitor.
pub(super) fn means_source(index: Option<u32>, name: Option<&CString>) -> bool {
    let default = pulseaudio::protocol::DEFAULT_SOURCE;
    means(index, name, (SOURCE_INDEX, SOURCE_NAME, default))
}

impl Desk {
    pub(super) fn server_info(&self) -> ServerInfo {
        ServerInfo {
            server_name: Some(c"pulseaudio (Nearlight)".to_owned()),
            // Programs compare this with the version that a feature came in.
            server_version: Some(c"16.1".to_owned()),
            user_name: Some(c"player".to_owned()),
            host_name: Some(c"nearlight".to_owned()),
            sample_spec: format::SINK,
            cookie: 0x6e65_6172,
            default_sink_name: Some(SINK_NAME.to_owned()),
            default_source_name: Some(SOURCE_NAME.to_owned()),
            channel_map: ChannelMap::stereo(),
        }
    }

    pub(super) fn sink_info(&self) -> SinkInfo {
        let mut streams = self.clients.values().flat_map(|c| c.streams.values());
        SinkInfo {
            index: SINK_INDEX,
            name: SINK_NAME.to_owned(),
            description: Some(c"Nearlight".to_owned()),
            state: if streams.any(Stream::is_playing) {
                SinkState::Running
            } else {
                SinkState::Idle
            },
            sample_spec: format::SINK,
            channel_map: ChannelMap::stereo(),
            cvolume: self.sink.volume,
            muted: self.sink.muted,
            monitor_source_index: Some(SOURCE_INDEX),
            monitor_source_name: Some(SOURCE_NAME.to_owned()),
            flags: SinkFlags::LATENCY | SinkFlags::DECIBEL_VOLUME,
            actual_latency: SINK_LATENCY_US,
            configured_latency: SINK_LATENCY_US,
            driver: Some(DRIVER.to_owned()),
            base_volume: Volume::NORM,
            volume_steps: Some(65_537),
            formats: vec![FormatInfo::new(FormatEncoding::Pcm)],
            ..SinkInfo::default()
        }
    }

    pub(super) fn source_info(&self) -> SourceInfo {
        SourceInfo {
            index: SOURCE_INDEX,
            name: SOURCE_NAME.to_owned(),
            description: Some(c"Monitor of Nearlight".to_owned()),
            state: SourceState::Suspended,
            sample_spec: format::SINK,
            channel_map: ChannelMap::stereo(),
            cvolume: pulseaudio::protocol::ChannelVolume::norm(2),
            monitor_of_sink_index: Some(SINK_INDEX),
            monitor_of_sink_name: Some(SINK_NAME.to_owned()),
            flags: SourceFlags::DECIBEL_VOLUME,
            driver: Some(DRIVER.to_owned()),
            base_volume: Volume::NORM,
            volume_steps: Some(65_537),
            formats: vec![FormatInfo::new(FormatEncoding::Pcm)],
            ..SourceInfo::default()
        }
    }

    pub(super) fn client_infos(&self) -> Vec<ClientInfo> {
        let greeted = self.clients.iter().filter(|(_, client)| client.greeted);
        greeted
            .map(|(id, client)| client_info(*id, client))
            .collect()
    }

    pub(super) fn stream_infos(&self) -> Vec<SinkInputInfo> {
        let of_client = |(id, client): (&ClientId, &Client)| {
            let id = *id;
            let infos = client
                .streams
                .values()
                .map(|stream| stream_info(id, stream));
            infos.collect::<Vec<_>>()
        };
        self.clients.iter().flat_map(of_client).collect()
    }
}

fn client_info(id: ClientId, client: &Client) -> ClientInfo {
    ClientInfo {
        index: id.0,
        name: props::text(&client.props, c"application.name", c"unnamed"),
        owner_module_index: None,
        driver: Some(DRIVER.to_owned()),
        props: client.props.clone(),
    }
}

fn stream_info(id: ClientId, stream: &Stream) -> SinkInputInfo {
    let setup = stream.setup();
    let resampled = setup.spec.sample_rate != RATE;
    SinkInputInfo {
        index: setup.index,
        name: props::text(&setup.props, c"media.name", c"playback"),
        owner_module_index: None,
        client_index: Some(id.0),
        sink_index: SINK_INDEX,
        sample_spec: setup.spec,
        channel_map: setup.map,
        cvolume: setup.volume,
        buffer_latency: stream.queued_us(),
        sink_latency: SINK_LATENCY_US,
        resample_method: resampled.then(|| c"windowed-sinc".to_owned()),
        driver: Some(DRIVER.to_owned()),
        props: setup.props.clone(),
        muted: setup.muted,
        corked: setup.corked,
        has_volume: true,
        volume_writable: true,
        format: format::described(&setup.spec),
    }
}
