//! The tables follow the edits: some seconds after the last one, and when the server ends.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Makes the tables anew; an error is one sentence.
pub type Make<'a> = dyn Fn() -> Result<(), String> + Send + Sync + 'a;

/// Pause after the last edit.
const PAUSE: Duration = Duration::from_secs(4);

#[derive(Debug, Default)]
struct Progress {
    /// When the last edit was made that the tables do not have.
    edited: Option<Instant>,
    is_running: bool,
    is_ending: bool,
    problem: Option<String>,
}

/// The making of tables in the background.
#[derive(Debug, Default)]
pub(crate) struct Remake {
    progress: Mutex<Progress>,
    changed: Condvar,
}

impl Remake {
    /// Notes that there is an edit that the tables do not have.
    pub(crate) fn request(&self) {
        self.lock().edited = Some(Instant::now());
        self.changed.notify_all();
    }

    /// Lets [`Self::work`] make what is left, and return.
    pub(crate) fn end(&self) {
        self.lock().is_ending = true;
        self.changed.notify_all();
    }

    /// Whether the tables have all edits, for people.
    pub(crate) fn status(&self) -> String {
        let progress = self.lock();
        match &progress.problem {
            Some(problem) => format!("The tables could not be made: {problem}"),
            None if progress.is_running => "making the tables".into(),
            None if progress.edited.is_some() => "saved; the tables follow".into(),
            None => "saved".into(),
        }
    }

    /// Makes tables until the end.
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
