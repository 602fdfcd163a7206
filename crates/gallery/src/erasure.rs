//! People who are removed from a library whose run is not there, and libraries that are deleted.
//!
//! Where the run is there, `redact` removes the person from the run, and the run is added again ([`Library::add`]).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use run::edits::{EditOp, LOCK, Log, Mark};
use run::files::{name_in, remove, remove_empty_folders, walk};
use run::lock::LOCK_FILE;
use schema::Row as _;
use schema::tables::{EDITS, Member, Person};

use crate::Error;
use crate::migration::RECORD;
use crate::page::PAGE;
use crate::progress;
use crate::store::{INDEX, Library, is_ours};
use crate::validate::is_library;

/// Names of the lock files of a library, which are removed last.
const LOCKS: [&str; 2] = [LOCK_FILE, LOCK];

impl Library {
    /// Day from which the library must be gone, as `2027-01-31`; `None` without such a day.
    pub fn expires(&self) -> Option<&str> {
        self.index.expires.as_deref()
    }

    /// Sets this day, or removes it; [`Library::commit`] makes it count.
    pub fn set_expiry(&mut self, day: Option<String>) {
        self.index.expires = day;
    }

    /// Removes people of a video, by `cluster_id`, and what the corrections of the library say of their faces; the run
    /// is not read. Returns the number of removed corrections.
    ///
    /// # Errors
    /// When the video is not in the library, and when files cannot be used.
    pub fn forget(&mut self, video_id: &str, clusters: &BTreeSet<i64>) -> Result<usize, Error> {
        let at = self.videos().position(|video| video.video_id == video_id);
        let at =
            at.ok_or_else(|| Error::NoVideo { path: self.root().to_path_buf(), video_id: video_id.into() })?;
        let marked = &mut self.index.videos[at].marked;
        let gone: BTreeSet<(i64, usize)> = marked
            .iter()
            .filter(|(.., cluster_id)| clusters.contains(cluster_id))
            .map(|(edit_id, side, _)| (*edit_id, *side))
            .collect();
        marked.retain(|(.., cluster_id)| !clusters.contains(cluster_id));
        let is_of = |mark: &Mark| mark.video_sha256.as_str().starts_with(video_id);
        let n_removed =
            self.forget_marks(|edit_id, side, mark| is_of(mark) && gone.contains(&(edit_id, side)))?;
        let kept: Vec<Member> =
            self.members_of(at)?.iter().filter(|row| !clusters.contains(&row.cluster_id)).cloned().collect();
        self.replace_members(at, &kept)?;
        Ok(n_removed)
    }

    /// Removes what an unfinished build has done, which may have people of runs that the library does not have.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn forget_unfinished(&self) -> Result<(), Error> {
        progress::clear(self.root())?;
        self.sweep()
    }

    /// Removes a video as [`Library::remove`] does, and what the corrections of the library say of its faces.
    ///
    /// # Errors
    /// When the video is not in the library, and when files cannot be used.
    pub fn forget_video(&mut self, video_id: &str) -> Result<(), Error> {
        self.remove(video_id)?;
        self.forget_marks(|_, _, mark| mark.video_sha256.as_str().starts_with(video_id))?;
        self.apply_edits()?;
        Ok(())
    }

    /// Removes faces from the corrections, each given by the key of the correction, the index of the side and the
    /// mark; and the corrections that then lack a side, and names that were about such a face. Returns their number.
    fn forget_marks(&self, is_gone: impl Fn(i64, usize, &Mark) -> bool) -> Result<usize, Error> {
        let mut log = Log::open(self.root())?;
        let before = log.entries().len();
        log.retain(|mut entry| {
            let (mut is_about, edit_id) = (false, entry.edit_id);
            for (side, marks) in entry.edit.sides.iter_mut().enumerate() {
                let had = marks.len();
                marks.retain(|mark| !is_gone(edit_id, side, mark));
                is_about |= marks.len() < had;
            }
            let is_whole =
                entry.edit.op != EditOp::Name && entry.edit.sides.iter().all(|side| !side.is_empty());
            (!is_about || is_whole).then_some(entry)
        })?;
        Ok(before - log.entries().len())
    }

    /// Deletes the library: every file that the program wrote, the index last, so that a deletion that was interrupted
    /// can be repeated. Returns the files that are left, because the program did not write them.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn delete(self) -> Result<Vec<PathBuf>, Error> {
        let root = self.root().to_path_buf();
        for path in walk(&root)? {
            if is_result(&name_in(&root, &path)) {
                remove(&path)?;
            }
        }
        remove(&root.join(INDEX))?;
        drop(self);
        LOCKS.iter().try_for_each(|name| remove(&root.join(name)))?;
        remove_empty_folders(&root);
        Ok(if root.is_dir() { walk(&root)? } else { Vec::new() })
    }
}

/// Whether the program wrote a file of a gallery, by the directory of the gallery and the path of the file below the
/// directory, with `/`.
pub fn is_own(library: &Path, name: &str) -> bool {
    is_library(library) && (name == INDEX || LOCKS.contains(&name) || is_result(name))
}

/// Whether the program wrote a file, by its path below the library; neither the index nor a lock.
fn is_result(name: &str) -> bool {
    let around = [PAGE, RECORD, run::exports::FILE].contains(&name);
    let tables = [Person::TABLE.file_name()].into_iter().chain(EDITS.iter().map(|table| table.file_name()));
    let is_progress = name
        .strip_prefix(progress::FOLDER)
        .and_then(|name| name.strip_prefix('/'))
        .is_some_and(progress::is_ours);
    around || is_progress || tables.into_iter().any(|table| table == name) || is_ours(Path::new(name))
}
