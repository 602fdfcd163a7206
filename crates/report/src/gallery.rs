//! The page of a gallery: who is in which of several videos. Like the page of a run, one file that opens from disk
//! without a network; it has no script.

use geometry::main_cast;
use minijinja::value::Serde;
use schema::footer::Picture;
use schema::tables::{Crop, Identity};
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::faces::{ThumbnailBudget, jpeg, shown};
use crate::{environment, format, palette};

const PAGE: &str = include_str!("gallery.html.j2");
const STYLE: &str = include_str!("gallery.css");
/// Longest edge of a face, pixels.
const FACE_PX: u32 = 160;
/// Number of people, by screen time, who have a face on the page and a row in the table.
pub const MOST_PEOPLE: usize = 200;
/// Number of videos that have a column in the table.
const MOST_VIDEOS: usize = 60;
/// Number of matches that the page lists for review.
pub const MOST_MATCHES: usize = 24;
/// Margin from which a match needs no review, in cosine similarity.
pub const CERTAIN_MARGIN: f64 = 0.3;

/// A gallery.
#[derive(Debug, Clone, Default)]
pub struct Gallery {
    /// Name of the folder.
    pub name: String,
    /// The videos, in the order in which they were added.
    pub videos: Vec<Video>,
    /// The people, those longest on screen first.
    pub people: Vec<Person>,
    /// Matches to review, the least certain first.
    pub matches: Vec<Match>,
    /// Number of people in several videos.
    pub n_in_several: usize,
}

/// A video.
#[derive(Debug, Clone, Default)]
pub struct Video {
    /// Name of the run.
    pub run_id: String,
    /// Path of the page of the run from the page of the gallery; `None` where the run is gone.
    pub page: Option<String>,
}

/// A person.
#[derive(Debug, Clone, Default)]
pub struct Person {
    /// Key of the person.
    pub person_id: i64,
    /// Name; `None` for a person without a name.
    pub name: Option<String>,
    /// Number of videos with the person.
    pub n_videos: usize,
    /// Time on screen in all videos, seconds.
    pub screen_secs: f64,
    /// Videos with the person, by index, in order, and the time on screen in each, seconds.
    pub cells: Vec<(usize, f64)>,
    /// Video and cluster with the best face; `None` when no run is in its place.
    pub place: Option<Place>,
    /// The best face, JPEG; `None` when there is no picture.
    pub face: Option<Vec<u8>>,
}

/// A person of a video: index of the video, and key of the cluster in the run.
pub type Place = (usize, i64);

/// A match of a person of a video, or the decision that the person is new.
#[derive(Debug, Clone, Default)]
pub struct Match {
    /// Index of the video.
    pub video: usize,
    /// Key of the cluster in the run.
    pub cluster_id: i64,
    /// Key of the person of the gallery.
    pub person_id: i64,
    /// The person of the gallery.
    pub person: String,
    /// The person who is compared: the same person in other videos, or the most similar other one.
    pub other: String,
    /// Key of that person.
    pub other_id: i64,
    /// Whether the person was known before.
    pub is_known: bool,
    /// Difference in similarity from the opposite decision.
    pub margin: f64,
    /// Video and cluster of the faces of the cluster and of the other; `None` where no run is in its place.
    pub places: [Option<Place>; 2],
    /// Faces of the cluster and of the other, JPEG.
    pub faces: [Option<Vec<u8>>; 2],
}

impl Person {
    /// Returns the text for users: the name, or the key, as in "Person 3".
    pub fn label(&self) -> String {
        label(self.person_id, self.name.as_deref())
    }
}

/// Returns the text for users of a person of a gallery: the name, or the key, as in "Person 3".
pub fn label(person_id: i64, name: Option<&str>) -> String {
    name.map_or_else(|| format!("Person {person_id}"), str::to_owned)
}

/// Returns a face of the table `crops` as a small JPEG, without what is outside of the picture, if it is known; `None`
/// where the run keeps no pictures.
///
/// # Errors
/// When the picture cannot be decoded.
pub fn face(crop: &Crop, picture: Option<&Picture>) -> Result<Option<Vec<u8>>> {
    let Crop { track_id, frame_idx, .. } = *crop;
    let unreadable = |source| Error::Crop { track_id, frame_idx, source };
    let Some(encoded) = &crop.image else { return Ok(None) };
    let image = shown(crop, encoded, picture).map_err(unreadable)?;
    jpeg(&image, FACE_PX).map(Some).map_err(unreadable)
}

