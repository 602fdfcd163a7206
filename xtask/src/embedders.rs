//! Which networks the stage `embed` will ask for, and where their weights come from.
//!
//! The stage decides by its settings; weights must be at hand before that, so the two keys that matter
//! are read here as well.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use crate::failure::{Failure, Result, exit};
use crate::models::{self, Weights};

/// What there is to choose from.
pub(crate) const NAMES: [&str; 8] = ["sface", "dlib", "facenet", "vgg", "arcface", "sift", "orb", "fusion"];
/// Embedders without weights of their own.
const WITHOUT_WEIGHTS: [&str; 3] = ["sift", "orb", "fusion"];
/// What the stage does unless told otherwise.
const DEFAULT: [&str; 1] = ["sface"];
/// What `fusion` joins unless told otherwise.
const DEFAULT_FUSION: [&str; 2] = ["sface", "dlib"];

/// Weights of the user's own: of which network, if said, and the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Own {
    name: Option<String>,
    pub(crate) path: PathBuf,
}

impl Own {
    /// Reads `FILE` or `NAME=FILE`.
    pub(crate) fn parse(text: &str) -> std::result::Result<Self, String> {
        match text.split_once('=').filter(|(name, _)| NAMES.contains(name)) {
            Some((name, _)) if WITHOUT_WEIGHTS.contains(&name) => Err(format!("{name} has no weights")),
            Some((name, path)) => Ok(Self { name: Some(name.to_owned()), path: path.into() }),
            None => Ok(Self { name: None, path: text.into() }),
        }
    }
}

/// A network that is needed, with the user's weights or the pinned ones.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    Pinned(&'static Weights),
    Own { name: String, path: PathBuf },
}

impl Source {
    /// What the stage is told, given the folder of the pinned weights.
    pub(crate) fn arguments(&self, folder: &Path) -> (&'static str, OsString) {
        let (option, name, path) = match self {
            Self::Pinned(weights) => ("--weights", weights.name(), weights.safetensors(folder)),
            Self::Own { name, path } => ("--own-weights", name.as_str(), path.clone()),
        };
        let mut value = OsString::from(format!("{name}="));
        value.push(path);
        (option, value)
    }

    pub(crate) fn pinned(&self) -> Option<&'static Weights> {
        match self {
            Self::Pinned(weights) => Some(weights),
            Self::Own { .. } => None,
        }
    }
}

/// The networks that these settings ask for. What is wrong with a setting itself, the stage will say.
pub(crate) fn sources(config: Option<&Path>, settings: &[String], own: &[Own]) -> Result<Vec<Source>> {
    let text = config.map(|path| fs::read_to_string(path).map_err(Failure::io("read", path))).transpose()?;
    let wanted = networks(text.iter().chain(settings).map(String::as_str));
    let mut own_files: Vec<(String, PathBuf)> = Vec::new();
    for Own { name, path } in own {
        own_files.push((owner(name.as_deref(), &wanted, path)?, path.clone()));
    }
    wanted.into_iter().map(|name| source(name, &own_files)).collect()
}

/// The network that the user's weights are of.
fn owner(name: Option<&str>, wanted: &BTreeSet<String>, path: &Path) -> Result<String> {
    let usage = |message: String| Failure::new(exit::USAGE, message);
    let all = wanted.iter().cloned().collect::<Vec<_>>();
    match (name, all.as_slice()) {
        (Some(name), _) if wanted.contains(name) => Ok(name.to_owned()),
        (Some(name), _) => Err(usage(format!("there are weights for {name}, which is not asked for"))
            .hint(format!("add --embedder {name}"))),
        (None, [only]) => Ok(only.clone()),
        (None, []) => {
            Err(usage(format!("no embedder that is asked for has weights; {} is of none", path.display())))
        }
        (None, _) => Err(usage(format!("it is unclear which network {} is of", path.display()))
            .hint("say it with --weights NAME=FILE")),
    }
}

