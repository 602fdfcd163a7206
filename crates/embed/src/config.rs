//! Section `[embed]` of the configuration.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use schema::footer::{Quality, Similarity};
use serde::{Deserialize, Serialize};

use crate::Error;

/// An embedder, as in the column `embedder`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Name {
    /// [`crate::iresnet`] or [`crate::mobilefacenet`], whichever the user's weights are.
    Arcface,
    /// [`crate::dlib`].
    Dlib,
    /// [`crate::facenet`].
    Facenet,
    /// [`crate::fusion`].
    Fusion,
    /// [`crate::words`] of binary comparisons.
    Orb,
    /// [`crate::sface`], the default.
    Sface,
    /// [`crate::words`] of gradients.
    Sift,
    /// [`crate::vgg`].
    Vgg,
}

impl Name {
    /// All of them, in alphabetical order.
    pub const ALL: [Self; 8] = [
        Self::Arcface,
        Self::Dlib,
        Self::Facenet,
        Self::Fusion,
        Self::Orb,
        Self::Sface,
        Self::Sift,
        Self::Vgg,
    ];

    /// As written in tables and settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Arcface => "arcface",
            Self::Dlib => "dlib",
            Self::Facenet => "facenet",
            Self::Fusion => "fusion",
            Self::Orb => "orb",
            Self::Sface => "sface",
            Self::Sift => "sift",
            Self::Vgg => "vgg",
        }
    }

    /// Cosine distance up to which two tracks more likely show one person; `None` where nothing is known.
    ///
    /// Of SFace, what its makers publish as the threshold of verification (similarity 0.363, chosen by
    /// them on LFW). Of the others, where average linkage does best on a clip of talking heads; those
    /// of words hold for footage of that kind only.
    pub fn same_up_to(self) -> Option<f64> {
        match self {
            Self::Arcface => None,
            Self::Dlib => Some(0.06),
            Self::Facenet | Self::Fusion => Some(0.40),
            Self::Orb => Some(0.28),
            Self::Sface => Some(1.0 - 0.363),
            Self::Sift => Some(0.30),
            Self::Vgg => Some(0.15),
        }
    }

    /// How alike tracks usually are once what a video puts into all of them is taken off; `None` where it
    /// has not been measured on enough footage.
    pub fn similarity(self) -> Option<Similarity> {
        (self == Self::Sface).then_some(Similarity { different: 0.06, same: 0.35 })
    }

    /// Quality table; `None` where none has been fitted.
    pub fn quality(self) -> Option<Quality> {
        (self == Self::Sface).then(crate::sface::quality)
    }

    /// Whether it is a network, with a weight file of its own.
    pub fn is_network(self) -> bool {
        !matches!(self, Self::Fusion | Self::Orb | Self::Sift)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unknown =
            || format!("`{text}` is no embedder; there are {}", Self::ALL.map(Self::as_str).join(", "));
        Self::ALL.into_iter().find(|name| name.as_str() == text).ok_or_else(unknown)
    }
}

/// The settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What turns crops into vectors. Tracks are linked by the vectors of the first.
    pub embedders: Vec<Name>,
    /// What `fusion` joins, and how much each counts, above 0.
    pub fusion: BTreeMap<Name, f32>,
    /// Embed every crop and its mirror image, and add both vectors; takes twice the time.
    pub flip: bool,
    /// Where networks run: `cpu`, `cuda`, `cuda:N`, or `auto`, the first card if there is one, else the CPU.
    pub device: String,
    /// In which numbers networks are computed: `f32`, or on cards `f16`.
    pub precision: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            embedders: vec![Name::Sface],
            fusion: BTreeMap::from([(Name::Sface, 1.0), (Name::Dlib, 0.5)]),
            flip: false,
            device: "auto".into(),
            precision: "f32".into(),
        }
    }
}

impl Config {
    /// The networks whose weights are needed, in alphabetical order.
    ///
    /// # Errors
    /// [`Error::Config`] when nothing or nonsense is asked for.
    pub fn networks(&self) -> Result<Vec<Name>, Error> {
        let wrong = |reason: String| Err(Error::Config { reason });
        let mut wanted = self.embedders.clone();
        wanted.sort();
        if wanted.is_empty() {
            return wrong("embedders names no embedder".into());
        }
        if let Some(pair) = wanted.windows(2).find(|pair| pair[0] == pair[1]) {
            return wrong(format!("embedders names {} twice", pair[0]));
        }
        if wanted.contains(&Name::Fusion) {
            if let Some(part) = self.fusion.keys().find(|part| !part.is_network()) {
                return wrong(format!("fusion cannot join {part}, which is no network"));
            }
            if let Some((part, weight)) = self.fusion.iter().find(|(_, w)| !(w.is_finite() && **w > 0.0)) {
                return wrong(format!("fusion counts {part} {weight} times, which is no number above 0"));
            }
            if self.fusion.is_empty() {
                return wrong("fusion joins nothing".into());
            }
            wanted.extend(self.fusion.keys());
        }
        wanted.retain(|name| name.is_network());
        wanted.sort();
        wanted.dedup();
        Ok(wanted)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;

    fn of(embedders: &[Name]) -> Config {
        Config { embedders: embedders.to_vec(), ..Config::default() }
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for name in Name::ALL {
            assert_eq!(name.as_str().parse(), Ok(name));
            assert_eq!(serde_json::to_value(name).unwrap(), name.as_str());
        }
        let message = "eyes".parse::<Name>().unwrap_err();
        assert!(message.starts_with("`eyes` is no embedder; there are arcface, dlib,"), "{message}");
    }

    #[test]
    fn networks_are_those_that_need_weights_once_each() {
        assert_eq!(Config::default().networks().unwrap(), [Name::Sface]);
        let all = of(&[Name::Vgg, Name::Fusion, Name::Sift, Name::Dlib]);
        assert_eq!(all.networks().unwrap(), [Name::Dlib, Name::Sface, Name::Vgg]);
        assert_eq!(of(&[Name::Orb]).networks().unwrap(), []);
    }

    #[test]
    fn nonsense_is_refused() {
        let fusion =
            |part, weight| Config { fusion: BTreeMap::from([(part, weight)]), ..of(&[Name::Fusion]) };
        let cases = [
            (of(&[]), "embedders names no embedder"),
            (of(&[Name::Orb, Name::Sface, Name::Orb]), "embedders names orb twice"),
            (fusion(Name::Sift, 1.0), "fusion cannot join sift, which is no network"),
            (fusion(Name::Dlib, 0.0), "fusion counts dlib 0 times, which is no number above 0"),
            (Config { fusion: BTreeMap::new(), ..of(&[Name::Fusion]) }, "fusion joins nothing"),
        ];
        for (config, expected) in cases {
            let message = config.networks().unwrap_err().to_string();
            assert!(message.ends_with(expected), "{message}");
        }
    }
}
