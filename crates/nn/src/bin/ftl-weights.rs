//! Converts a weight file of any format we read to safetensors:
//! `ftl-weights IN OUT.safetensors [NAME=OLD...]`. With names, only those tensors are kept: `NAME` is
//! what the tensor `OLD` is to be called.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use candle_core::safetensors::save;
use failure::{Failure as _, exit};
use nn::weights::{Error, Result, Tensors, read_tensors};

const USAGE: &str = "error: usage: ftl-weights IN OUT.safetensors [NAME=OLD...]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [from, to, names @ ..] = arguments.as_slice() else { return usage() };
    let Some(names) = names.iter().map(|pair| pair.split_once('=')).collect::<Option<Vec<_>>>() else {
        return usage();
    };
    match convert(Path::new(from), Path::new(to), &names) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn usage() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(exit::USAGE)
}

fn convert(from: &Path, to: &Path, names: &[(&str, &str)]) -> Result<()> {
    let tensors = chosen(read_tensors(from)?, names)
        .map_err(|missing| Error::NoTensor { path: from.to_path_buf(), tensor: missing })?;
    save(&tensors, to).map_err(|e| Error::Unwritable {
        path: PathBuf::from(to),
        source: std::io::Error::other(e.to_string()),
    })
}

/// All tensors, or the named ones under their new names; the name of the first that is missing.
fn chosen(mut tensors: Tensors, names: &[(&str, &str)]) -> std::result::Result<Tensors, String> {
    if names.is_empty() {
        return Ok(tensors);
    }
    let mut take = |(new, old): &(&str, &str)| Some(((*new).to_owned(), tensors.remove(*old)?));
    names.iter().map(|pair| take(pair).ok_or_else(|| pair.1.to_owned())).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use candle_core::{Device, Tensor};

    use super::*;

    #[test]
    fn with_names_only_those_tensors_are_kept() {
        let tensors = || {
            let one = |name: &str| (name.to_owned(), Tensor::new(1.0_f32, &Device::Cpu).unwrap());
            Tensors::from([one("a"), one("b:0")])
        };
        let names = |names: &[(&str, &str)]| {
            let mut kept: Vec<_> = chosen(tensors(), names)?.into_keys().collect();
            kept.sort();
            Ok(kept)
        };
        assert_eq!(names(&[]), Ok(vec!["a".to_owned(), "b:0".to_owned()]));
        assert_eq!(names(&[("c", "b:0")]), Ok(vec!["c".to_owned()]));
        assert_eq!(names(&[("a", "a"), ("c", "d")]), Err("d".to_owned()));
    }
}
