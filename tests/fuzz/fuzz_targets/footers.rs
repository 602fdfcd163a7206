//! See `fuzz::footers`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::footers(data));
