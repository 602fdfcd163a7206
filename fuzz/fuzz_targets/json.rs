//! The manifest, and the footer of a table.

#![no_main]

use libfuzzer_sys::fuzz_target;
use schema::footer::Footer;
use schema::manifest::{self, Manifest};

fuzz_target!(|data: &[u8]| {
    if let Ok(footer) = serde_json::from_slice::<Footer>(data) {
        let _ = footer.dim();
    }
    let root = std::env::temp_dir().join(format!("fuzz-json-{}", std::process::id()));
    let written = std::fs::create_dir_all(&root).and_then(|()| std::fs::write(root.join(manifest::FILE_NAME), data));
    if written.is_ok()
        && let Ok(Some(manifest)) = Manifest::read(&root)
    {
        for file in manifest.stages.iter().flat_map(|s| &s.outputs).map(|o| &o.file) {
            // What a manifest names gets removed: it must lie below the run.
            assert!(!file.starts_with('/') && !file.split('/').any(|part| part == ".."), "{file}");
        }
    }
});
