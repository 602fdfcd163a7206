//! Pictures come upright, however the container says they are stored.

use testkit::mp4::{self, Matrix};
use video::{Converter, Decoder, Region};

use crate::clip::{Clip, FRAMES, assert_frames, ffmpeg};

/// Every way in which a rectangle fits onto itself, as display matrices, and the filters that undo it.
const ALL: [(Matrix, &str); 8] = [
    ([1, 0, 0, 1], "null"),
    ([0, 1, -1, 0], "transpose=cclock"),
    ([-1, 0, 0, -1], "hflip,vflip"),
    ([0, -1, 1, 0], "transpose=clock"),
    ([-1, 0, 0, 1], "hflip"),
    ([1, 0, 0, -1], "vflip"),
    ([0, 1, 1, 0], "transpose=cclock_flip"),
    ([0, -1, -1, 0], "transpose=clock_flip"),
];

/// A counter that is stored through `filter`.
fn stored(filter: &str) -> Option<Clip> {
    Clip::of_counter("stored.mp4", &["-vf", filter, "-c:v", "libx264", "-bf", "2"])
}

fn set_matrix(clip: &Clip, matrix: Matrix) {
    clip.edit(|bytes| mp4::set_matrix(bytes, matrix));
}

#[test]
fn every_quarter_turn_and_mirror_image() {
    for (matrix, undo) in ALL {
        let Some(clip) = stored(undo) else { return };
        set_matrix(&clip, matrix.map(|entry| entry << 16));
        assert_frames(&clip, 0..FRAMES);
        let index = clip.index();
        assert_eq!((index.facts.width, index.facts.height), (128, 72), "{matrix:?}");
        assert_eq!(index.warnings, [""; 0], "{matrix:?}");
    }
}

/// FFmpeg's own idea of upright.
#[test]
fn pictures_are_turned_as_ffmpeg_turns_them() {
    let Some(clip) = stored("null") else { return };
    for (matrix, _) in ALL {
        set_matrix(&clip, matrix.map(|entry| entry << 16));
        let mut decoder = Decoder::open(&clip.path, 1).unwrap();
        let facts = decoder.facts().clone();
        let mut converter = Converter::new(facts.rotation_degrees);
        let picture = decoder.next_picture().unwrap().unwrap();
        let luma = converter.luma(&picture, facts.width as usize, facts.height as usize).unwrap();
        let raw = ["-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "gray", "-"];
        let expected = ffmpeg(&[&["-i", clip.path.to_str().unwrap()], raw.as_slice()].concat()).unwrap();
        assert_eq!(luma.data.len(), expected.len());
        let differing = luma.data.iter().zip(&expected).filter(|(a, b)| a.abs_diff(**b) > 2).count();
        assert_eq!(differing, 0, "{matrix:?}");
    }
}

#[test]
fn other_angles_are_reported_and_left_alone() {
    let eighth_turn = [46341, 46341, -46341, 46341];
    let Some(clip) = stored("null") else { return };
    set_matrix(&clip, eighth_turn);
    assert_frames(&clip, 0..FRAMES);
    let warnings = clip.index().warnings;
    assert_eq!(
        warnings,
        ["the file declares a rotation that is not a multiple of 90 degrees; the rotation is ignored"]
    );
}

/// A region is what a cut from the whole picture would be, byte for byte.
#[test]
fn regions_are_parts_of_the_whole() {
    for (format, matrix) in [
        ("yuv420p", [1, 0, 0, 1]),
        ("yuv420p", [0, 1, 1, 0]),
        ("yuv422p", [-1, 0, 0, -1]),
        ("yuv420p10le", [0, 1, -1, 0]),
    ] {
        let Some(clip) = stored(&format!("format={format}")) else { return };
        set_matrix(&clip, matrix.map(|entry| entry << 16));
        let mut decoder = Decoder::open(&clip.path, 1).unwrap();
        let facts = decoder.facts().clone();
        let mut converter = Converter::new(facts.rotation_degrees);
        let picture = decoder.next_picture().unwrap().unwrap();
        let own = (facts.width as usize, facts.height as usize);
        for (width, height) in [own, (own.0 / 2, own.1 / 2), (61, 47)] {
            let whole = converter.rgb(&picture, width, height).unwrap();
            for (x, y, w, h) in [(0, 0, 1, 1), (7, 5, 20, 21), (8, 4, 16, 32), (1, 2, width - 1, height - 2)]
            {
                let region = Region { x, y, width: w, height: h };
                let part = converter.rgb_region(&picture, width, height, region).unwrap();
                let rows = whole.data.chunks(3 * width).skip(y).take(h);
                let cut: Vec<u8> = rows.flat_map(|row| row[3 * x..3 * (x + w)].to_vec()).collect();
                assert!(
                    part.data == cut && (part.width, part.height) == (w, h),
                    "{format} {matrix:?} {region:?}"
                );
            }
            for region in [
                Region { x: 0, y: 0, width: 0, height: 1 },
                Region { x: 1, y: 0, width, height: 1 },
                Region { x: 0, y: height, width: 1, height: 1 },
                Region { x: usize::MAX, y: 0, width: 2, height: 1 },
            ] {
                assert!(converter.rgb_region(&picture, width, height, region).is_err(), "{region:?}");
            }
        }
        assert!(converter.rgb(&picture, 0, 10).is_err() && converter.luma(&picture, 10, 0).is_err());
    }
}
