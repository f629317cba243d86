//! The desk as a client sees it: frames in, frames out.

use super::*;
use crate::limits::{CLIENTS_MAX, STREAMS_PER_CLIENT_MAX};
use crate::sample::Pair;
use proptest::prelude::*;
use pulseaudio::protocol::{
    self, AuthParams, AuthReply, ClientInfo, Command, CommandReply, CreatePlaybackStreamReply,
    PlaybackStreamParams, Prop, Props, ProtocolError, PulseError, RecordStreamParams, SampleFormat,
    SampleSpec, SetStreamVolumeParams, SinkInfo, SinkInputInfo, SourceInfo, SubscriptionMask,
};
use std::io::Cursor;

const VERSION: u16 = 35;
const ME: ClientId = ClientId(0);

struct Bench {
    desk: Desk,
    seq: u32,
}

impl Bench {
    fn new() -> Self {
        let mut desk = Desk::new();
        desk.join(ME, 0);
        let mut bench = Self { desk, seq: 0 };
        bench.greet(ME);
        bench
    }

    fn greet(&mut self, id: ClientId) {
        let auth = Command::Auth(AuthParams {
            version: VERSION,
            supports_shm: true,
            supports_memfd: true,
            cookie: vec![0; 256],
        });
        self.send(id, &auth).unwrap();
        let reply: AuthReply = self.reply(id).unwrap();
        assert!(!reply.use_shm && !reply.use_memfd);
    }

    fn send(&mut self, id: ClientId, command: &Command) -> Result<(), Refusal> {
        self.seq += 1;
        let mut bytes = Vec::new();
        protocol::write_command_message(&mut bytes, self.seq, command, VERSION).unwrap();
        self.desk.receive(id, &bytes);
        self.desk.handle(id).map(|_| ())
    }

    fn reply<R: CommandReply>(&mut self, id: ClientId) -> Result<R, PulseError> {
        let mut cursor = Cursor::new(self.desk.outbox(id).unwrap().as_slice());
        let read = protocol::read_reply_message::<R>(&mut cursor, VERSION);
        let used = cursor.position() as usize;
        self.desk.outbox(id).unwrap().drain(..used);
        match read {
            Ok((_, reply)) => Ok(reply),
            Err(ProtocolError::ServerError(error)) => Err(error),
            Err(error) => panic!("{error}"),
        }
    }

    fn ask<R: CommandReply>(&mut self, command: &Command) -> Result<R, PulseError> {
        self.send(ME, command).unwrap();
        self.reply(ME)
    }

    fn done(&mut self, command: &Command) -> Result<(), PulseError> {
        self.send(ME, command).unwrap();
        let bytes = std::mem::take(self.desk.outbox(ME).unwrap());
        match protocol::read_ack_message(&mut Cursor::new(bytes)) {
            Ok(_) => Ok(()),
            Err(ProtocolError::ServerError(error)) => Err(error),
            Err(error) => panic!("{error}"),
        }
    }

    fn play(&mut self) -> CreatePlaybackStreamReply {
        self.ask(&Command::CreatePlaybackStream(params())).unwrap()
    }

    fn block(&mut self, channel: u32, samples: &[u8]) -> Result<(), Refusal> {
        let mut bytes = Vec::new();
        protocol::write_memblock(&mut bytes, channel, samples, 0).unwrap();
        self.desk.receive(ME, &bytes);
        self.desk.handle(ME).map(|_| ())
    }

    fn mix(&mut self) -> [Pair; 480] {
        let mut out = [[0.0; 2]; 480];
        self.desk.mix(&mut out);
        out
    }
}

fn params() -> PlaybackStreamParams {
    let mut props = Props::new();
    props.set(Prop::MediaName, c"tune");
    PlaybackStreamParams {
        sample_spec: SampleSpec {
            format: SampleFormat::S16Le,
            channels: 2,
            sample_rate: 48_000,
        },
        channel_map: protocol::ChannelMap::stereo(),
        props,
        ..PlaybackStreamParams::default()
    }
}

fn tone() -> Vec<u8> {
    [0, 0x40].repeat(1_920)
}

#[test]
fn nothing_is_answered_before_the_greeting() {
    let mut bench = Bench::new();
    let stranger = ClientId(7);
    bench.desk.join(stranger, 0);
    bench.send(stranger, &Command::GetSinkInfoList).unwrap();
    let reply = bench.reply::<SinkInfo>(stranger);
    assert_eq!(reply, Err(PulseError::AccessDenied));
    assert_eq!(bench.desk.overdue(stranger, GREETING_US_MAX), None);
    let late = bench.desk.overdue(stranger, GREETING_US_MAX + 1);
    assert_eq!(late, Some(Refusal::Greeting));
    assert_eq!(bench.desk.overdue(ME, u64::MAX), None);
}

