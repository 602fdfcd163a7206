//! What reads files from strangers, each as one function of bytes: it returns, whatever the bytes are, or
//! something is wrong with us. `fuzz_targets/` hands these functions to libFuzzer; `tests/replay.rs` calls them
//! on [`seeds`], on stored finds, and on seeded mutations of both.
//!
//! What is asserted beside not to panic: an error is one sentence; what is accepted keeps the contract, and can be
//! written and read again to the same.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a target that meets the unexpected should end there"
)]

mod damage;
mod place;
mod read;
pub mod seeds;
mod shape;
mod texts;

pub use damage::{galleries, imports, judging, linking, redactions, reviews};
pub use shape::{runs, shapes};
pub use texts::{edits, footers, indexes, labels, manifests, settings, weights};

use arbitrary::Unstructured;

/// A target: what it is called, and the function.
pub type Target = (&'static str, fn(&[u8]));

/// Every target, as `fuzz_targets/` has them.
pub const TARGETS: [Target; 17] = [
    ("tables", tables),
    ("shapes", shapes),
    ("runs", runs),
    ("footers", footers),
    ("manifests", manifests),
    ("indexes", indexes),
    ("weights", weights),
    ("labels", labels),
    ("edits", edits),
    ("settings", settings),
    ("linking", linking),
    ("judging", judging),
    ("galleries", galleries),
    ("reviews", reviews),
    ("redactions", redactions),
    ("imports", imports),
    ("pictures", pictures),
];

/// A table: the first byte says which, the rest is the file.
pub fn tables(data: &[u8]) {
    let Some((which, file)) = data.split_first() else { return };
    read::table(usize::from(*which), &place::file("table.parquet", file));
}

/// A face image of the table `crops`. What is decoded has the size that the file claims.
pub fn pictures(data: &[u8]) {
    const SIDE: i64 = 256;
    let claimed = picture::size(data);
    if let Ok(image) = picture::decode(data, SIDE, SIDE) {
        let (width, height) = (image.width(), image.height());
        assert_eq!(claimed, Some((width, height)));
        assert!(i64::from(width.max(height)) <= SIDE);
        let format = picture::Format::of(data).expect("what is decoded has a format");
        let again = picture::encode(&image.into_rgb8(), width, height, format).unwrap();
        assert_eq!(picture::size(&again), claimed);
    }
}

/// Asserts that a message is a sentence for people.
fn assert_message(error: &dyn std::error::Error) {
    let text = error.to_string();
    assert!(!text.trim().is_empty(), "an error without words");
}

/// One of these, as the data choose; the first where they have ended.
fn one_of<T: Copy>(data: &mut Unstructured<'_>, choices: &[T]) -> T {
    *data.choose(choices).unwrap_or(&choices[0])
}

/// A number up to `most`, as the data choose; zero where they have ended.
fn up_to(data: &mut Unstructured<'_>, most: usize) -> usize {
    data.int_in_range(0..=most).unwrap_or(0)
}
