//! Damage costs only the damaged frames, and is reported.

use std::path::Path;
use std::process::Command;

use sha2::{Digest, Sha256};
use video::{Decoder, Error, Index};

use crate::clip::{Clip, FRAMES, RATE, Seen, seen};

/// Groups of ten pictures, and clusters of mkv as short: reading goes on with the next cluster.
const CODECS: [(&str, &str); 4] = [
    ("h264", "-c:v libx264 -g 10 -sc_threshold 0 -cluster_time_limit 400"),
    (
        "hevc",
        "-c:v libx265 -x265-params log-level=none:keyint=10:open-gop=0:scenecut=0 -cluster_time_limit 400",
    ),
    ("vp9", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 10 -cluster_time_limit 400"),
    ("av1", "-c:v libaom-av1 -usage realtime -cpu-used 8 -g 10 -cluster_time_limit 400"),
];

fn clip(codec: &str, arguments: &str, container: &str) -> Option<Clip> {
    Clip::of_counter(&format!("{codec}.{container}"), &arguments.split(' ').collect::<Vec<_>>())
}

/// Bytes that anyone can make again from a seed.
fn noise(seed: u64, count: usize) -> Vec<u8> {
    let block = |i: u64| Sha256::digest([seed.to_le_bytes(), i.to_le_bytes()].concat()).to_vec();
    (0..).flat_map(block).take(count).collect()
}

/// Where the packets lie in the file, in order of decoding.
fn packet_positions(path: &Path) -> Vec<usize> {
    let arguments =
        ["-v", "quiet", "-select_streams", "v:0", "-show_entries", "packet=pos", "-of", "csv=p=0"];
    let done = Command::new("ffprobe").args(arguments).arg(path).output().unwrap();
    let text = String::from_utf8(done.stdout).unwrap();
    text.lines().filter_map(|line| line.split(',').next()?.parse().ok()).collect()
}

/// Frames are in order and at their own times; frames without damage are right; damage is reported.
fn assert_honest(name: &str, frames: &[Seen], index: &Index) {
    assert!(frames.windows(2).all(|w| w[0].secs < w[1].secs), "{name}: {frames:?}");
    let number_by_time = |frame: &Seen| (frame.secs * RATE).round() as usize;
    // The hit group of pictures, a cluster that begins in it, and pictures that were still to be put
    // in order when the decoder met the damage.
    let hit = 18..40;
    let found: Vec<_> = frames.iter().map(number_by_time).filter(|n| !hit.contains(n)).collect();
    assert_eq!(found, (0..FRAMES).filter(|n| !hit.contains(n)).collect::<Vec<_>>(), "{name}");
    for frame in frames {
        let is_right = frame.is_upright && frame.number == number_by_time(frame);
        // In an mkv the damage may have taken the packets themselves.
        assert!(is_right || frame.is_damaged || index.packets.len() < FRAMES, "{name}: {frame:?}");
        assert!(is_right || hit.contains(&number_by_time(frame)), "{name}: {frame:?}");
    }
    let secs: Vec<_> = index.packets.iter().map(|p| index.facts.t_secs(p.pts_ticks)).collect();
    let has_hole = secs.windows(2).any(|w| w[1] - w[0] > 3.5 / RATE);
    let is_reported = index.warnings.iter().any(|w| w.starts_with("gaps without frames, perhaps damage: 1,"));
    assert_eq!(has_hole, is_reported, "{name}: {:?}", index.warnings);
    assert_eq!(index.warnings.len(), usize::from(is_reported), "{name}: {:?}", index.warnings);
}

#[test]
fn noise_in_the_middle() {
    let (mut holes, mut lost) = (0, 0);
    for (codec, arguments) in CODECS {
        for container in ["mp4", "mkv"] {
            let Some(clip) = clip(codec, arguments, container) else { continue };
            let (whole, positions) = (std::fs::read(&clip.path).unwrap(), packet_positions(&clip.path));
            for (seed, last) in [21, 24, 28].into_iter().enumerate() {
                let mut bytes = whole.clone();
                let hit = &mut bytes[positions[20]..positions[last]];
                hit.copy_from_slice(&noise(seed as u64, hit.len()));
                std::fs::write(&clip.path, bytes).unwrap();
                let index = clip.index();
                holes += index.warnings.len();
                for threads in [1, 2] {
                    let (frames, lost_here) = seen(&clip.path, threads);
                    assert_honest(&format!("{codec}.{container} {seed}"), &frames, &index);
                    lost += lost_here;
                }
            }
        }
    }
    assert!(holes > 0 && lost > 0, "nothing was damaged");
}

/// Decoders that meet nonsense from the first packet to the last end, with a reason.
#[test]
fn noise_everywhere() {
    for (codec, arguments) in CODECS {
        let Some(clip) = clip(codec, arguments, "mp4") else { continue };
        let positions = packet_positions(&clip.path);
        let (from, to) = (positions[0], *positions.last().unwrap());
        clip.edit(|bytes| bytes[from..to].copy_from_slice(&noise(9, to - from)));
        let mut decoder = Decoder::open(&clip.path, 2).unwrap();
        let mut count = 0;
        let end = loop {
            match decoder.next_picture() {
                Ok(Some(_)) => count += 1,
                end => break end,
            }
        };
        assert!(count < 5, "{codec}: {count} frames out of nothing");
        assert!(count > 0 || matches!(end, Err(Error::Decoder { .. })), "{codec}");
        assert!(decoder.lost() > FRAMES as u64 / 2, "{codec}: {}", decoder.lost());
    }
}

#[test]
fn a_file_that_was_cut_off_gives_what_it_has_and_says_so() {
    for name in ["cut.mkv", "cut.mp4"] {
        let arguments = ["-c:v", "libx264", "-g", "10", "-movflags", "faststart"];
        let Some(clip) = Clip::of_counter(name, &arguments) else { return };
        let position = packet_positions(&clip.path)[20];
        clip.edit(|bytes| bytes.truncate(position + 10));
        let index = clip.index();
        assert!((15..=21).contains(&index.packets.len()), "{name}: {}", index.packets.len());
        assert!(
            index.warnings.iter().any(|w| w.contains("may be truncated")),
            "{name}: {:?}",
            index.warnings
        );
        let (frames, _) = seen(&clip.path, 2);
        let numbers: Vec<_> = frames.iter().map(|frame| frame.number).collect();
        assert_eq!(numbers[..15], Vec::from_iter(0..15));
    }
}
