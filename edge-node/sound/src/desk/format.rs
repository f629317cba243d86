//! Which sample format a playback stream gets.
//!
//! A client either names a sample spec, or offers formats whose properties hold JSON values
//! (`"s16le"`, `44100`, a list, or a range) and leaves the spec invalid; then the first PCM format
//! is taken, and what it leaves open becomes 16-bit stereo at the rate of the mix.

use crate::limits::{CHANNELS_MAX, RATE_MAX, RATE_MIN};
use crate::resample::RATE;
use crate::sample::default_map;
use pulseaudio::protocol::{
    ChannelMap, ChannelVolume, FormatEncoding, FormatInfo, PlaybackStreamParams, Props, PulseError,
    SampleFormat, SampleSpec,
};
use std::ffi::CStr;

/// The format of the sink.
pub(super) const SINK: SampleSpec = SampleSpec {
    format: SampleFormat::Float32Le,
    channels: 2,
    sample_rate: RATE,
};

const NAMES: [(&str, SampleFormat); 13] = [
    ("u8", SampleFormat::U8),
    ("aLaw", SampleFormat::Alaw),
    ("uLaw", SampleFormat::Ulaw),
    ("s16le", SampleFormat::S16Le),
    ("s16be", SampleFormat::S16Be),
    ("float32le", SampleFormat::Float32Le),
    ("float32be", SampleFormat::Float32Be),
    ("s32le", SampleFormat::S32Le),
    ("s32be", SampleFormat::S32Be),
    ("s24le", SampleFormat::S24Le),
    ("s24be", SampleFormat::S24Be),
    ("s24-32le", SampleFormat::S24In32Le),
    ("s24-32be", SampleFormat::S24In32Be),
];

/// What was agreed on.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Agreed {
    pub(super) spec: SampleSpec,
    pub(super) map: ChannelMap,
    pub(super) volume: ChannelVolume,
    pub(super) format: FormatInfo,
}

/// Agrees on a format with a client.
pub(super) fn agree(params: &PlaybackStreamParams) -> Result<Agreed, PulseError> {
    let mut spec = params.sample_spec;
    let mut map = params.channel_map;
    if params.formats.is_empty() {
        if params.flags.fix_format {
            spec.format = SINK.format;
        }
        if params.flags.fix_rate {
            spec.sample_rate = SINK.sample_rate;
        }
        if params.flags.fix_channels {
            spec.channels = SINK.channels;
            map = ChannelMap::stereo();
        }
    } else {
        let pcm = params
            .formats
            .iter()
            .find(|format| format.encoding == FormatEncoding::Pcm)
            .ok_or(PulseError::NotSupported)?;
        spec = offered(&pcm.props)?;
        map = default_map(spec.channels);
    }
    if map.num_channels() == 0 {
        map = default_map(spec.channels);
    }
    check(&spec, &map)?;
    let volume = match params.cvolume {
        Some(volume) if volume.channels().len() == usize::from(spec.channels) => volume,
        // A volume for one channel is for all.
        Some(volume) if volume.channels().len() == 1 => {
            let mut all = ChannelVolume::empty();
            (0..spec.channels).for_each(|_| all.push(volume.channels()[0]));
            all
        }
        Some(_) if params.formats.is_empty() => return Err(PulseError::Invalid),
        Some(_) | None => ChannelVolume::norm(spec.channels),
    };
    Ok(Agreed {
        spec,
        map,
        volume,
        format: described(&spec),
    })
}

/// A format whose properties say what `spec` does.
pub(super) fn described(spec: &SampleSpec) -> FormatInfo {
    let mut props = Props::new();
    let name = NAMES.iter().find(|(_, format)| *format == spec.format);
    let values = [
        (
            c"format.sample_format",
            format!("\"{}\"", name.map_or("", |(name, _)| name)),
        ),
        (c"format.rate", spec.sample_rate.to_string()),
        (c"format.channels", spec.channels.to_string()),
    ];
    for (key, value) in values {
        props.set_bytes(key, format!("{value}\0"));
    }
    FormatInfo {
        encoding: FormatEncoding::Pcm,
        props,
    }
}

