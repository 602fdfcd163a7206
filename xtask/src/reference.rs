//! The pages of `docs/reference` and the tables of the Python package, generated from the source and from the program.

use std::fs;
use std::path::Path;

use console::{Error, Result};
use serde_json::{Map, Value, json};

use crate::workspace;

/// Writes the pages of `docs/reference` and the tables of the Python package, or compares them with the source.
pub(crate) fn pages(check: bool) -> Result<()> {
    page("docs/reference/cli.md", &command_line()?, check)?;
    page("docs/reference/settings.toml", &settings()?, check)?;
    page("docs/reference/exit-codes.md", &exit_codes()?, check)?;
    page("python/src/facetrack/tables.json", &tables()?, check)
}

fn page(name: &str, text: &str, check: bool) -> Result<()> {
    let path = workspace::root().join(name);
    if !check {
        return fs::write(&path, text).map_err(Error::io("write", &path));
    }
    if fs::read_to_string(&path).is_ok_and(|stored| stored == text) {
        return Ok(());
    }
    Err(Error::unexpected(format!("{} differs from the source", path.display()))
        .hint("run `cargo xtask schemas`"))
}

/// What the Python package knows of every table: the newest document of `schemas/`, without descriptions.
fn tables() -> Result<String> {
    let mut tables = Map::new();
    let folder = workspace::root().join("schemas");
    for table in
        fs::read_dir(&folder).map_err(Error::io("read", &folder))?.flatten().map(|entry| entry.path())
    {
        let version = |path: &Path| -> Option<Vec<u64>> {
            let parts = path.file_name()?.to_str()?.strip_suffix(".json")?.split('.');
            parts.map(|part| part.parse().ok()).collect()
        };
        let documents = fs::read_dir(&table).into_iter().flatten().flatten().map(|entry| entry.path());
        let newest = documents.filter_map(|path| Some((version(&path)?, path))).max();
        let Some((_, path)) = newest else { continue };
        let text = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        let document: Value = serde_json::from_str(&text).map_err(|e| Error::unexpected(e.to_string()))?;
        let column = |column: &Value| json!({ "name": column["name"], "nullable": column["nullable"], "type": column["type"] });
        let columns: Vec<_> = document["columns"].as_array().into_iter().flatten().map(column).collect();
        let known =
            json!({ "columns": columns, "producer": document["producer"], "version": document["version"] });
        tables.insert(document["table"].as_str().unwrap_or_default().to_owned(), known);
    }
    Ok(format!("{:#}\n", Value::Object(tables)))
}

/// The help of the program and of every verb, in the order of the lists in the help.
fn command_line() -> Result<String> {
    let mut text = String::from("# Command line\n\nThe help of every verb of `facetrack`. ");
    text += "`cargo xtask schemas` generates this page from the program.\n";
    let mut verbs = vec!["facetrack".to_owned()];
    while let Some(verb) = verbs.pop() {
        let help = printed(&verb.split(' ').skip(1).chain(["--help"]).collect::<Vec<_>>())?;
        text += &format!("\n## {verb}\n\n```text\n{}\n```\n", help.trim_end());
        verbs.extend(inner_verbs(&help).into_iter().rev().map(|inner| format!("{verb} {inner}")));
    }
    Ok(text)
}

