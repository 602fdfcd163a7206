//! The log of edits on disk.
//!
//! The log is two tables. Each is written under a temporary name and renamed, first `edit_anchors`, then `edits`.
//! Anchors of an edit that is not in `edits` do not count, so a process that is killed at any moment loses at most
//! the edit that the process was adding. A writer holds the lock of the log, and reads the log again before the
//! writer adds an edit. The lock of the run is another one, because a stage holds that lock while the stage works.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use geometry::BBox;
use schema::footer::Footer;
use schema::io;
use schema::{Row, tables};

use super::{Anchor, Edit, EditOp, Effect, Entry, Mark};
use crate::date::utc;
use crate::encryption::check_run;
use crate::error::{Error, Result};
use crate::files::{publish, temporary};
use crate::lock::lock_file;
use crate::manifest::Manifest;

/// Name of the lock file of the log.
pub const LOCK: &str = ".edits.lock";
/// Time for which the lock of the log is waited for. Its holders keep it for milliseconds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The log of edits of a run directory, in the state of the last reading or writing.
#[derive(Debug, Clone)]
pub struct Log {
    root: PathBuf,
    entries: Vec<Entry>,
}

impl Log {
    /// Reads the log of the directory `root`; without the tables, the log is empty.
    ///
    /// # Errors
    /// When a table cannot be read, and when the directory does not have the key of this process.
    pub fn open(root: &Path) -> Result<Self> {
        check_run(root)?;
        let mut log = Self { root: root.to_path_buf(), entries: Vec::new() };
        if log.path::<tables::Edit>().exists() {
            let _lock = lock_file(&root.join(LOCK), PATIENCE)?;
            log.read()?;
        }
        Ok(log)
    }

    /// Returns every edit, in the order in which the edits were made.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Returns the edits that count, in order: neither an undo nor an edit that is undone.
    pub fn active(&self) -> impl Iterator<Item = &Entry> {
        let undone = self.undone();
        self.entries
            .iter()
            .filter(move |entry| entry.edit.op != EditOp::Undo && !undone.contains(&entry.edit_id))
    }

    /// Returns whether an edit is undone by an undo that is not undone itself.
    pub fn is_undone(&self, edit_id: i64) -> bool {
        self.undone().contains(&edit_id)
    }

    /// Returns the SHA-256 of the effect of the edits that count; `None` when no edit counts.
    pub fn fingerprint(&self) -> Option<String> {
        let effects: Vec<_> = self.active().map(|entry| Effect::from(&entry.edit)).collect();
        let json = serde_json::to_string(&effects).unwrap_or_default();
        (!effects.is_empty()).then(|| hash::bytes(json.as_bytes()))
    }

    /// Adds an edit and returns its key.
    #[cfg(test)]
    fn append(&mut self, edit: Edit) -> Result<i64> {
        self.append_with(|_| Ok::<_, Error>(vec![edit])).map(|()| self.last_id())
    }

    /// Adds the edits that `decide` returns for the present log on disk: all of them, or none if `decide` fails. The
    /// log is locked meanwhile, so `decide` can refuse an edit that contradicts an earlier one.
    ///
    /// # Errors
    /// When `decide` fails, and when a table cannot be read or written.
    pub fn append_with<E: From<Error>>(
        &mut self,
        decide: impl FnOnce(&Self) -> std::result::Result<Vec<Edit>, E>,
    ) -> std::result::Result<(), E> {
        self.change(|log| {
            let new = decide(log)?.into_iter().map(|edit| (edit, None)).collect();
            Ok(log.with(new))
        })
    }

    /// Undoes an edit; undoing an undo restores the edit that was undone. Returns the key of the new undo.
    ///
    /// # Errors
    /// When there is no such edit, when the edit is undone already, and when a table cannot be read or written.
    pub fn undo(&mut self, edit_id: i64, author: &str) -> Result<i64> {
        self.undo_one(author, |log| {
            let found = log.entries.iter().any(|entry| entry.edit_id == edit_id);
            match found && !log.is_undone(edit_id) {
                true => Ok(edit_id),
                false if found => Err(format!("correction {edit_id} is already undone")),
                false => Err(format!("there is no correction {edit_id}")),
            }
        })?;
        Ok(self.last_id())
    }

    /// Undoes the last edit that counts, and returns the key of that edit.
    ///
    /// # Errors
    /// When no edit counts, and when a table cannot be read or written.
    pub fn undo_last(&mut self, author: &str) -> Result<i64> {
        self.undo_one(author, |log| {
            log.active().last().map(|entry| entry.edit_id).ok_or_else(|| "there is nothing to undo".into())
        })
    }

