//! Stage 4, `cluster`: links the tracks that show the same person.
//!
//! Reads `frames`, `tracks`, `detections`, `embeddings`, `track_embeddings` and `track_views`; writes `constraints`,
//! `clusters`, `identities`, `appearances`, `calibration`, `linkage`, `link_vectors`, `doubts` and `cuts`.
//!
//! * [`method`]: ways of linking, behind one trait.
//! * [`agglomerate`]: average linkage under constraints of up to a million items, over the
//!   [`neighbours`] of their vectors.
//! * [`linkage`]: distances, the dendrogram under constraints, and its cut.
//! * [`mod@constraints`]: which tracks cannot show the same person, and which must; [`groups`] links the latter
//!   whatever the method.
//! * [`seen`]: what embedders see of the tracks of a run.
//! * [`identities`]: rows from labels: who is on screen, when, and with which confidence.
//! * [`edits`]: applies the edits of the user to the people that linking found.
//! * `series`: links the tracks of several runs together.
//! * `uids`: the key of each person, which later runs keep.
//! * [`prior`]: how many people are expected.
//! * [`queue`]: what may be wrong, with which probability: the doubts of a run, and the questions of the review page.
//!
//! **Architecture invariant:** sees vectors, times and constraints; never pixels, never labels. The
//! result does not depend on threads or on the order of rows.

pub mod agglomerate;
mod config;
pub mod constraints;
pub mod edits;
pub mod groups;
pub mod identities;
pub mod items;
pub mod linkage;
pub mod method;
pub mod neighbours;
mod parallel;
pub mod prior;
pub mod queue;
pub mod seen;
mod series;
mod uids;

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;

use failure::{Advice, Failure, exit};
use run::appearances::appearances;
use run::edits::{Faces, Log};
use run::manifest::Input;
use run::stage::{Job, Outcome, Progress, Stage};
use run::{Begin, StageRun};
use schema::cell::Ragged;
use schema::footer::Embedder;
use schema::tables::{
    Calibration, Cut, Detection, Doubt, DoubtKind, Frame, LinkVector, Linkage, Track, TrackView,
};
use schema::{Row, Symbol, UnitVector};

pub use crate::config::{Config, Entry, METHODS, Name, Use};
use crate::constraints::Pairs;
use crate::edits::{Found, People, Refusal};
use crate::identities::Linked;
use crate::linkage::Metric;
use crate::queue::{Kind, Question, Situation};
use crate::seen::Seen;
use crate::series::{InSeries, Others, RunTracks};

/// Name, version and description of the stage.
pub const STAGE: Stage =
    Stage { name: "cluster", version: 16, about: "Links the tracks that show the same person" };

/// The edits that count, as the manifest names them among the inputs.
pub const EDITS: &str = "edits";
/// Name of the figure with the `edit_id` of each edit that is not applied.
pub const NOT_APPLIED: &str = "edits_not_applied";

/// Upper limit on tracks: the pair matrix takes 18 bytes per pair, 4 GiB at the limit.
const MAX_TRACKS: usize = 20_000;

