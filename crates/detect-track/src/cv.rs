//! Pictures as OpenCV takes them.

use opencv::boxed_ref::BoxedRef;
use opencv::core::{Mat, Vec3b};
use video::Image;

/// An RGB picture, not copied.
///
/// # Errors
/// OpenCV's words when the picture has another size than it says.
pub(crate) fn rgb(picture: &Image) -> opencv::Result<BoxedRef<'_, Mat>> {
    Mat::new_rows_cols_with_bytes::<Vec3b>(int(picture.height), int(picture.width), &picture.data)
}

/// A number of pixels.
pub(crate) fn int(value: usize) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}