    /// Restores the edit that was undone last, and returns its key. After a new edit, earlier undone edits cannot be
    /// redone.
    ///
    /// # Errors
    /// When there is no such edit, and when a table cannot be read or written.
    pub fn redo(&mut self, author: &str) -> Result<i64> {
        let undo = self.undo_one(author, |log| {
            log.last_undo().map(|entry| entry.edit_id).ok_or_else(|| "there is nothing to redo".into())
        })?;
        Ok(self.entry(undo).and_then(|entry| entry.undoes).unwrap_or(undo))
    }

    /// Returns whether [`Self::redo`] has an edit to restore.
    pub fn can_redo(&self) -> bool {
        self.last_undo().is_some()
    }

    /// Returns the undo that a redo takes back: of the undos after the last edit, the last one that undid an edit and
    /// is not undone itself.
    fn last_undo(&self) -> Option<&Entry> {
        let undone = self.undone();
        let is_edit = |edit_id: i64| self.entry(edit_id).is_some_and(|e| e.edit.op != EditOp::Undo);
        let since = self.entries.iter().rev().take_while(|entry| entry.edit.op == EditOp::Undo);
        since.filter(|entry| !undone.contains(&entry.edit_id)).find(|entry| entry.undoes.is_some_and(is_edit))
    }

    /// Replaces each entry by the result of `keep`, or removes the entry, for example when `redact` removes a person.
    /// An undo of a removed entry is removed too.
    ///
    /// # Errors
    /// When a table cannot be read or written.
    pub fn retain(&mut self, mut keep: impl FnMut(Entry) -> Option<Entry>) -> Result<()> {
        if !self.path::<tables::Edit>().exists() {
            return Ok(());
        }
        self.change(|log| {
            let mut kept: Vec<Entry> = Vec::new();
            for entry in log.entries.iter().cloned().filter_map(&mut keep) {
                let is_there = |undone: i64| kept.iter().any(|entry| entry.edit_id == undone);
                if entry.undoes.is_none_or(is_there) {
                    kept.push(entry);
                }
            }
            Ok(kept)
        })
    }

