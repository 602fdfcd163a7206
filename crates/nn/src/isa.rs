//! The instruction sets that the kernels are compiled for.

use std::sync::OnceLock;

use pulp::Arch;

pub use crate::kernel::products::Products;

/// What all graphs of this process use.
static CHOSEN: OnceLock<Isa> = OnceLock::new();

/// A set of vector instructions.
#[derive(Debug, Clone, Copy)]
pub struct Isa {
    /// `avx512-vnni`, `avx512`, `avx-vnni`, `avx2`, `neon` or `scalar`.
    pub name: &'static str,
    /// The part of the set that single precision uses: `avx512`, `avx2`, `neon` or `scalar`.
    pub single_precision: &'static str,
    /// For single precision.
    pub arch: Arch,
    /// For integers of 8 bits.
    pub products: Products,
    /// Whether networks are faster with integers of 8 bits than in single precision. AVX-512 without VNNI and NEON are
    /// not: their integers have no kernels of their own.
    pub is_faster_in_integers: bool,
}

/// The instruction set of graphs: the first of [`available`], if no other was chosen.
pub(crate) fn chosen() -> Isa {
    *CHOSEN.get_or_init(|| available()[0])
}

/// The instruction sets that this machine has, the fastest first. There is always `scalar`.
pub fn available() -> Vec<Isa> {
    let mut all = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        let v4 = pulp::x86::V4::try_new().map(Arch::V4);
        let v3 = pulp::x86::V3::try_new().map(Arch::V3);
        let sets = [
            ("avx512-vnni", "avx512", v4, Products::Avx512Vnni, true),
            ("avx512", "avx512", v4, Products::Avx2, false),
            ("avx-vnni", "avx2", v3, Products::AvxVnni, true),
            ("avx2", "avx2", v3, Products::Avx2, true),
        ];
        for (name, single_precision, arch, products, is_faster_in_integers) in sets {
            if let Some(arch) = arch.filter(|_| products.is_available()) {
                all.push(Isa { name, single_precision, arch, products, is_faster_in_integers });
            }
        }
    }
    let plain = |name, arch| Isa {
        name,
        single_precision: name,
        arch,
        products: Products::Portable,
        is_faster_in_integers: false,
    };
    #[cfg(target_arch = "aarch64")]
    all.extend(pulp::aarch64::Neon::try_new().map(|neon| plain("neon", Arch::Neon(neon))));
    all.push(plain("scalar", Arch::Scalar));
    all
}

/// Makes all graphs of this process use an instruction set, for measurements. Must come before the first graph;
/// otherwise nothing changes, and this is `false`.
pub fn choose(isa: Isa) -> bool {
    CHOSEN.set(isa).is_ok()
}
