//! Answers of Amazon Rekognition Video, JSON: `GetFaceSearch`, `GetPersonTracking`, `GetCelebrityRecognition` and
//! `GetFaceDetection`; one answer, or a list of the pages of one.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Face, Labels, Line, Scene, Unused, Wrong, documents, identity};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    job_status: Option<String>,
    next_token: Option<String>,
    video_metadata: Option<Metadata>,
    persons: Option<Vec<Seen>>,
    celebrities: Option<Vec<Seen>>,
    faces: Option<Vec<Seen>>,
    /// The other members.
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata {
    frame_rate: f64,
    frame_width: f64,
    frame_height: f64,
}

/// A person, a celebrity or a face at a time.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Seen {
    /// Milliseconds.
    timestamp: f64,
    #[serde(alias = "Celebrity")]
    person: Option<Person>,
    face: Option<Detail>,
    face_matches: Option<Vec<Match>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Person {
    index: Option<i64>,
    name: Option<String>,
    face: Option<Detail>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Detail {
    bounding_box: Option<Share>,
    /// Landmarks, pose, emotions and the like.
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// A box, in shares of the frame.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Share {
    left: f64,
    top: f64,
    width: f64,
    height: f64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Match {
    similarity: Option<f64>,
    face: Option<Known>,
}

/// A face of a collection.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Known {
    external_image_id: Option<String>,
    face_id: Option<String>,
}

pub(super) fn read(content: &str, scene: Option<&Scene>) -> Result<Labels, Wrong> {
    let pages: Vec<Page> = documents(content)?;
    if let Some(status) = pages.iter().filter_map(|page| page.job_status.as_ref()).find(|s| *s != "SUCCEEDED")
    {
        return Err((1, format!("the job has the status `{status}`, not `SUCCEEDED`")));
    }
    if pages.iter().all(|page| page.lists().iter().all(|(_, list)| list.is_none())) {
        return Err((1, "the file has none of the lists `Persons`, `Celebrities` and `Faces`".to_owned()));
    }
    let stated = pages.iter().find_map(|page| page.video_metadata.as_ref());
    let stated =
        stated.and_then(|video| Scene::of_rate(video.frame_rate, video.frame_width, video.frame_height));
    let scene = scene.or(stated.as_ref()).ok_or_else(super::no_scene)?;
    let (mut labels, mut unused) = (Labels::default(), Unused::default());
    let (mut no_box, mut outside, mut empty, mut details, mut unnamed, mut only_numbers) = (0, 0, 0, 0, 0, 0);
    let names = names_by_index(&pages);
    let mut by_index = 0;
    for page in &pages {
        for (kind, list) in page.lists() {
            for (at, seen) in list.into_iter().flatten().enumerate() {
                let face =
                    seen.person.as_ref().and_then(|person| person.face.as_ref()).or(seen.face.as_ref());
                let Some(share) = face.and_then(|face| face.bounding_box.as_ref()) else {
                    no_box += 1;
                    continue;
                };
                let Some(frame) = scene.frame(seen.timestamp / 1e3) else {
                    outside += 1;
                    continue;
                };
                let bbox = scene.bbox([share.left, share.top, share.width, share.height]);
                let bbox = bbox.map_err(|reason| (1, format!("{kind} {} of its list: {reason}", at + 1)))?;
                let Some(bbox) = bbox else {
                    empty += 1;
                    continue;
                };
                details +=
                    usize::from(face.is_some_and(|face| face.rest.keys().any(|key| key != "Confidence")));
                let (mut name, mut is_number) = seen.name();
                if let Some(known) = seen.index().and_then(|index| names.get(&index)).filter(|_| is_number) {
                    by_index += 1;
                    (name, is_number) = (Some(known.clone()), false);
                }
                if is_number {
                    only_numbers += 1;
                    labels.made_up.extend(name.clone());
                }
                unnamed += usize::from(name.is_none());
                labels.lines.push(Line {
                    line: 1,
                    frame,
                    face: Some(Face { bbox, identity: name, shot: None }),
                });
            }
        }
        unused.add_lists(&page.rest);
    }
    labels.warn(no_box, "entries with a body but no face, which are left out");
    labels.warn(outside, "entries at times that no frame of the video has, which are left out");
    labels.warn(empty, super::EMPTY_BOXES);
    labels.warn(by_index, "faces without a name that get the name of other faces of the same `Index`");
    labels.warn(unnamed, "faces without an identity, which are not scored");
    labels.warn(only_numbers, "faces with a number in place of a name");
    labels.warn(details, "faces with landmarks, pose, emotions or other attributes, which are left out");
    if pages.last().is_some_and(|page| page.next_token.is_some()) {
        labels.warnings.push("the last page names a next page, which is not in the file".into());
    }
    unused.warn(&mut labels);
    Ok(labels)
}

impl Page {
    /// The lists of what was seen, with the word for an entry.
    fn lists(&self) -> [(&'static str, Option<&Vec<Seen>>); 3] {
        let Self { persons, celebrities, faces, .. } = self;
        [("person", persons.as_ref()), ("celebrity", celebrities.as_ref()), ("face", faces.as_ref())]
    }
}

/// The name of each tracked person that has one: that of more than half of the entries of the person with a name.
fn names_by_index(pages: &[Page]) -> BTreeMap<i64, String> {
    let mut votes: BTreeMap<i64, BTreeMap<String, usize>> = BTreeMap::new();
    for seen in pages.iter().filter_map(|page| page.persons.as_ref()).flatten() {
        if let (Some(index), (Some(name), false)) = (seen.index(), seen.name()) {
            *votes.entry(index).or_default().entry(name).or_default() += 1;
        }
    }
    let most = |(index, votes): (i64, BTreeMap<String, usize>)| {
        let total: usize = votes.values().sum();
        Some((index, votes.into_iter().find(|(_, count)| 2 * count > total)?.0))
    };
    votes.into_iter().filter_map(most).collect()
}

impl Seen {
    /// Number of the tracked person; celebrities and faces have none.
    fn index(&self) -> Option<i64> {
        self.person.as_ref()?.index
    }

    /// The identity, and whether it is only the number of a tracked person or of a face without a name. The best match of
    /// a collection comes first.
    fn name(&self) -> (Option<String>, bool) {
        let similarity = |found: &&Match| found.similarity.unwrap_or(0.0);
        let matches = self.face_matches.iter().flatten();
        let best = matches.max_by(|a, b| similarity(a).total_cmp(&similarity(b)));
        let known = best.and_then(|found| found.face.as_ref());
        let person = self.person.as_ref();
        let external = known.and_then(|known| known.external_image_id.as_ref());
        let named = external.or_else(|| person?.name.as_ref()).and_then(|name| identity(name));
        let face = || known?.face_id.as_ref().and_then(|id| identity(id));
        let number = || face().or_else(|| person?.index.map(|index| format!("person {index}")));
        match named {
            Some(name) => (Some(name), false),
            None => number().map_or((None, false), |number| (Some(number), true)),
        }
    }
}
