//! See `fuzz::pictures`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::pictures(data));
