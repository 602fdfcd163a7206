//! Options of `cargo xtask run` that are settings of the stages: each overrides what `--config` says.

use clap::{Arg, ArgAction, ArgMatches, value_parser};

use crate::embedders;

/// An option that is a setting.
struct Setting {
    /// The option, without dashes.
    option: &'static str,
    /// Section and key of the setting.
    key: &'static str,
    value: Kind,
    help: &'static str,
}

/// What may be given.
enum Kind {
    /// A number above zero.
    Number,
    /// A whole number above zero.
    Count,
    /// One of these.
    Word(&'static [&'static str]),
    /// One or several of these, separated by commas.
    Words(&'static [&'static str]),
    /// A device of the stage `embed`.
    Device,
    /// Nothing: the option alone means yes.
    Flag,
}

const SETTINGS: &[Setting] = &[
    Setting {
        option: "detector",
        key: "detect-track.detector",
        value: Kind::Word(&["yunet", "haar"]),
        help: "what looks for faces",
    },
    Setting {
        option: "tracker",
        key: "detect-track.tracker",
        value: Kind::Word(&["assoc", "correlation"]),
        help: "how faces are followed",
    },
    Setting {
        option: "min-face-px",
        key: "detect-track.min_face_px",
        value: Kind::Number,
        help: "size of the smallest face to find, pixels of the video",
    },
    Setting {
        option: "embedder",
        key: "embed.embedders",
        value: Kind::Words(&embedders::NAMES),
        help: "what turns faces into vectors; tracks are linked by the first",
    },
    Setting {
        option: "flip",
        key: "embed.flip",
        value: Kind::Flag,
        help: "embed every face and its mirror image, in twice the time",
    },
    Setting {
        option: "method",
        key: "cluster.method",
        value: Kind::Word(&["link", "agglomerative", "kmeans", "dbscan", "hdbscan"]),
        help: "how tracks are linked",
    },
    Setting {
        option: "metric",
        key: "cluster.metric",
        value: Kind::Word(&["cosine", "euclidean"]),
        help: "distance of tracks; not for link",
    },
    Setting {
        option: "linkage",
        key: "cluster.linkage",
        value: Kind::Word(&["average", "complete", "single", "ward"]),
        help: "distance of clusters, for agglomerative",
    },
    Setting {
        option: "k",
        key: "cluster.k",
        value: Kind::Count,
        help: "number of people, for agglomerative and kmeans",
    },
    Setting {
        option: "constraints",
        key: "cluster.constraints",
        value: Kind::Flag,
        help: "keep tracks apart that share a frame, which link always does",
    },
    Setting {
        option: "device",
        key: "embed.device",
        value: Kind::Device,
        help: "where networks turn faces into vectors",
    },
    Setting {
        option: "precision",
        key: "embed.precision",
        value: Kind::Word(&["f32", "f16"]),
        help: "in which numbers they do; f16 on a card only",
    },
];

/// The options, for the command line.
pub(crate) fn options() -> impl Iterator<Item = Arg> {
    SETTINGS.iter().map(|setting| {
        let option = Arg::new(setting.option).long(setting.option).help(setting.help);
        match setting.value {
            Kind::Number => option.value_name("NUMBER").value_parser(parse_number),
            Kind::Count => option.value_name("N").value_parser(value_parser!(u32).range(1..)),
            Kind::Word(words) => option.value_parser(words.to_vec()),
            Kind::Words(words) => option
                .value_name("NAME,..")
                .value_delimiter(',')
                .action(ArgAction::Append)
                .value_parser(words.to_vec()),
            Kind::Device => option.value_name("cpu|cuda[:N]|auto").value_parser(parse_device),
            Kind::Flag => option.action(ArgAction::SetTrue),
        }
    })
}

/// What was given, each setting as a line of TOML.
pub(crate) fn given(matches: &ArgMatches) -> Vec<String> {
    let line = |setting: &Setting| {
        // Rust writes plain words, lists of them, and finite numbers as TOML does.
        let value = match setting.value {
            Kind::Number => format!("{:?}", matches.get_one::<f64>(setting.option)?),
            Kind::Count => matches.get_one::<u32>(setting.option)?.to_string(),
            Kind::Word(_) | Kind::Device => format!("{:?}", matches.get_one::<String>(setting.option)?),
            Kind::Words(_) => {
                format!("{:?}", matches.get_many::<String>(setting.option)?.collect::<Vec<_>>())
            }
            Kind::Flag => matches.get_flag(setting.option).then(|| "true".to_owned())?,
        };
        Some(format!("{} = {value}", setting.key))
    };
    SETTINGS.iter().filter_map(line).collect()
}

fn parse_device(text: &str) -> Result<String, String> {
    let number = text.strip_prefix("cuda:").and_then(|number| number.parse::<usize>().ok());
    let is_device = ["cpu", "cuda", "auto"].contains(&text) || number.is_some();
    is_device.then(|| text.to_owned()).ok_or_else(|| "must be cpu, cuda, cuda:N or auto".into())
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
        let given = lines(&["--embedder", "sface,dlib", "--flip"]);
        let expected = ["embed.embedders = [\"sface\", \"dlib\"]", "embed.flip = true"];
        assert_eq!(given, Some(expected.map(String::from).to_vec()));
        let given = lines(&["--method", "kmeans", "--k", "6", "--constraints"]);
        let expected = ["cluster.method = \"kmeans\"", "cluster.k = 6", "cluster.constraints = true"];
        assert_eq!(given, Some(expected.map(String::from).to_vec()));
    }

    #[test]
    fn unknown_words_and_strange_numbers_are_refused() {
        for arguments in [
            ["--detector", "eyes"],
            ["--embedder", "sface,eyes"],
            ["--device", "cuda:x"],
            ["--k", "0"],
            ["--min-face-px", "0"],
            ["--min-face-px", "NaN"],
        ] {
            assert_eq!(lines(&arguments), None, "{arguments:?}");
        }
    }
}