    fn entry(&self, edit_id: i64) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.edit_id == edit_id)
    }

    fn last_id(&self) -> i64 {
        self.entries.last().map_or(0, |entry| entry.edit_id)
    }

    /// Adds an undo of the entry that `choose` returns, and returns the key of that entry.
    fn undo_one(
        &mut self,
        author: &str,
        choose: impl FnOnce(&Self) -> std::result::Result<i64, String>,
    ) -> Result<i64> {
        let mut chosen = 0;
        self.change(|log| {
            chosen = choose(log).map_err(|reason| Error::Edit { path: log.root.clone(), reason })?;
            Ok::<_, Error>(log.with(vec![(Edit::new(EditOp::Undo, author, Vec::new()), Some(chosen))]))
        })?;
        Ok(chosen)
    }

    /// Returns the keys of the entries that are undone by an undo that is not undone itself.
    fn undone(&self) -> BTreeSet<i64> {
        let mut undone = BTreeSet::new();
        for entry in self.entries.iter().rev().filter(|entry| entry.edit.op == EditOp::Undo) {
            if !undone.contains(&entry.edit_id) {
                undone.extend(entry.undoes);
            }
        }
        undone
    }

    /// Returns all entries, followed by `new` edits, each with the key of the edit that it undoes.
    fn with(&self, new: Vec<(Edit, Option<i64>)>) -> Vec<Entry> {
        let made_at = utc(SystemTime::now());
        let ids = self.last_id() + 1..;
        let new = ids.zip(new).map(|(edit_id, (edit, undoes))| Entry {
            edit_id,
            made_at: made_at.clone(),
            undoes,
            edit,
        });
        self.entries.iter().cloned().chain(new).collect()
    }

    /// Replaces the log on disk by the entries that `next` returns for it.
    fn change<E: From<Error>>(
        &mut self,
        next: impl FnOnce(&Self) -> std::result::Result<Vec<Entry>, E>,
    ) -> std::result::Result<(), E> {
        let _lock = lock_file(&self.root.join(LOCK), PATIENCE)?;
        self.read()?;
        let next = next(self)?;
        if next != self.entries {
            self.write(&next)?;
            self.entries = next;
        }
        Ok(())
    }

    fn path<R: Row>(&self) -> PathBuf {
        self.root.join(R::TABLE.file_name())
    }

    fn read(&mut self) -> Result<()> {
        let path = self.path::<tables::Edit>();
        self.entries.clear();
        if !path.exists() {
            return Ok(());
        }
        let rows = io::read_all::<tables::Edit>(&path)?;
        let mut sides: BTreeMap<i64, Vec<Vec<Mark>>> = BTreeMap::new();
        for row in io::read_all::<tables::EditAnchor>(&self.path::<tables::EditAnchor>())? {
            let anchor = Anchor {
                t_secs: row.t_secs,
                bbox: BBox { x_min: row.x_min, y_min: row.y_min, x_max: row.x_max, y_max: row.y_max },
            };
            let sides = sides.entry(row.edit_id).or_default();
            // Rows are in order. A missing number makes an empty side; a file with few rows cannot make many sides.
            while (sides.len() as i64) <= row.side.min(sides.len() as i64 + 1) {
                sides.push(Vec::new());
            }
            let Some(marks) = sides.last_mut() else { continue };
            match marks.last_mut().filter(|_| row.anchor_idx > 0) {
                Some(mark) => mark.anchors.push(anchor),
                None => marks.push(Mark { video_sha256: row.video_sha256, anchors: vec![anchor] }),
            }
        }
        self.entries = rows
            .into_iter()
            .map(|row| Entry {
                edit_id: row.edit_id,
                made_at: row.made_at,
                undoes: row.undoes,
                edit: Edit {
                    op: row.op,
                    name: row.name,
                    sides: sides.remove(&row.edit_id).unwrap_or_default(),
                    author: row.author,
                    reason: row.reason,
                },
            })
            .collect();
        Ok(())
    }

    fn write(&self, entries: &[Entry]) -> Result<()> {
        let anchors = entries.iter().flat_map(|entry| {
            let sides = entry.edit.sides.iter().enumerate();
            let marks = sides.flat_map(|(side, marks)| marks.iter().enumerate().map(move |m| (side, m)));
            marks.flat_map(move |(side, (mark_idx, mark))| {
                let row = move |(anchor_idx, anchor): (usize, &Anchor)| tables::EditAnchor {
                    edit_id: entry.edit_id,
                    side: side as i64,
                    mark_idx: mark_idx as i64,
                    anchor_idx: anchor_idx as i64,
                    video_sha256: mark.video_sha256.clone(),
                    t_secs: anchor.t_secs,
                    x_min: anchor.bbox.x_min,
                    y_min: anchor.bbox.y_min,
                    x_max: anchor.bbox.x_max,
                    y_max: anchor.bbox.y_max,
                };
                mark.anchors.iter().enumerate().map(row)
            })
        });
        let rows = entries.iter().map(|Entry { edit_id, made_at, undoes, edit }| tables::Edit {
            edit_id: *edit_id,
            op: edit.op,
            made_at: made_at.clone(),
            author: edit.author.clone(),
            reason: edit.reason.clone(),
            name: edit.name.clone(),
            undoes: *undoes,
        });
        self.prepare(anchors)?;
        self.prepare(rows)?;
        publish(&self.path::<tables::EditAnchor>())?;
        publish(&self.path::<tables::Edit>())
    }

    /// Writes a table under its temporary name.
    fn prepare<R: Row + Clone>(&self, rows: impl IntoIterator<Item = R>) -> Result<()> {
        let folder = || self.root.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let run_id = Manifest::read(&self.root)?.map_or_else(folder, |manifest| manifest.run_id);
        let footer = Footer::of::<R>(run_id, String::new(), &[]);
        io::write_all(&temporary(&self.path::<R>()), &footer, rows)?;
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn mark(t_secs: f64) -> Mark {
        let anchor = |i: i32| Anchor {
            t_secs: t_secs + f64::from(i),
            bbox: BBox::from_corner(10.0, 20.0, 30.0 + i as f32, 40.0),
        };
        Mark { video_sha256: "sha".into(), anchors: vec![anchor(0), anchor(1)] }
    }

    fn edit(op: EditOp, sides: &[usize]) -> Edit {
        let side = |n: &usize| (0..*n).map(|i| mark(i as f64)).collect();
        Edit::new(op, "ann", sides.iter().map(side).collect())
    }

    fn active(log: &Log) -> Vec<i64> {
        log.active().map(|entry| entry.edit_id).collect()
    }

    #[test]
    fn what_is_appended_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::open(folder.path()).unwrap();
        assert_eq!((log.entries().len(), log.fingerprint()), (0, None));
        let named =
            Edit { name: Some("Ross".into()), reason: Some("credits".into()), ..edit(EditOp::Name, &[3]) };
        assert_eq!(log.append(edit(EditOp::Merge, &[1, 2, 1])).unwrap(), 1);
        assert_eq!(log.append(named.clone()).unwrap(), 2);
        let again = Log::open(folder.path()).unwrap();
        assert_eq!(again.entries(), log.entries());
        assert_eq!(again.entries()[0].edit, edit(EditOp::Merge, &[1, 2, 1]));
        assert_eq!(again.entries()[1].edit, named);
        assert_eq!(again.fingerprint(), log.fingerprint());
        assert!(log.fingerprint().is_some());
    }

    #[test]
    fn undo_and_redo_walk_back_and_forth() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::open(folder.path()).unwrap();
        let start = log.fingerprint();
        for _ in 0..3 {
            log.append(edit(EditOp::Lock, &[1])).unwrap();
        }
        let three = log.fingerprint();
        assert_eq!((log.undo_last("ann").unwrap(), log.undo_last("ann").unwrap()), (3, 2));
        assert_eq!(active(&log), [1]);
        assert_eq!((log.redo("ann").unwrap(), log.redo("ann").unwrap()), (2, 3));
        assert_eq!((active(&log), log.fingerprint()), (vec![1, 2, 3], three));
        assert!(log.redo("ann").unwrap_err().to_string().contains("nothing to redo"));
        log.undo(1, "ann").unwrap();
        assert!(log.undo(1, "ann").unwrap_err().to_string().contains("already undone"));
        assert!(log.undo(99, "ann").unwrap_err().to_string().contains("there is no correction 99"));
        assert_eq!((log.undo_last("ann").unwrap(), log.undo_last("ann").unwrap()), (3, 2));
        assert!(log.undo_last("ann").unwrap_err().to_string().contains("nothing to undo"));
        assert_eq!((active(&log), log.fingerprint()), (vec![], start));
        // After a new edit, the undone edits cannot be redone.
        log.append(edit(EditOp::Lock, &[1])).unwrap();
        assert!(log.redo("ann").is_err());
    }

    #[test]
    fn a_refused_edit_leaves_the_log_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::open(folder.path()).unwrap();
        log.append(edit(EditOp::Lock, &[1])).unwrap();
        let refuse = |_: &Log| Err(Error::Edit { path: "x".into(), reason: "no".into() });
        assert!(log.append_with(refuse).is_err());
        assert_eq!(Log::open(folder.path()).unwrap().entries().len(), 1);
    }

    #[test]
    fn writers_wait_for_each_other_and_lose_nothing() {
        let folder = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut log = Log::open(folder.path()).unwrap();
                    (0..5).for_each(|_| assert!(log.append(edit(EditOp::Same, &[1, 1])).unwrap() > 0));
                });
            }
        });
        let log = Log::open(folder.path()).unwrap();
        let ids: Vec<_> = log.entries().iter().map(|entry| entry.edit_id).collect();
        assert_eq!(ids, (1..=20).collect::<Vec<_>>());
        assert!(log.entries().iter().all(|entry| entry.edit == edit(EditOp::Same, &[1, 1])));
    }

    /// A writer that is killed leaves temporary files, or anchors of an edit that is not in the table `edits`.
    #[test]
    fn a_torn_write_is_read_as_the_log_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::open(folder.path()).unwrap();
        log.append(edit(EditOp::Lock, &[1])).unwrap();
        let before = log.clone();
        let next = log.with(vec![(edit(EditOp::Lock, &[2]), None)]);
        let old = std::fs::read(log.path::<tables::Edit>()).unwrap();
        log.write(&next).unwrap();
        std::fs::write(log.path::<tables::Edit>(), old).unwrap();
        std::fs::write(temporary(&log.path::<tables::Edit>()), "half a ta").unwrap();
        let mut log = Log::open(folder.path()).unwrap();
        assert_eq!(log.entries(), before.entries());
        // The next edit has the same key, and none of the anchors of the lost edit.
        assert_eq!(log.append(edit(EditOp::Split, &[1])).unwrap(), 2);
        assert_eq!(Log::open(folder.path()).unwrap().entries()[1].edit, edit(EditOp::Split, &[1]));
    }

    #[test]
    fn removing_an_edit_removes_its_undo() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::open(folder.path()).unwrap();
        log.append(edit(EditOp::Lock, &[1])).unwrap();
        log.append(edit(EditOp::Lock, &[2])).unwrap();
        log.undo(1, "ann").unwrap();
        log.retain(|entry| (entry.edit_id != 1).then_some(entry)).unwrap();
        let log = Log::open(folder.path()).unwrap();
        assert_eq!(log.entries().iter().map(|entry| entry.edit_id).collect::<Vec<_>>(), [2]);
    }
}
