//! Playback streams: made, steered, asked and ended.

use super::client::ClientId;
use super::command::{Answer, Outcome, keys};
use super::introspect::{SINK_INDEX, SINK_LATENCY_US, SINK_NAME, means_sink};
use super::{Desk, format, props};
use crate::limits::{RATE_MAX, RATE_MIN, STREAMS_MAX, STREAMS_PER_CLIENT_MAX};
use crate::stream::{Setup, Stream};
use pulseaudio::protocol::props::PropsUpdateMode;
use pulseaudio::protocol::{
    ChannelVolume, Command, CreatePlaybackStreamReply, LatencyParams, PlaybackLatency,
    PlaybackStreamParams, Prop, Props, PulseError, SetPlaybackStreamBufferAttrReply,
    SubscriptionEventFacility, SubscriptionEventType,
};
use std::time::SystemTime;

impl Desk {
    /// A command for a stream of the client itself.
    pub(super) fn playback(
        &mut self,
        id: ClientId,
        seq: u32,
        command: Command,
        rest: &[u8],
    ) -> Outcome {
        match command {
            Command::CreatePlaybackStream(params) => self.create(id, seq, &params),
            Command::DeletePlaybackStream(channel) => self.delete(id, channel),
            Command::GetPlaybackLatency(params) => self.latency(id, seq, params),
            Command::SetPlaybackStreamBufferAttr(params) => {
                let signals = &mut self.signals;
                let client = self.clients.get_mut(&id).ok_or(PulseError::NoEntity)?;
                let stream = client.streams.get_mut(&params.index);
                let stream = stream.ok_or(PulseError::NoEntity)?;
                stream.set_attr(params.buffer_attr, signals);
                let reply = SetPlaybackStreamBufferAttrReply {
                    buffer_attr: stream.setup().attr,
                    configured_sink_latency: SINK_LATENCY_US,
                };
                client.reply(seq, &reply);
                client.outbox.signal(client.version, params.index, signals);
                Ok(Answer::Own)
            }
            Command::DrainPlaybackStream(channel) => {
                self.steer(id, channel, |stream, signals| stream.drain(seq, signals))?;
                Ok(Answer::Own)
            }
            Command::CorkPlaybackStream(p) => {
                self.steer(id, p.channel, |stream, _| stream.cork(p.cork))?;
                self.stream_changed(id, p.channel);
                Ok(Answer::Ack)
            }
            Command::FlushPlaybackStream(channel) => self.steer(id, channel, Stream::flush),
            Command::TriggerPlaybackStream(channel) => self.steer(id, channel, Stream::trigger),
            Command::PrebufPlaybackStream(channel) => self.steer(id, channel, Stream::prebuffer),
            Command::UpdatePlaybackStreamSampleRate(p) => {
                if !(RATE_MIN..=RATE_MAX).contains(&p.sample_rate) {
                    return Err(PulseError::Invalid);
                }
                let mut variable = false;
                self.steer(id, p.index, |stream, _| {
                    variable = stream.set_rate(p.sample_rate)
                })?;
                variable.then_some(Answer::Ack).ok_or(PulseError::BadState)
            }
            Command::SetPlaybackStreamName(p) => {
                let mut name = Props::new();
                name.set(Prop::MediaName, p.name);
                self.change_props(id, p.index, |own| {
                    props::update(own, PropsUpdateMode::Replace, &name);
                })
            }
            Command::UpdatePlaybackStreamProplist(p) => {
                self.change_props(id, p.index, |own| props::update(own, p.mode, &p.props))
            }
            Command::RemovePlaybackStreamProplist(channel) => {
                let version = self.clients.get(&id).map_or(0, |client| client.version);
                let keys = keys(rest, version)?;
                self.change_props(id, channel, |own| props::remove(own, &keys))
            }
            _ => Err(PulseError::NotSupported),
        }
    }

    /// Sets the volume of anybody's stream, by its index.
    pub(super) fn set_stream_volume(&mut self, index: u32, volume: ChannelVolume) -> Outcome {
        let stream = self.stream_mut(index).ok_or(PulseError::NoEntity)?;
        let channels = usize::from(stream.setup().spec.channels);
        let volume = match volume.channels() {
            levels if levels.len() == channels => volume,
            [level] => {
                let mut all = ChannelVolume::empty();
                (0..channels).for_each(|_| all.push(*level));
                all
            }
            _ => return Err(PulseError::Invalid),
        };
        self.change_stream(index, |stream| stream.set_volume(volume))
    }

    /// Changes anybody's stream, by its index.
    pub(super) fn change_stream(
        &mut self,
        index: u32,
        change: impl FnOnce(&mut Stream),
    ) -> Outcome {
        change(self.stream_mut(index).ok_or(PulseError::NoEntity)?);
        let kind = SubscriptionEventType::Changed;
        self.announce(SubscriptionEventFacility::SinkInput, kind, index);
        Ok(Answer::Ack)
    }

