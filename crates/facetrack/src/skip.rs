//! `--skip-bad`: past frames at which a stage crashes.
//!
//! The decoder is C code, and damage can crash it. The stage then leaves a bookmark, the frame it was at. It
//! is started again and skips the frames from there to the next key frame. The skipped frames are a setting
//! like any other: `config.toml` holds it, and the same command reads it there.

use std::path::Path;

use console::Result;
use run::stage::read_config;
use serde_json::json;

use crate::progress::Screen;
use crate::single::Plan;
use crate::stages::{self, Event, Finished};

/// Largest number of crashes; after more, the video or the machine is broken.
const MAX_CRASHES: usize = 8;
/// Frames left out at first: fewer than these are held back while decoding.
const FIRST: i64 = 32;

/// A stretch of frames, both ends within it.
type Stretch = (i64, i64);

/// Runs a stage repeatedly, skipping the frames that crash it.
pub(crate) fn run(
    stage: &'static str,
    plan: &Plan<'_>,
    video: &Path,
    run_dir: &Path,
    screen: &mut Screen,
) -> Result<Finished> {
    // The frames that an earlier run left out, from its settings.
    let config = run_dir.join("config.toml");
    let earlier = read_config::<detect_track::Config>(Some(&config), &[], detect_track::STAGE.name);
    let mut left_out = earlier.map(|config| config.skip_frames).unwrap_or_default();
    let mut crashes = 0;
    loop {
        let mut plan = plan.clone();
        plan.settings.extend(setting(&left_out));
        let error = match stages::run(stage, &plan, video, run_dir, screen) {
            Err(error) if error.is_crash && crashes < MAX_CRASHES => error,
            other => return other,
        };
        let Some(frame) = stages::frame_at_crash(stage, run_dir) else { return Err(error) };
        widen(&mut left_out, frame);
        let (first, last) = left_out.last().copied().unwrap_or_default();
        let message = format!("{}\nrunning again without frames {first} to {last}", error.message);
        screen.repeat(&json!({ "event": "warning", "stage": stage, "message": message }).to_string());
        screen.hear(&Event::Warning { message });
        crashes += 1;
    }
}

/// Leaves out more: frames from `frame` on or, where it crashed again nearby, twice as many to both sides.
fn widen(left_out: &mut Vec<Stretch>, frame: i64) {
    let nearby = |(first, last): &Stretch| frame + FIRST >= *first && frame <= *last + FIRST;
    match left_out.iter().position(nearby) {
        Some(at) => {
            let (first, last) = left_out.remove(at);
            let more = last - first + 1;
            left_out.push(((first - more).max(0), last + more));
        }
        None => left_out.push((frame, frame + FIRST - 1)),
    }
}

fn setting(left_out: &[Stretch]) -> Option<String> {
    let stretches: Vec<_> = left_out.iter().map(|(first, last)| format!("[{first}, {last}]")).collect();
    (!stretches.is_empty()).then(|| format!("detect-track.skip_frames = [{}]", stretches.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crashes_nearby_widen_one_stretch_and_others_add_one() {
        let mut left_out = Vec::new();
        widen(&mut left_out, 100);
        assert_eq!(left_out, [(100, 131)]);
        widen(&mut left_out, 90);
        assert_eq!(left_out, [(68, 163)]);
        widen(&mut left_out, 1000);
        assert_eq!(left_out, [(68, 163), (1000, 1031)]);
        let expected = "detect-track.skip_frames = [[68, 163], [1000, 1031]]";
        assert_eq!(setting(&left_out).as_deref(), Some(expected));
        assert_eq!(setting(&[]), None);
    }
}
