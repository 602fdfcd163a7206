//! See `fuzz::weights`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::weights(data));
