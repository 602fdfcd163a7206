//! Files of labels.

#![no_main]

use std::path::Path;

use evaluate::labels::Labels;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = Labels::parse(Path::new("labels.csv"), data, 1000);
});
