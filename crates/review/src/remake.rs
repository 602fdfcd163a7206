//! Runs `cluster` and `evaluate` again, 4 s after the last edit and when the server ends.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Function that runs `cluster` and `evaluate`; an error is one sentence.
pub type Make<'a> = dyn Fn() -> Result<(), String> + Send + Sync + 'a;

/// Pause after the last edit.
const PAUSE: Duration = Duration::from_secs(4);

#[derive(Debug, Default)]
struct Progress {
    /// Time of the last edit that is not yet in the tables; `None` if the tables have all edits.
    edited: Option<Instant>,
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
    /// Records that the log has an edit that is not yet in the tables.
    pub(crate) fn request(&self) {
        self.lock().edited = Some(Instant::now());
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
            None if progress.edited.is_some() => "Corrections saved; the tables are updated soon.".into(),
            None => "Corrections saved; the tables are up to date.".into(),
        }
    }

    /// Updates the tables until [`Self::end`].
    pub(crate) fn work(self: &Arc<Self>, make: &Make<'_>) {
        let mut progress = self.lock();
        loop {
            let due = progress.edited.map(|edited| edited + PAUSE);
            let left = due.map(|due| due.saturating_duration_since(Instant::now()));
            match left {
                Some(left) if left.is_zero() || progress.is_ending => {
                    progress.edited = None;
                    progress.is_running = true;
                    drop(progress);
                    let result = make();
                    progress = self.lock();
                    progress.is_running = false;
                    progress.problem = result.err();
                }
                None if progress.is_ending => return,
                left => {
                    let left = left.unwrap_or(Duration::from_secs(3600));
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
