//! An in-process PulseAudio server: a session's sound, mixed and encoded with Opus.
