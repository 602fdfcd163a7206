//! The configuration: a TOML file with one section for each stage, and settings that override it.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::error::Category;

use crate::error::{Error, Result};
use crate::manifest::STAGES;

/// The section `stage` of a TOML file and of settings that override it; every section must be named
/// after a stage.
///
/// # Errors
/// [`Error::Config`].
pub fn read_config<C: Default + DeserializeOwned>(
    file: Option<&Path>,
    settings: &[&str],
    stage: &str,
) -> Result<C> {
    let mut sections = toml::Table::new();
    if let Some(path) = file {
        let unreadable = |e: std::io::Error| Error::Config { path: path.into(), reason: e.to_string() };
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        let wrong = |error| Error::Config { path: path.into(), reason: placed(&error, &text) };
        sections = text.parse().map_err(wrong)?;
    }
    for setting in settings {
        let wrong = |error: toml::de::Error| Error::Config {
            path: format!("--set {setting}").into(),
            reason: plain(error.message()),
        };
        merge(&mut sections, setting.parse().map_err(wrong)?);
    }
    let path = match file {
        Some(file) if settings.is_empty() => file.to_path_buf(),
        Some(file) => format!("{} with --set", file.display()).into(),
        None => "--set".into(),
    };
    let wrong = |reason: String| Error::Config { path: path.clone(), reason };
    if let Some(unknown) = sections.keys().find(|name| !STAGES.contains(&name.as_str())) {
        let near = nearest(unknown, STAGES);
        let near = near.map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
        return Err(wrong(format!(
            "unknown section `{unknown}`; known sections: {}{near}",
            STAGES.join(", ")
        )));
    }
    match sections.remove(stage) {
        None => Ok(C::default()),
        Some(section) => section.try_into().map_err(|e| wrong(format!("[{stage}] {}", plain(e.message())))),
    }
}

/// The message of the parser in plain terms, with the line and the column in the text, from 1.
fn placed(error: &toml::de::Error, text: &str) -> String {
    let reason = plain(error.message());
    let Some(before) = error.span().and_then(|span| text.get(..span.start)) else { return reason };
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    format!("line {line}, column {column}: {reason}")
}

/// Puts `new` over `old`, table by table and key by key.
fn merge(old: &mut toml::Table, new: toml::Table) {
    for (key, value) in new {
        match (old.get_mut(&key), value) {
            (Some(toml::Value::Table(old)), toml::Value::Table(new)) => merge(old, new),
            (_, value) => {
                old.insert(key, value);
            }
        }
    }
}

/// Terms of the parser, and what they are called here.
const TERMS: [(&str, &str); 20] = [
    ("there are no fields", "there are no keys"),
    ("expected any valid TOML value", "expected a smaller number"),
    ("unknown field", "unknown key"),
    ("unknown variant", "unknown value"),
    ("invalid type", "wrong type"),
    ("invalid value", "wrong value"),
    ("expected struct Config", "expected a section of keys"),
    ("expected struct", "expected a section of"),
    ("expected usize", "expected a whole number from 0"),
    ("expected u64", "expected a whole number from 0"),
    ("expected u32", "expected a whole number from 0"),
    ("expected i64", "expected a whole number"),
    ("expected f64", "expected a number"),
    ("expected f32", "expected a number"),
    ("expected a sequence", "expected a list"),
    ("expected a map", "expected an object"),
    ("type: map,", "type: object,"),
    ("type: sequence,", "type: list,"),
    (" as i128", ""),
    ("floating point", "number"),
];

/// Why JSON of ours cannot be read, in plain terms and with line and column.
pub fn plain_json(error: &serde_json::Error) -> String {
    match error.classify() {
        Category::Data if !error.to_string().contains("struct") => plain(&error.to_string()),
        Category::Data => format!("expected an object at line {} column {}", error.line(), error.column()),
        Category::Io | Category::Syntax | Category::Eof => {
            format!("invalid JSON at line {} column {}", error.line(), error.column())
        }
    }
}

/// The message of the parser in plain terms, with the name that was probably meant.
fn plain(message: &str) -> String {
    let mut text = message.to_owned();
    for (term, ours) in TERMS {
        text = text.replace(term, ours);
    }
    let mut quoted = message.split('`').skip(1).step_by(2);
    let is_unknown = message.starts_with("unknown ");
    if let Some(near) = quoted.next().filter(|_| is_unknown).and_then(|given| nearest(given, quoted)) {
        text += &format!("; did you mean `{near}`?");
    }
    text
}

