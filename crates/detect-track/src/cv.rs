//! Pictures and threads of OpenCV.

use std::sync::OnceLock;

use opencv::boxed_ref::BoxedRef;
use opencv::core::{self, Mat, Vec3b};
use video::Image;

/// Borrows an RGB picture as a matrix of OpenCV.
///
/// # Errors
/// OpenCV's error when the picture does not have as many bytes as its size requires.
pub(crate) fn rgb(picture: &Image) -> opencv::Result<BoxedRef<'_, Mat>> {
    Mat::new_rows_cols_with_bytes::<Vec3b>(int(picture.height), int(picture.width), &picture.data)
}

/// Converts a number of pixels to the integer type of OpenCV.
pub(crate) fn int(value: usize) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

/// Switches OpenCV's own threads off: the workers of the pipeline already use all cores, and the order of the
/// results of OpenCV's threads changes from run to run.
///
/// # Errors
/// OpenCV's error.
pub(crate) fn use_one_thread() -> opencv::Result<()> {
    static DONE: OnceLock<Result<(), (i32, String)>> = OnceLock::new();
    let done = DONE.get_or_init(|| core::set_num_threads(1).map_err(|e| (e.code, e.message)));
    done.clone().map_err(|(code, message)| opencv::Error::new(code, message))
}
