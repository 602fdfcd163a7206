//! Insights of Azure AI Video Indexer, JSON: `faces`, which have names and times but no boxes.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Labels, Time, Unused, Wrong, documents, identity};

/// Beginning of the name of a person who is unknown to the service.
const UNKNOWN: &str = "Unknown #";

#[derive(Deserialize)]
struct Playlist {
    videos: Vec<Video>,
}

#[derive(Deserialize)]
struct Video {
    insights: Insights,
}

#[derive(Deserialize)]
struct Insights {
    #[serde(default)]
    faces: Vec<Face>,
    /// The other insights.
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Deserialize)]
struct Face {
    #[serde(default)]
    name: String,
    #[serde(default)]
    instances: Vec<Instance>,
}

#[derive(Deserialize)]
struct Instance {
    start: String,
    end: String,
}

pub(super) fn read(content: &str) -> Result<Labels, Wrong> {
    let playlists: Vec<Playlist> = documents(content)?;
    let videos: Vec<_> = playlists.iter().flat_map(|playlist| &playlist.videos).collect();
    let [Video { insights }] = videos[..] else {
        // A project of several videos has the times of its own playlist.
        return Err((1, format!("the file is about {} videos, not about one", videos.len())));
    };
    let (mut labels, mut unused) = (Labels::default(), Unused::default());
    let mut unknown = 0;
    for face in &insights.faces {
        let name = identity(&face.name).filter(|name| !name.starts_with(UNKNOWN));
        unknown += usize::from(name.is_none());
        for Instance { start, end } in &face.instances {
            let wrong = |text: &str| (1, format!("face {:?}: {text:?} is not a time", face.name));
            let start_secs = secs(start).ok_or_else(|| wrong(start))?;
            let end_secs = secs(end).ok_or_else(|| wrong(end))?;
            labels.times.push(Time { name: name.clone(), start_secs, end_secs });
        }
    }
    labels.warn(unknown, "people without a name, who are left out");
    unused.add_lists(&insights.rest);
    unused.warn(&mut labels);
    Ok(labels)
}

/// Seconds of a time such as `0:01:02.5`; a day may stand before the hours, as in `1.00:00:00`.
fn secs(text: &str) -> Option<f64> {
    let (hours, rest) = text.trim().split_once(':')?;
    let (minutes, secs) = rest.split_once(':')?;
    let (days, hours) = hours.split_once('.').unwrap_or(("0", hours));
    let number = |text: &str| text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0);
    Some(((number(days)? * 24.0 + number(hours)?) * 60.0 + number(minutes)?) * 60.0 + number(secs)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_hours_minutes_and_seconds() {
        for (text, expected) in
            [("0:00:00", Some(0.0)), ("0:01:02.5", Some(62.5)), ("1.00:00:01", Some(86_401.0))]
        {
            assert_eq!(secs(text), expected, "{text}");
        }
        for text in ["", "1:2", "a:00:00", "0:00:-1", "0:00:inf"] {
            assert_eq!(secs(text), None, "{text}");
        }
    }
}