/// The verbs that a help lists, but for `help` itself.
fn inner_verbs(help: &str) -> Vec<&str> {
    let list = help.lines().skip_while(|line| !["Verbs:", "Commands:"].contains(line)).skip(1);
    let names = list.map_while(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").collect()
}

/// The output of `facetrack` as it was last built.
fn printed(arguments: &[&str]) -> Result<String> {
    let mut command = workspace::facetrack();
    let output =
        command.args(arguments).output().map_err(Error::io("start", &workspace::program("facetrack")))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Sections of the configuration: name, source file, and struct whose fields are the keys.
const SECTIONS: [(&str, &str, &str); 6] = [
    ("detect-track", "crates/detect-track/src/lib.rs", "struct Config"),
    ("detect-track.shots", "crates/detect-track/src/shots/mod.rs", "struct ShotConfig"),
    ("detect-track.association", "crates/detect-track/src/tracker.rs", "struct TrackerConfig"),
    ("embed", "crates/embed/src/config.rs", "struct Config"),
    ("cluster", "crates/cluster/src/config.rs", "struct Config"),
    ("evaluate", "crates/evaluate/src/config.rs", "struct Config"),
];

/// What stands above the settings.
const ABOUT_SETTINGS: &str = "\
# Every setting of facetrack with its default: a configuration file for `facetrack run --config FILE`.
# `facetrack settings` prints this file. A key without a value is not set; its comment says what happens then.
# Options of the command line override the file. Unknown sections and keys are refused before the first stage.
# The file `config.toml` of a run directory has every setting with the value that was used.
";

/// The configuration file with every default: comments from the source, values from the program.
fn settings() -> Result<String> {
    let defaults: Value =
        serde_json::from_str(&printed(&["defaults"])?).map_err(|e| Error::unexpected(e.to_string()))?;
    let mut text = ABOUT_SETTINGS.to_owned();
    for (section, file, item) in SECTIONS {
        text += &format!("\n[{section}]\n");
        let values = section.split('.').fold(&defaults, |value, name| &value[name]);
        for (key, doc) in documented(&source(file)?, item, "pub ") {
            let inner = format!("{section}.{key}");
            if SECTIONS.iter().any(|(name, ..)| *name == inner) {
                continue;
            }
            wrap(&doc).iter().for_each(|line| text += &format!("# {line}\n"));
            text += &match toml(&values[&key]) {
                Some(value) => format!("{key} = {value}\n"),
                None => format!("# {key} =\n"),
            };
        }
    }
    Ok(text)
}

/// A value in TOML; `None` for a setting that is not set.
fn toml(value: &Value) -> Option<String> {
    Some(match value {
        Value::Null => return None,
        Value::Array(items) => {
            format!("[{}]", items.iter().filter_map(toml).collect::<Vec<_>>().join(", "))
        }
        Value::Object(pairs) => {
            let pair = |(key, value)| Some(format!("{key} = {}", toml(value)?));
            format!("{{ {} }}", pairs.iter().filter_map(pair).collect::<Vec<_>>().join(", "))
        }
        // Strings of JSON are strings of TOML too.
        other => other.to_string(),
    })
}

/// The exit codes.
fn exit_codes() -> Result<String> {
    let mut text = "# Exit codes\n\nEvery verb of `facetrack` and every task of `cargo xtask` ends with one of these codes. \
        `cargo xtask schemas`\ngenerates this page from the source.\n\n\
        | code | meaning | is it useful to run the same command again? |\n|---|---|---|\n\
        | 0 | Success; a video without faces is a success. | not needed |\n"
        .to_owned();
    let source = source("crates/failure/src/lib.rs")?;
    for (item, doc) in documented(&source, "mod exit", "    pub const ") {
        let value = source.split_once(&format!("{item}: u8 = ")).and_then(|(_, rest)| rest.split_once(';'));
        let (Some((code, _)), Some((meaning, again))) = (value, doc.split_once(" Run again: ")) else {
            return Err(Error::unexpected(format!("the exit code {item} does not say when to run again")));
        };
        text += &format!("| {code} | {meaning} | {} |\n", again.trim_end_matches('.'));
    }
    Ok(text)
}

fn source(file: &str) -> Result<String> {
    let path = workspace::root().join(file);
    fs::read_to_string(&path).map_err(Error::io("read", &path))
}

/// Names and doc comments of what is declared inside `item`, where declarations begin with `start`.
fn documented(source: &str, item: &str, start: &str) -> Vec<(String, String)> {
    let inside = source.lines().skip_while(|line| !line.starts_with(&format!("pub {item} {{"))).skip(1);
    let mut found = Vec::new();
    let mut doc = Vec::new();
    for line in inside.take_while(|line| !line.starts_with('}')) {
        if let Some(text) = line.trim().strip_prefix("/// ") {
            doc.push(text);
        } else if let Some(name) =
            line.trim().strip_prefix(start.trim_start()).and_then(|rest| rest.split(':').next())
        {
            found.push((name.to_owned(), doc.join(" ")));
            doc.clear();
        }
    }
    found
}

/// The lines of a comment, at most 100 characters each.
fn wrap(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for part in text.split(' ') {
        if let Some(line) = lines.last_mut().filter(|line| line.is_empty() || line.len() + part.len() < 100) {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(part);
        } else {
            lines.push(part.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "\
/// Something else.
pub struct Other {
    /// Not this.
    pub other: u8,
}

pub struct Config {
    /// Size of the
    /// smallest face.
    pub min_px: Option<f64>,
    /// Name.
    pub name: String,
}
";

    #[test]
    fn fields_are_found_with_their_comments() {
        let expected = [("min_px", "Size of the smallest face."), ("name", "Name.")];
        let found = documented(SOURCE, "struct Config", "pub ");
        assert_eq!(found, expected.map(|(name, doc)| (name.to_owned(), doc.to_owned())));
        assert!(documented(SOURCE, "struct Missing", "pub ").is_empty());
    }

    #[test]
    fn verbs_are_those_of_the_list() {
        let help =
            "Does it.\n\nUsage: x <VERB>\n\nVerbs:\n  run   Runs\n  help  Helps\n\nOptions:\n  -h  Helps\n";
        assert_eq!(inner_verbs(help), ["run"]);
        assert!(inner_verbs("Usage: x run\n\nOptions:\n  -h  Helps\n").is_empty());
    }

    #[test]
    fn values_are_written_in_toml() {
        let value = serde_json::json!({ "a": [[1, 2]], "b": "x", "c": 2.0, "d": null });
        assert_eq!(toml(&value).as_deref(), Some(r#"{ a = [[1, 2]], b = "x", c = 2.0 }"#));
        assert_eq!(toml(&Value::Null), None);
    }

    #[test]
    fn comments_are_wrapped() {
        let lines = wrap(&"word ".repeat(30));
        assert!(lines.len() == 2 && lines.iter().all(|line| line.len() <= 100), "{lines:?}");
    }

    #[test]
    fn every_section_and_exit_code_is_in_the_source() {
        for (section, file, item) in SECTIONS {
            assert!(source(file).is_ok_and(|text| !documented(&text, item, "pub ").is_empty()), "{section}");
        }
        assert!(
            exit_codes().is_ok_and(|text| text.lines().filter(|line| line.starts_with("| ")).count() == 9)
        );
    }
}
