//! A run in the formats of other tools, one file per format. Information that a format cannot hold is
//! omitted.

mod boxes;
mod times;

use crate::run::Run;

/// A format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One box per line, readable as labels.
    Csv,
    /// MOTChallenge: frames and identities from 1.
    Mot,
    /// COCO, with key points.
    Coco,
    /// CVAT for video 1.1: one track per track.
    Cvat,
    /// WebVTT: one cue per time on screen.
    WebVtt,
    /// RTTM, with people in place of speakers.
    Rttm,
    /// OpenTimelineIO: one track per person, one clip per time on screen.
    Otio,
}

impl Format {
    /// Names, as on the command line.
    pub const NAMES: [&'static str; 7] = ["csv", "mot", "coco", "cvat", "webvtt", "rttm", "otio"];

    /// The format called `name`.
    pub fn by_name(name: &str) -> Option<Self> {
        use Format::{Coco, Csv, Cvat, Mot, Otio, Rttm, WebVtt};
        let all = [Csv, Mot, Coco, Cvat, WebVtt, Rttm, Otio];
        Self::NAMES.iter().position(|known| *known == name).map(|at| all[at])
    }

    /// The run in this format.
    pub fn write(self, run: &Run) -> String {
        match self {
            Self::Csv => boxes::csv(run),
            Self::Mot => boxes::mot(run),
            Self::Coco => boxes::coco(run),
            Self::Cvat => boxes::cvat(run),
            Self::WebVtt => times::webvtt(run),
            Self::Rttm => times::rttm(run),
            Self::Otio => times::otio(run),
        }
    }
}
