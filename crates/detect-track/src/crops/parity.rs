//! Compares warping, shrinking and sharpness with OpenCV, byte for byte.

use opencv::boxed_ref::BoxedRef;
use opencv::core::{self, BORDER_REPLICATE, CV_64F, Mat, Scalar, Size};
use opencv::imgproc;
use opencv::prelude::{MatTraitConst as _, MatTraitConstManual as _};
use proptest::prelude::*;
use video::Image;

use super::*;
use crate::cv::{int, rgb};

/// Returns the picture that a function of OpenCV makes of another picture.
fn by_opencv(
    picture: &Image,
    make: impl FnOnce(&BoxedRef<'_, Mat>, &mut Mat) -> opencv::Result<()>,
) -> Image {
    let mut made = Mat::default();
    let picture = rgb(picture).unwrap();
    make(&picture, &mut made).unwrap();
    let (width, height) = (made.cols() as usize, made.rows() as usize);
    Image { width, height, channels: 3, data: made.data_bytes().unwrap().to_vec() }
}

fn warped_by_opencv(picture: &Image, matrix: [f64; 6], side: usize) -> Vec<u8> {
    let (upper, lower) = matrix.split_at(3);
    let matrix = Mat::from_slice_2d(&[upper, lower]).unwrap();
    let size = Size::new(int(side), int(side));
    let (how, beyond) = (imgproc::INTER_LINEAR, BORDER_REPLICATE);
    by_opencv(picture, |from, to| {
        imgproc::warp_affine(from, to, &matrix, size, how, beyond, Scalar::default())
    })
    .data
}

fn shrunk_by_opencv(picture: &Image, width: usize, height: usize) -> Image {
    let size = Size::new(int(width), int(height));
    by_opencv(picture, |from, to| imgproc::resize(from, to, size, 0.0, 0.0, imgproc::INTER_AREA))
}

fn sharpness_by_opencv(picture: &Image) -> f32 {
    let (mut luma, mut detail) = (Mat::default(), Mat::default());
    imgproc::cvt_color_def(&rgb(picture).unwrap(), &mut luma, imgproc::COLOR_RGB2GRAY).unwrap();
    imgproc::laplacian_def(&luma, &mut detail, CV_64F).unwrap();
    let (mut mean, mut deviation) = (Mat::default(), Mat::default());
    core::mean_std_dev_def(&detail, &mut mean, &mut deviation).unwrap();
    let variance = deviation.at::<f64>(0).unwrap().powi(2);
    (variance / (variance + 100.0)) as f32
}

/// Returns a picture of random bytes. Every third seed gives little contrast, so that rounding matters.
fn picture(width: usize, height: usize, seed: u64) -> Image {
    let mut state = seed;
    let (low, range) = if seed.is_multiple_of(3) { (seed as u8 / 2, 6) } else { (0, 256) };
    let mut byte = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        low + ((state >> 40) % range) as u8
    };
    Image { width, height, channels: 3, data: (0..width * height * 3).map(|_| byte()).collect() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Tests any rotation, scale, mirror image and shift; many positions lie partly or wholly outside the picture.
    #[test]
    fn warps_are_those_of_opencv(
        (width, height) in (1_usize..120, 1_usize..120),
        linear in prop::array::uniform4(-3.0..3.0_f64),
        shift in prop::array::uniform2(-200.0..200.0_f64),
        side in 1_usize..90,
        seed in any::<u64>(),
    ) {
        let picture = picture(width, height, seed);
        // Nearly singular maps lead to positions millions of pixels away, where OpenCV overflows.
        prop_assume!((linear[0] * linear[3] - linear[1] * linear[2]).abs() > 0.01);
        let matrix = [linear[0], linear[1], shift[0], linear[2], linear[3], shift[1]];
        let found = warped(&picture, matrix, side);
        prop_assert!(found == warped_by_opencv(&picture, matrix, side));
    }

    /// Tests maps by multiples of an eighth, whose positions fall exactly between two steps of the interpolation.
    #[test]
    fn exact_positions_are_those_of_opencv(
        eighths in prop::array::uniform6(-24_i32..24),
        seed in any::<u64>(),
    ) {
        let picture = picture(40, 30, seed);
        let matrix = eighths.map(|eighths| f64::from(eighths) / 8.0);
        let found = warped(&picture, matrix, 64);
        prop_assert!(found == warped_by_opencv(&picture, matrix, 64));
    }

    #[test]
    fn shrunk_pictures_are_those_of_opencv(
        (width, height) in (1_usize..200, 1_usize..200),
        (across, down) in (0.0..1.0_f64, 0.0..1.0_f64),
        seed in any::<u64>(),
    ) {
        let picture = picture(width, height, seed);
        let to = |side: usize, share: f64| ((side as f64 * share).round() as usize).max(1);
        let (width, height) = (to(width, across), to(height, down));
        let found = shrink(&picture, width, height);
        prop_assert!(found == shrunk_by_opencv(&picture, width, height));
    }

    /// Tests factors that are whole numbers in one direction or both.
    #[test]
    fn evenly_shrunk_pictures_are_those_of_opencv(
        (width, height) in (1_usize..40, 1_usize..40),
        (across, down) in (1_usize..8, 1_usize..8),
        excess in 0_usize..2,
        seed in any::<u64>(),
    ) {
        let picture = picture(width * across, height * down + excess, seed);
        let found = shrink(&picture, width, height);
        prop_assert!(found == shrunk_by_opencv(&picture, width, height));
    }

    #[test]
    fn sharpness_is_that_of_opencv(side in 2_usize..170, seed in any::<u64>()) {
        let picture = picture(side, side, seed);
        let found = sharpness(&picture.data, side);
        prop_assert_eq!(found.to_bits(), sharpness_by_opencv(&picture).to_bits());
    }

    /// Tests crops of whole faces, with and without shrinking before the warp.
    #[test]
    fn crops_are_those_of_opencv(
        (cos, sin) in (-1.0..1.0_f32, -1.0..1.0_f32),
        shift in prop::array::uniform2(-300.0..300.0_f32),
        (width, height) in (1_usize..700, 1_usize..500),
        seed in any::<u64>(),
    ) {
        prop_assume!(cos.hypot(sin) > 0.1);
        let picture = picture(width, height, seed);
        let transform = [cos, -sin, shift[0], sin, cos, shift[1]];
        let region = Region { x: 0, y: 0, width, height };
        let found = warp(&picture, &transform, region, SIDE);
        prop_assert!(found == crop_by_opencv(&picture, &transform));
    }
}

/// Makes a crop with the steps of [`warp`] and the functions of OpenCV.
fn crop_by_opencv(picture: &Image, transform: &[f32; 6]) -> Vec<u8> {
    let scale = transform[0].hypot(transform[3]);
    let mut small = picture.clone();
    if scale < 0.5 {
        let side = |side: usize| (side as f32 * scale).round().max(1.0) as usize;
        small = shrunk_by_opencv(picture, side(picture.width), side(picture.height));
    }
    let ratio = |from: usize, to: usize| from as f32 / to as f32;
    let shrunk = (ratio(picture.width, small.width), ratio(picture.height, small.height));
    let [a, b, c, d, e, f] = from_part(transform, (0.0, 0.0), shrunk).map(f64::from);
    let matrix = [a, b, c + 0.5 * (a + b) - 0.5, d, e, f + 0.5 * (d + e) - 0.5];
    warped_by_opencv(&small, matrix, SIDE)
}

/// Measures a crop by OpenCV and by this crate: `cargo test --release … -- --ignored --nocapture speed`.
#[test]
#[ignore = "measures time"]
fn speed() {
    for side in [80, 160, 300, 700] {
        let picture = picture(side, side, 1);
        let scale = 160.0 / side as f32;
        let transform = [0.98 * scale, -0.1 * scale, 9.0 * scale, 0.1 * scale, 0.98 * scale, -4.0 * scale];
        let region = Region { x: 0, y: 0, width: side, height: side };
        let rounds = 300;
        let time = |work: &dyn Fn()| {
            let start = std::time::Instant::now();
            (0..rounds).for_each(|_| work());
            start.elapsed().as_secs_f64() / f64::from(rounds) * 1e6
        };
        core::set_num_threads(1).unwrap();
        for _ in 0..3 {
            let crop = warp(&picture, &transform, region, SIDE);
            let square = Image { width: SIDE, height: SIDE, channels: 3, data: crop.clone() };
            let ours = time(&|| drop(std::hint::black_box(warp(&picture, &transform, region, SIDE))));
            let theirs = time(&|| drop(std::hint::black_box(crop_by_opencv(&picture, &transform))));
            let our_sharpness = time(&|| {
                std::hint::black_box(sharpness(&crop, SIDE));
            });
            let their_sharpness = time(&|| {
                std::hint::black_box(sharpness_by_opencv(&square));
            });
            eprintln!(
                "{side}: warp {ours:.0} µs, OpenCV {theirs:.0} µs; sharpness {our_sharpness:.0} µs, OpenCV {their_sharpness:.0} µs"
            );
        }
    }
}
