//! The lock of a directory: one process at a time writes there.
//!
//! The lock of the operating system (`flock`) ends with its process. Some file systems have none, for example NFS
//! without its lock daemon, or Lustre mounted without `flock`. There, a file that only one process can create takes
//! its place, the *claim*. Its holder renews the claim; a claim that was not renewed for [`STALE`] belonged to a
//! process that ended, and the next process removes it.

use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use crate::error::{Error, Result};
use crate::files::{process_name, remove};

/// Age at which a claim counts as left behind.
const STALE: Duration = Duration::from_secs(60);
/// Time between two renewals of a claim.
const RENEWAL: Duration = Duration::from_secs(10);
/// Time between two attempts to take a lock.
const RETRY: Duration = Duration::from_millis(200);

/// Name of the lock file of a directory.
pub const LOCK_FILE: &str = ".lock";

static PATIENCE: OnceLock<Duration> = OnceLock::new();

/// Sets, once, how long this process waits for the lock of a directory that another process holds. Without this call,
/// it does not wait.
pub fn set_patience(patience: Duration) {
    // A second call would come from a second command line, which a process does not have.
    let _ = PATIENCE.set(patience);
}

/// A lock, held until it is dropped.
#[derive(Debug)]
pub struct Lock {
    held: Held,
}

#[derive(Debug)]
enum Held {
    /// The lock of the operating system on a file, which holds the number of the process.
    System(File),
    Claim {
        _claim: Claim,
    },
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Held::System(file) = &self.held {
            // A number that stays in the file is of no consequence.
            let _ = file.set_len(0);
        }
    }
}

/// Takes the lock of the directory `root`.
///
/// # Errors
/// [`Error::Locked`] when another process holds the lock for longer than this process waits.
pub fn lock(root: &Path) -> Result<Lock> {
    lock_file(&root.join(LOCK_FILE), PATIENCE.get().copied().unwrap_or_default())
}

/// Takes the lock that the file `path` stands for, waiting for `patience` at the most.
pub(crate) fn lock_file(path: &Path, patience: Duration) -> Result<Lock> {
    let until = Instant::now() + patience;
    loop {
        match attempt(path) {
            Err(Error::Locked { .. }) if Instant::now() < until => thread::sleep(RETRY),
            result => return result,
        }
    }
}

fn attempt(path: &Path) -> Result<Lock> {
    let mut file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path)
        .map_err(Error::io("create", path))?;
    match file.try_lock() {
        Ok(()) => {
            let written = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
            written.map_err(Error::io("write", path))?;
            Ok(Lock { held: Held::System(file) })
        }
        Err(TryLockError::WouldBlock) => Err(locked(path, &mut file)),
        Err(TryLockError::Error(e)) if is_unsupported(&e) => {
            Ok(Lock { held: Held::Claim { _claim: Claim::take(path)? } })
        }
        Err(TryLockError::Error(e)) => Err(Error::io("lock", path)(e)),
    }
}

/// Whether the file system has no locks: ENOSYS, EOPNOTSUPP, or ENOLCK.
fn is_unsupported(error: &std::io::Error) -> bool {
    const ENOLCK: i32 = 37;
    error.kind() == ErrorKind::Unsupported || error.raw_os_error() == Some(ENOLCK)
}

/// The error that names the process whose name is in a file.
fn locked(path: &Path, file: &mut File) -> Error {
    let mut holder = String::new();
    // The name only makes the message kinder, so failing to read it is no error.
    let _ = file.read_to_string(&mut holder);
    let holder = if holder.trim().is_empty() { "unknown".into() } else { holder.trim().to_owned() };
    Error::Locked { path: path.parent().unwrap_or(path).to_path_buf(), holder }
}

/// A file with the name of its process, which exists while the lock is held.
#[derive(Debug)]
struct Claim {
    path: PathBuf,
    /// Dropped to end the renewal.
    end: Option<Sender<()>>,
    renewal: Option<JoinHandle<()>>,
}

