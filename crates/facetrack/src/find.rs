//! `facetrack find`: people of a gallery who resemble the face in a photo. Nothing is stored: a candidate is no
//! identification.

use std::path::PathBuf;

use clap::Args;
use console::{Error, Result, duration, exit, say};
use detect_track::crops::SIDE;
use embed::{Config, Embedders, Name, WeightFile};
use gallery::{Candidate, Library, validate};
use schema::footer::Embedder;
use schema::tables::Person;
use serde_json::{Value, json};

use crate::cli::{WeightsDir, parse_count};
use crate::models;
use crate::single::check_file;
use crate::sources::{self, Own, WeightSource};

/// Arguments of `find`.
#[derive(Debug, Args)]
pub(crate) struct FindArgs {
    /// Directory of the gallery
    library: PathBuf,
    /// A photo of one face, JPEG or PNG
    #[arg(long, value_name = "PHOTO")]
    face: PathBuf,
    /// Largest number of people to list
    #[arg(long, value_name = "N", value_parser = parse_count, default_value = "10")]
    top: usize,
    /// Custom weights, if the gallery was made with them
    #[arg(long, value_name = "[NAME=]FILE", value_parser = Own::parse)]
    weights: Vec<Own>,
    #[command(flatten)]
    weights_dir: WeightsDir,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Prints the people who resemble the face.
pub(crate) fn main(args: &FindArgs) -> Result<()> {
    let FindArgs { library: root, face: photo, .. } = args;
    validate::require(root)?;
    check_file(photo, "photo", exit::INPUT)?;
    let library = Library::view(root)?;
    let Some(embedder) = library.embedder() else {
        return Err(Error::new(exit::INPUT, format!("the gallery `{}` has no people", root.display())));
    };
    let (yunet, files, name) = weights(args, embedder)?;
    let (face, crop) = detect_track::photo::only_face(photo, &yunet)?;
    let (found, vector) = embed::embed_one(name, &files, &crop.rgb, SIDE)?;
    if found.weights_sha256 != embedder.weights_sha256 || found.dim != embedder.dim {
        let what = format!("the gallery `{}` was made with other weights of `{name}`", root.display());
        return Err(Error::new(exit::USAGE, what).hint(format!("pass them with --weights {name}=FILE")));
    }
    let mut candidates = library.candidates(&vector);
    candidates.truncate(args.top);
    // A person who is less likely than a stranger is no candidate.
    candidates.retain(|person| person.odds.is_none_or(|odds| odds.likelihood_ratio > 1.0));
    let people: Vec<(Candidate, &Person)> =
        candidates.into_iter().filter_map(|found| Some((found, library.person(found.person_id)?))).collect();
    if args.json {
        let bbox = face.bbox;
        say(&json!({
            "library": root,
            "photo": photo,
            "face": { "box": [bbox.x_min, bbox.y_min, bbox.x_max, bbox.y_max], "score": face.score },
            "embedder": embedder.name,
            "people": library.people().count(),
            "candidates": people.iter().map(row).collect::<Vec<_>>(),
        })
        .to_string());
        return Ok(());
    }
    let n_people = library.people().count();
    if people.is_empty() {
        eprintln!("no person of the {n_people} in the gallery resembles the face");
        return Ok(());
    }
    say(&table(&people));
    // The page of an encrypted gallery has no faces.
    let page = match schema::crypt::key() {
        Some(_) => format!("with `facetrack review {}`", root.display()),
        None => format!("on {}", library.root().join(gallery::PAGE).display()),
    };
    eprintln!("these are candidates among {n_people} people, not identifications: compare the faces {page}");
    if embedder.similarity.is_none() {
        eprintln!("there are no odds, because the similarities of `{name}` are not calibrated");
    }
    Ok(())
}

/// The weights of the detector and of the embedder of a gallery.
fn weights(args: &FindArgs, embedder: &Embedder) -> Result<(PathBuf, Vec<WeightFile>, Name)> {
    let name: Name = embedder.name.parse().map_err(|message: String| Error::new(exit::CONTRACT, message))?;
    let config = Config { embedders: Embedders::Named(vec![name]), ..Config::default() };
    args.weights.iter().try_for_each(|own| check_file(&own.path, "weights file", exit::INPUT))?;
    let sources = sources::sources(&config, &args.weights, |_| false)?;
    let mut wanted = vec![models::YUNET];
    wanted.extend(sources.iter().filter_map(WeightSource::pinned));
    let folder = models::obtain(&wanted, args.weights_dir.given())?;
    let files = sources.iter().map(|source| source.file(&folder)).collect::<Result<_>>()?;
    Ok((models::YUNET.safetensors(&folder), files, name))
}

/// A candidate for programs.
fn row((found, person): &(Candidate, &Person)) -> Value {
    json!({
        "person_id": found.person_id,
        "name": person.name,
        "similarity": found.similarity,
        "likelihood_ratio": found.odds.map(|odds| odds.likelihood_ratio),
        "odds": found.odds.map(|odds| odds.odds),
        "n_videos": person.n_videos,
        "n_tracks": person.n_tracks,
        "screen_secs": person.screen_secs,
    })
}

/// The candidates for people, one a line.
fn table(people: &[(Candidate, &Person)]) -> String {
    let mut rows = vec![["PERSON", "NAME", "SIMILARITY", "ODDS", "VIDEOS", "ON SCREEN"].map(str::to_owned)];
    rows.extend(people.iter().map(|(found, person)| {
        [
            found.person_id.to_string(),
            person.name.clone().unwrap_or_else(|| "-".into()),
            format!("{:.2}", found.similarity),
            found.odds.map_or_else(|| "-".into(), |odds| in_words(odds.odds)),
            person.n_videos.to_string(),
            duration(person.screen_secs),
        ]
    }));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    let line = |row: &[String; 6]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Odds as people write them, such as `20 to 1`, with two digits.
fn in_words(odds: f64) -> String {
    let side = |odds: f64| match odds {
        odds if odds < 10.0 => format!("{odds:.1}"),
        odds => {
            let unit = 10_f64.powf(odds.log10().floor() - 1.0);
            format!("{:.0}", (odds / unit).round() * unit)
        }
    };
    if odds >= 1.0 { format!("{} to 1", side(odds)) } else { format!("1 to {}", side(odds.recip())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odds_are_written_with_two_digits() {
        let found = [1234.0, 20.4, 9.96, 1.0, 0.5, 0.0123, 1e-4].map(in_words);
        assert_eq!(
            found,
            ["1200 to 1", "20 to 1", "10.0 to 1", "1.0 to 1", "1 to 2.0", "1 to 81", "1 to 10000"]
        );
    }
}
