//! The page of a gallery, `index.html` beside its tables: people over videos, with the faces that the runs hold.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use report::gallery::{self, CERTAIN_MARGIN, Gallery, MOST_MATCHES, MOST_PEOPLE, Place};
use run::RunReader;
use run::files::replace;
use schema::tables::{Crop, Identity, Member, Person};

use crate::store::{Library, Video, are_same_people};
use crate::{Error, RunIdentities};

/// Name of the page in the directory of a gallery.
pub const PAGE: &str = "index.html";

impl Library {
    /// Writes the page of the people as of the last commit. Returns the path of the page. The page of an encrypted
    /// library has neither faces nor names.
    ///
    /// Faces are read from the runs that are in their places, as they were added; a person whose runs are gone is
    /// shown without a face.
    ///
    /// # Errors
    /// When a file of the library cannot be read, and when the page cannot be written. A run that cannot be read is no
    /// error.
    pub fn write_page(&self) -> Result<std::path::PathBuf, Error> {
        let path = self.root().join(PAGE);
        // A page is not encrypted.
        let page =
            if schema::crypt::key().is_some() { self.content(0)?.without_names() } else { self.page()? };
        replace(&path, page.render()?.as_bytes())?;
        Ok(path)
    }

    /// Returns the content of the page.
    ///
    /// # Errors
    /// When a file of the library cannot be read.
    pub fn page(&self) -> Result<Gallery, Error> {
        let mut content = self.content(MOST_PEOPLE)?;
        let mut wanted: BTreeMap<usize, BTreeSet<i64>> = BTreeMap::new();
        let of_people = content.people.iter().take(MOST_PEOPLE).filter_map(|person| person.place);
        for (video, cluster) in
            of_people.chain(content.matches.iter().flat_map(|found| found.places).flatten())
        {
            wanted.entry(video).or_default().insert(cluster);
        }
        let videos: Vec<Video> = self.videos().collect();
        let mut faces: HashMap<Place, Vec<u8>> = HashMap::new();
        for (video, clusters) in wanted {
            // A run that cannot be read has no faces.
            let found = videos[video].faces(|cluster| clusters.contains(&cluster)).unwrap_or_default();
            faces.extend(found.into_iter().map(|(cluster, face)| ((video, cluster), face)));
        }
        let face = |place: Option<Place>| faces.get(&place?).cloned();
        for person in content.people.iter_mut().take(MOST_PEOPLE) {
            person.face = face(person.place);
        }
        for found in &mut content.matches {
            found.faces = found.places.map(face);
        }
        Ok(content)
    }