/// Errors of this module.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The run directory cannot be used.
    #[error(transparent)]
    Run(#[from] run::Error),
    /// A run of the series cannot be read.
    #[error("the run `{}` of the series cannot be read: {source}", .dir.display())]
    Series {
        /// The run directory, as the setting has it.
        dir: PathBuf,
        /// Why not.
        source: Box<run::Error>,
    },
    /// A setting is given to a method that does not take it.
    #[error("[cluster] the method `{method}` does not use the setting `{key}`")]
    NotTaken {
        /// The method.
        method: Name,
        /// The setting.
        key: &'static str,
    },
    /// The threshold is out of range.
    #[error("[cluster] threshold is {threshold}; it must be {}", if limit.is_finite() { format!("between 0 and {limit}") } else { "0 or more".into() })]
    Threshold {
        /// The value given.
        threshold: f64,
        /// What it must be below.
        limit: f64,
    },
    /// The settings are invalid.
    #[error("[cluster] {reason}")]
    Config {
        /// What is wrong.
        reason: String,
    },
    /// The method cannot link these tracks.
    #[error(transparent)]
    Method(#[from] method::Error),
    /// There are more tracks than this method can hold in memory.
    #[error("this method can link at most {MAX_TRACKS} tracks, the run has {n_tracks}")]
    TooManyTracks {
        /// Number of tracks.
        n_tracks: usize,
    },
}

impl Failure for Error {
    fn advice(&self) -> Advice {
        match self {
            Self::Run(e) => e.advice(),
            Self::Series { source, .. } => Advice::new(
                source.advice().exit_code,
                "repair or repeat that run, or link without it: `facetrack run` with the other videos and --series",
            ),
            Self::NotTaken { method, key } => {
                let taking = METHODS.iter().filter(|entry| entry.takes.contains(key));
                let taking: Vec<_> = taking.map(|entry| entry.name).collect();
                let own = method.entry().takes.join(", ");
                Advice::new(exit::USAGE, format!("{key} is for {}; {method} takes {own}", taking.join(", ")))
            }
            Self::Threshold { .. } => Advice::new(
                exit::USAGE,
                "a smaller threshold splits more, a larger one joins more; remove the setting for the default",
            ),
            Self::TooManyTracks { .. } => {
                Advice::new(exit::INPUT, "use the method `link`, or split the video and run each part")
            }
            Self::Method(method::Error::TooFewTracks { .. }) => Advice::new(
                exit::USAGE,
                "set a smaller k, or remove it: the method then chooses the number of people",
            ),
            Self::Config { .. } => exit::USAGE.into(),
            Self::Method(method::Error::Library { .. }) => exit::UNEXPECTED.into(),
            Self::Method(_) => exit::INPUT.into(),
        }
    }
}

/// Runs the stage.
///
/// # Errors
/// See [`Error`].
pub fn run(job: &mut Job<Config>) -> Result<Outcome, Error> {
    job.config.check()?;
    let log = match job.config.edits {
        Use::Off => None,
        Use::Apply | Use::Relink => Some(Log::open(job.run.root())?),
    };
    let edits = log.as_ref().and_then(|log| Some((log, log.fingerprint()?)));
    let mut inputs: Vec<Input> =
        edits.iter().map(|(_, sha256)| Input { name: EDITS.into(), sha256: sha256.clone() }).collect();
    let mut series = Others::open(&job.run, &job.config.series)?;
    inputs.extend(series.inputs());
    let mut inputs_of_run = vec!["frames", "tracks", "embeddings", "track_embeddings"];
    // Synthetic runs may lack the table; edits and the record of people need it.
    let has_faces = edits.is_some() || job.run.has::<Detection>();
    inputs_of_run.extend(has_faces.then_some(Detection::TABLE.name));
    // Runs of older versions do not have the table.
    let has_views = job.run.has::<TrackView>();
    inputs_of_run.extend(has_views.then_some(TrackView::TABLE.name));
    let mut stage = match job.begin(&inputs_of_run, &inputs)? {
        Begin::UpToDate(record) => return Ok(Outcome::skipped(record)),
        Begin::Run(stage) => stage,
    };
    let tracks = job.run.read::<Track>()?;
    let track_ids: Vec<i64> = tracks.iter().map(|track| track.track_id).collect();
    let faces = has_faces.then(|| Faces::read(&job.run)).transpose()?.unwrap_or_default();
    let taught = match &edits {
        Some((log, _)) if job.config.edits == Use::Relink => {
            let found: Vec<_> = log.active().map(|entry| Found::of(entry, &faces)).collect();
            Pairs::of(&found, &track_ids)
        }
        _ => Pairs::default(),
    };
    let seen = Seen::read(&job.run)?;
    let (vectors, crops) = (&seen.vectors, &seen.crops);
    let same_up_to = seen.embedder.as_ref().and_then(|embedder| embedder.same_up_to);
    if let (Some(key), None, Some(first)) = (job.config.wants_distance(), same_up_to, &seen.embedder) {
        stage.warn(format!(
            "the distances of `{}` are not calibrated; tracks are linked with the threshold of SFace, which may be \
             wrong; set [cluster] {key}",
            first.name
        ));
    }
    if vectors.len() > MAX_TRACKS && job.config.method != Name::Link {
        return Err(Error::TooManyTracks { n_tracks: vectors.len() });
    }
    let video_id = job.run.video_id()?;
    let mut known = constraints::of_run(&video_id, &tracks, &seen, &taught);
    let items = seen.items(&tracks, &known)?;
    let method = job.config.method(same_up_to, seen.quality(), !taught.is_empty(), job.threads);
    let with_vectors: Vec<i64> = vectors.iter().map(|v| v.track_id).collect();
    let mut advance = |done: usize, steps: usize| {
        let tracks = with_vectors.len() as u64;
        job.reporter.advance(done as u64 * tracks / steps.max(1) as u64, tracks, "tracks");
    };
    let own = RunTracks { tracks: &tracks, seen: &seen, known: &known };
    let in_series = series.assign(&job.run, own, (&job.config, method.as_ref()), &mut advance)?;
    let (found, series_id, keys) = match in_series {
        Some(InSeries { assignment, series_id, keys }) => (assignment, Some(series_id), keys),
        None => {
            (taught.groups(&with_vectors).assign(method.as_ref(), &items, &mut advance)?, None, Vec::new())
        }
    };
    series.left_out.into_iter().for_each(|sentence| stage.warn(sentence));
    let fits = found.fits.unwrap_or_else(|| {
        method::silhouettes(&items.pairs(Metric::Cosine), &found.labels, job.config.same_up_to(same_up_to))
    });
    let frames = job.run.read::<Frame>()?;
    let times = frames.iter().map(|frame| (frame.pts_ticks, frame.t_secs, frame.duration_secs)).collect();
    let linked =
        Linked { tracks: &tracks, vectors, crops, times: &times, labels: &found.labels, fits: &fits };
    let mut rows = linked.rows();
    // A confidence of another method is no probability.
    let confidence: HashMap<i64, f64> = match &found.calibration {
        Some(_) => rows.clusters.iter().map(|row| (row.track_id, f64::from(row.confidence))).collect(),
        None => HashMap::new(),
    };
    let mut people = People::linked(&rows.clusters, &tracks, &known);
    let before = people.clone();
    if let Some((log, _)) = edits {
        apply(&mut people, log, &faces, &mut stage);
        rows = linked.edited(rows, &people);
    }
    let uids = uids::keep(&job.run, (&before, &people), &tracks, &faces)?;
    let key = |track_id| keys.get(seen.place(track_id)?)?.clone();
    let mut keys = series::keys(&people, &tracks, key);
    for row in &mut rows.identities {
        row.person_uid = uids.of(row.cluster_id);
        row.series_id.clone_from(&series_id);
        row.series_uid = keys.remove(&row.cluster_id);
    }
    let model = seen.model(&tracks, &known, |track| people.cluster_of(track))?;
    let situation = Situation {
        tracks: &tracks,
        times: &times,
        seen: &seen,
        model: model.as_ref(),
        people: &people,
        confidence: &confidence,
    };
    let doubts = doubts(&video_id, &situation.evidence(BTreeSet::new()).doubts());
    if let Some(tree) = &found.tree {
        stage.figure("threshold", tree.cut);
        stage.figure("forbidden_above", tree.forbidden);
    }
    if let Some(method::Calibration { alpha, offset, .. }) = &found.calibration {
        stage.figure("alpha", alpha);
        stage.figure("offset", offset);
    }
    stage.figure("identities", rows.identities.len());
    stage.figure(
        "noise_tracks",
        rows.clusters.iter().filter(|c| c.is_noise && c.not_a_face != Some(true)).count(),
    );
    constraints::mark_violated(&mut known, &rows.clusters);
    stage.write(known)?;
    stage.write(appearances(&tracks, &rows.clusters, &times))?;
    stage.write(rows.clusters)?;
    stage.write(rows.identities)?;
    stage.write(found.calibration.iter().flat_map(|calibration| curve(&video_id, calibration)))?;
    stage.write(doubts)?;
    stage.write(found.cuts.iter().enumerate().flat_map(|(cut_idx, (threshold, people))| {
        let video_id = &video_id;
        vectors.iter().zip(people).map(move |(vector, person)| Cut {
            video_id: video_id.clone(),
            cut_idx: cut_idx as i64,
            track_id: vector.track_id,
            threshold: *threshold,
            person: person.map(|person| person as i64),
        })
    }))?;
    let merges = found.tree.iter().flat_map(|tree| &tree.merges);
    stage.write(merges.enumerate().map(|(step, merge)| Linkage {
        video_id: video_id.clone(),
        step: step as i64,
        left: merge.left as i64,
        right: merge.right as i64,
        distance: merge.height,
        size: merge.size as i64,
    }))?;
    write_evidence(&mut stage, &video_id, &seen, found.evidence)?;
    job.reporter.advance(tracks.len() as u64, tracks.len() as u64, "tracks");
    uids.record.write(job.run.root())?;
    Ok(job.commit(stage)?)
}

/// Applies the edits of a log, and adds warnings about the edits that are not applied.
fn apply(people: &mut People, log: &Log, faces: &Faces, stage: &mut StageRun) {
    let refused = people.apply_all(log, faces);
    let n_edits = log.active().count();
    let (lost, contradicting): (Vec<_>, Vec<_>) =
        refused.iter().partition(|(_, refusal)| *refusal == Refusal::NoFace);
    if !lost.is_empty() {
        let ids: Vec<_> = lost.iter().map(|(edit_id, _)| edit_id.to_string()).collect();
        stage.warn(format!(
            "corrections that found no face and are not applied: {} of {n_edits}, number {}",
            lost.len(),
            ids.join(", ")
        ));
    }
    for (edit_id, refusal) in contradicting {
        stage.warn(format!("correction {edit_id} is not applied: {}", refusal.reason(faces)));
    }
    stage.figure("edits", n_edits);
    stage.figure(NOT_APPLIED, refused.iter().map(|(edit_id, _)| *edit_id).collect::<Vec<_>>());
}

/// Writes `link_vectors`.
fn write_evidence(
    stage: &mut StageRun,
    video_id: &Symbol,
    seen: &Seen,
    evidence: Option<method::Evidence>,
) -> Result<(), Error> {
    let Some(method::Evidence { items, views, alpha, clothes }) = evidence else {
        return Ok(stage.write::<LinkVector>([])?);
    };
    // Quality tables are in the footers of the vectors themselves.
    let plain = |embedder: &Embedder| Embedder {
        same_up_to: None,
        similarity: None,
        quality: None,
        ..embedder.clone()
    };
    let embedders: Vec<Embedder> = seen.embedders().map(plain).collect();
    let mut writer = stage.create::<LinkVector>(&embedders)?;
    let mut views: Vec<_> = embedders.iter().zip(views).collect();
    views.sort_by(|a, b| a.0.name.cmp(&b.0.name));
    for (embedder, view) in views {
        let name = Symbol::from(embedder.name.as_str());
        for (item, seen_by) in items.iter().zip(view.seen) {
            // Vectors of a file may end in zeros, beyond those of the embedder.
            let Some((mut vector, precision)) = seen_by else { continue };
            vector.truncate(embedder.dim);
            let Some(direction) = UnitVector::normalised(&vector) else { continue };
            let row = LinkVector {
                video_id: video_id.clone(),
                embedder: name.clone(),
                track_id: seen.vectors[*item].track_id,
                direction: Ragged(direction),
                length: vector.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt(),
                precision,
                person_variance: view.person_variance,
                evidence_dim: view.evidence_dim,
                alpha,
                clothes_intercept: clothes.map(|line| line.intercept),
                clothes_slope: clothes.map(|line| line.slope),
                clothes_min: clothes.map(|line| line.bounds[0]),
                clothes_max: clothes.map(|line| line.bounds[1]),
            };
            writer.push(row).map_err(run::Error::from)?;
        }
    }
    Ok(stage.finish(writer)?)
}

/// Rows of `doubts`.
fn doubts(video_id: &Symbol, questions: &[Question]) -> Vec<Doubt> {
    let row = |(doubt_idx, question): (usize, &Question)| {
        let Question { kind, people, sides, probability, value_secs, .. } = question;
        let person = |side: usize| people.get(side).copied().flatten();
        let (kind, cluster_id, other_cluster_id) = match kind {
            Kind::Same => (DoubtKind::Split, person(0), person(1)),
            Kind::Join => (DoubtKind::Unsorted, person(1), None),
            Kind::Belongs => (DoubtKind::Stranger, person(0), None),
            Kind::Face | Kind::Name => (DoubtKind::NotAFace, person(0), None),
        };
        let track = sides.first().and_then(|side| side.first()).copied();
        Doubt {
            video_id: video_id.clone(),
            doubt_idx: doubt_idx as i64,
            kind,
            track_id: track.filter(|_| kind != DoubtKind::Split),
            cluster_id,
            other_cluster_id,
            probability: *probability,
            secs: value_secs / probability,
        }
    };
    questions.iter().enumerate().map(row).collect()
}

/// Rows of `calibration`: bins in which there are pairs.
fn curve(video_id: &Symbol, calibration: &method::Calibration) -> impl Iterator<Item = Calibration> {
    let counts = calibration.open.iter().zip(&calibration.cannot_link).enumerate();
    counts.filter(|(_, (open, apart))| **open + **apart > 0).map(|(bin, (open, apart))| Calibration {
        video_id: video_id.clone(),
        bin: bin as i64,
        similarity: method::Calibration::similarity(bin),
        n_open: *open as i64,
        n_apart: *apart as i64,
        same: method::Calibration::same(bin),
    })
}
