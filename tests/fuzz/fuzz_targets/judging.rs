//! See `fuzz::judging`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::judging(data));
