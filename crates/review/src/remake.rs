//! Runs `cluster` and `evaluate` again, 4 s after the last edit of a run and when the server ends.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Function that runs `cluster` and `evaluate` on a run directory; an error is one sentence.
pub type Make<'a> = dyn Fn(&Path) -> Result<(), String> + Send + Sync + 'a;

/// Pause after the last edit.
const PAUSE: Duration = Duration::from_secs(4);

#[derive(Debug, Default)]
struct Progress {
    /// Runs with an edit that is not yet in the tables, with the time of the last edit.
    edited: BTreeMap<PathBuf, Instant>,
    is_running: bool,
    is_ending: bool,
    problem: Option<String>,
}

/// Updates of the tables in the background.
#[derive(Debug, Default)]
pub(crate) struct Remake {
    progress: Mutex<Progress>,
    changed: Condvar,
}

impl Remake {
    /// Records that the log of a run has an edit that is not yet in the tables.
    pub(crate) fn request(&self, run: &Path) {
        self.lock().edited.insert(run.to_path_buf(), Instant::now());
        self.changed.notify_all();
    }

    /// Makes [`Self::work`] update the tables at once if an edit is missing, and return.
    pub(crate) fn end(&self) {
        self.lock().is_ending = true;
        self.changed.notify_all();
    }

    /// Returns the state of the tables, as text for the page.
    pub(crate) fn status(&self) -> String {
        let progress = self.lock();
        match &progress.problem {
            Some(problem) => format!("Corrections saved, but updating the tables failed: {problem}"),
            None if progress.is_running => "Corrections saved; updating the tables.".into(),
            None if !progress.edited.is_empty() => "Corrections saved; the tables are updated soon.".into(),
            None => "Corrections saved; the tables are up to date.".into(),
        }
    }

    /// Updates the tables until [`Self::end`].
    pub(crate) fn work(self: &Arc<Self>, make: &Make<'_>) {
        let mut progress = self.lock();
        loop {
            let first = progress.edited.iter().min_by_key(|(_, edited)| **edited);
            let due = first.map(|(run, edited)| (run.clone(), *edited + PAUSE));
            let left = due.map(|(run, due)| (run, due.saturating_duration_since(Instant::now())));
            match left {
                Some((run, left)) if left.is_zero() || progress.is_ending => {
                    progress.edited.remove(&run);
                    progress.is_running = true;
                    drop(progress);
                    let result = make(&run);
                    progress = self.lock();
                    progress.is_running = false;
                    progress.problem = result.err();
                }
                None if progress.is_ending => return,
                left => {
                    let left = left.map_or(Duration::from_secs(3600), |(_, left)| left);
                    let waited = self.changed.wait_timeout(progress, left);
                    progress = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
