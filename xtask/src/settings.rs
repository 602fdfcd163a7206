//! Options of `cargo xtask run` that are settings of the stages: each overrides what `--config` says.

use clap::{Arg, ArgMatches};

/// An option that is a setting.
struct Setting {
    /// The option, without dashes.
    option: &'static str,
    /// Section and key of the setting.
    key: &'static str,
    /// What it may be; empty for a number above zero.
    values: &'static [&'static str],
    help: &'static str,
}

const SETTINGS: &[Setting] = &[
    Setting {
        option: "detector",
        key: "detect-track.detector",
        values: &["yunet", "haar"],
        help: "what looks for faces",
    },
    Setting {
        option: "tracker",
        key: "detect-track.tracker",
        values: &["assoc", "correlation"],
        help: "how faces are followed",
    },
    Setting {
        option: "min-face-px",
        key: "detect-track.min_face_px",
        values: &[],
        help: "size of the smallest face to find, pixels of the video",
    },
];

/// The options, for the command line.
pub(crate) fn options() -> impl Iterator<Item = Arg> {
    SETTINGS.iter().map(|setting| {
        let option = Arg::new(setting.option).long(setting.option).help(setting.help);
        match setting.values {
            [] => option.value_name("NUMBER").value_parser(parse_number),
            values => option.value_parser(values.to_vec()),
        }
    })
}

/// What was given, each setting as a line of TOML.
pub(crate) fn given(matches: &ArgMatches) -> Vec<String> {
    let line = |setting: &Setting| {
        // Rust writes plain words and finite numbers as TOML does.
        let value = match setting.values {
            [] => format!("{:?}", matches.get_one::<f64>(setting.option)?),
            _ => format!("{:?}", matches.get_one::<String>(setting.option)?),
        };
        Some(format!("{} = {value}", setting.key))
    };
    SETTINGS.iter().filter_map(line).collect()
}

fn parse_number(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|n: &f64| n.is_finite() && *n > 0.0)
        .ok_or_else(|| "must be a number above zero".into())
}

#[cfg(test)]
mod tests {
    use clap::Command;

    use super::*;

    fn lines(arguments: &[&str]) -> Option<Vec<String>> {
        let command = Command::new("run").no_binary_name(true).args(options());
        command.try_get_matches_from(arguments).ok().map(|matches| given(&matches))
    }

    #[test]
    fn options_become_lines_of_toml() {
        assert_eq!(lines(&[]), Some(Vec::new()));
        let given = lines(&["--min-face-px", "20", "--detector", "haar"]);
        let expected = ["detect-track.detector = \"haar\"", "detect-track.min_face_px = 20.0"];
        assert_eq!(given, Some(expected.map(String::from).to_vec()));
    }

    #[test]
    fn unknown_words_and_strange_numbers_are_refused() {
        for arguments in [["--detector", "eyes"], ["--min-face-px", "0"], ["--min-face-px", "NaN"]] {
            assert_eq!(lines(&arguments), None, "{arguments:?}");
        }
    }
}
