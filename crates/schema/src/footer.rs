//! The one footer key of every table.

use serde::{Deserialize, Serialize};

use crate::Row;
use crate::io::PRODUCER;

/// Name of the file-level metadata key.
pub const KEY: &str = "facetrack";

/// Most components of a vector.
pub const MAX_DIM: usize = 1 << 16;

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
    /// For tables of vectors, what made them; empty elsewhere. In `embeddings` and `track_embeddings`, the first
    /// is the main embedder, and all vectors of the file have one length: shorter ones end in zeros. Every vector
    /// of `track_views` has the length of its embedder.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub embedders: Vec<Embedder>,
    /// In `detections`, the picture in which faces were detected; absent in other tables, and in files of older
    /// programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub picture: Option<Picture>,
}

impl Footer {
    /// For a table of rows `R` that this program writes.
    pub fn of<R: Row>(run_id: String, fingerprint: String, embedders: &[Embedder]) -> Self {
        Self {
            table: R::TABLE.name.to_owned(),
            version: R::TABLE.version.to_owned(),
            producer: PRODUCER.to_owned(),
            run_id,
            fingerprint,
            embedders: embedders.to_vec(),
            picture: None,
        }
    }

    /// Length of the vectors in the file, that of the longest; 0 for a table without vectors.
    pub fn dim(&self) -> usize {
        self.embedders.iter().map(|embedder| embedder.dim).max().unwrap_or(0)
    }

    /// Whether a row is of the embedder that tracks are linked by.
    pub fn is_first(&self, embedder: &str) -> bool {
        self.embedders.first().is_some_and(|first| first.name == embedder)
    }
}

/// The part of the upright frame in which `detect-track` looks for faces, and the turn that it applies. Like all boxes,
/// the edges are half-open, in pixels of the upright frame without the turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Picture {
    /// Left edge of the part without bars and without a still frame around a window.
    pub x_min: i64,
    /// Top edge.
    pub y_min: i64,
    /// Right edge.
    pub x_max: i64,
    /// Bottom edge.
    pub y_max: i64,
    /// Clockwise turn after which the faces are upright: 0, 90, 180 or 270 degrees. The turn is in addition to
    /// `rotation_degrees` of `videos`, which the container declares.
    pub turn_degrees: i64,
}

/// What turned crops into vectors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Embedder {
    /// Name, as in the column `embedder`.
    pub name: String,
    /// Length of its vectors, without zeros that bring them to the length of the file's.
    pub dim: usize,
    /// SHA-256 of the weight file it was loaded from; of several files joined by `+`; empty without weights.
    pub weights_sha256: String,
    /// Licence of the weights, as an SPDX expression.
    pub license: String,
    /// Cosine distance up to which two tracks more likely show one person, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same_up_to: Option<f64>,
    /// Distribution of the similarity of tracks, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub similarity: Option<Similarity>,
    /// What the raw norm of a vector says of how much of it is the person, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<Quality>,
}

/// Mean cosine similarity of tracks, −1 to 1, after what all vectors of a video have in common is taken off.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Similarity {
    /// Of different people.
    pub different: f64,
    /// Of one person.
    pub same: f64,
}

/// The quality table of an embedder: how much of a unit vector `u` is the person, by the raw norm `n` that the
/// vector had before it was scaled to unit length. The model is
///
/// ```text
/// u = mean + ln(n / centre_norm) · slope + gain(n) · person + noise
/// ```
///
/// where `person` is normal with `|person|²` expected to be `person_variance`, and `noise` is normal with
/// `|noise|²` expected to be `noise(n)`. `gain` and `noise` are linear in `ln n` between the knots `norms`, and
/// constant outside of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// Norm at which the mean vector is `mean`, above 0.
    pub centre_norm: f64,
    /// Mean unit vector at `centre_norm`, one number a component.
    pub mean: Vec<f32>,
    /// Change of the mean vector for each unit of `ln n`, one number a component.
    pub slope: Vec<f32>,
    /// Knots: raw norms, above 0, rising.
    pub norms: Vec<f64>,
    /// Gain of the person at each knot, above 0.
    pub gain: Vec<f64>,
    /// Variance of the noise at each knot, summed over components, above 0.
    pub noise: Vec<f64>,
    /// Variance of the person vector, summed over components, above 0.
    pub person_variance: f64,
    /// Number of independent components that the vectors are worth as evidence, above 0; at most their length.
    pub evidence_dim: f64,
}
