//! Numbers that several crates compute with.
//!
//! * [`vector`]: inner products, norms and means.
//! * [`random`]: the one generator of random numbers, whose stream never changes.
//! * [`kmeans`]: the parts of K-means.
//! * [`merges`]: disjoint sets that grow by merges.
//! * [`pairing`]: pairs that have most in common.
//! * [`law`]: what is known of similarities before a video is seen.
//!
//! Every result is the same to the last bit on every machine: sums are taken in an order that the source
//! fixes. The crate imports nothing.

pub mod kmeans;
pub mod law;
pub mod merges;
pub mod pairing;
pub mod random;
pub mod vector;
