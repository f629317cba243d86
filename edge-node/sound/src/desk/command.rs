//! Commands: each is carried out and answered, or turned down with an error that its sender shows.

use super::client::{Client, ClientId};
use super::introspect::{SINK_INDEX, SOURCE_INDEX, means_sink, means_source};
use super::{Desk, Refusal, props};
use pulseaudio::protocol::{
    self, AuthParams, AuthReply, Command, LookupReply, ProtocolError, PulseError,
    SetClientNameReply, StatInfo, SubscriptionEventFacility, SubscriptionEventType,
    TagStructReader,
};
use std::ffi::CString;

/// Highest number of a command, and numbers in between that no longer mean one.
const TAG_MAX: u32 = 104;
const TAGS_GONE: std::ops::RangeInclusive<u32> = 53..=56;

/// How a command was answered.
pub(super) enum Answer {
    /// Done, with nothing to say.
    Ack,
    /// The reply is sent, or comes later.
    Own,
}

pub(super) type Outcome = Result<Answer, PulseError>;

impl Desk {
    /// Carries out a command.
    pub(super) fn command(
        &mut self,
        id: ClientId,
        tag: u32,
        seq: u32,
        payload: &[u8],
    ) -> Result<(), Refusal> {
        let Some(client) = self.clients.get_mut(&id) else {
            return Ok(());
        };
        let mut rest = payload;
        let read = if tag > TAG_MAX || TAGS_GONE.contains(&tag) {
            None
        } else {
            match Command::read_tag_prefixed(&mut rest, client.version) {
                Ok((_, command)) => Some(command),
                Err(ProtocolError::Unimplemented(..)) => None,
                Err(error) => return Err(Refusal::Command(error.to_string())),
            }
        };
        let outcome = match read {
            Some(Command::Auth(params)) => client.greet(seq, &params),
            Some(_) if !client.greeted => Err(PulseError::AccessDenied),
            Some(command) => self.run(id, seq, command, rest),
            None => Err(PulseError::NotSupported),
        };
        if let Some(client) = self.clients.get_mut(&id) {
            match outcome {
                Ok(Answer::Ack) => client.ack(seq),
                Ok(Answer::Own) => {}
                Err(error) => client.deny(seq, error),
            }
        }
        Ok(())
    }

    fn run(&mut self, id: ClientId, seq: u32, command: Command, rest: &[u8]) -> Outcome {
        match command {
            Command::CreatePlaybackStream(_)
            | Command::DeletePlaybackStream(_)
            | Command::DrainPlaybackStream(_)
            | Command::CorkPlaybackStream(_)
            | Command::FlushPlaybackStream(_)
            | Command::TriggerPlaybackStream(_)
            | Command::PrebufPlaybackStream(_)
            | Command::GetPlaybackLatency(_)
            | Command::SetPlaybackStreamName(_)
            | Command::SetPlaybackStreamBufferAttr(_)
            | Command::UpdatePlaybackStreamSampleRate(_)
            | Command::UpdatePlaybackStreamProplist(_)
            | Command::RemovePlaybackStreamProplist(_) => self.playback(id, seq, command, rest),
            Command::SetClientName(_)
            | Command::UpdateClientProplist(_)
            | Command::RemoveClientProplist
            | Command::Subscribe(_) => self.client_command(id, seq, command, rest),
            Command::SetSinkVolume(_)
            | Command::SetSinkMute(_)
            | Command::SetSinkInputVolume(_)
            | Command::SetSinkInputMute(_)
            | Command::KillSinkInput(_)
            | Command::MoveSinkInput(_)
            | Command::SetDefaultSink(_)
            | Command::SetDefaultSource(_) => self.control(command),
            // Nothing can be recorded, uploaded, loaded or suspended, and a client that tries is
            // told so; the rest is what only a server says.
            _ => self.inspect(id, seq, command),
        }
    }

    fn client_command(&mut self, id: ClientId, seq: u32, command: Command, rest: &[u8]) -> Outcome {
        let client = self.clients.get_mut(&id).ok_or(PulseError::NoEntity)?;
        let mut event = SubscriptionEventType::Changed;
        match command {
            Command::SetClientName(given) => {
                event = SubscriptionEventType::New;
                client.props = props::trimmed(&given);
                client.reply(seq, &SetClientNameReply { client_id: id.0 });
            }
            Command::UpdateClientProplist(update) => {
                props::update(&mut client.props, update.mode, &update.props);
                client.ack(seq);
            }
            Command::RemoveClientProplist => {
                let keys = keys(rest, client.version)?;
                props::remove(&mut client.props, &keys);
                client.ack(seq);
            }
            Command::Subscribe(mask) => {
                client.subscribed = mask;
                return Ok(Answer::Ack);
            }
            _ => return Err(PulseError::NotSupported),
        }
        self.announce(SubscriptionEventFacility::Client, event, id.0);
        Ok(Answer::Own)
    }

