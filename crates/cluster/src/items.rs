//! Vectors to be linked, and what can be wrong with them.

/// What is wrong with the input, in one sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub(crate) String);

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
            let message =
                format!("{} values cannot be divided into vectors of dimension {dim}", values.len());
            return Err(Error(message));
        }
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            return Err(Error(format!("vector {} contains a value that is not finite", at / dim)));
        }
        let n = values.len() / dim;
        // Items and the nodes made of them are counted by 32 bits.
        if n > i32::MAX as usize {
            Err(Error(format!("too many items: {n}")))
        } else {
            Ok(Self { dim, values })
        }
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
    pub fn subset(&self, rows: &[usize]) -> Self {
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