    /// Ends anybody's stream, by its index.
    pub(super) fn kill_stream(&mut self, index: u32) -> Outcome {
        let mut found = None;
        for client in self.clients.values_mut() {
            let mut streams = client.streams.iter();
            let channel = streams.find(|(_, stream)| stream.setup().index == index);
            if let Some((&channel, _)) = channel {
                client.streams.remove(&channel);
                client.tell(&Command::PlaybackStreamKilled(channel));
                found = Some(());
            }
        }
        found.ok_or(PulseError::NoEntity)?;
        let kind = SubscriptionEventType::Removed;
        self.announce(SubscriptionEventFacility::SinkInput, kind, index);
        Ok(Answer::Ack)
    }

    fn create(&mut self, id: ClientId, seq: u32, params: &PlaybackStreamParams) -> Outcome {
        if !means_sink(params.sink_index, params.sink_name.as_ref()) {
            return Err(PulseError::NoEntity);
        }
        let all: usize = self.clients.values().map(|c| c.streams.len()).sum();
        let client = self.clients.get_mut(&id).ok_or(PulseError::NoEntity)?;
        if all >= STREAMS_MAX || client.streams.len() >= STREAMS_PER_CLIENT_MAX {
            return Err(PulseError::TooLarge);
        }
        let agreed = format::agree(params)?;
        let index = self.next_stream;
        self.next_stream = self.next_stream.wrapping_add(1);
        let stream = Stream::new(Setup {
            index,
            spec: agreed.spec,
            map: agreed.map,
            attr: params.buffer_attr,
            volume: agreed.volume,
            muted: params.flags.start_muted.unwrap_or(false),
            corked: params.flags.start_corked,
            variable_rate: params.flags.variable_rate,
            props: props::trimmed(&params.props),
        });
        let channel = (0..).find(|n| !client.streams.contains_key(n));
        let channel = channel.ok_or(PulseError::TooLarge)?;
        let attr = stream.setup().attr;
        client.streams.insert(channel, stream);
        let reply = CreatePlaybackStreamReply {
            channel,
            stream_index: index,
            requested_bytes: attr.target_length,
            buffer_attr: attr,
            sample_spec: agreed.spec,
            channel_map: agreed.map,
            stream_latency: SINK_LATENCY_US,
            sink_index: SINK_INDEX,
            sink_name: Some(SINK_NAME.to_owned()),
            suspended: false,
            format: agreed.format,
        };
        client.reply(seq, &reply);
        let kind = SubscriptionEventType::New;
        self.announce(SubscriptionEventFacility::SinkInput, kind, index);
        Ok(Answer::Own)
    }

    fn delete(&mut self, id: ClientId, channel: u32) -> Outcome {
        let client = self.clients.get_mut(&id).ok_or(PulseError::NoEntity)?;
        let stream = client.streams.remove(&channel);
        let index = stream.ok_or(PulseError::NoEntity)?.setup().index;
        let kind = SubscriptionEventType::Removed;
        self.announce(SubscriptionEventFacility::SinkInput, kind, index);
        Ok(Answer::Ack)
    }

    fn latency(&mut self, id: ClientId, seq: u32, params: LatencyParams) -> Outcome {
        let client = self.clients.get_mut(&id).ok_or(PulseError::NoEntity)?;
        let stream = client.streams.get(&params.channel);
        let stream = stream.ok_or(PulseError::NoEntity)?;
        let (read_offset, write_offset) = stream.indices();
        let (playing_for, underrun_for) = stream.runs();
        let reply = PlaybackLatency {
            sink_usec: SINK_LATENCY_US,
            source_usec: 0,
            playing: stream.is_playing(),
            local_time: params.now,
            remote_time: SystemTime::now(),
            write_offset,
            read_offset,
            underrun_for,
            playing_for,
        };
        client.reply(seq, &reply);
        Ok(Answer::Own)
    }

    /// Does something with a client's stream and tells the client what comes of it.
    fn steer(
        &mut self,
        id: ClientId,
        channel: u32,
        act: impl FnOnce(&mut Stream, &mut Vec<crate::stream::Signal>),
    ) -> Outcome {
        let client = self.clients.get_mut(&id).ok_or(PulseError::NoEntity)?;
        let stream = client.streams.get_mut(&channel);
        act(stream.ok_or(PulseError::NoEntity)?, &mut self.signals);
        client
            .outbox
            .signal(client.version, channel, &mut self.signals);
        Ok(Answer::Ack)
    }

    fn change_props(
        &mut self,
        id: ClientId,
        channel: u32,
        change: impl FnOnce(&mut Props),
    ) -> Outcome {
        self.steer(id, channel, |stream, _| change(stream.props_mut()))?;
        self.stream_changed(id, channel);
        Ok(Answer::Ack)
    }

    fn stream_changed(&mut self, id: ClientId, channel: u32) {
        let client = self.clients.get(&id);
        let stream = client.and_then(|client| client.streams.get(&channel));
        if let Some(index) = stream.map(|stream| stream.setup().index) {
            let kind = SubscriptionEventType::Changed;
            self.announce(SubscriptionEventFacility::SinkInput, kind, index);
        }
    }

    fn stream_mut(&mut self, index: u32) -> Option<&mut Stream> {
        self.clients
            .values_mut()
            .flat_map(|client| client.streams.values_mut())
            .find(|stream| stream.setup().index == index)
    }
}