    /// Returns the content of the page without the faces, with the place of a face for so many people.
    ///
    /// # Errors
    /// When a file of the library cannot be read.
    pub fn content(&self, with_place: usize) -> Result<Gallery, Error> {
        let videos: Vec<Video> = self.videos().collect();
        let tables = self.members_of_all()?;
        // The members of each person, the one longest on screen first.
        let mut members: HashMap<i64, Vec<(usize, &Member)>> = HashMap::new();
        for (video, rows) in tables.iter().enumerate() {
            rows.iter().for_each(|row| members.entry(row.person_id).or_default().push((video, row)));
        }
        for members in members.values_mut() {
            members.sort_by(|(_, a), (_, b)| b.screen_secs.total_cmp(&a.screen_secs));
        }
        // Asked only of the runs whose faces are wanted, because the answer reads tables of the run.
        let found: Vec<OnceCell<bool>> = vec![OnceCell::new(); videos.len()];
        let is_there = |at: usize| *found[at].get_or_init(|| videos[at].is_as_added(&tables[at]));
        // The place of the best face of a person, besides one video.
        let best = |person_id: i64, besides: Option<usize>| -> Option<Place> {
            let members = members.get(&person_id).into_iter().flatten();
            let mut places = members.map(|(video, row)| (*video, row.cluster_id));
            places.find(|(video, _)| Some(*video) != besides && is_there(*video))
        };
        let mut people: Vec<_> = self.people().collect();
        people.sort_by(|a, b| b.screen_secs.total_cmp(&a.screen_secs).then(a.person_id.cmp(&b.person_id)));
        let label = |id: i64| gallery::label(id, self.person(id).and_then(|person| person.name.as_deref()));
        let settled = self.settled()?;
        let mut open: Vec<(f64, usize, &Member)> = Vec::new();
        for (video, rows) in tables.iter().enumerate() {
            let rows = rows.iter().filter(|row| !settled.contains(&(video, row.cluster_id)));
            open.extend(rows.filter_map(|row| Some((row.margin?, video, row))));
        }
        open.retain(|(margin, ..)| *margin < CERTAIN_MARGIN);
        open.sort_by(|a, b| a.0.total_cmp(&b.0).then((a.1, a.2.cluster_id).cmp(&(b.1, b.2.cluster_id))));
        open.truncate(MOST_MATCHES);
        let found = |(margin, video, row): &(f64, usize, &Member)| {
            // A known person is compared with the same person in other videos, a new one with the most similar other.
            let (other, besides) = match (row.similarity, row.runner_up_person_id) {
                (None, Some(other)) => (other, None),
                _ => (row.person_id, Some(*video)),
            };
            let own = Some((*video, row.cluster_id)).filter(|(video, _)| is_there(*video));
            gallery::Match {
                video: *video,
                cluster_id: row.cluster_id,
                person_id: row.person_id,
                person: label(row.person_id),
                other_id: other,
                other: label(other),
                is_known: row.similarity.is_some(),
                margin: *margin,
                places: [own, best(other, besides)],
                faces: [None, None],
            }
        };
        let shown = |(rank, person): (usize, &&Person)| {
            let members = members.get(&person.person_id).into_iter().flatten();
            let mut cells: Vec<_> = members.map(|(video, row)| (*video, row.screen_secs)).collect();
            cells.sort_by_key(|(video, _)| *video);
            gallery::Person {
                person_id: person.person_id,
                name: person.name.clone(),
                n_videos: cells.len(),
                screen_secs: person.screen_secs,
                cells,
                place: (rank < with_place).then(|| best(person.person_id, None)).flatten(),
                face: None,
            }
        };
        Ok(Gallery {
            name: self.root().file_name().unwrap_or_default().to_string_lossy().into_owned(),
            matches: open.iter().map(found).collect(),
            people: people.iter().enumerate().map(shown).collect(),
            n_in_several: people.iter().filter(|person| person.n_videos > 1).count(),
            videos: videos
                .iter()
                .map(|video| gallery::Video { run_id: video.run_id.clone(), page: video.page() })
                .collect(),
        })
    }
}

impl Video {
    /// Whether the run is in its place, with the people that were added as these rows; names may differ.
    pub fn is_as_added(&self, rows: &[Member]) -> bool {
        let run = self.run_dir.as_deref().and_then(|path| RunIdentities::read(path).ok());
        run.is_some_and(|run| run.video_id.as_str() == self.video_id && are_same_people(rows, &run))
    }

    /// The page of the run, relative to the gallery; `None` where there is none.
    fn page(&self) -> Option<String> {
        let is_there = self.run_dir.as_ref()?.join(run::PAGE).is_file();
        is_there.then(|| Some(format!("{}/{}", self.relative.as_ref()?, run::PAGE))).flatten()
    }

    /// The best face of each cluster that is wanted, JPEG.
    ///
    /// # Errors
    /// When a table of the run cannot be read.
    pub fn faces(&self, is_wanted: impl Fn(i64) -> bool) -> Result<HashMap<i64, Vec<u8>>, Error> {
        let mut faces = HashMap::new();
        let Some(path) = &self.run_dir else { return Ok(faces) };
        let run = RunReader::open(path).map_err(Error::Run)?;
        let identities: Vec<Identity> = run.read().map_err(Error::Run)?;
        let exemplars: HashMap<(i64, i64), i64> = identities
            .iter()
            .filter(|row| is_wanted(row.cluster_id))
            .map(|row| ((row.exemplar_track_id, row.exemplar_frame_idx), row.cluster_id))
            .collect();
        let tracks = exemplars.keys().map(|(track, _)| *track).collect();
        let picture = run.picture();
        for batch in run.open_tracks::<Crop>(&tracks).map_err(Error::Run)? {
            for crop in batch? {
                let Some(cluster) = exemplars.get(&(crop.track_id, crop.frame_idx)) else { continue };
                faces.extend(gallery::face(&crop, picture.as_ref())?.map(|face| (*cluster, face)));
            }
        }
        Ok(faces)
    }
}