impl Gallery {
    /// Returns the gallery with numbers in place of names.
    #[must_use]
    pub fn without_names(mut self) -> Self {
        self.people.iter_mut().for_each(|person| person.name = None);
        for found in &mut self.matches {
            found.person = label(found.person_id, None);
            found.other = label(found.other_id, None);
        }
        self
    }

    /// Renders the page.
    ///
    /// # Errors
    /// When the template cannot be rendered.
    pub fn render(&self) -> Result<String> {
        Ok(environment()?.render_str(PAGE, minijinja::Value::from(Serde(self.page())))?)
    }

    fn page(&self) -> Value {
        let mut thumbnails = ThumbnailBudget::default();
        let mut picture = |jpeg: &Option<Vec<u8>>, alt: String| {
            jpeg.as_ref().and_then(|jpeg| thumbnails.picture(jpeg, alt))
        };
        let secs: Vec<f64> = self.people.iter().map(|person| person.screen_secs).collect();
        let is_main = main_cast(&secs);
        let longest = self.people.iter().map(|person| person.screen_secs).fold(1e-3, f64::max);
        // Columns are in the order of the names.
        let mut order: Vec<usize> = (0..self.videos.len()).collect();
        order.sort_by(|a, b| self.videos[*a].run_id.cmp(&self.videos[*b].run_id));
        let (mut main, mut minor) = (Vec::new(), Vec::new());
        for (at, person) in self.people.iter().take(MOST_PEOPLE).enumerate() {
            let is_main = is_main[at];
            let cell = |at: &usize| {
                let found = person.cells.binary_search_by_key(at, |(video, _)| *video);
                found.ok().map(|found| person.cells[found].1)
            };
            let videos = order.iter().filter(|at| cell(at).is_some());
            let shown = json!({
                "anchor": format!("p{}", person.person_id),
                "id": person.person_id,
                "name": person.label(),
                "class": palette::colour(Some(at as i64), |_| is_main).0,
                "face": picture(&person.face, format!("Best picture of {}", person.label())),
                "time": format::length(person.screen_secs),
                "bar": format!("{:.1}%", person.screen_secs / longest * 100.0),
                "n_videos": format::counted(person.n_videos, "video", "videos"),
                "videos": videos.take(4).map(|at| video(&self.videos[*at])).collect::<Vec<_>>(),
                "more": person.n_videos.saturating_sub(4),
                "cells": order.iter().take(MOST_VIDEOS).map(|at| cell(at).map(|secs| json!({
                    "time": format::length(secs), "shade": format!("{:.2}", (secs / longest).sqrt()),
                }))).collect::<Vec<_>>(),
            });
            if is_main { &mut main } else { &mut minor }.push(shown);
        }
        let matches: Vec<Value> = self
            .matches
            .iter()
            .map(|found| {
                let run = self.videos.get(found.video).map_or("", |video| video.run_id.as_str());
                let own = format!("{} of {run}", Identity::numbered(found.cluster_id));
                json!({
                    "faces": [picture(&found.faces[0], own.clone()), picture(&found.faces[1], found.other.clone())],
                    "own": own,
                    "person": found.person,
                    "other": found.other,
                    "is_known": found.is_known,
                    "margin": format!("{:.3}", found.margin).replace('-', "\u{2212}"),
                })
            })
            .collect();
        json!({
            "name": self.name,
            "title": if self.videos.is_empty() { "People".into() } else { format!("People in {}", format::counted(self.videos.len(), "video", "videos")) },
            "lede": self.lede(),
            "main": main,
            "minor": minor,
            "hidden": self.people.len().saturating_sub(MOST_PEOPLE),
            "videos": order.iter().take(MOST_VIDEOS).map(|at| video(&self.videos[*at])).collect::<Vec<_>>(),
            "hidden_videos": self.videos.len().saturating_sub(MOST_VIDEOS),
            "matches": matches,
            "pictures_left_out": thumbnails.left_out,
            "style": format!("{}{STYLE}", palette::style()),
        })
    }

