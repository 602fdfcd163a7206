//! Pairs of tracks that a person marked as one person or as two, from a CSV file.
//!
//! A header and the columns `track_a`, `track_b` and `kind`, in any order, where `kind` is `must_link` or
//! `cannot_link`, as in the table `constraints`. Other columns are ignored.

use std::fs;
use std::path::{Path, PathBuf};

use run::manifest::Input;
use schema::tables::ConstraintKind;
use serde::Deserialize;

use crate::groups::Groups;

/// What can be wrong with a file of edits.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file cannot be read.
    #[error("failed to read the edits `{}`: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Message of the operating system.
        source: std::io::Error,
    },
    /// A line is not what it should be.
    #[error("`{}`, line {line}: {reason}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Line, from 1; the header is line 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// Two tracks are said to be two people and, by way of others, one.
    #[error("`{}`: tracks {track_a} and {track_b} have both a must_link and a cannot_link row", path.display())]
    Contradiction {
        /// The file.
        path: PathBuf,
        /// The smaller track id.
        track_a: i64,
        /// The larger track id.
        track_b: i64,
    },
}

/// Pairs of tracks, smaller id first, in order and each once.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Edits {
    /// Pairs that show one person.
    pub must_link: Vec<(i64, i64)>,
    /// Pairs that show two people.
    pub cannot_link: Vec<(i64, i64)>,
}

/// A line of the file.
#[derive(Debug, Deserialize)]
struct Line {
    track_a: i64,
    track_b: i64,
    kind: Kind,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    MustLink,
    CannotLink,
}

/// A file of edits as it is on disk.
#[derive(Debug)]
pub(crate) struct EditFile {
    path: PathBuf,
    content: Vec<u8>,
}

impl EditFile {
    pub(crate) fn read(path: &Path) -> Result<Self, Error> {
        let path = path.to_path_buf();
        match fs::read(&path) {
            Ok(content) => Ok(Self { path, content }),
            Err(source) => Err(Error::File { path, source }),
        }
    }

    /// As the stage's record names it.
    pub(crate) fn input(&self) -> Input {
        Input { name: "edits".into(), sha256: hash::bytes(&self.content) }
    }

    /// What it says about these tracks, ids in order.
    pub(crate) fn parse(&self, track_ids: &[i64]) -> Result<Edits, Error> {
        Edits::parse(&self.path, &self.content, track_ids)
    }
}

/// What is wrong with a line, without its place, which the library says otherwise than we do.
fn reason(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::Deserialize { err, .. } => match err.kind() {
            csv::DeserializeErrorKind::ParseInt(_) => "the id of a track is a whole number".into(),
            kind => kind.to_string().replace("unknown variant", "unknown kind"),
        },
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("the row has {len} fields, the header has {expected_len}")
        }
        csv::ErrorKind::Utf8 { .. } => "the text is not UTF-8".into(),
        _ => error.to_string(),
    }
}

/// Checks the lines of a file of edits, for tracks that are not known yet.
///
/// # Errors
/// [`Error::File`] and [`Error::Line`].
pub fn check(path: &Path) -> Result<(), Error> {
    let file = EditFile::read(path)?;
    lines(&file.path, &file.content).map(|_| ())
}

/// The lines of the content of the file at `path`, which only serves messages, each with its number from 1.
fn lines(path: &Path, content: &[u8]) -> Result<Vec<(u64, Line)>, Error> {
    let wrong = |line: u64, reason: String| Error::Line { path: path.to_path_buf(), line, reason };
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(content);
    let header = reader.headers().map_err(|e| wrong(1, e.to_string()))?.clone();
    if let Some(missing) =
        ["track_a", "track_b", "kind"].iter().find(|name| !header.iter().any(|h| h == **name))
    {
        return Err(wrong(1, format!("missing column `{missing}`")));
    }
    let mut lines = Vec::new();
    for (number, record) in reader.records().enumerate() {
        let record = record.map_err(|e| wrong(number as u64 + 2, reason(&e)))?;
        let at = record.position().map_or(1, csv::Position::line);
        let line: Line = record.deserialize(Some(&header)).map_err(|e| wrong(at, reason(&e)))?;
        if line.track_a == line.track_b {
            return Err(wrong(at, format!("`track_a` and `track_b` are the same track, {}", line.track_a)));
        }
        lines.push((at, line));
    }
    Ok(lines)
}

