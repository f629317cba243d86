//! Placement: fleet snapshot and request in, place or reject out.
