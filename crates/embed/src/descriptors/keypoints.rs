//! Key points and their descriptors by OpenCV.

use std::sync::OnceLock;

use opencv::core::{self, CV_8U, Mat, Vec3b, Vector};
use opencv::features2d::{ORB, ORB_ScoreType, SIFT};
use opencv::imgproc;
use opencv::prelude::{Feature2DTrait as _, MatTraitConst as _, MatTraitConstManual as _};

use super::Kind;

/// Largest number of key points of a crop: the strongest ones, and those that are as strong as the last of
/// them. Bounds memory.
const MAX_POINTS: i32 = 300;

/// The descriptors of a crop's key points as OpenCV stores them, row after row: RGB, `side × side` pixels.
pub(super) fn descriptors(kind: Kind, rgb: &[u8], side: i32) -> Result<Vec<u8>, String> {
    found(kind, rgb, side).map_err(|e| format!("OpenCV: {}", e.message))
}

fn found(kind: Kind, rgb: &[u8], side: i32) -> opencv::Result<Vec<u8>> {
    use_one_thread()?;
    let mut luma = Mat::default();
    let rgb = Mat::new_rows_cols_with_bytes::<Vec3b>(side, side, rgb)?;
    imgproc::cvt_color_def(&rgb, &mut luma, imgproc::COLOR_RGB2GRAY)?;
    let (mut points, mut rows) = (Vector::new(), Mat::default());
    // Thresholds are lower than OpenCV's own, which were made for photos of large things: a crop enlarged
    // from a small face has little contrast, and with OpenCV's own up to a third of a clip's crops have no
    // ORB key point.
    match kind {
        Kind::Sift => SIFT::create_with_descriptor_type(MAX_POINTS, 3, 0.005, 10.0, 1.6, CV_8U)?
            .detect_and_compute_def(&luma, &core::no_array(), &mut points, &mut rows)?,
        // Patches of 20 pixels instead of 31, nearer to the edge: a face fills at most 112 pixels.
        Kind::Orb => ORB::create(MAX_POINTS, 1.2, 8, 10, 0, 2, ORB_ScoreType::HARRIS_SCORE, 20, 2)?
            .detect_and_compute_def(&luma, &core::no_array(), &mut points, &mut rows)?,
    }
    Ok(if rows.empty() { Vec::new() } else { rows.data_bytes()?.to_vec() })
}

/// Switches OpenCV's own threads off: the workers of the stage use all cores already.
fn use_one_thread() -> opencv::Result<()> {
    static DONE: OnceLock<Result<(), (i32, String)>> = OnceLock::new();
    let done = DONE.get_or_init(|| core::set_num_threads(1).map_err(|e| (e.code, e.message)));
    done.clone().map_err(|(code, message)| opencv::Error::new(code, message))
}