    /// Volume, mute and life of the sink and of anybody's streams.
    fn control(&mut self, command: Command) -> Outcome {
        let sink_changed = |desk: &mut Self| {
            let kind = SubscriptionEventType::Changed;
            desk.announce(SubscriptionEventFacility::Sink, kind, SINK_INDEX);
            Ok(Answer::Ack)
        };
        match command {
            Command::SetSinkVolume(p) if means_sink(p.device_index, p.device_name.as_ref()) => {
                self.sink.volume = match p.volume.channels() {
                    [_, _] => p.volume,
                    [both] => {
                        let mut volume = protocol::ChannelVolume::empty();
                        volume.push(*both);
                        volume.push(*both);
                        volume
                    }
                    _ => return Err(PulseError::Invalid),
                };
                sink_changed(self)
            }
            Command::SetSinkMute(p) if means_sink(p.device_index, p.device_name.as_ref()) => {
                self.sink.muted = p.mute;
                sink_changed(self)
            }
            Command::SetSinkInputVolume(p) => self.set_stream_volume(p.index, p.volume),
            Command::SetSinkInputMute(p) => {
                self.change_stream(p.index, |stream| stream.set_muted(p.mute))
            }
            Command::KillSinkInput(index) => self.kill_stream(index),
            Command::MoveSinkInput(p) if means_sink(p.device_index, p.device_name.as_ref()) => {
                Ok(Answer::Ack)
            }
            Command::SetDefaultSink(name) if means_sink(None, Some(&name)) => Ok(Answer::Ack),
            Command::SetDefaultSource(name) if means_source(None, Some(&name)) => Ok(Answer::Ack),
            _ => Err(PulseError::NoEntity),
        }
    }

    /// What there is to know. Lists of what there never is are empty.
    fn inspect(&mut self, id: ClientId, seq: u32, command: Command) -> Outcome {
        let send: Send = match command {
            Command::GetServerInfo => reply(self.server_info()),
            Command::Stat => reply(StatInfo::default()),
            Command::GetSinkInfoList => reply(vec![self.sink_info()]),
            Command::GetSinkInfo(p) if means_sink(p.index, p.name.as_ref()) => {
                reply(self.sink_info())
            }
            Command::GetSourceInfoList => reply(vec![self.source_info()]),
            Command::GetSourceInfo(p) if means_source(p.index, p.name.as_ref()) => {
                reply(self.source_info())
            }
            Command::LookupSink(name) if means_sink(None, Some(&name)) => {
                reply(LookupReply(SINK_INDEX))
            }
            Command::LookupSource(name) if means_source(None, Some(&name)) => {
                reply(LookupReply(SOURCE_INDEX))
            }
            Command::GetClientInfoList => reply(self.client_infos()),
            Command::GetClientInfo(index) => {
                let found = self.client_infos().into_iter().find(|c| c.index == index);
                reply(found.ok_or(PulseError::NoEntity)?)
            }
            Command::GetSinkInputInfoList => reply(self.stream_infos()),
            Command::GetSinkInputInfo(index) => {
                let found = self.stream_infos().into_iter().find(|s| s.index == index);
                reply(found.ok_or(PulseError::NoEntity)?)
            }
            Command::GetSourceOutputInfoList
            | Command::GetModuleInfoList
            | Command::GetSampleInfoList
            | Command::GetCardInfoList => {
                return Ok(Answer::Ack);
            }
            Command::GetSinkInfo(_)
            | Command::GetSourceInfo(_)
            | Command::LookupSink(_)
            | Command::LookupSource(_)
            | Command::GetSourceOutputInfo(_)
            | Command::GetModuleInfo(_)
            | Command::GetSampleInfo(_)
            | Command::GetCardInfo(_)
            | Command::PlaySample(_)
            | Command::RemoveSample(_)
            | Command::KillSourceOutput(_) => return Err(PulseError::NoEntity),
            Command::Extension(_) => return Err(PulseError::NoExtension),
            Command::Exit
            | Command::KillClient(_)
            | Command::LoadModule(_)
            | Command::UnloadModule(_) => return Err(PulseError::AccessDenied),
            _ => return Err(PulseError::NotSupported),
        };
        let client = self.clients.get_mut(&id).ok_or(PulseError::NoEntity)?;
        send(client, seq);
        Ok(Answer::Own)
    }
}

/// Sends a reply whose type is forgotten.
type Send = Box<dyn FnOnce(&mut Client, u32)>;

fn reply<R: protocol::CommandReply + 'static>(content: R) -> Send {
    Box::new(move |client, seq| client.reply(seq, &content))
}

/// The keys that are left of a command, up to the null string at its end.
pub(super) fn keys(mut rest: &[u8], version: u16) -> Result<Vec<CString>, PulseError> {
    let mut reader = TagStructReader::new(&mut rest, version);
    let mut keys = Vec::new();
    while let Some(key) = reader.read_string().map_err(|_| PulseError::Protocol)? {
        keys.push(key);
    }
    Ok(keys)
}

impl Client {
    /// Any cookie will do: who may connect is for the socket's permissions to say. Shared memory is
    /// not offered, so that no sample changes under our hands.
    fn greet(&mut self, seq: u32, params: &AuthParams) -> Outcome {
        if params.version < protocol::MIN_VERSION {
            return Err(PulseError::Version);
        }
        self.version = params.version.min(protocol::MAX_VERSION);
        self.greeted = true;
        let reply = AuthReply {
            version: protocol::MAX_VERSION,
            use_memfd: false,
            use_shm: false,
        };
        self.reply(seq, &reply);
        Ok(Answer::Own)
    }
}
