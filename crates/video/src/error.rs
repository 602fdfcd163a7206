//! Errors about video files.

use std::path::{Path, PathBuf};

use failure::{Advice, Failure, exit};

/// Errors of video files.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file is not there or may not be read.
    #[error("failed to read the video `{}`: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Message of the operating system.
        source: std::io::Error,
    },
    /// The path is a directory, a device or the like.
    #[error("`{}` is not a file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// The file has no bytes.
    #[error("`{}` is empty (0 bytes)", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// No demuxer understands it.
    #[error("`{}` is not a readable video: {reason}", path.display())]
    NotVideo {
        /// The file.
        path: PathBuf,
        /// Message of FFmpeg.
        reason: String,
    },
    /// The container holds no video stream.
    #[error("`{}` has no video stream, only {streams}", path.display())]
    NoVideoStream {
        /// The file.
        path: PathBuf,
        /// The streams that the file has.
        streams: String,
    },
    /// The video stream has no readable frame.
    #[error("`{}` has a video stream without readable frames", path.display())]
    NoFrames {
        /// The file.
        path: PathBuf,
    },
    /// The frames are larger than those of any film.
    #[error("`{}` has frames of {width}×{height} pixels, above the limit of 67 million pixels", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Width, pixels.
        width: u32,
        /// Height, pixels.
        height: u32,
    },
    /// The decoder cannot be set up or used for this stream.
    #[error("failed to decode `{}` ({codec}): {reason}", path.display())]
    Decoder {
        /// The file.
        path: PathBuf,
        /// The codec.
        codec: String,
        /// Message of FFmpeg.
        reason: String,
    },
}

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn decoder(path: &Path, codec: &str) -> impl Fn(ffmpeg::Error) -> Self + use<> {
        let (path, codec) = (path.to_path_buf(), codec.to_owned());
        move |e| Self::Decoder { path: path.clone(), codec: codec.clone(), reason: e.to_string() }
    }
}

impl Failure for Error {
    fn advice(&self) -> Advice {
        let hint = match self {
            Self::Unreadable { .. } => "check the path and the permissions of the file",
            Self::NotAFile { .. } => "pass the path of a video file",
            Self::Empty { .. } | Self::NoFrames { .. } => {
                "the file was probably not copied completely; copy it again"
            }
            Self::NotVideo { .. } => {
                "check that the file is complete; mkv, mp4 and most other containers are supported"
            }
            Self::NoVideoStream { .. } => "pass a file with a video stream",
            Self::TooLarge { .. } => "if the file is not damaged, make a smaller copy of it",
            Self::Decoder { .. } => "convert it first: ffmpeg -i FILE -c:v libx264 -crf 16 out.mkv",
        };
        Advice::new(exit::INPUT, hint)
    }
}
