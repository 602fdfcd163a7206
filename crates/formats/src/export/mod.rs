//! A run in the formats of other tools, one file per format. Information that a format cannot hold is
//! omitted.

mod appearances;
mod boxes;
mod mmif;
mod times;
mod xmp;

use crate::run::Run;

/// Writes a run in a format.
pub type Format = fn(&Run) -> String;

/// Every format by its name on the command line.
pub const FORMATS: [(&str, Format); 11] = [
    // One box per line, readable as labels.
    ("csv", boxes::csv),
    // MOTChallenge: frames and identities from 1.
    ("mot", boxes::mot),
    // COCO, with key points.
    ("coco", boxes::coco),
    // CVAT for video 1.1: one track per track.
    ("cvat", boxes::cvat),
    // WebVTT: one cue per time on screen.
    ("webvtt", times::webvtt),
    // RTTM, with people in place of speakers.
    ("rttm", times::rttm),
    // OpenTimelineIO: one track per person, one clip per time on screen.
    ("otio", times::otio),
    // One appearance of a person per line: gaps of at most 2 s are closed.
    ("appearances-csv", appearances::csv),
    // CMX 3600 edit decision list: one event per appearance.
    ("edl", appearances::edl),
    // MMIF of CLAMS: a bounding box per face, a video object per track, a time frame per appearance.
    ("mmif", mmif::mmif),
    // XMP sidecar: names, a region per person, a marker per appearance.
    ("xmp", xmp::xmp),
];
