//! `settings`: every setting with its default and its meaning.

use std::io::Write as _;
use std::path::Path;

use console::{Error, Result};
use serde_json::json;

/// The reference page, a configuration file; `cargo xtask schemas` generates it from doc comments and
/// [`print_defaults`].
const PAGE: &str = include_str!("../../../docs/reference/settings.toml");

/// Prints the configuration file with all defaults.
pub(crate) fn print() -> Result<()> {
    write(PAGE)
}

/// Prints the default settings of every stage, JSON.
pub(crate) fn print_defaults() -> Result<()> {
    let defaults = json!({
        "detect-track": detect_track::Config::default(),
        "embed": embed::Config::default(),
        "cluster": cluster::Config::default(),
        "evaluate": evaluate::Config::default(),
    });
    write(&format!("{defaults:#}\n"))
}

fn write(text: &str) -> Result<()> {
    let wrong = Error::io("write", Path::new("standard output"));
    std::io::stdout().lock().write_all(text.as_bytes()).map_err(wrong)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use run::stage::read_config;

    #[test]
    fn the_printed_settings_are_the_defaults() {
        let folder = std::env::temp_dir().join(format!("facetrack-settings-{}", std::process::id()));
        std::fs::write(&folder, super::PAGE).unwrap();
        let page = Some(folder.as_path());
        assert_eq!(
            read_config::<detect_track::Config>(page, &[], "detect-track").unwrap(),
            Default::default()
        );
        assert_eq!(read_config::<embed::Config>(page, &[], "embed").unwrap(), Default::default());
        assert_eq!(read_config::<cluster::Config>(page, &[], "cluster").unwrap(), Default::default());
        assert_eq!(read_config::<evaluate::Config>(page, &[], "evaluate").unwrap(), Default::default());
        std::fs::remove_file(&folder).unwrap();
    }
}
