//! Saved work of an unfinished `detect-track`, from which the next start continues.
//!
//! The folder `checkpoint` of a run directory has parts of the tables of the stage: for each part, the tables
//! `NUMBER-TABLE.parquet` with the rows of the part, and `NUMBER.json` with their hashes, written last. A part counts only
//! with the same fingerprint, key of the tables, decoder, picture and instruction set, and only with all parts before it.
//! Its rows are exactly those that the stage would find again, so that the tables do not depend on whether, when and how
//! often the stage was killed. The folder goes when `detect-track` commits or is up to date, and by `--force`, `redact` and
//! a change of the key.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use schema::Row;
use schema::footer::Footer;
use schema::io::{self, TableReader, TableWriter};
use serde::{Deserialize, Serialize};

use crate::encryption::Encryption;
use crate::error::{Error, Result};
use crate::files::{TEMPORARY, publish, remove_own, replace, sha256, temporary};
use crate::manifest::STAGES;

/// Name of the folder below the run directory.
pub(crate) const FOLDER: &str = "checkpoint";
/// Digits of the number of a part.
const DIGITS: usize = 6;

/// The parts that a stage has written, and the next one.
#[derive(Debug)]
pub struct Checkpoint {
    folder: PathBuf,
    run_id: String,
    key: String,
    parts: usize,
    /// SHA-256 of the finished tables of the next part, by file.
    tables: BTreeMap<String, String>,
}

/// What `NUMBER.json` says.
#[derive(Debug, Serialize, Deserialize)]
struct Part {
    /// Hash of all that decides the rows.
    key: String,
    /// Key of the tables; `None` without encryption.
    encryption: Option<Encryption>,
    /// SHA-256 of the tables, by file.
    tables: BTreeMap<String, String>,
}

impl Checkpoint {
    /// Finds the parts that an earlier start of a stage with the same key has written below a run directory, and removes
    /// all others.
    pub(crate) fn open(root: &Path, run_id: &str, key: String) -> Result<Self> {
        let (folder, run_id) = (root.join(FOLDER), run_id.to_owned());
        let mut checkpoint = Self { folder, run_id, key, parts: 0, tables: BTreeMap::new() };
        while checkpoint.is_whole(checkpoint.parts) {
            checkpoint.parts += 1;
        }
        let is_part = |name: &str| number(name).is_some_and(|part| part < checkpoint.parts);
        remove_own(&checkpoint.folder, |name| is_temporary(name) || is_file(name) && !is_part(name))?;
        Ok(checkpoint)
    }

    /// Number of whole parts.
    pub fn parts(&self) -> usize {
        self.parts
    }

    /// Reads a table of a whole part.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub fn read<R: Row>(&self, part: usize) -> Result<TableReader<R>> {
        Ok(io::open(&self.folder.join(table_name::<R>(part)))?)
    }

    /// Starts a table of the next part.
    ///
    /// # Errors
    /// When the file cannot be created.
    pub fn create<R: Row + Clone>(&self) -> Result<TableWriter<R>> {
        fs::create_dir_all(&self.folder).map_err(Error::io("create", &self.folder))?;
        let footer = Footer::of::<R>(self.run_id.clone(), self.key.clone(), &[]);
        Ok(TableWriter::create(&temporary(&self.folder.join(table_name::<R>(self.parts))), &footer)?)
    }

    /// Finishes a table of the next part.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn finish<R: Row + Clone>(&mut self, writer: TableWriter<R>) -> Result<()> {
        writer.finish()?;
        let name = table_name::<R>(self.parts);
        let path = self.folder.join(&name);
        self.tables.insert(name, sha256(&temporary(&path))?);
        publish(&path)
    }

    /// Makes the finished tables a part.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&mut self) -> Result<()> {
        let part = Part {
            key: self.key.clone(),
            encryption: Encryption::of_process(),
            tables: std::mem::take(&mut self.tables),
        };
        let path = self.folder.join(format!("{:0DIGITS$}.json", self.parts));
        replace(&path, serde_json::json!(part).to_string().as_bytes())?;
        self.parts += 1;
        Ok(())
    }

    fn is_whole(&self, part: usize) -> bool {
        let Ok(json) = fs::read(self.folder.join(format!("{part:0DIGITS$}.json"))) else { return false };
        serde_json::from_slice::<Part>(&json).is_ok_and(|part| {
            let is_same = |(file, recorded): (&String, &String)| {
                sha256(&self.folder.join(file)).is_ok_and(|found| found == *recorded)
            };
            part.key == self.key
                && part.encryption == Encryption::of_process()
                && part.tables.iter().all(is_same)
        })
    }
}

/// Whether the program wrote a file, by its path below the run directory with `/`.
pub(crate) fn is_own(name: &str) -> bool {
    name.strip_prefix(FOLDER).and_then(|rest| rest.strip_prefix('/')).is_some_and(is_file)
}

