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
pub(crate) enum WeightSource {
    Pinned(Weights),
    Own { name: Name, path: PathBuf },
}

impl WeightSource {
    /// Arguments of the stage, given the folder of the pinned weights.
    pub(crate) fn arguments(&self, folder: &Path) -> (&'static str, OsString) {
        let (option, name, path) = match self {
            Self::Pinned(weights) => ("--weights", weights.0.name, weights.safetensors(folder)),
            Self::Own { name, path } => ("--own-weights", name.as_str(), path.clone()),
        };
        let mut value = OsString::from(format!("{name}="));
        value.push(path);
        (option, value)
    }

    /// The file of the weights, given the folder of the pinned weights.
    pub(crate) fn file(&self, folder: &Path) -> Result<WeightFile> {
        Ok(match self {
            Self::Pinned(weights) => WeightFile {
                name: weights.0.name.parse().map_err(|message: String| Error::unexpected(message))?,
                path: weights.safetensors(folder),
                is_own: false,
            },
            Self::Own { name, path } => WeightFile { name: *name, path: path.clone(), is_own: true },
        })
    }

    pub(crate) fn pinned(&self) -> Option<Weights> {
        match self {
            Self::Pinned(weights) => Some(*weights),
            Self::Own { .. } => None,
        }
    }
}

/// The networks that these settings ask for, each with the user's weights or the pinned ones; of those that are only
/// used where their weights are at hand, those of which the user gives the weights or `is_at_hand`.
pub(crate) fn sources(
    config: &Config,
    own: &[Own],
    is_at_hand: impl Fn(Name) -> bool,
) -> Result<Vec<WeightSource>> {
    let needed = config.networks()?;
    let is_given = |name| own.iter().any(|own| own.name == Some(name));
    let wanted = config.resolved(None, |name| is_given(name) || is_at_hand(name)).networks()?;
    let mut files = Vec::new();
    for Own { name, path } in own {
        // A file without a name is never of a network that could do without it.
        let networks = if name.is_some() { &wanted } else { &needed };
        files.push((owner(*name, networks, path)?, path));
    }
    let source = |name: Name| {
        if let Some((_, path)) = files.iter().rfind(|(owner, _)| *owner == name) {
            return Ok(WeightSource::Own { name, path: path.to_path_buf() });
        }
        models::by_name(name.as_str()).map(WeightSource::Pinned).ok_or_else(|| {
            Error::new(exit::INPUT, format!("there are no freely usable weights for `{name}`"))
                .hint(format!("pass your own weights with --weights {name}=FILE"))
        })
    };
    wanted.iter().copied().map(source).collect()
}

/// The pinned weights in the folder `weights` that an earlier run in `run_dir` used for its embeddings: with `auto`, the
/// stage `embed` keeps the embedders of this run.
pub(crate) fn earlier(run_dir: &Path, weights: &Path) -> Vec<WeightSource> {
    let run = run::RunReader::open(run_dir).ok();
    let record = run.as_ref().and_then(|run| run.manifest().stage(embed::STAGE.name));
    let inputs = record.into_iter().flat_map(|record| &record.inputs);
    let networks = inputs.filter_map(|input| models::by_name(input.name.strip_suffix(".weights")?));
    let at_hand = networks.filter(|pinned| pinned.safetensors(weights).is_file());
    at_hand.map(WeightSource::Pinned).collect()
}

/// The user's own weights among the sources, as the stage `embed` takes them.
pub(crate) fn own_files(sources: &[WeightSource]) -> Vec<WeightFile> {
    let own = sources.iter().filter_map(|source| match source {
        WeightSource::Own { name, path } => {
            Some(WeightFile { name: *name, path: path.clone(), is_own: true })
        }
        WeightSource::Pinned(_) => None,
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
        arguments_with(false, settings, own)
    }

    fn arguments_with(
        at_hand: bool,
        settings: &str,
        own: &[&str],
    ) -> std::result::Result<Vec<String>, String> {
        let own: Vec<_> = own.iter().map(|text| Own::parse(text)).collect::<std::result::Result<_, _>>()?;
        let config = run::stage::read_config(None, &[settings], "embed").map_err(|e| e.to_string())?;
        let sources = sources(&config, &own, |_| at_hand).map_err(|error| error.message)?;
        let shown = |source: &WeightSource| {
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
    fn a_view_is_used_where_its_weights_are_at_hand() {
        let sface = "--weights sface=w/sface.safetensors";
        let retail = "--weights retail=w/retail.safetensors";
        assert_eq!(arguments_with(true, "", &[]), Ok(vec![retail.into(), sface.into()]));
        assert_eq!(
            arguments_with(true, "", &["my.onnx"]),
            Ok(vec![retail.into(), "--own-weights sface=my.onnx".into()])
        );
        let own = "--own-weights retail=r.xml";
        assert_eq!(arguments("", &["retail=r.xml"]), Ok(vec![own.into(), sface.into()]));
        assert_eq!(arguments_with(true, "embed.embedders = ['sface']", &[]), Ok(vec![sface.into()]));
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
