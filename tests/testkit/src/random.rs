//! Random numbers that can be repeated.

pub use numeric::random::SplitMix64;

/// A unit vector of `dim` components. As with faces, some directions vary more than others.
pub fn direction(random: &mut SplitMix64, dim: usize) -> Vec<f64> {
    let mut vector: Vec<f64> = (0..dim).map(|i| random.normal() / (1.0 + i as f64 / 16.0).sqrt()).collect();
    let length = vector.iter().map(|x| x * x).sum::<f64>().sqrt();
    vector.iter_mut().for_each(|x| *x /= length);
    vector
}

/// Values of the tensor `name` as trained weights might be; the rule is that of `seeded` in
/// `crates/embed/tests/reference/networks.py`.
pub fn weights(name: &str, shape: &[usize]) -> Vec<f32> {
    let inputs: usize = shape.iter().skip(1).product();
    let value = |u: f32| match shape.len() {
        _ if ["bias", "running_mean", ".2"].iter().any(|end| name.ends_with(end)) => 0.1 * u,
        _ if name.ends_with("running_var") => 1.0 + 0.5 * u,
        1 | 3 => 0.75 + 0.25 * u,
        _ => (3.0 / inputs as f64).sqrt() as f32 * u,
    };
    noise(name).take(shape.iter().product()).map(value).collect()
}

/// Numbers from -1 to 1: SplitMix64 from the FNV-1a hash of the name, the upper 24 bits of each.
fn noise(name: &str) -> impl Iterator<Item = f32> {
    let hash = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    let mut random = SplitMix64::new(name.bytes().fold(0xcbf2_9ce4_8422_2325, hash));
    std::iter::repeat_with(move || (random.next_u64() >> 40) as f32 / 8_388_608.0 - 1.0)
}

/// How often a test tries something: the value of an environment variable, or `otherwise`.
pub fn times(variable: &str, otherwise: usize) -> usize {
    std::env::var(variable).ok().map_or(otherwise, |text| text.parse().unwrap())
}
