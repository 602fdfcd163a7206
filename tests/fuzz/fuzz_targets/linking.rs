//! See `fuzz::linking`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::linking(data));
