//! The instruction sets that the kernels are compiled for.

use std::sync::OnceLock;

use pulp::Arch;

/// What all graphs of this process use.
static CHOSEN: OnceLock<Arch> = OnceLock::new();

/// The instruction set of graphs: the widest that the machine has, if no other was chosen.
pub(crate) fn arch() -> Arch {
    *CHOSEN.get_or_init(Arch::new)
}

/// The sets of vector instructions that this machine has, the widest first, with their names: `avx512`, `avx2`, `neon`
/// and `scalar`.
pub fn available() -> Vec<(&'static str, Arch)> {
    let mut all = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        all.extend(pulp::x86::V4::try_new().map(|v4| ("avx512", Arch::V4(v4))));
        all.extend(pulp::x86::V3::try_new().map(|v3| ("avx2", Arch::V3(v3))));
    }
    #[cfg(target_arch = "aarch64")]
    all.extend(pulp::aarch64::Neon::try_new().map(|neon| ("neon", Arch::Neon(neon))));
    all.push(("scalar", Arch::Scalar));
    all
}

/// Makes all graphs of this process use an instruction set, for measurements. Must come before the first graph;
/// otherwise nothing changes, and this is `false`.
pub fn choose(arch: Arch) -> bool {
    CHOSEN.set(arch).is_ok()
}