impl Claim {
    /// Takes the place of the lock file `path`.
    fn take(path: &Path) -> Result<Self> {
        let path = path.with_extension("claim");
        let mut file = match File::create_new(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {
                if !is_of_ended_process(&path) && age(&path)?.is_none_or(|age| age < STALE) {
                    let mut file = File::open(&path).map_err(Error::io("read", &path))?;
                    return Err(locked(&path, &mut file));
                }
                remove(&path)?;
                File::create_new(&path).map_err(Error::io("create", &path))?
            }
            Err(e) => return Err(Error::io("create", &path)(e)),
        };
        write!(file, "{}", process_name()).map_err(Error::io("write", &path))?;
        let (end, ended) = mpsc::channel();
        let renewal = thread::spawn(move || {
            while ended.recv_timeout(RENEWAL) == Err(RecvTimeoutError::Timeout) {
                // A failed renewal shows in the age of the claim; the next one may succeed.
                let _ = file.rewind().and_then(|()| write!(file, "{}", process_name()));
            }
        });
        Ok(Self { path, end: Some(end), renewal: Some(renewal) })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.end = None;
        // A renewal that panicked and a claim that is gone need no mending.
        let _ = self.renewal.take().map(JoinHandle::join);
        let _ = fs::remove_file(&self.path);
    }
}

/// Whether a claim is of a process of this machine that has ended.
fn is_of_ended_process(claim: &Path) -> bool {
    let holder = fs::read_to_string(claim).unwrap_or_default();
    let own = process_name();
    let (Some((host, pid)), Some((own_host, _))) = (holder.rsplit_once('-'), own.rsplit_once('-')) else {
        return false;
    };
    let is_number = !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit());
    host == own_host && is_number && !Path::new("/proc").join(pid).exists()
}

/// The time since a claim was renewed, by the clock of the file system; `None` if the claim is gone.
fn age(claim: &Path) -> Result<Option<Duration>> {
    let probe = claim.with_extension(format!("{}.tmp", process_name()));
    File::create(&probe).map_err(Error::io("create", &probe))?;
    let modified = |path: &Path| fs::metadata(path).and_then(|found| found.modified());
    let now = modified(&probe);
    remove(&probe)?;
    let now: SystemTime = now.map_err(Error::io("read", &probe))?;
    Ok(modified(claim).ok().map(|then| now.duration_since(then).unwrap_or_default()))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_claim_excludes_others_until_it_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".lock");
        let held = Claim::take(&path).unwrap();
        let refused = Claim::take(&path).unwrap_err();
        assert!(refused.to_string().contains(&process_name()), "{refused}");
        drop(held);
        drop(Claim::take(&path).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_claim_that_is_not_renewed_is_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".lock");
        let claim = path.with_extension("claim");
        let left = |holder: &str, age: Duration| {
            fs::write(&claim, holder).unwrap();
            let file = File::options().write(true).open(&claim).unwrap();
            file.set_modified(SystemTime::now() - age).unwrap();
        };
        let old = STALE + Duration::from_secs(5);
        let own = process_name();
        let (host, _) = own.rsplit_once('-').unwrap();
        let of_ended = format!("{host}-4194305");
        for (holder, age) in [("elsewhere-17", old), ("", old), (&of_ended, Duration::ZERO)] {
            left(holder, age);
            let held = Claim::take(&path).unwrap();
            assert_eq!(fs::read_to_string(&claim).unwrap(), own);
            drop(held);
        }
        for holder in ["elsewhere-17", "", &own] {
            left(holder, Duration::from_secs(20));
            assert!(matches!(Claim::take(&path), Err(Error::Locked { .. })), "{holder}");
        }
    }

    #[test]
    fn a_lock_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".lock");
        let held = lock_file(&path, Duration::ZERO).unwrap();
        assert!(matches!(lock_file(&path, Duration::ZERO), Err(Error::Locked { .. })));
        let end = thread::spawn(move || {
            thread::sleep(Duration::from_millis(50));
            drop(held);
        });
        lock_file(&path, Duration::from_secs(30)).unwrap();
        end.join().unwrap();
    }
}
