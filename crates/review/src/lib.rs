//! The review page: a server on this machine, with which a user checks and corrects a run.
//!
//! * [`guard`]: access control. [`range`], [`video`], [`pictures`]: the video and the faces.
//! * [`session`]: the run in memory, and the acts of the user. [`cluster::queue`]: the order of the questions.
//! * [`remake`]: runs `cluster` and `evaluate` after edits. [`server`]: requests and answers.
//!
//! The page is one HTML, one CSS and one JavaScript file in this program; a browser loads no other files.

mod guard;
mod pictures;
mod range;
mod remake;
mod server;
mod session;
mod video;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use failure::{Advice, Failure, exit};
use run::RunReader;
use schema::tables::Frame;

use crate::guard::Guard;
pub use crate::remake::Make;
use crate::remake::Remake;
use crate::server::App;
use crate::session::Session;
use crate::video::Source;

/// Options of the review page.
#[derive(Debug, Clone)]
pub struct Options {
    /// The run directory.
    pub run: PathBuf,
    /// The video file; `None` for the path in the manifest.
    pub video: Option<PathBuf>,
    /// Port; 0 for a free one.
    pub port: u16,
    /// Whether nothing can be changed.
    pub is_read_only: bool,
    /// Author of the edits.
    pub author: String,
}

/// Error of the review page.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The run cannot be read.
    #[error(transparent)]
    Run(#[from] run::Error),
    /// Linking cannot compare the vectors of the run.
    #[error(transparent)]
    Vectors(#[from] cluster::method::Error),
    /// A file of the run is a link to a file outside the run directory.
    #[error("`{}` is a link to a file outside the run", path.display())]
    Outside {
        /// The link.
        path: PathBuf,
    },
    /// The video is not that of the run.
    #[error("`{}` is not the video of the run: its content differs", path.display())]
    OtherVideo {
        /// The file.
        path: PathBuf,
    },
    /// The port is not free.
    #[error("failed to serve at 127.0.0.1, port {port}: {source}")]
    Port {
        /// The port.
        port: u16,
        /// The reason of the system.
        source: std::io::Error,
    },
    /// The pictures cannot be copied to a temporary file.
    #[error("failed to copy the pictures to the folder of temporary files: {source}")]
    Pictures {
        /// The reason of the system.
        source: std::io::Error,
    },
    /// The server ended.
    #[error("the server ended: {0}")]
    Server(#[source] std::io::Error),
}

impl Failure for Error {
    fn advice(&self) -> Advice {
        match self {
            Self::Run(error) => error.advice(),
            Self::Vectors(_) => exit::INPUT.into(),
            Self::Outside { .. } => Advice::new(exit::INPUT, "copy the file into the run directory"),
            Self::OtherVideo { .. } => {
                Advice::new(exit::INPUT, "name the file that was analysed with `--video FILE`")
            }
            Self::Port { .. } => Advice::new(exit::USAGE, "leave `--port` out for a free port"),
            Self::Pictures { .. } => Advice::new(exit::UNEXPECTED, "set TMPDIR to a folder with free space"),
            Self::Server(_) => exit::UNEXPECTED.into(),
        }
    }
}

/// Serves the page until `is_stopped` returns true. `ready` receives the address of the page, which opens the page
/// once, in one browser. `make` runs `cluster` and `evaluate`.
///
/// # Errors
/// See [`Error`].
pub fn serve(
    options: &Options,
    make: &Make<'_>,
    is_stopped: &dyn Fn() -> bool,
    ready: impl FnOnce(&str),
) -> Result<(), Error> {
    let run = RunReader::open(&options.run)?;
    check_links(run.root())?;
    let frames: Vec<Frame> = run.read()?;
    let video = Source::find(&run, options.video.as_deref(), &frames)?;
    let session = Session::open(&run, &frames, options.author.clone(), options.is_read_only)?;
    let fixed = session.fixed(&video);
    let failed = |source| Error::Port { port: options.port, source };
    let listener = server::bind(options.port).map_err(failed)?;
    let port = listener.local_addr().map_err(failed)?.port();
    let (token, cookie) = (guard::secret().map_err(Error::Server)?, guard::secret().map_err(Error::Server)?);
    let address = format!("http://127.0.0.1:{port}/?token={token}");
    let remake = Arc::new(Remake::default());
    let app = Arc::new(App::new(Guard::new(port, token, cookie), session, fixed, video, remake.clone()));
    std::thread::scope(|scope| {
        scope.spawn(|| remake.work(make));
        ready(&address);
        let result = server::serve(listener, app, is_stopped);
        remake.end();
        result.map_err(Error::Server)
    })
}

/// Fails if a file of the run is a link to a file outside the run.
fn check_links(root: &Path) -> Result<(), Error> {
    let whole = root.canonicalize().unwrap_or_else(|_| root.to_path_buf());
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_symlink() && !path.canonicalize().is_ok_and(|target| target.starts_with(&whole)) {
            return Err(Error::Outside { path });
        }
    }
    Ok(())
}