impl Edits {
    /// Parses the content of the file at `path` (which only serves messages) for these tracks, ids in order.
    ///
    /// # Errors
    /// [`Error::Line`] and [`Error::Contradiction`].
    pub fn parse(path: &Path, content: &[u8], track_ids: &[i64]) -> Result<Self, Error> {
        let wrong = |line: u64, reason: String| Error::Line { path: path.to_path_buf(), line, reason };
        let mut edits = Self::default();
        for (at, line) in lines(path, content)? {
            edits.add(&line, track_ids).map_err(|reason| wrong(at, reason))?;
        }
        for pairs in [&mut edits.must_link, &mut edits.cannot_link] {
            pairs.sort_unstable();
            pairs.dedup();
        }
        match edits.contradiction(track_ids) {
            Some((track_a, track_b)) => {
                Err(Error::Contradiction { path: path.to_path_buf(), track_a, track_b })
            }
            None => Ok(edits),
        }
    }

    fn add(&mut self, line: &Line, track_ids: &[i64]) -> Result<(), String> {
        let Line { track_a, track_b, kind } = line;
        if let Some(unknown) = [track_a, track_b].into_iter().find(|id| track_ids.binary_search(id).is_err())
        {
            return Err(format!("unknown track {unknown}"));
        }
        let pairs = match kind {
            Kind::MustLink => &mut self.must_link,
            Kind::CannotLink => &mut self.cannot_link,
        };
        pairs.push((*track_a.min(track_b), *track_a.max(track_b)));
        Ok(())
    }

    /// Whether there is no pair.
    pub fn is_empty(&self) -> bool {
        self.must_link.is_empty() && self.cannot_link.is_empty()
    }

    /// Tracks that must be linked, directly or by way of others.
    pub fn groups(&self, track_ids: &[i64]) -> Groups {
        let place = |id: i64| track_ids.binary_search(&id).ok();
        let pairs = self.must_link.iter().filter_map(|(a, b)| place(*a).zip(place(*b)));
        Groups::new(track_ids.len(), pairs)
    }

    /// A pair that cannot be linked and, by way of others, must be.
    fn contradiction(&self, track_ids: &[i64]) -> Option<(i64, i64)> {
        let groups = self.groups(track_ids);
        let group = |id: i64| track_ids.binary_search(&id).ok().map(|place| groups.of(place));
        self.cannot_link.iter().copied().find(|(a, b)| group(*a) == group(*b))
    }

    /// Every pair with its kind.
    pub fn pairs(&self) -> impl Iterator<Item = ((i64, i64), ConstraintKind)> {
        let must_link = self.must_link.iter().map(|pair| (*pair, ConstraintKind::MustLink));
        must_link.chain(self.cannot_link.iter().map(|pair| (*pair, ConstraintKind::CannotLink)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(content: &str) -> Result<Edits, String> {
        let file = EditFile { path: "e.csv".into(), content: content.into() };
        file.parse(&[1, 2, 3, 5, 8]).map_err(|e| e.to_string())
    }

    #[test]
    fn pairs_are_ordered_and_said_once() {
        let found = parse("kind,track_a,track_b,why\nmust_link, 3, 1,x\ncannot_link,5,8,\nmust_link,1,3,y\n");
        assert_eq!(found, Ok(Edits { must_link: vec![(1, 3)], cannot_link: vec![(5, 8)] }));
        assert_eq!(parse("track_a,track_b,kind\n"), Ok(Edits::default()));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let cases = [
            ("", "`e.csv`, line 1: missing column `track_a`"),
            ("track_a,kind\n", "`e.csv`, line 1: missing column `track_b`"),
            ("track_a,track_b,kind\n1,2,must_link\n1,4,must_link\n", "`e.csv`, line 3: unknown track 4"),
            (
                "track_a,track_b,kind\n1,1,must_link\n",
                "`e.csv`, line 2: `track_a` and `track_b` are the same track, 1",
            ),
            ("track_a,track_b,kind\n1,x,must_link\n", "`e.csv`, line 2: the id of a track is a whole number"),
            (
                "track_a,track_b,kind\n1,2,same\n",
                "`e.csv`, line 2: unknown kind `same`, expected `must_link` or `cannot_link`",
            ),
            ("track_a,track_b,kind\n1,2\n", "`e.csv`, line 2: the row has 2 fields, the header has 3"),
            (
                "track_a,track_b,kind\n1,2,must_link\n3,2,must_link\n3,1,cannot_link\n",
                "`e.csv`: tracks 1 and 3 have both a must_link and a cannot_link row",
            ),
        ];
        for (content, expected) in cases {
            assert_eq!(parse(content), Err(expected.to_owned()), "{content}");
        }
    }
}
