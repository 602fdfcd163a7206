//! See `fuzz::shapes`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::shapes(data));