#[test]
fn volumes_and_mutes_multiply() {
    let mut bench = Bench::new();
    let stream = bench.play();
    let half = {
        let mut volume = ChannelVolume::empty();
        volume.push(protocol::Volume::from_linear(0.5));
        volume
    };
    let level = |bench: &mut Bench| {
        bench.block(stream.channel, &tone()).unwrap();
        let heard = bench.mix()[400][0];
        let flush = Command::FlushPlaybackStream(stream.channel);
        bench.send(ME, &flush).unwrap();
        bench.desk.outbox(ME).unwrap().clear();
        heard
    };
    assert!((level(&mut bench) - 0.5).abs() < 0.01);
    let set = Command::SetSinkInputVolume(SetStreamVolumeParams {
        index: stream.stream_index,
        volume: half,
    });
    assert_eq!(bench.done(&set), Ok(()));
    assert!((level(&mut bench) - 0.25).abs() < 0.01);
    let set = Command::SetSinkVolume(protocol::SetDeviceVolumeParams {
        device_index: None,
        device_name: Some(c"@DEFAULT_SINK@".to_owned()),
        volume: half,
    });
    assert_eq!(bench.done(&set), Ok(()));
    assert!((level(&mut bench) - 0.125).abs() < 0.01);
    let set = Command::SetSinkMute(protocol::SetDeviceMuteParams {
        device_index: Some(0),
        device_name: None,
        mute: true,
    });
    assert_eq!(bench.done(&set), Ok(()));
    assert_eq!(level(&mut bench), 0.0);
}

#[test]
fn all_streams_are_in_the_mix_until_their_client_leaves() {
    let mut bench = Bench::new();
    for _ in 0..2 {
        let stream = bench.play();
        bench.block(stream.channel, &tone()).unwrap();
    }
    assert!((bench.mix()[400][0] - 1.0).abs() < 0.01);
    bench.desk.leave(ME);
    assert_eq!(bench.mix()[400][0], 0.0);
}

#[test]
fn subscribers_hear_of_streams_and_nobody_else_does() {
    let mut bench = Bench::new();
    let other = ClientId(1);
    bench.desk.join(other, 0);
    bench.greet(other);
    let subscribe = Command::Subscribe(SubscriptionMask::SINK_INPUT);
    bench.send(other, &subscribe).unwrap();
    bench.desk.outbox(other).unwrap().clear();
    let stream = bench.play();
    assert!(bench.desk.outbox(ME).unwrap().is_empty());
    let told = std::mem::take(bench.desk.outbox(other).unwrap());
    let (_, event) = protocol::read_command_message(&mut Cursor::new(told), VERSION).unwrap();
    let Command::SubscribeEvent(event) = event else {
        panic!("{event:?}");
    };
    assert_eq!(event.event_type, SubscriptionEventType::New);
    assert_eq!(event.index, Some(stream.stream_index));
}

#[test]
fn what_there_is_not_is_turned_down_politely() {
    let mut bench = Bench::new();
    let record = Command::CreateRecordStream(RecordStreamParams::default());
    for (command, error) in [
        (record, PulseError::NotSupported),
        (
            Command::LoadModule(protocol::LoadModuleParams {
                name: c"module-null-sink".to_owned(),
                arguments: None,
            }),
            PulseError::AccessDenied,
        ),
        (Command::DeletePlaybackStream(3), PulseError::NoEntity),
        (Command::DrainPlaybackStream(3), PulseError::NoEntity),
        (Command::KillSinkInput(3), PulseError::NoEntity),
        (Command::GetClientInfo(99), PulseError::NoEntity),
    ] {
        assert_eq!(bench.done(&command), Err(error), "{command:?}");
    }
}

#[test]
fn streams_are_limited_per_client() {
    let mut bench = Bench::new();
    for _ in 0..STREAMS_PER_CLIENT_MAX {
        bench.play();
    }
    let one_more: Result<CreatePlaybackStreamReply, _> =
        bench.ask(&Command::CreatePlaybackStream(params()));
    assert_eq!(one_more, Err(PulseError::TooLarge));
    assert_eq!(bench.done(&Command::DeletePlaybackStream(5)), Ok(()));
    assert_eq!(bench.play().channel, 5);
}

#[test]
fn lists_show_what_is_there() {
    let mut bench = Bench::new();
    bench.play();
    let sinks: Vec<SinkInfo> = bench.ask(&Command::GetSinkInfoList).unwrap();
    assert_eq!(sinks[0].name.as_c_str(), c"nearlight");
    let sources: Vec<SourceInfo> = bench.ask(&Command::GetSourceInfoList).unwrap();
    assert_eq!(sources[0].monitor_of_sink_index, Some(0));
    let streams: Vec<SinkInputInfo> = bench.ask(&Command::GetSinkInputInfoList).unwrap();
    assert_eq!(streams[0].name.as_c_str(), c"tune");
    let clients: Vec<ClientInfo> = bench.ask(&Command::GetClientInfoList).unwrap();
    assert_eq!(clients.len(), 1);
}

