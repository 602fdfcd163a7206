//! The review page: a server on this machine, with which a user checks and corrects a run or a gallery.
//!
//! * [`guard`]: access control. [`range`], [`video`], [`pictures`]: the video and the faces.
//! * [`session`]: the run in memory, and the acts of the user. [`cluster::queue`]: the order of the questions.
//! * [`library`]: the people of a gallery, and its runs.
//! * [`remake`]: runs `cluster` and `evaluate` after edits. [`server`]: requests and answers.
//!
//! The page is one HTML, one CSS and one JavaScript file in this program (a gallery has an HTML and a JavaScript file of its own); a browser loads no other files.

mod guard;
mod library;
mod pictures;
mod range;
mod remake;
mod server;
mod session;
mod video;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use failure::{Advice, Failure, exit};

use crate::guard::Guard;
use crate::library::Gallery;
pub use crate::library::{Act, Correct};
pub use crate::remake::Make;
use crate::remake::Remake;
use crate::server::{App, Home, RunApp};

/// Options of the review page.
#[derive(Debug, Clone)]
pub struct Options {
    /// The run directory, or the directory of a gallery.
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
    /// The gallery cannot be read.
    #[error(transparent)]
    Gallery(#[from] gallery::Error),
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
            Self::Gallery(error) => error.advice(),
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

/// Reads a run as the server does before the first request, and shows nothing.
///
/// # Errors
/// See [`Error`].
pub fn read(run: &Path) -> Result<(), Error> {
    RunApp::open(run, None, String::new(), true).map(drop)
}

/// Serves the page until `is_stopped` returns true. `ready` receives the address of the page, which opens the page
/// once, in one browser. `make` runs `cluster` and `evaluate` on a run; `correct` performs an act on a gallery.
///
/// # Errors
/// See [`Error`].
pub fn serve(
    options: &Options,
    make: &Make<'_>,
    correct: Box<Correct>,
    is_stopped: &dyn Fn() -> bool,
    ready: impl FnOnce(&str),
) -> Result<(), Error> {
    let Options { run, video, author, is_read_only, .. } = options;
    let home = match gallery::validate::is_library(run) {
        true => Home::Gallery(Box::new(Gallery::open(run, author.clone(), *is_read_only, correct)?)),
        false => Home::Run(Arc::new(RunApp::open(run, video.as_deref(), author.clone(), *is_read_only)?)),
    };
    let failed = |source| Error::Port { port: options.port, source };
    let listener = server::bind(options.port).map_err(failed)?;
    let port = listener.local_addr().map_err(failed)?.port();
    let (token, cookie) = (guard::secret().map_err(Error::Server)?, guard::secret().map_err(Error::Server)?);
    let address = format!("http://127.0.0.1:{port}/?token={token}");
    let remake = Arc::new(Remake::default());
    let app = Arc::new(App::new(Guard::new(port, token, cookie), home, remake.clone()));
    std::thread::scope(|scope| {
        scope.spawn(|| remake.work(make));
        ready(&address);
        let result = server::serve(listener, app, is_stopped);
        remake.end();
        result.map_err(Error::Server)
    })
}
