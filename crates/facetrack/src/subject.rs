//! `facetrack subject-report`: what is stored of one person, in a folder for that person.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::Args;
use console::{Error, Result, counted, exit, say};
use formats::subject::{self, Counts, Part, Stored};
use gallery::{Library, validate};
use run::RunReader;
use schema::tables::Identity;
use serde_json::json;

use crate::library_edits;

/// Arguments of `subject-report`.
#[derive(Debug, Args)]
pub(crate) struct SubjectArgs {
    /// A run directory
    #[arg(
        long,
        value_name = "DIR",
        alias = "run",
        required_unless_present = "library",
        requires = "identity"
    )]
    run_dir: Option<PathBuf>,
    /// The person of the run, by the number on the page; several if the program split the person
    #[arg(long, value_name = "N,..", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..), requires = "run_dir")]
    identity: Vec<u32>,
    /// A gallery
    #[arg(long, value_name = "DIR", conflicts_with = "run_dir", requires = "person")]
    library: Option<PathBuf>,
    /// The person of the gallery: a person_id, or a name
    #[arg(long, value_name = "PERSON", requires = "library")]
    person: Option<String>,
    /// The folder to write, which must be empty or absent
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Writes the folder.
pub(crate) fn main(args: &SubjectArgs) -> Result<()> {
    let out = &args.out;
    let is_used = std::fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_some());
    if is_used || out.is_file() {
        let message = format!("`{}` is not an empty folder", out.display());
        return Err(Error::new(exit::USAGE, message).hint("pass an empty folder with --out"));
    }
    let (title, parts, stored) = match (&args.run_dir, &args.library, &args.person) {
        (Some(run_dir), ..) => of_run(run_dir, &args.identity)?,
        (None, Some(library), Some(given)) => of_gallery(library, given)?,
        _ => return Err(Error::new(exit::USAGE, "name a run or a gallery, and a person")),
    };
    let counts = subject::write(out, &title, &parts, &stored)?;
    let Counts { appearances, boxes, pictures, vectors, corrections } = counts;
    if args.json {
        say(&json!({
            "event": "subject_report", "folder": out, "videos": parts.len(), "appearances": appearances,
            "boxes": boxes, "pictures": pictures, "vectors": vectors, "corrections": corrections,
        })
        .to_string());
        return Ok(());
    }
    let found = [
        counted(parts.len(), "video", "videos"),
        counted(appearances, "appearance", "appearances"),
        counted(boxes, "box", "boxes"),
        counted(pictures, "picture", "pictures"),
        counted(vectors, "vector", "vectors"),
        counted(corrections, "correction", "corrections"),
    ];
    eprintln!("{}", found.join(", "));
    eprintln!("check that the pictures show one person only before the folder is handed over");
    say(&out.join("index.html").display().to_string());
    Ok(())
}

type Found = (String, Vec<Part>, Vec<Stored>);

fn of_run(run_dir: &Path, numbers: &[u32]) -> Result<Found> {
    let run = RunReader::open(run_dir)?;
    let people: Vec<Identity> = run.read()?;
    let clusters: BTreeSet<i64> = numbers.iter().map(|number| i64::from(*number) - 1).collect();
    let mut names = Vec::new();
    for cluster in &clusters {
        let person = people.iter().find(|person| person.cluster_id == *cluster).ok_or_else(|| {
            let message = format!("`{}` has no person {}", run_dir.display(), Identity::number(*cluster));
            Error::new(exit::USAGE, message).hint("the page lists the people with their numbers")
        })?;
        names.push(person.label());
    }
    Ok((names.join(", "), vec![Part { run, clusters }], Vec::new()))
}

fn of_gallery(root: &Path, given: &str) -> Result<Found> {
    validate::require(root)?;
    let library = Library::view(root)?;
    let tables = library.members_of_all()?;
    let mut clusters: BTreeMap<String, BTreeSet<i64>> = BTreeMap::new();
    for (video_id, cluster) in library_edits::side(&library, &tables, given)? {
        clusters.entry(video_id).or_default().insert(cluster);
    }
    let embedder = library.embedder().map(|embedder| embedder.name.clone()).unwrap_or_default();
    let (mut parts, mut stored, mut gone) = (Vec::new(), Vec::new(), Vec::new());
    let mut ids = BTreeSet::new();
    for (video, rows) in library.videos().zip(&tables) {
        let Some(own) = clusters.remove(&video.video_id) else { continue };
        for row in rows.iter().filter(|row| own.contains(&row.cluster_id)) {
            ids.insert(row.person_id);
            let place = format!("gallery `{}`, video {}", root.display(), video.video_id);
            stored.push(Stored { place, embedder: embedder.clone(), vector: row.embedding.clone() });
        }
        match video.run_dir.as_deref().filter(|_| video.is_as_added(rows)) {
            Some(run_dir) => parts.push(Part { run: RunReader::open(run_dir)?, clusters: own }),
            None => gone.push(video.run_id),
        }
    }
    for (_, vector) in library.vectors().filter(|(id, _)| ids.contains(id)) {
        let place = format!("gallery `{}`, all videos", root.display());
        stored.push(Stored { place, embedder: embedder.clone(), vector: vector.clone() });
    }
    if !gone.is_empty() {
        let message = format!(
            "these runs are not where the gallery found them, or not as they were added: {}",
            gone.join(", ")
        );
        return Err(Error::new(exit::INPUT, message)
            .hint("a report without them would be incomplete: add the runs to the gallery again"));
    }
    let names: Vec<String> = library
        .people()
        .filter(|person| ids.contains(&person.person_id))
        .map(|person| person.name.clone().unwrap_or_else(|| format!("Person {}", person.person_id)))
        .collect();
    Ok((names.join(", "), parts, stored))
}
