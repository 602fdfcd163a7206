//! Clips whose frames carry their own number, and what other programs say of them.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use testkit::assets::{require_encoder, require_ffmpeg};
use video::{Converter, Decoder, Image, Index, index};

/// Frames of [`counter`].
pub(crate) const FRAMES: usize = 50;
/// Frames a second of [`counter`].
pub(crate) const RATE: f64 = 25.0;

/// A source for `ffmpeg -i`: two seconds of frames with their own number. The upper half is eight
/// stripes, white where a bit of the number is set, the lowest bit on the left. Below is red on the
/// left and blue on the right, so that no turn or mirror image passes for upright.
pub(crate) fn counter(width: u32, height: u32, format: &str) -> String {
    let bit = "mod(floor(N/pow(2,floor(8*X/W))),2)";
    let below =
        |upper: &str, left: u8, right: u8| format!("'if(lt(Y,H/2),{upper},if(lt(X,W/2),{left},{right}))'");
    let lum = below(&format!("if({bit},235,16)"), 81, 41);
    let (cb, cr) = (below("128", 90, 240), below("128", 240, 110));
    format!(
        "nullsrc=size={width}x{height}:rate={RATE}:duration=2,format=yuv444p,geq=lum={lum}:cb={cb}:cr={cr},format={format}"
    )
}

/// A clip in a folder of its own.
pub(crate) struct Clip {
    /// Holds the file for as long as it is needed.
    _folder: TempDir,
    pub(crate) path: PathBuf,
}

impl Clip {
    /// Made with these arguments of `ffmpeg`; `None`, after saying why, without the tool or the encoder.
    pub(crate) fn new(name: &str, arguments: &[&str]) -> Option<Self> {
        let encoders = arguments.windows(2).filter(|pair| pair[0] == "-c:v" && pair[1] != "copy");
        for encoder in encoders {
            require_encoder(encoder[1])?;
        }
        let folder = TempDir::new().unwrap();
        let path = folder.path().join(name);
        ffmpeg(&[arguments, &[path.to_str().unwrap()]].concat())?;
        Some(Self { _folder: folder, path })
    }

    /// [`counter`] in a usual size and format, encoded with these arguments.
    pub(crate) fn of_counter(name: &str, arguments: &[&str]) -> Option<Self> {
        Self::of_counter_sized(name, (128, 72), "yuv420p", arguments)
    }

    /// [`counter`], encoded with these arguments.
    pub(crate) fn of_counter_sized(
        name: &str,
        (width, height): (u32, u32),
        format: &str,
        arguments: &[&str],
    ) -> Option<Self> {
        Self::new(name, &[&["-f", "lavfi", "-i", &counter(width, height, format)], arguments].concat())
    }

    /// This clip as the input of another, made with these arguments.
    pub(crate) fn remade(&self, name: &str, before: &[&str], arguments: &[&str]) -> Option<Self> {
        Self::new(name, &[before, &["-i", self.path.to_str().unwrap()], arguments].concat())
    }

    pub(crate) fn index(&self) -> Index {
        index(&self.path, |_| {}).unwrap_or_else(|e| panic!("{}: {e}", self.path.display()))
    }

    /// Replaces bytes of the file.
    pub(crate) fn edit(&self, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = std::fs::read(&self.path).unwrap();
        change(&mut bytes);
        std::fs::write(&self.path, bytes).unwrap();
    }
}

/// Runs `ffmpeg` and gives its standard output.
pub(crate) fn ffmpeg(arguments: &[&str]) -> Option<Vec<u8>> {
    let done = require_ffmpeg()?.args(arguments).output().unwrap();
    assert!(done.status.success(), "{arguments:?}\n{}", String::from_utf8_lossy(&done.stderr));
    Some(done.stdout)
}

/// Frame times as `ffprobe` sees them when it decodes, seconds.
pub(crate) fn probed(path: &Path) -> Vec<f64> {
    let arguments =
        ["-v", "quiet", "-select_streams", "v:0", "-show_entries", "frame=pts_time", "-of", "csv=p=0"];
    let done = Command::new("ffprobe").args(arguments).arg(path).output().unwrap();
    let text = String::from_utf8(done.stdout).unwrap();
    // Side data of a frame leave words or nothing in a line of their own.
    text.lines().filter_map(|line| line.split(',').next()?.parse().ok()).collect()
}

/// A decoded frame: its time on the container's own clock, its number, and whether its lower half is
/// red and blue as [`counter`] has it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Seen {
    pub(crate) secs: f64,
    pub(crate) number: usize,
    pub(crate) is_upright: bool,
    pub(crate) is_damaged: bool,
}

/// Decodes everything, and says how many packets were lost.
pub(crate) fn seen(path: &Path, threads: usize) -> (Vec<Seen>, u64) {
    let mut decoder = Decoder::open(path, threads).unwrap();
    let facts = decoder.facts().clone();
    let mut converter = Converter::new(facts.rotation_degrees);
    let mut seen = Vec::new();
    while let Some(picture) = decoder.next_picture().unwrap() {
        let secs = facts.t_secs(picture.pts_ticks.unwrap()) + facts.start_secs;
        let image = converter.rgb(&picture, facts.width as usize, facts.height as usize).unwrap();
        let [red, blue] = [0.25, 0.75].map(|x| pixel(&image, x, 0.75));
        seen.push(Seen {
            secs,
            number: number_in(&image),
            is_damaged: picture.is_damaged,
            is_upright: red[0] > 180 && red[2] < 80 && blue[2] > 180 && blue[0] < 80,
        });
    }
    (seen, decoder.lost())
}

/// The number that a picture of [`counter`] shows.
pub(crate) fn number_in(image: &Image) -> usize {
    (0..8).filter(|bit| pixel(image, (f64::from(*bit) + 0.5) / 8.0, 0.25)[1] > 127).map(|bit| 1 << bit).sum()
}

/// The pixel at a place given as fractions.
pub(crate) fn pixel(image: &Image, x: f64, y: f64) -> &[u8] {
    let (x, y) = ((x * image.width as f64) as usize, (y * image.height as f64) as usize);
    &image.data[(y * image.width + x) * image.channels..][..image.channels]
}

/// Asserts that index, decoder and ffprobe agree on every frame's time, and that the frames are these.
pub(crate) fn assert_frames(clip: &Clip, numbers: impl IntoIterator<Item = usize>) {
    let name = clip.path.display();
    let index = clip.index();
    let facts = &index.facts;
    let indexed: Vec<_> =
        index.packets.iter().map(|p| facts.t_secs(p.pts_ticks) + facts.start_secs).collect();
    let (seen, lost) = seen(&clip.path, 2);
    assert_eq!(lost, 0, "{name}");
    let decoded: Vec<_> = seen.iter().map(|frame| frame.secs).collect();
    let expected = probed(&clip.path);
    for times in [&indexed, &decoded] {
        assert_eq!(times.len(), expected.len(), "{name}");
        let agree = times.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-5);
        assert!(agree, "{name}: {times:?}\n{expected:?}");
    }
    assert!(seen.iter().all(|frame| frame.is_upright), "{name}: {seen:?}");
    let found: Vec<_> = seen.iter().map(|frame| frame.number).collect();
    assert_eq!(found, Vec::from_iter(numbers), "{name}");
}
