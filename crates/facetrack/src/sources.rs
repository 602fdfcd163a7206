//! The networks that the stage `embed` needs, and the sources of their weights.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use console::{Error, Result, exit};
use embed::{Config, Name, WeightFile};

use crate::models::{self, Weights};

/// Weights of the user's own: of which network, if said, and the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Own {
    name: Option<Name>,
    pub(crate) path: PathBuf,
}

impl Own {
    /// Reads `FILE` or `NAME=FILE`.
    pub(crate) fn parse(text: &str) -> std::result::Result<Self, String> {
        let named = text.split_once('=').and_then(|(name, path)| Some((name.parse::<Name>().ok()?, path)));
        match named {
            Some((name, _)) if !name.is_network() => Err(format!("the embedder `{name}` has no weights")),
            Some((name, path)) => Ok(Self { name: Some(name), path: path.into() }),
            None => Ok(Self { name: None, path: text.into() }),
        }
    }
}

/// A network that is needed, with the user's weights or the pinned ones.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    Pinned(Weights),
    Own { name: Name, path: PathBuf },
}

impl Source {
    /// Arguments of the stage, given the folder of the pinned weights.
    pub(crate) fn arguments(&self, folder: &Path) -> (&'static str, OsString) {
        let (option, name, path) = match self {
            Self::Pinned(weights) => ("--weights", weights.name, weights.safetensors(folder)),
            Self::Own { name, path } => ("--own-weights", name.as_str(), path.clone()),
        };
        let mut value = OsString::from(format!("{name}="));
        value.push(path);
        (option, value)
    }

    pub(crate) fn pinned(&self) -> Option<Weights> {
        match self {
            Self::Pinned(weights) => Some(*weights),
            Self::Own { .. } => None,
        }
    }
}

/// The networks that these settings ask for, each with the user's weights or the pinned ones.
pub(crate) fn sources(config: &Config, own: &[Own]) -> Result<Vec<Source>> {
    let wanted = config.networks()?;
    let mut files = Vec::new();
    for Own { name, path } in own {
        files.push((owner(*name, &wanted, path)?, path));
    }
    let source = |name: Name| {
        if let Some((_, path)) = files.iter().rfind(|(owner, _)| *owner == name) {
            return Ok(Source::Own { name, path: path.to_path_buf() });
        }
        models::by_name(name.as_str()).map(Source::Pinned).ok_or_else(|| {
            Error::new(exit::INPUT, format!("there are no freely usable weights for `{name}`"))
                .hint(format!("pass your own weights with --weights {name}=FILE"))
        })
    };
    wanted.iter().copied().map(source).collect()
}

/// The user's own weights among the sources, as the stage `embed` takes them.
pub(crate) fn own_files(sources: &[Source]) -> Vec<WeightFile> {
    let own = sources.iter().filter_map(|source| match source {
        Source::Own { name, path } => Some(WeightFile { name: *name, path: path.clone(), is_own: true }),
        Source::Pinned(_) => None,
    });
    own.collect()
}

/// The network that the user's weights are of.
fn owner(name: Option<Name>, wanted: &[Name], path: &Path) -> Result<Name> {
    let usage = |message: String| Error::new(exit::USAGE, message);
    match (name, wanted) {
        (Some(name), _) if wanted.contains(&name) => Ok(name),
        (Some(name), _) => {
            Err(usage(format!("weights are given for `{name}`, which is not among the embedders"))
                .hint(format!("add --embedder {name}")))
        }
        (None, [only]) => Ok(*only),
        (None, []) => {
            Err(usage(format!("none of the embedders has weights, so `{}` is not used", path.display())))
        }
        (None, _) => Err(usage(format!("several embedders could use the weights `{}`", path.display()))
            .hint("name the embedder: --weights NAME=FILE")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(settings: &str, own: &[&str]) -> std::result::Result<Vec<String>, String> {
        let own: Vec<_> = own.iter().map(|text| Own::parse(text)).collect::<std::result::Result<_, _>>()?;
        let config = run::stage::read_config(None, &[settings], "embed").map_err(|e| e.to_string())?;
        let sources = sources(&config, &own).map_err(|error| error.message)?;
        let shown = |source: &Source| {
            let (option, value) = source.arguments("w".as_ref());
            format!("{option} {}", value.display())
        };
        Ok(sources.iter().map(shown).collect())
    }

    #[test]
    fn own_weights_come_before_pinned_ones() {
        let both = "embed.embedders = ['sface', 'arcface']";
        assert_eq!(arguments("", &[]), Ok(vec!["--weights sface=w/sface.safetensors".into()]));
        assert_eq!(arguments("", &["my=1.onnx"]), Ok(vec!["--own-weights sface=my=1.onnx".into()]));
        let expected = ["--own-weights arcface=r50.onnx", "--weights sface=w/sface.safetensors"];
        assert_eq!(arguments(both, &["arcface=r50.onnx"]), Ok(expected.map(String::from).to_vec()));
    }

    #[test]
    fn unclear_or_missing_weights_are_refused() {
        let both = "embed.embedders = ['sface', 'arcface']";
        let cases = [
            (both, vec!["r50.onnx"], "several embedders could use the weights `r50.onnx`"),
            (both, vec![], "there are no freely usable weights for `arcface`"),
            (
                "embed.embedders = ['orb']",
                vec!["v.onnx"],
                "none of the embedders has weights, so `v.onnx` is not used",
            ),
            ("", vec!["vgg=v.onnx"], "weights are given for `vgg`, which is not among the embedders"),
            ("", vec!["sift=s.onnx"], "the embedder `sift` has no weights"),
        ];
        for (settings, own, expected) in cases {
            assert_eq!(arguments(settings, &own), Err(expected.into()));
        }
    }
}
