//! Answers of Amazon Rekognition Video, JSON: `GetFaceSearch`, `GetPersonTracking`, `GetCelebrityRecognition` and
//! `GetFaceDetection`; one answer, or a list of the pages of one.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Face, Labels, Line, Scene, Unused, Wrong, documents, identity};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    job_status: Option<String>,
    next_token: Option<String>,
    video_metadata: Option<Metadata>,
    #[serde(default)]
    persons: Vec<Seen>,
    #[serde(default)]
    celebrities: Vec<Seen>,
    #[serde(default)]
    faces: Vec<Seen>,
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
    let stated = pages.iter().find_map(|page| page.video_metadata.as_ref());
    let stated =
        stated.and_then(|video| Scene::of_rate(video.frame_rate, video.frame_width, video.frame_height));
    let scene = scene.or(stated.as_ref()).ok_or_else(super::no_scene)?;
    let (mut labels, mut unused) = (Labels::default(), Unused::default());
    let (mut no_box, mut outside, mut details, mut unnamed, mut only_numbers) = (0, 0, 0, 0, 0);
    for page in &pages {
        let lists = [("person", &page.persons), ("celebrity", &page.celebrities), ("face", &page.faces)];
        for (kind, list) in lists {
            for (at, seen) in list.iter().enumerate() {
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
                details +=
                    usize::from(face.is_some_and(|face| face.rest.keys().any(|key| key != "Confidence")));
                let (name, is_number) = seen.name();
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
    labels.warn(unnamed, "faces without an identity, which are not scored");
    labels.warn(only_numbers, "faces with a number in place of a name");
    labels.warn(details, "faces with landmarks, pose, emotions or other attributes, which are left out");
    if pages.last().is_some_and(|page| page.next_token.is_some()) {
        labels.warnings.push("the last page names a next page, which is not in the file".into());
    }
    unused.warn(&mut labels);
    Ok(labels)
}

impl Seen {
    /// The identity, and whether it is only the number of a tracked person or of a face without a name. The best match of a collection comes
    /// first.
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
