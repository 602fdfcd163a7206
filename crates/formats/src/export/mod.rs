//! A run in the formats of other tools. One file each; what a format cannot say is left out.

mod boxes;
mod times;

use crate::run::Run;

/// A format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A box a line, readable as labels again.
    Csv,
    /// MOTChallenge: frames and identities from 1.
    Mot,
    /// COCO, with key points.
    Coco,
    /// CVAT for video 1.1: a track is a track.
    Cvat,
    /// WebVTT: a cue each time a person is on screen.
    WebVtt,
    /// RTTM, as of speakers, of faces.
    Rttm,
    /// OpenTimelineIO: a track a person, a clip each time on screen.
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