    fn lede(&self) -> String {
        let videos = format::counted(self.videos.len(), "video", "videos");
        match (self.videos.len(), self.people.first()) {
            (0, _) => "The gallery has no video.".into(),
            (_, None) => format!("No person was found in {videos}."),
            (_, Some(first)) => format!(
                "{} in {videos}, {} in several of the videos. {} is on screen longest: {}.",
                format::counted(self.people.len(), "person", "people"),
                format::count(self.n_in_several),
                first.label(),
                format::length(first.screen_secs)
            ),
        }
    }
}

fn video(video: &Video) -> Value {
    json!({ "run": video.run_id, "page": video.page.as_deref().map(address) })
}

/// Returns a path as a relative address: every byte but letters, digits and some signs as `%XX`.
fn address(path: &str) -> String {
    let mut address = String::new();
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' | b'~' => {
                address.push(char::from(byte));
            }
            byte => address.push_str(&format!("%{byte:02X}")),
        }
    }
    // A colon in the first part would be read as a scheme, and is `%3A` here.
    if path.starts_with('/') { format!("file://{address}") } else { address }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn gallery() -> Gallery {
        let video =
            |run_id: &str, page: Option<&str>| Video { run_id: run_id.into(), page: page.map(Into::into) };
        let person = |person_id, name: Option<&str>, cells: &[(usize, f64)]| Person {
            person_id,
            name: name.map(Into::into),
            n_videos: cells.len(),
            screen_secs: cells.iter().map(|(_, secs)| secs).sum(),
            cells: cells.to_vec(),
            place: None,
            face: Some(vec![1, 2, 3]),
        };
        Gallery {
            name: "library".into(),
            videos: vec![video("e01", Some("../e 01/report/index.html")), video("<i>e02</i>", None)],
            people: vec![
                person(4, Some("<b>Ross</b>"), &[(0, 60.0), (1, 30.0)]),
                person(0, None, &[(1, 12.5)]),
                person(7, None, &[(0, 0.5)]),
            ],
            matches: vec![Match {
                video: 1,
                cluster_id: 2,
                person: "Person 0".into(),
                other: "<b>Ross</b>".into(),
                margin: 0.0123,
                ..Match::default()
            }],
            n_in_several: 1,
        }
    }

    #[test]
    fn people_videos_and_matches_are_on_the_page_and_everything_is_escaped() {
        let page = gallery().render().unwrap();
        assert!(page.contains("&lt;b&gt;Ross&lt;&#x2f;b&gt;") && !page.contains("<b>Ross"), "{page}");
        assert!(!page.contains("<i>e02"));
        assert!(
            page.contains("href=\"..&#x2f;e%2001&#x2f;report&#x2f;index.html\"")
                || page.contains("href=\"../e%2001/report/index.html\"")
        );
        assert!(page.contains("<summary>1 minor person</summary>"), "{page}");
        assert!(page.contains("0.012") && page.contains("Person 3 of"));
        for forbidden in ["<script", "http://", "https://", "src=\"/"] {
            assert!(!page.contains(forbidden), "{forbidden}");
        }
        assert!(page.contains("default-src 'none'"));
    }

    #[test]
    fn an_empty_gallery_says_so() {
        let page = Gallery { name: "library".into(), ..Gallery::default() }.render().unwrap();
        assert!(page.contains("The gallery has no video."));
        assert!(!page.contains("<table") && !page.contains("To review"));
    }

    #[test]
    fn every_colour_of_the_style_is_defined() {
        for used in STYLE.split("var(--").skip(1).map(|rest| rest.split([')', ',']).next().unwrap()) {
            let is_own = ["k", "s", "serif", "sans"].contains(&used);
            assert!(is_own || palette::style().contains(&format!("--{used}:")), "--{used}");
        }
    }

    #[test]
    fn addresses_keep_to_the_folder() {
        assert_eq!(address("../a b/é:#?.html"), "../a%20b/%C3%A9%3A%23%3F.html");
        assert_eq!(address("/x/y"), "file:///x/y");
    }
}
