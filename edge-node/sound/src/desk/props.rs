//! Property lists, kept small.

use crate::limits::{PROP_BYTES_MAX, PROPS_BYTES_MAX};
use pulseaudio::protocol::Props;
use pulseaudio::protocol::props::PropsUpdateMode;
use std::ffi::{CStr, CString};

/// As much of `props` as is kept.
pub(super) fn trimmed(props: &Props) -> Props {
    let mut kept = Props::new();
    let mut bytes = 0;
    for (key, value) in props.iter() {
        let size = key.count_bytes() + value.len();
        if value.len() <= PROP_BYTES_MAX && bytes + size <= PROPS_BYTES_MAX {
            bytes += size;
            kept.set_bytes(key, value);
        }
    }
    kept
}

/// Changes `props` as a client asks.
pub(super) fn update(props: &mut Props, mode: PropsUpdateMode, by: &Props) {
    let mut merged = match mode {
        PropsUpdateMode::Set => Props::new(),
        PropsUpdateMode::Merge | PropsUpdateMode::Replace => props.clone(),
    };
    for (key, value) in by.iter() {
        if mode != PropsUpdateMode::Merge || merged.get_bytes(key).is_none() {
            merged.set_bytes(key, value);
        }
    }
    *props = trimmed(&merged);
}

/// Removes some keys.
pub(super) fn remove(props: &mut Props, keys: &[CString]) {
    let mut left = Props::new();
    for (key, value) in props.iter() {
        if !keys.iter().any(|gone| gone.as_c_str() == &**key) {
            left.set_bytes(key, value);
        }
    }
    *props = left;
}

/// A property as a string, or `default`.
pub(super) fn text(props: &Props, key: &CStr, default: &CStr) -> CString {
    props
        .get_bytes(key)
        .and_then(|value| CStr::from_bytes_until_nul(value).ok())
        .unwrap_or(default)
        .to_owned()
}
