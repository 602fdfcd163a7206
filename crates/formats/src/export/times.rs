//! Formats of times: WebVTT, RTTM, OpenTimelineIO.

use std::fmt::Write as _;

use geometry::Span;
use serde_json::{Value, json};

use crate::run::Run;
use crate::xml::escape;

/// A cue each time a person is on screen, in order of time.
pub(super) fn webvtt(run: &Run) -> String {
    let mut cues: Vec<(f64, f64, i64)> = Vec::new();
    for (cluster_id, spans) in run.presence() {
        cues.extend(spans.into_iter().map(|span| run.secs(span)).map(|(from, to)| (from, to, cluster_id)));
    }
    cues.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.2.cmp(&b.2)));
    let mut text = String::from("WEBVTT\n");
    for (start, end, cluster_id) in cues {
        let (start, end) = cue(start, end);
        let _ = write!(text, "\n{} --> {}\n{}\n", clock(start), clock(end), escape(&run.name(cluster_id)));
    }
    text
}

/// A cue must end after it starts, also where a frame is shorter than a millisecond.
fn cue(start: f64, end: f64) -> (u64, u64) {
    let start = millis(start);
    (start, millis(end).max(start.saturating_add(1)))
}

fn millis(secs: f64) -> u64 {
    // No video is so long, or before its own start, that this would not fit; of a table that says so, the most.
    (secs.max(0.0) * 1000.0).round() as u64
}

fn clock(millis: u64) -> String {
    let (secs, minutes) = (millis / 1000, millis / 60_000);
    format!("{:02}:{:02}:{:02}.{:03}", minutes / 60, minutes % 60, secs % 60, millis % 1000)
}

/// type, file, channel, onset, duration, then the name among `<NA>`. Spaces part fields, so names have none.
pub(super) fn rttm(run: &Run) -> String {
    let uri =
        word(run.video.file_name.rsplit_once('.').map_or(run.video.file_name.as_str(), |(stem, _)| stem));
    let mut lines = String::new();
    for (cluster_id, spans) in run.presence() {
        let name = word(&run.name(cluster_id));
        for span in spans {
            let (start, end) = run.secs(span);
            // Plus zero: a time just before the start would print as −0.
            let start = start.max(0.0) + 0.0;
            let _ =
                writeln!(lines, "SPEAKER {uri} 1 {start:.3} {:.3} <NA> <NA> {name} <NA> <NA>", end - start);
        }
    }
    lines
}

/// A field of RTTM: without spaces; an empty field becomes `<NA>`.
fn word(text: &str) -> String {
    let word = text.split_whitespace().collect::<Vec<_>>().join("_");
    if word.is_empty() { "<NA>".into() } else { word }
}

/// A file name as a relative URL (RFC 3986): what is not an unreserved character is percent-encoded.
pub(super) fn url(name: &str) -> String {
    let mut url = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => url.push(byte.into()),
            _ => {
                let _ = write!(url, "%{byte:02X}");
            }
        }
    }
    url
}

/// A timeline as long as the video, with a track a person; gaps where the person is away.
pub(super) fn otio(run: &Run) -> String {
    let rate = run.times.editing_fps();
    let units = |secs: f64| (secs * rate).round();
    let time = |value: f64| json!({ "OTIO_SCHEMA": "RationalTime.1", "rate": rate, "value": value });
    let range = |start: f64, end: f64| json!({ "OTIO_SCHEMA": "TimeRange.1", "start_time": time(start), "duration": time(end - start) });
    let media = json!({
        "OTIO_SCHEMA": "ExternalReference.1",
        "target_url": url(&run.video.file_name),
        "available_range": range(0.0, units(run.video.duration_secs)),
        "metadata": { "facetrack": { "sha256": run.video.sha256 } },
    });
    let clip = |name: &str, (start, end): (f64, f64)| {
        json!({
            "OTIO_SCHEMA": "Clip.1", "name": name, "source_range": range(start, end), "media_reference": media,
            "effects": [], "markers": [], "metadata": {},
        })
    };
    let gap = |start: f64, end: f64| {
        json!({
            "OTIO_SCHEMA": "Gap.1", "name": "", "source_range": range(0.0, end - start), "effects": [],
            "markers": [], "metadata": {},
        })
    };
    let track = |(cluster_id, spans): (i64, Vec<Span>)| {
        let name = run.name(cluster_id);
        let (mut children, mut at) = (Vec::new(), 0.0);
        for span in spans {
            let (start, end) = run.secs(span);
            let (start, end) = (units(start).max(at), units(end).max(at));
            if start > at {
                children.push(gap(at, start));
            }
            if end > start {
                children.push(clip(&name, (start, end)));
            }
            at = end;
        }
        json!({
            "OTIO_SCHEMA": "Track.1", "kind": "Video", "name": name, "children": children, "source_range": Value::Null,
            "effects": [], "markers": [], "metadata": { "facetrack": { "cluster_id": cluster_id } },
        })
    };
    let tracks: Vec<_> = run.presence().into_iter().map(track).collect();
    let timeline = json!({
        "OTIO_SCHEMA": "Timeline.1", "name": run.video.file_name, "global_start_time": Value::Null,
        "metadata": { "facetrack": { "video_id": run.video.video_id.as_str() } },
        "tracks": {
            "OTIO_SCHEMA": "Stack.1", "name": "people", "children": tracks, "source_range": Value::Null,
            "effects": [], "markers": [], "metadata": {},
        },
    });
    format!("{timeline:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_one_word() {
        assert_eq!(word(" Ida  B. "), "Ida_B.");
        assert_eq!(word(" "), "<NA>");
    }

    #[test]
    fn names_of_files_become_urls() {
        assert_eq!(url("100% #1?.mkv"), "100%25%20%231%3F.mkv");
        assert_eq!(url("a-b_c~1.mp4"), "a-b_c~1.mp4");
        assert_eq!(url("é:/.mkv"), "%C3%A9%3A%2F.mkv");
    }

    #[test]
    fn cues_end_after_they_start() {
        assert_eq!(cue(1.0, 1.0), (1000, 1001));
        assert_eq!(cue(1.0, 2.5), (1000, 2500));
        assert_eq!(cue(1e300, 1e300), (u64::MAX, u64::MAX));
    }

    #[test]
    fn clocks_carry_over() {
        assert_eq!(clock(millis(0.0)), "00:00:00.000");
        assert_eq!(clock(millis(59.9996)), "00:01:00.000");
        assert_eq!(clock(millis(3661.5)), "01:01:01.500");
        assert_eq!(clock(millis(-1.0)), "00:00:00.000");
    }
}
