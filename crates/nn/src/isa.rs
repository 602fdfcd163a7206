//! The instruction sets that the kernels are compiled for, and how fast a core is with each.

use std::hint::black_box;
use std::sync::OnceLock;
use std::time::Instant;

use pulp::{Arch, Simd, WithSimd};

/// What all graphs of this process use.
static CHOSEN: OnceLock<Arch> = OnceLock::new();

/// The instruction set of graphs: the widest that the machine has, if no other was chosen.
pub(crate) fn arch() -> Arch {
    *CHOSEN.get_or_init(Arch::new)
}

/// A set of vector instructions that this machine has.
#[derive(Debug, Clone, Copy)]
pub struct Isa {
    name: &'static str,
    arch: Arch,
}

impl Isa {
    /// All that this machine has, the widest first.
    pub fn available() -> Vec<Self> {
        let mut all = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            let avx512 = pulp::x86::V4::try_new().map(|v4| Self { name: "avx512", arch: Arch::V4(v4) });
            let avx2 = pulp::x86::V3::try_new().map(|v3| Self { name: "avx2", arch: Arch::V3(v3) });
            all.extend(avx512.into_iter().chain(avx2));
        }
        #[cfg(target_arch = "aarch64")]
        all.extend(pulp::aarch64::Neon::try_new().map(|neon| Self { name: "neon", arch: Arch::Neon(neon) }));
        all.push(Self { name: "scalar", arch: Arch::Scalar });
        all
    }

    /// `avx512`, `avx2`, `neon` or `scalar`.
    pub fn name(self) -> &'static str {
        self.name
    }

    #[cfg(test)]
    pub(crate) fn arch(self) -> Arch {
        self.arch
    }

    /// Makes all graphs of this process use it, for measurements. Must come before the first graph;
    /// otherwise nothing changes, and this is `false`.
    pub fn choose(self) -> bool {
        CHOSEN.set(self.arch).is_ok()
    }

    /// Floating-point operations a second that one core can do at best: fused multiply-adds of single
    /// precision without memory, each two operations. The best of several measurements of a few
    /// milliseconds on the calling thread. No bound for `scalar`, whose kernels the compiler vectorises
    /// as it likes.
    pub fn peak_flops(self) -> f64 {
        (0..20).map(|_| self.flops()).fold(0.0, f64::max)
    }

    fn flops(self) -> f64 {
        let started = Instant::now();
        let operations = self.arch.dispatch(MultiplyAdds { steps: black_box(200_000) });
        operations / started.elapsed().as_secs_f64()
    }
}

/// As many independent chains of fused multiply-adds as hide their latency and still leave registers.
const CHAINS: usize = 12;

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
        let all = Isa::available();
        assert_eq!(all.last().map(|isa| isa.name()), Some("scalar"));
        // Other programs may share the core, so only the largest difference is sure.
        if let [widest, .., scalar] = all.as_slice() {
            assert!(widest.peak_flops() > scalar.peak_flops(), "{widest:?}");
        }
    }
}
