//! The one footer key of every table.

use serde::{Deserialize, Serialize};

/// Name of the file-level metadata key.
pub const KEY: &str = "facetrack";

/// JSON under [`KEY`]. Readers ignore fields they do not know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Footer {
    /// Name of the table.
    pub table: String,
    /// Semantic version of the table.
    pub version: String,
    /// Program and version that wrote the file.
    pub producer: String,
    /// Name of the run directory.
    pub run_id: String,
    /// Fingerprint of the stage run that wrote the file.
    pub fingerprint: String,
    /// For tables of vectors, what made them; empty elsewhere. All vectors of a file have one length.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub embedders: Vec<Embedder>,
}

impl Footer {
    /// Length of the vectors in the file; 0 for a table without vectors.
    pub fn dim(&self) -> usize {
        self.embedders.first().map_or(0, |embedder| embedder.dim)
    }
}

/// A network that turned crops into vectors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Embedder {
    /// Name, as in the column `embedder`.
    pub name: String,
    /// Length of its vectors.
    pub dim: usize,
    /// SHA-256 of the weight file it was loaded from.
    pub weights_sha256: String,
    /// Licence of the weights, as an SPDX expression.
    pub license: String,
}
