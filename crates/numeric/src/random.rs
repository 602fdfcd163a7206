//! Random numbers whose stream is the same on every machine and in every version.
//!
//! Tables, stored data sets and recorded figures depend on the streams of this generator, and libraries do
//! not promise that theirs stay the same from version to version.

/// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014). Equal seeds give equal streams for ever:
/// [`SplitMix64::next_u64`] from seed 0 begins with `e220a8397b1dcdaf`, `6e789e6aa1b965f4`,
/// `06c45d188009454f`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitMix64(u64);

impl SplitMix64 {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 to below 1, a multiple of 2⁻⁵³.
    pub fn unit(&mut self) -> f64 {
        const BITS: u32 = f64::MANTISSA_DIGITS;
        (self.next_u64() >> (u64::BITS - BITS)) as f64 / (1_u64 << BITS) as f64
    }

    /// A whole number from 0 to below `n`; 0 if `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next_u64()) * n as u128) >> 64) as usize
    }

    /// A number of the normal distribution with mean 0 and variance 1 (Box and Muller).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// Place of one of several weights, from 0, each drawn with a chance proportional to it; `None` if all
    /// are 0.
    pub fn weighted(&mut self, weights: &[f64]) -> Option<usize> {
        let mut left = self.unit() * weights.iter().sum::<f64>();
        let passed = weights.iter().position(|weight| {
            left -= weight;
            left < 0.0
        });
        // Rounding may leave a little after the last.
        passed.or_else(|| weights.iter().rposition(|weight| *weight > 0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reference values of the authors' C code (`splitmix64.c`, Vigna 2015).
    #[test]
    fn the_stream_is_the_published_one() {
        let mut random = SplitMix64::new(0);
        assert_eq!(
            [random.next_u64(), random.next_u64(), random.next_u64()],
            [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4, 0x06c4_5d18_8009_454f]
        );
        let mut random = SplitMix64::new(1_234_567);
        assert_eq!(random.next_u64(), 6_457_827_717_110_365_317);
    }

    #[test]
    fn numbers_fill_their_ranges() {
        let mut random = SplitMix64::new(7);
        let mut seen = [0; 5];
        for _ in 0..1000 {
            seen[random.below(5)] += 1;
            assert!((0.0..1.0).contains(&random.unit()));
        }
        assert!(seen.iter().all(|count| (150..250).contains(count)), "{seen:?}");
        assert_eq!(random.below(0), 0);
        let normal: Vec<f64> = (0..10_000).map(|_| random.normal()).collect();
        let mean = normal.iter().sum::<f64>() / 1e4;
        let variance = normal.iter().map(|x| x * x).sum::<f64>() / 1e4;
        assert!(mean.abs() < 0.05 && (variance - 1.0).abs() < 0.05, "{mean} {variance}");
    }

    #[test]
    fn only_places_with_a_chance_are_drawn() {
        let mut random = SplitMix64::new(3);
        let mut seen = [0; 4];
        for _ in 0..1000 {
            seen[random.weighted(&[0.0, 1.0, 3.0, 0.0]).unwrap_or(0)] += 1;
        }
        assert_eq!([seen[0], seen[3]], [0, 0]);
        assert!((200..300).contains(&seen[1]), "{seen:?}");
        assert_eq!((random.weighted(&[0.0]), random.weighted(&[])), (None, None));
    }
}