fn source(name: String, own: &[(String, PathBuf)]) -> Result<Source> {
    if let Some((name, path)) = own.iter().rfind(|(owner, _)| *owner == name) {
        return Ok(Source::Own { name: name.clone(), path: path.clone() });
    }
    models::by_name(&name).map(Source::Pinned).ok_or_else(|| {
        Failure::new(exit::INPUT, format!("nobody publishes weights for {name} that may be used freely"))
            .hint(format!("bring your own with --weights {name}=FILE, an ONNX or safetensors file"))
    })
}

/// Names of the networks that settings ask for; later settings override earlier ones.
fn networks<'a>(settings: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
    let mut embedders: Vec<String> = DEFAULT.map(String::from).to_vec();
    let mut fusion: Option<Vec<String>> = None;
    for table in settings.filter_map(|text| text.parse::<Table>().ok()) {
        let Some(section) = table.get("embed").and_then(Value::as_table) else { continue };
        if let Some(names) = section.get("embedders").and_then(Value::as_array) {
            embedders = names.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        }
        if let Some(parts) = section.get("fusion").and_then(Value::as_table) {
            fusion.get_or_insert_default().extend(parts.keys().cloned());
        }
    }
    if embedders.iter().any(|name| name == "fusion") {
        embedders.extend(fusion.unwrap_or_else(|| DEFAULT_FUSION.map(String::from).to_vec()));
    }
    let known = |name: &String| NAMES.contains(&name.as_str()) && !WITHOUT_WEIGHTS.contains(&name.as_str());
    embedders.into_iter().filter(known).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(settings: &[&str]) -> Vec<String> {
        networks(settings.iter().copied()).into_iter().collect()
    }

    #[test]
    fn settings_say_which_networks_are_needed() {
        assert_eq!(wanted(&[]), ["sface"]);
        assert_eq!(wanted(&["embed.embedders = ['sift']"]), [""; 0]);
        assert_eq!(wanted(&["[embed]\nembedders = ['vgg']", "embed.embedders = ['dlib', 'orb']"]), ["dlib"]);
        assert_eq!(wanted(&["embed.embedders = ['fusion']"]), ["dlib", "sface"]);
        assert_eq!(wanted(&["[embed]\nembedders = ['fusion']\nfusion = { vgg = 2 }"]), ["vgg"]);
        assert_eq!(wanted(&["no toml", "embed.embedders = ['eyes']"]), [""; 0]);
    }

    fn told(settings: &str, own: &[&str]) -> std::result::Result<Vec<String>, String> {
        let own: Vec<_> = own.iter().map(|text| Own::parse(text)).collect::<std::result::Result<_, _>>()?;
        let sources = sources(None, &[settings.to_owned()], &own).map_err(|failure| failure.message)?;
        let shown = |source: &Source| {
            let (option, value) = source.arguments("w".as_ref());
            format!("{option} {}", value.display())
        };
        Ok(sources.iter().map(shown).collect())
    }

    #[test]
    fn own_weights_come_before_pinned_ones() {
        let both = "embed.embedders = ['sface', 'arcface']";
        assert_eq!(told("", &[]), Ok(vec!["--weights sface=w/sface.safetensors".into()]));
        assert_eq!(told("", &["my=1.onnx"]), Ok(vec!["--own-weights sface=my=1.onnx".into()]));
        let expected = ["--own-weights arcface=r50.onnx", "--weights sface=w/sface.safetensors"];
        assert_eq!(told(both, &["arcface=r50.onnx"]), Ok(expected.map(String::from).to_vec()));
    }

    #[test]
    fn unclear_or_missing_weights_are_refused() {
        let both = "embed.embedders = ['sface', 'arcface']";
        let cases = [
            (both, vec!["r50.onnx"], "it is unclear which network r50.onnx is of"),
            (both, vec![], "nobody publishes weights for arcface that may be used freely"),
            (
                "embed.embedders = ['orb']",
                vec!["v.onnx"],
                "no embedder that is asked for has weights; v.onnx is of none",
            ),
            ("", vec!["vgg=v.onnx"], "there are weights for vgg, which is not asked for"),
            ("", vec!["sift=s.onnx"], "sift has no weights"),
        ];
        for (settings, own, expected) in cases {
            assert_eq!(told(settings, &own), Err(expected.into()));
        }
    }
}
