//! What is stored of one person, as a folder that the person can read: where and when the person appears, the pictures,
//! the vectors, and the corrections.
//!
//! ```text
//! index.html         what is stored, for people
//! appearances.csv    one line per appearance
//! boxes.csv          one line per box of the face
//! vectors.json       every vector, with the embedder that made it
//! corrections.json   every correction about the person; without the names of those who made it
//! pictures/          every picture of the face, JPEG or PNG
//! ```

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use ::run::RunReader;
use ::run::edits::{Faces, Log};
use ::run::files::new_folder;
use schema::Row as _;
use schema::UnitVector;
use schema::cell::Category as _;
use schema::footer::Footer;
use schema::tables::{Crop, Embedding, LinkVector, TrackEmbedding, TrackView};
use serde_json::{Value, json};

use crate::run::Run;
use crate::xml::escape;
use crate::{Error, Result};

/// Largest number of pictures of a video on the page; the folder has all.
const MOST_PICTURES: usize = 60;

/// A person in a run.
#[derive(Debug, Clone)]
pub struct Part {
    /// The run.
    pub run: RunReader,
    /// Clusters of the person.
    pub clusters: BTreeSet<i64>,
}

/// A vector that is stored outside of runs, such as in a gallery.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// Where it is stored, for people.
    pub place: String,
    /// Name of the embedder.
    pub embedder: String,
    /// The vector.
    pub vector: UnitVector,
}

/// What a folder contains.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Number of appearances.
    pub appearances: usize,
    /// Number of boxes.
    pub boxes: usize,
    /// Number of pictures.
    pub pictures: usize,
    /// Number of vectors.
    pub vectors: usize,
    /// Number of corrections.
    pub corrections: usize,
}

/// The files while they are made.
#[derive(Debug)]
struct Files<'a> {
    folder: &'a Path,
    page: String,
    appearances: String,
    boxes: String,
    vectors: Vec<Value>,
    corrections: Vec<Value>,
    counts: Counts,
}

/// Writes the folder `out`, which must be empty or absent: the whole folder, or nothing. `title` says who the person is,
/// for people.
///
/// # Errors
/// When a table cannot be read, or a file not be written.
pub fn write(out: &Path, title: &str, parts: &[Part], stored: &[Stored]) -> Result<Counts> {
    new_folder(out, |folder| {
        let mut files = Files {
            folder,
            page: String::new(),
            appearances: "video,run,appearance,start_secs,end_secs\n".into(),
            boxes: "video,run,frame_idx,t_secs,track_id,x_min,y_min,x_max,y_max\n".into(),
            vectors: Vec::new(),
            corrections: Vec::new(),
            counts: Counts::default(),
        };
        fs::create_dir(folder.join("pictures")).map_err(failed("create", folder))?;
        for (number, part) in (1..).zip(parts) {
            files.add(number, part)?;
        }
        for Stored { place, embedder, vector } in stored {
            let values = vector.as_slice();
            files.vectors.push(json!({ "place": place, "embedder": embedder, "vector": values }));
        }
        files.finish(title)
    })
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_path_buf();
    move |source| Error::Io { action, path, source }
}

