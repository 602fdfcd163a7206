//! Random numbers that can be repeated.

pub use numeric::random::SplitMix64;

/// A unit vector of `dim` components. As with faces, some directions vary more than others.
pub fn direction(random: &mut SplitMix64, dim: usize) -> Vec<f64> {
    let mut vector: Vec<f64> = (0..dim).map(|i| random.normal() / (1.0 + i as f64 / 16.0).sqrt()).collect();
    let length = vector.iter().map(|x| x * x).sum::<f64>().sqrt();
    vector.iter_mut().for_each(|x| *x /= length);
    vector
}

/// How often a test tries something: the value of an environment variable, or `otherwise`.
pub fn times(variable: &str, otherwise: usize) -> usize {
    std::env::var(variable).ok().map_or(otherwise, |text| text.parse().unwrap())
}