/// The name that is most similar to what was given, if one is similar at all.
fn nearest<'a>(given: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = given.chars().count().div_ceil(3).min(3);
    let near = names.into_iter().map(|name| (strsim::levenshtein(given, name), name));
    near.filter(|(distance, _)| *distance <= most).min().map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Linking {
        threshold: f64,
        seed: Option<u64>,
    }

    /// What reading a file with this content says, the path replaced.
    fn read(content: &str) -> std::result::Result<Linking, String> {
        let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
        let path = folder.path().join("config.toml");
        std::fs::write(&path, content).map_err(|e| e.to_string())?;
        let config = read_config(Some(&path), &[], "cluster");
        config.map_err(|e| e.to_string().replace(&path.display().to_string(), "$PATH"))
    }

    #[test]
    fn a_section_is_read_and_what_it_leaves_out_is_default() {
        let threshold = |threshold| Ok(Linking { threshold, seed: None });
        assert_eq!(read(""), threshold(0.0));
        assert_eq!(read("[embed]\nbatch = 8"), threshold(0.0));
        assert_eq!(read("[cluster]\nthreshold = 0.5"), threshold(0.5));
    }

    #[test]
    fn what_cannot_be_understood_is_refused() {
        let sections = "known sections: ingest, detect-track, embed, cluster, evaluate";
        let cases = [
            ("[linking]", format!("invalid configuration `$PATH`: unknown section `linking`; {sections}")),
            ("threshold = 1", format!("invalid configuration `$PATH`: unknown section `threshold`; {sections}")),
            (
                "[cluster]\ntreshold = 1",
                "invalid configuration `$PATH`: [cluster] unknown key `treshold`, expected `threshold` or `seed`; did you mean `threshold`?"
                    .into(),
            ),
            (
                "[cluster]\nthreshold = 'high'",
                "invalid configuration `$PATH`: [cluster] wrong type: string \"high\", expected a number".into(),
            ),
            (
                "cluster = 1",
                "invalid configuration `$PATH`: [cluster] wrong type: integer `1`, expected a section of Linking".into(),
            ),
            (
                "[cluster",
                "invalid configuration `$PATH`: line 1, column 9: unclosed table, expected `]`".into(),
            ),
            (
                "[embed]\n# é\nbatch = = 8",
                "invalid configuration `$PATH`: line 3, column 9: extra `=`, expected nothing".into(),
            ),
        ];
        for (content, expected) in cases {
            assert_eq!(read(content), Err(expected), "{content}");
        }
    }

    #[test]
    fn settings_override_and_add_to_each_other() {
        let read =
            |settings: &[&str]| read_config::<Linking>(None, settings, "cluster").map_err(|e| e.to_string());
        let both = Ok(Linking { threshold: 0.5, seed: Some(3) });
        assert_eq!(read(&["cluster.threshold = 0.4", "cluster.seed = 3", "cluster.threshold = 0.5"]), both);
        assert_eq!(read(&["embed.batch = 8"]), Ok(Linking::default()));
        let expected =
            "invalid configuration `--set`: [cluster] unknown key `tail`, expected `threshold` or `seed`";
        assert_eq!(read(&["cluster.tail = 1"]), Err(expected.into()));
        assert!(read(&["cluster.threshold ="]).is_err_and(|e| e.contains("--set cluster.threshold =")));
    }

    #[test]
    fn tables_are_merged_key_by_key() {
        let parse = |text: &str| text.parse::<toml::Table>().unwrap_or_default();
        let mut table = parse("[a]\nx = 1\ny = 2\n[a.b]\nz = 3");
        merge(&mut table, parse("a.y = 4\na.b.w = 5\nc.v = 6"));
        assert_eq!(table, parse("[a]\nx = 1\ny = 4\n[a.b]\nz = 3\nw = 5\n[c]\nv = 6"));
    }

    #[test]
    fn a_configuration_that_is_not_there_is_refused() {
        let error = read_config::<Linking>(Some(Path::new("no/such/file.toml")), &[], "cluster")
            .map_err(|e| e.to_string());
        let expected = "invalid configuration `no/such/file.toml`: No such file or directory (os error 2)";
        assert_eq!(error, Err(expected.to_owned()));
    }
}
