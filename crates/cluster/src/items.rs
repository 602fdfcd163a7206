//! Vectors to be linked, and what can be wrong with them.

/// What can be wrong with the input.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The vectors do not fill whole rows.
    #[error("{len} values cannot be divided into vectors of dimension {dim}")]
    Ragged {
        /// Numbers given.
        len: usize,
        /// Length of a vector.
        dim: usize,
    },
    /// A vector holds NaN or an infinity.
    #[error("vector {row} contains a value that is not finite")]
    NotFinite {
        /// Its place.
        row: usize,
    },
    /// The threshold is not a number.
    #[error("the threshold is not a number")]
    Threshold,
    /// More items than 32-bit numbers can index.
    #[error("too many items: {n}")]
    TooMany {
        /// Number of items.
        n: usize,
    },
    /// There is not one weight for every vector.
    #[error("found {weights} weights for {vectors} vectors")]
    Weights {
        /// Number of weights.
        weights: usize,
        /// Number of vectors.
        vectors: usize,
    },
    /// A weight is not above zero.
    #[error("the weight of vector {row} is {weight}, which is not above 0")]
    Weight {
        /// Place of the vector.
        row: usize,
        /// Its weight.
        weight: f32,
    },
    /// A pair names an item that is not there, or one item twice.
    #[error("invalid pair ({a}, {b}) of {n} items")]
    Pair {
        /// The one.
        a: usize,
        /// The other.
        b: usize,
        /// Number of items.
        n: usize,
    },
}

/// Vectors of one length, one after the other. Similarity is the inner product, so rows that are to be
/// compared by angle have length one.
#[derive(Debug, Clone, PartialEq)]
pub struct Vectors {
    dim: usize,
    values: Vec<f32>,
}

impl Vectors {
    /// Of `dim` numbers each, from 1.
    ///
    /// # Errors
    /// When the last vector is cut off, when a number is not finite, and from 2³¹ vectors on.
    pub fn new(dim: usize, values: Vec<f32>) -> Result<Self, Error> {
        if dim == 0 || !values.len().is_multiple_of(dim) {
            return Err(Error::Ragged { len: values.len(), dim });
        }
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            return Err(Error::NotFinite { row: at / dim });
        }
        let n = values.len() / dim;
        // Items and the nodes made of them are counted by 32 bits.
        if n > i32::MAX as usize { Err(Error::TooMany { n }) } else { Ok(Self { dim, values }) }
    }

    /// Of numbers that are known to be right.
    pub(crate) fn trusted(dim: usize, values: Vec<f32>) -> Self {
        Self { dim, values }
    }

    /// Numbers in a vector.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Number of vectors.
    pub fn len(&self) -> usize {
        self.values.len() / self.dim
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// All numbers, one vector after the other.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Some of them, in that order.
    pub fn some(&self, rows: &[usize]) -> Self {
        Self { dim: self.dim, values: rows.iter().flat_map(|row| self.row(*row)).copied().collect() }
    }

    /// One of them.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.dim..][..self.dim]
    }

    /// Puts the weighted mean of two rows into the first.
    pub(crate) fn mean_into(&mut self, into: usize, from: usize, [a, b]: [f64; 2]) {
        let dim = self.dim;
        let (low, high) = self.values.split_at_mut(into.max(from) * dim);
        let (low, high) = (&mut low[into.min(from) * dim..][..dim], &mut high[..dim]);
        let (into, from) = if into < from { (low, &*high) } else { (high, &*low) };
        for (x, y) in into.iter_mut().zip(from) {
            *x = ((a * f64::from(*x) + b * f64::from(*y)) / (a + b)) as f32;
        }
    }

    /// Adds one row to another.
    pub(crate) fn add_into(&mut self, into: usize, from: usize) {
        let (into, from) = (into * self.dim, from * self.dim);
        for i in 0..self.dim {
            self.values[into + i] += self.values[from + i];
        }
    }

    /// One of them, to be changed; it must stay finite.
    pub(crate) fn row_mut(&mut self, row: usize) -> &mut [f32] {
        &mut self.values[row * self.dim..][..self.dim]
    }

    /// Appends a vector of zeros.
    pub(crate) fn push_zeros(&mut self) {
        self.values.resize(self.values.len() + self.dim, 0.0);
    }

    /// Inner product of two rows, in an order of summation that many lanes can share.
    pub(crate) fn dot(&self, a: usize, b: usize) -> f32 {
        numeric::vector::dot_in_lanes(self.row(a), self.row(b))
    }
}