fn check(spec: &SampleSpec, map: &ChannelMap) -> Result<(), PulseError> {
    let channels = usize::from(spec.channels);
    let possible = spec.format != SampleFormat::Invalid
        && (1..=CHANNELS_MAX).contains(&channels)
        && (RATE_MIN..=RATE_MAX).contains(&spec.sample_rate)
        && map.num_channels() == spec.channels;
    possible.then_some(()).ok_or(PulseError::Invalid)
}

fn offered(props: &Props) -> Result<SampleSpec, PulseError> {
    let format = match first(props, c"format.sample_format") {
        Some(name) => {
            let known = NAMES.iter().find(|(known, _)| *known == name);
            known.ok_or(PulseError::NotSupported)?.1
        }
        None => SampleFormat::S16Le,
    };
    let number = |key, default: u32| match first(props, key) {
        Some(text) => text.parse().unwrap_or(default),
        None => default,
    };
    Ok(SampleSpec {
        format,
        channels: u8::try_from(number(c"format.channels", 2)).unwrap_or(0),
        sample_rate: number(c"format.rate", RATE),
    })
}

/// The first value of a JSON string, number or list; a range says nothing.
fn first<'a>(props: &'a Props, key: &CStr) -> Option<&'a str> {
    let text = CStr::from_bytes_until_nul(props.get_bytes(key)?).ok()?;
    let text = text.to_str().ok()?.trim();
    if text.starts_with('{') {
        return None;
    }
    let text = text.trim_start_matches('[').trim_end_matches(']');
    let value = text.split(',').next()?.trim().trim_matches('"');
    (!value.is_empty()).then_some(value)
}

#[cfg(test)]
mod test {
    use super::*;

    fn offer(values: &[(&CStr, &str)]) -> Result<SampleSpec, PulseError> {
        let mut props = Props::new();
        for (key, value) in values {
            props.set_bytes(key, format!("{value}\0"));
        }
        let format = FormatInfo {
            encoding: FormatEncoding::Pcm,
            props,
        };
        let params = PlaybackStreamParams {
            formats: vec![FormatInfo::new(FormatEncoding::Ac3Iec61937), format],
            cvolume: Some(ChannelVolume::norm(32)),
            ..PlaybackStreamParams::default()
        };
        agree(&params).map(|agreed| agreed.spec)
    }

    fn spec(format: SampleFormat, channels: u8, sample_rate: u32) -> SampleSpec {
        SampleSpec {
            format,
            channels,
            sample_rate,
        }
    }

    #[test]
    fn offers_are_read_as_json() {
        let format = (c"format.sample_format", "\"float32le\"");
        let rate = (c"format.rate", "44100");
        let channels = (c"format.channels", "[ 6, 2 ]");
        let open = (c"format.rate", r#"{ "min": 8000, "max": 96000 }"#);
        let expected = spec(SampleFormat::Float32Le, 6, 44_100);
        assert_eq!(offer(&[format, rate, channels]), Ok(expected));
        assert_eq!(offer(&[open]), Ok(spec(SampleFormat::S16Le, 2, RATE)));
        assert_eq!(
            offer(&[(c"format.channels", "99")]),
            Err(PulseError::Invalid)
        );
        let unknown = (c"format.sample_format", "\"dsd\"");
        assert_eq!(offer(&[unknown]), Err(PulseError::NotSupported));
    }

    #[test]
    fn impossible_specs_are_turned_down() {
        let ask = |sample_spec, channel_map| {
            agree(&PlaybackStreamParams {
                sample_spec,
                channel_map,
                ..PlaybackStreamParams::default()
            })
            .map(|agreed| agreed.spec)
        };
        let good = spec(SampleFormat::S16Le, 2, 44_100);
        assert_eq!(ask(good, ChannelMap::stereo()), Ok(good));
        for (bad, map) in [
            (spec(SampleFormat::Invalid, 2, 44_100), ChannelMap::stereo()),
            (spec(SampleFormat::S16Le, 0, 44_100), ChannelMap::empty()),
            (spec(SampleFormat::S16Le, 9, 44_100), ChannelMap::empty()),
            (spec(SampleFormat::S16Le, 2, 0), ChannelMap::stereo()),
            (spec(SampleFormat::S16Le, 2, 200_000), ChannelMap::stereo()),
            (spec(SampleFormat::S16Le, 2, 44_100), ChannelMap::mono()),
        ] {
            assert_eq!(ask(bad, map), Err(PulseError::Invalid), "{bad:?}");
        }
    }
}