/// Removes the checkpoint of a run where a stage begins anew or has its results, if this is `detect-track` or a stage before
/// it.
pub(crate) fn clear_for(root: &Path, stage: &str) -> Result<()> {
    match STAGES.iter().take_while(|earlier| **earlier != "embed").any(|earlier| *earlier == stage) {
        true => clear(root),
        false => Ok(()),
    }
}

/// Whether a run has a checkpoint.
pub(crate) fn exists(root: &Path) -> bool {
    let mut files = fs::read_dir(root.join(FOLDER)).into_iter().flatten().flatten();
    files.any(|entry| entry.file_name().to_str().is_some_and(is_file))
}

/// Removes the checkpoint of a run; files of others stay.
pub(crate) fn clear(root: &Path) -> Result<()> {
    remove_own(&root.join(FOLDER), is_file)
}

/// Removes the tables that a killed stage had begun.
pub(crate) fn remove_temporaries(root: &Path) -> Result<()> {
    remove_own(&root.join(FOLDER), is_temporary)
}

fn is_temporary(name: &str) -> bool {
    is_file(name) && Path::new(name).extension().is_some_and(|extension| extension == TEMPORARY)
}

fn is_file(name: &str) -> bool {
    number(name).is_some()
}

fn table_name<R: Row>(part: usize) -> String {
    format!("{part:0DIGITS$}-{}", R::TABLE.file_name())
}

/// Number of the part to which a file of the folder belongs; `None` for a file that is not of a part.
fn number(name: &str) -> Option<usize> {
    let (number, rest) = name.split_at_checked(DIGITS)?;
    let is_of_part = rest.starts_with(".json") || (rest.starts_with('-') && rest.contains(".parquet"));
    number.parse().ok().filter(|_| is_of_part)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use schema::tables::{Shot, Transition};

    use super::*;

    fn shot(shot_idx: i64) -> Shot {
        Shot {
            video_id: "a".into(),
            shot_idx,
            first_frame_idx: 10 * shot_idx,
            last_frame_idx: 10 * shot_idx + 9,
            first_t_secs: shot_idx as f64,
            last_t_secs: shot_idx as f64 + 0.9,
            transition: Transition::Cut,
            score: None,
        }
    }

    fn save(checkpoint: &mut Checkpoint, rows: &[Shot]) {
        let mut writer = checkpoint.create::<Shot>().unwrap();
        rows.iter().for_each(|row| writer.push(row.clone()).unwrap());
        checkpoint.finish(writer).unwrap();
        checkpoint.save().unwrap();
    }

    fn shots(checkpoint: &Checkpoint) -> Vec<i64> {
        let parts = (0..checkpoint.parts()).flat_map(|part| checkpoint.read::<Shot>(part).unwrap());
        parts.flat_map(|rows| rows.unwrap()).map(|row| row.shot_idx).collect()
    }

    #[test]
    fn parts_are_found_again_by_the_same_stage_only() {
        let place = tempfile::tempdir().unwrap();
        let open = |key: &str| Checkpoint::open(place.path(), "run", hash::bytes(key.as_bytes())).unwrap();
        let mut checkpoint = open("a");
        assert_eq!((checkpoint.parts(), place.path().join(FOLDER).exists()), (0, false));
        save(&mut checkpoint, &[shot(0), shot(1)]);
        save(&mut checkpoint, &[shot(2)]);
        // A part that was begun does not count.
        let begun = checkpoint.create::<Shot>().unwrap();
        let again = open("a");
        assert_eq!(shots(&again), [0, 1, 2]);
        drop(begun);
        fs::write(place.path().join(FOLDER).join("mine.txt"), "x").unwrap();
        assert_eq!(open("b").parts(), 0);
        assert_eq!(open("a").parts(), 0);
        assert_eq!(fs::read_dir(place.path().join(FOLDER)).unwrap().count(), 1);
    }

    #[test]
    fn a_damaged_part_ends_what_counts() {
        let place = tempfile::tempdir().unwrap();
        let open = || Checkpoint::open(place.path(), "run", hash::bytes(b"a")).unwrap();
        let mut checkpoint = open();
        (0..3).for_each(|i| save(&mut checkpoint, &[shot(i)]));
        let second = place.path().join(FOLDER).join("000001-shots.parquet");
        let mut bytes = fs::read(&second).unwrap();
        bytes[10] ^= 1;
        fs::write(&second, bytes).unwrap();
        let mut checkpoint = open();
        assert_eq!(shots(&checkpoint), [0]);
        save(&mut checkpoint, &[shot(1)]);
        assert_eq!(shots(&open()), [0, 1]);
        clear(place.path()).unwrap();
        assert!(!place.path().join(FOLDER).exists());
    }

    #[test]
    fn files_of_parts_are_distinguished_from_others() {
        assert!(is_own("checkpoint/000001.json") && is_own("checkpoint/000001-shots.parquet"));
        assert!(is_own("checkpoint/000001-shots.parquet.host-12.tmp"));
        assert!(!is_own("checkpoint/mine.txt") && !is_own("checkpoint/1.json") && !is_own("000001.json"));
    }
}
