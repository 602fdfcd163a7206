//! Weights of any format that is read here, written as safetensors.

use std::path::Path;

use candle_core::safetensors::save;

use super::{Error, Result, Tensors, read_tensors};

/// Writes the tensors of `from` to the safetensors file `to`. Of `names`, pairs of a new and an old name,
/// only those tensors are kept, under their new names; without `names` all are kept under their own.
///
/// # Errors
/// Those of [`read_tensors`]; when a named tensor is missing, and when `to` cannot be written.
pub fn convert(from: &Path, to: &Path, names: &[(&str, &str)]) -> Result<()> {
    let missing = |tensor| Error(format!("`{}` contains no tensor `{tensor}`", from.display()));
    let tensors = chosen(read_tensors(from)?, names).map_err(missing)?;
    save(&tensors, to).map_err(|e| Error(format!("failed to write `{}`: {e}", to.display())))
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
#[expect(clippy::unwrap_used, reason = "a test may panic")]
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