impl Files<'_> {
    /// Adds a run.
    fn add(&mut self, number: usize, Part { run: reader, clusters }: &Part) -> Result<()> {
        let run = Run::read(reader.root())?;
        let is_own = |track: i64| run.cluster_of(track).is_some_and(|cluster| clusters.contains(&cluster));
        let tracks: BTreeSet<i64> =
            run.tracks.iter().map(|row| row.track_id).filter(|id| is_own(*id)).collect();
        let (video, run_id) = (csv(&run.video.file_name), csv(&reader.manifest().run_id));
        let names: BTreeSet<String> = clusters.iter().map(|cluster| run.name(*cluster)).collect();
        let names = names.into_iter().collect::<Vec<_>>().join(", ");
        let mut table = String::new();
        for row in run.appearances.iter().filter(|row| clusters.contains(&row.cluster_id)) {
            let (start, end) = run.appearance_secs(row);
            self.counts.appearances += 1;
            let _ = writeln!(self.appearances, "{video},{run_id},{},{start:.3},{end:.3}", row.appearance_idx);
            let _ = write!(table, "<tr><td>{}<td>{}<td>{:.1} s", clock(start), clock(end), end - start);
        }
        let mut n_boxes = 0;
        for row in run.boxes.iter().filter(|row| row.track_id.is_some_and(|id| tracks.contains(&id))) {
            n_boxes += 1;
            let t_secs = run.times.t_secs(row.frame_idx);
            let _ = writeln!(
                self.boxes,
                "{video},{run_id},{},{t_secs:.3},{},{},{},{},{}",
                row.frame_idx,
                row.track_id.unwrap_or_default(),
                row.x_min,
                row.y_min,
                row.x_max,
                row.y_max
            );
        }
        self.counts.boxes += n_boxes;
        let (shown, n_pictures) = self.pictures(number, reader, &run, &tracks)?;
        let before = self.vectors.len();
        self.vectors_of(reader, &tracks)?;
        let n_vectors = self.vectors.len() - before;
        let n_corrections = self.corrections_of(reader, &tracks)?;
        let more = if n_pictures > MOST_PICTURES {
            format!(
                "<p>The page shows {MOST_PICTURES} of {n_pictures} pictures; all are in the folder <code>pictures</code>."
            )
        } else {
            String::new()
        };
        let _ = write!(
            self.page,
            "<section><h2>{}</h2><p>Run <code>{}</code> of {}, in which the person is called {}. SHA-256 of the video: \
             <code>{}</code>.<p>Stored are {n_boxes} boxes of the face in frames, {n_pictures} pictures, {n_vectors} \
             vectors and {n_corrections} corrections.<table><tr><th>from<th>to<th>duration{table}</table>\
             <div>{shown}</div>{more}</section>",
            escape(&run.video.file_name),
            escape(&reader.root().display().to_string()),
            escape(reader.manifest().stages.first().map_or("facetrack", |stage| &stage.producer)),
            escape(&names),
            escape(&run.video.sha256),
        );
        Ok(())
    }

    /// Writes the pictures of tracks; returns those on the page as HTML, and the number of all.
    fn pictures(
        &mut self,
        number: usize,
        reader: &RunReader,
        run: &Run,
        tracks: &BTreeSet<i64>,
    ) -> Result<(String, usize)> {
        let (mut shown, mut count) = (String::new(), 0);
        for batch in reader.open_tracks::<Crop>(tracks)? {
            for row in batch.map_err(::run::Error::from)? {
                let Some(image) = row.image.as_ref().filter(|_| tracks.contains(&row.track_id)) else {
                    continue;
                };
                // What another program wrote belongs to the person, too.
                let ending = picture::Format::of(image).map_or("bin", picture::Format::extension);
                let name = format!("pictures/{number}-{}-{}.{ending}", row.track_id, row.rank);
                let path = self.folder.join(&name);
                fs::write(&path, image).map_err(failed("write", &path))?;
                count += 1;
                if count <= MOST_PICTURES {
                    let time = clock(run.times.t_secs(row.frame_idx));
                    let _ = write!(
                        shown,
                        "<img src=\"{name}\" alt=\"face at {time}\" title=\"{time}\" width=96>"
                    );
                }
            }
        }
        self.counts.pictures += count;
        Ok((shown, count))
    }

    fn vectors_of(&mut self, reader: &RunReader, tracks: &BTreeSet<i64>) -> Result<()> {
        let vectors = &mut self.vectors;
        let run = &reader.manifest().run_id;
        let mut add =
            |footer: &Footer, table: &str, embedder: &str, track: i64, frame: Option<i64>, v: &UnitVector| {
                let known = footer.embedders.iter().find(|known| known.name == embedder);
                vectors.push(json!({
                    "run": run, "table": table, "embedder": embedder,
                    "weights_sha256": known.map(|known| &known.weights_sha256),
                    "track_id": track, "frame_idx": frame, "vector": v.as_slice(),
                }));
            };
        /// Reads a table, if the run has it.
        macro_rules! each {
            ($row:ident, $frame:expr, $vector:expr) => {
                if reader.has::<$row>() {
                    let table = reader.open_tracks::<$row>(tracks)?;
                    let footer = table.footer().clone();
                    for batch in table {
                        for row in batch.map_err(::run::Error::from)? {
                            if tracks.contains(&row.track_id) {
                                let (frame, vector): (Option<i64>, &UnitVector) =
                                    ($frame(&row), $vector(&row));
                                add(
                                    &footer,
                                    $row::TABLE.name,
                                    row.embedder.as_str(),
                                    row.track_id,
                                    frame,
                                    vector,
                                );
                            }
                        }
                    }
                }
            };
        }
        each!(Embedding, |row: &Embedding| Some(row.frame_idx), vector_of_crop);
        each!(TrackEmbedding, |_| None, vector_of_track);
        each!(TrackView, |_| None, vector_of_view);
        each!(LinkVector, |_| None, direction);
        Ok(())
    }

    /// Adds the corrections whose faces are among tracks; returns their number.
    fn corrections_of(&mut self, reader: &RunReader, tracks: &BTreeSet<i64>) -> Result<usize> {
        let log = Log::open(reader.root())?;
        if log.entries().is_empty() {
            return Ok(0);
        }
        let faces = Faces::read(reader)?;
        let mut count = 0;
        for entry in log.entries() {
            let marks = entry.edit.sides.iter().flatten();
            if marks.flat_map(|mark| faces.find(mark)).any(|track| tracks.contains(&track)) {
                count += 1;
                self.corrections.push(json!({
                    "run": reader.manifest().run_id, "correction": entry.edit_id, "kind": entry.edit.op.word(),
                    "made_at": entry.made_at, "name": entry.edit.name, "reason": entry.edit.reason,
                    "counts": !log.is_undone(entry.edit_id),
                }));
            }
        }
        self.counts.corrections += count;
        Ok(count)
    }

    fn finish(mut self, title: &str) -> Result<Counts> {
        self.counts.vectors = self.vectors.len();
        let Counts { appearances, boxes, pictures, vectors, corrections } = self.counts;
        let title = escape(title);
        let page = format!(
            "<!DOCTYPE html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title><style>\
             body{{font:16px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em}}\
             table{{border-collapse:collapse}}td,th{{text-align:left;padding:.1em 1em .1em 0}}img{{margin:2px}}\
             code{{overflow-wrap:anywhere}}</style><h1>What is stored of {title}</h1>\
             <p>A program found faces in videos, followed each one through its shot, and grouped them by person. It can \
             be wrong: some faces may be those of another person, and some of this person may be missing.\
             <p>Stored are {appearances} appearances (<a href=\"appearances.csv\">appearances.csv</a>), {boxes} boxes \
             (<a href=\"boxes.csv\">boxes.csv</a>), {pictures} pictures (folder <code>pictures</code>), {vectors} \
             vectors (<a href=\"vectors.json\">vectors.json</a>) and {corrections} corrections \
             (<a href=\"corrections.json\">corrections.json</a>). A vector is a list of numbers that a network computes \
             from a face, by which faces are compared: biometric data. Times count from the start of the video.{}\
             </html>\n",
            self.page
        );
        let files = [
            ("index.html", page),
            ("appearances.csv", self.appearances),
            ("boxes.csv", self.boxes),
            ("vectors.json", lines(&self.vectors)),
            ("corrections.json", lines(&self.corrections)),
        ];
        for (name, content) in files {
            let path = self.folder.join(name);
            fs::write(&path, content).map_err(failed("write", &path))?;
        }
        Ok(self.counts)
    }
}

fn vector_of_crop(row: &Embedding) -> &UnitVector {
    &row.embedding
}

fn vector_of_track(row: &TrackEmbedding) -> &UnitVector {
    &row.embedding
}

fn vector_of_view(row: &TrackView) -> &UnitVector {
    &row.embedding.0
}

fn direction(row: &LinkVector) -> &UnitVector {
    &row.direction.0
}

/// A list in JSON, one item per line.
fn lines(items: &[Value]) -> String {
    let items: Vec<String> = items.iter().map(Value::to_string).collect();
    format!("[\n{}\n]\n", items.join(",\n"))
}

/// A cell of CSV.
fn csv(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

/// A time as text: `1:02:03.4`.
fn clock(secs: f64) -> String {
    let tenths = (secs.max(0.0) * 10.0).round() as u64;
    format!("{}:{:02}:{:02}.{}", tenths / 36_000, tenths / 600 % 60, tenths / 10 % 60, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_cells_are_text() {
        assert_eq!([clock(0.0), clock(3723.45), clock(59.96)], ["0:00:00.0", "1:02:03.5", "0:01:00.0"]);
        assert_eq!(csv("a \"b\", c"), "\"a \"\"b\"\", c\"");
    }
}
