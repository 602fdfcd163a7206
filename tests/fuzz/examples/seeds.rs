//! Writes the seeds of every target below a folder, where `cargo fuzz` looks for them.

use std::path::PathBuf;
use std::{env, fs, io};

use fuzz::{TARGETS, seeds};

fn main() -> io::Result<()> {
    let root = PathBuf::from(env::args_os().nth(1).unwrap_or("tests/fuzz/corpus".into()));
    for (target, _) in TARGETS {
        fs::create_dir_all(root.join(target))?;
        for (number, seed) in seeds::of(target).iter().enumerate() {
            fs::write(root.join(target).join(format!("seed-{number}")), seed)?;
        }
    }
    Ok(())
}
