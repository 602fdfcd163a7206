//! How fast a core is with an instruction set.

use std::hint::black_box;
use std::time::Instant;

use pulp::{Arch, Simd, WithSimd};

/// As many independent chains of fused multiply-adds as hide their latency and still leave registers.
const CHAINS: usize = 12;

/// Floating-point operations a second that one core can do at best: fused multiply-adds of single precision without
/// memory, each two operations. The best of several measurements of a few milliseconds on the calling thread. No bound
/// for the scalar set, whose kernels the compiler vectorises as it likes.
pub(crate) fn peak_flops(arch: Arch) -> f64 {
    let flops = |_| {
        let started = Instant::now();
        let operations = arch.dispatch(MultiplyAdds { steps: black_box(200_000) });
        operations / started.elapsed().as_secs_f64()
    };
    (0..20).map(flops).fold(0.0, f64::max)
}

struct MultiplyAdds {
    steps: usize,
}

impl WithSimd for MultiplyAdds {
    /// Number of operations.
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f64 {
        // Tends to 2: neither grows nor becomes subnormal.
        let (half, one) = (simd.splat_f32s(black_box(0.5)), simd.splat_f32s(black_box(1.0)));
        let mut sums = [one; CHAINS];
        for _ in 0..self.steps {
            for sum in &mut sums {
                *sum = simd.mul_add_e_f32s(*sum, half, one);
            }
        }
        let total = sums.into_iter().fold(one, |a, b| simd.add_f32s(a, b));
        black_box(simd.reduce_sum_f32s(total));
        (2 * CHAINS * S::F32_LANES * self.steps) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wider_instructions_have_the_higher_peak() {
        let all = nn::isa::available();
        assert_eq!(all.last().map(|isa| isa.name), Some("scalar"));
        // Other programs may share the core, so only the largest difference is sure.
        if let [widest, .., scalar] = all.as_slice() {
            assert!(peak_flops(widest.arch) > peak_flops(scalar.arch), "{}", widest.name);
        }
    }
}
