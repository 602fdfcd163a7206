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
    /// For single precision.
    pub arch: Arch,
    /// For integers of 8 bits.
    pub products: Products,
}

impl Isa {
    /// Name of the set for single precision alone: `avx512`, `avx2`, `neon` or `scalar`.
    pub fn single_precision(&self) -> &'static str {
        match self.name {
            "avx512-vnni" => "avx512",
            "avx-vnni" => "avx2",
            name => name,
        }
    }

    /// Whether networks are faster with integers of 8 bits than in single precision. AVX-512 without VNNI and NEON are
    /// not: their integers have no kernels of their own.
    pub fn is_faster_in_integers(&self) -> bool {
        ["avx512-vnni", "avx-vnni", "avx2"].contains(&self.name)
    }
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
            ("avx512-vnni", v4, Products::Avx512Vnni),
            ("avx512", v4, Products::Avx2),
            ("avx-vnni", v3, Products::AvxVnni),
            ("avx2", v3, Products::Avx2),
        ];
        let sets = sets.into_iter().filter(|(_, _, products)| products.is_available());
        all.extend(sets.filter_map(|(name, arch, products)| Some(Isa { name, arch: arch?, products })));
    }
    #[cfg(target_arch = "aarch64")]
    all.extend(pulp::aarch64::Neon::try_new().map(|neon| Isa {
        name: "neon",
        arch: Arch::Neon(neon),
        products: Products::Portable,
    }));
    all.push(Isa { name: "scalar", arch: Arch::Scalar, products: Products::Portable });
    all
}

/// Makes all graphs of this process use an instruction set, for measurements. Must come before the first graph;
/// otherwise nothing changes, and this is `false`.
pub fn choose(isa: Isa) -> bool {
    CHOSEN.set(isa).is_ok()
}