#[test]
fn the_longest_lists_fit_the_outbox() {
    let mut bench = Bench::new();
    let mut props = Props::new();
    for key in 0..4_u8 {
        props.set_bytes(
            std::ffi::CString::new([b'k', b'0' + key]).unwrap(),
            [b'v'; 1_000],
        );
    }
    for id in 1..CLIENTS_MAX as u32 {
        let id = ClientId(id);
        bench.desk.join(id, 0);
        bench.greet(id);
        bench
            .send(id, &Command::SetClientName(props.clone()))
            .unwrap();
    }
    bench.send(ME, &Command::GetClientInfoList).unwrap();
    let bytes = bench.desk.outbox(ME).unwrap().len();
    assert!(bytes > 100_000 && 2 * bytes < OUTBOX_BYTES_MAX, "{bytes}");
}

#[test]
fn who_does_not_read_is_cut_off() {
    let mut bench = Bench::new();
    let refused = (0..100_000).find_map(|_| {
        bench.mix();
        bench.send(ME, &Command::GetSinkInfoList).err()
    });
    assert_eq!(refused, Some(Refusal::NotReading));
}

#[test]
fn a_tick_takes_so_many_messages_and_the_next_the_rest() {
    let mut bench = Bench::new();
    let mut bytes = Vec::new();
    for seq in 0..250 {
        protocol::write_command_message(&mut bytes, seq, &Command::Stat, VERSION).unwrap();
    }
    bench.desk.receive(ME, &bytes);
    assert_eq!(bench.desk.handle(ME), Ok(Taken::Some));
    assert!(!bench.desk.may_read(ME));
    bench.mix();
    assert_eq!(bench.desk.handle(ME), Ok(Taken::Some));
    bench.mix();
    assert_eq!(bench.desk.handle(ME), Ok(Taken::All));
}

proptest! {
    /// Greeted or not, whatever bytes come: an answer or a refusal, and bounded memory.
    #[test]
    fn no_bytes_upset_the_desk(
        greeted in any::<bool>(),
        frames in proptest::collection::vec(
            (0u32..110, proptest::collection::vec(any::<u8>(), 0..60), any::<bool>()), 1..20),
    ) {
        let mut bench = Bench::new();
        let id = if greeted { ME } else { ClientId(3) };
        bench.desk.join(ClientId(3), 0);
        bench.play();
        for (tag, values, whole) in frames {
            let mut payload = b"L".to_vec();
            payload.extend(tag.to_be_bytes());
            payload.extend(b"L\0\0\0\x01L\0\0\0\0");
            payload.extend(values);
            let claimed = payload.len() as u32 + u32::from(!whole);
            let mut bytes = claimed.to_be_bytes().to_vec();
            bytes.extend([0xff; 4]);
            bytes.extend([0; 12]);
            bytes.extend(payload);
            bench.desk.receive(id, &bytes);
            if bench.desk.handle(id).is_err() {
                bench.desk.leave(id);
            }
            bench.mix();
        }
    }

    /// Well-formed commands in any order.
    #[test]
    fn no_order_of_commands_upsets_the_desk(
        commands in proptest::collection::vec((0usize..12, 0u32..3, any::<u32>()), 1..60),
    ) {
        let mut bench = Bench::new();
        for (kind, channel, number) in commands {
            let command = match kind {
                0 => Command::CreatePlaybackStream(params()),
                1 => Command::DeletePlaybackStream(channel),
                2 => Command::DrainPlaybackStream(channel),
                3 => Command::FlushPlaybackStream(channel),
                4 => Command::TriggerPlaybackStream(channel),
                5 => Command::PrebufPlaybackStream(channel),
                6 => Command::KillSinkInput(channel),
                7 => Command::CorkPlaybackStream(protocol::CorkStreamParams {
                    channel,
                    cork: number % 2 == 0,
                }),
                8 => Command::UpdatePlaybackStreamSampleRate(protocol::UpdateSampleRateParams {
                    index: channel,
                    sample_rate: number,
                }),
                9 => Command::SetPlaybackStreamBufferAttr(
                    protocol::SetPlaybackStreamBufferAttrParams {
                        index: channel,
                        buffer_attr: protocol::stream::BufferAttr {
                            target_length: number,
                            ..Default::default()
                        },
                        adjust_latency: false,
                        early_requests: false,
                    },
                ),
                10 => Command::Subscribe(SubscriptionMask::ALL),
                _ => {
                    bench.block(channel, &tone()).unwrap();
                    continue;
                }
            };
            bench.send(ME, &command).unwrap();
            bench.mix();
            bench.desk.outbox(ME).unwrap().clear();
        }
    }
}
