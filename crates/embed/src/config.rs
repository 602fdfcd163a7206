//! Section `[embed]` of the configuration.

use std::collections::BTreeMap;
use std::fmt;

use nn::device::Place;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{self, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Error;
use crate::spec::{Name, Source};

/// The settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Embedders, `"auto"` or a list; tracks are linked by the first. `"auto"` is `sface` with `retail` as a view, or,
    /// if the weights of `retail` are missing, `sface` with `flip`.
    pub embedders: Embedders,
    /// Networks whose vectors of tracks are further evidence beside those of the first embedder, a list; stored in
    /// the table `track_views`.
    pub views: Vec<Name>,
    /// Networks that the embedder `fusion` joins, each with its weight, above 0.
    pub fusion: BTreeMap<Name, f32>,
    /// Whether every crop is embedded with its mirror image, and both vectors are added; takes twice the
    /// time. Default: as `embedders = "auto"` decides; with a list, false.
    pub flip: Option<bool>,
    /// Device of the networks: `cpu`, `cuda`, `cuda:N`, or `auto`, the first graphics card if the program
    /// was built with CUDA and a card is present.
    pub device: String,
    /// Precision of the networks: `int8`, integers of 8 bits in layers of 1×1 and of whole maps, on the CPU only;
    /// `f32`; `f16`, on graphics cards only; or `auto`, `int8` on processors that are faster with it, else `f32`.
    pub precision: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            embedders: Embedders::Auto,
            views: Vec::new(),
            fusion: BTreeMap::from([(Name::SFACE, 1.0), (Name::DLIB, 0.5)]),
            flip: None,
            device: "auto".into(),
            precision: "auto".into(),
        }
    }
}

/// The setting `embedders`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Embedders {
    /// `"auto"`: SFace with `retail` as a view, or where the weights of `retail` are missing, with mirror images.
    Auto,
    /// A list of names.
    Named(Vec<Name>),
}

impl Embedders {
    /// The embedders, the first of which links tracks.
    pub fn names(&self) -> &[Name] {
        match self {
            Self::Auto => &[Name::SFACE],
            Self::Named(names) => names,
        }
    }
}

impl Serialize for Embedders {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str(AUTO),
            Self::Named(names) => names.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Embedders {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AutoOrNames)
    }
}

/// The value of `embedders` that leaves the choice to the program.
pub const AUTO: &str = "auto";

struct AutoOrNames;

impl<'de> Visitor<'de> for AutoOrNames {
    type Value = Embedders;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{AUTO}\" or a list of embedders")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Embedders, E> {
        match text {
            AUTO => Ok(Embedders::Auto),
            _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, names: A) -> Result<Embedders, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(names)).map(Embedders::Named)
    }
}

impl Config {
    /// The settings with `auto` replaced by what it stands for: what an earlier result of the run was made with, or
    /// else SFace, with `retail` as a view if `has_weights` is true of it, and otherwise with mirror images.
    #[must_use]
    pub fn resolved(&self, earlier: Option<&Self>, has_weights: impl Fn(Name) -> bool) -> Self {
        if self.embedders != Embedders::Auto {
            return Self { flip: Some(self.flip.unwrap_or(false)), ..self.clone() };
        }
        let (embedders, views, flip) = match earlier.filter(|earlier| earlier.embedders != Embedders::Auto) {
            Some(earlier) => (earlier.embedders.clone(), earlier.views.clone(), earlier.flip),
            None => {
                let is_alone = !has_weights(Name::RETAIL);
                let views = if is_alone { Vec::new() } else { vec![Name::RETAIL] };
                (Embedders::Named(self.embedders.names().to_vec()), views, Some(is_alone))
            }
        };
        Self { embedders, views, flip: self.flip.or(flip), ..self.clone() }
    }

    /// Opens the device of the networks, in their precision.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub(crate) fn place(&self) -> Result<Place, Error> {
        Ok(Place::open(self.device.parse()?, self.precision.parse()?)?)
    }

    /// The networks whose weights are needed, in alphabetical order.
    ///
    /// # Errors
    /// [`Error::Config`] when nothing or nonsense is asked for; [`Error::NeedsOpenCv`] for an embedder that
    /// this program was built without.
    pub fn networks(&self) -> Result<Vec<Name>, Error> {
        let wrong = |reason: String| Err(Error::Config { reason });
        let mut wanted = self.embedders.names().to_vec();
        wanted.sort();
        if wanted.is_empty() {
            return wrong("embedders is empty".into());
        }
        if let Some(pair) = wanted.windows(2).find(|pair| pair[0] == pair[1]) {
            return wrong(format!("embedders contains `{}` twice", pair[0]));
        }
        if self.embedders == Embedders::Auto && !self.views.is_empty() {
            return wrong(format!("views must be empty while embedders is \"{AUTO}\""));
        }
        for (at, view) in self.views.iter().enumerate() {
            if !view.is_network() {
                return wrong(format!("views cannot contain `{view}`, which is not a network"));
            }
            if wanted.contains(view) || self.views[..at].contains(view) {
                return wrong(format!("embedders and views contain `{view}` twice"));
            }
        }
        if wanted.iter().any(|name| matches!(name.spec().source, Source::Fusion)) {
            if let Some(part) = self.fusion.keys().find(|part| !part.is_network()) {
                return wrong(format!("fusion cannot contain `{part}`, which is not a network"));
            }
            if let Some((part, weight)) = self.fusion.iter().find(|(_, w)| !(w.is_finite() && **w > 0.0)) {
                return wrong(format!("fusion: the weight of `{part}` is {weight}; it must be above 0"));
            }
            if self.fusion.is_empty() {
                return wrong("fusion is empty".into());
            }
            wanted.extend(self.fusion.keys());
        }
        let needs_opencv = |name: &&Name| matches!(name.spec().source, Source::Vocabulary(_));
        if let Some(name) = wanted.iter().find(needs_opencv)
            && cfg!(not(feature = "opencv"))
        {
            return Err(Error::NeedsOpenCv { embedder: *name });
        }
        wanted.extend(&self.views);
        wanted.retain(|name| name.is_network());
        wanted.sort();
        wanted.dedup();
        Ok(wanted)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<Name> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    fn of(embedders: &[&str]) -> Config {
        Config { embedders: Embedders::Named(names(embedders)), ..Config::default() }
    }

    #[test]
    fn networks_are_those_that_need_weights_once_each() {
        assert_eq!(Config::default().networks().unwrap(), names(&["sface"]));
        let all = of(&["vgg", "fusion", "dlib"]);
        assert_eq!(all.networks().unwrap(), names(&["dlib", "sface", "vgg"]));
    }

    #[test]
    fn auto_is_sface_with_retail_or_with_mirror_images_and_a_run_keeps_its_choice() {
        let auto = Config::default();
        let [alone, both] = [false, true].map(|at_hand| auto.resolved(None, |_| at_hand));
        assert_eq!(alone, Config { flip: Some(true), ..of(&["sface"]) });
        assert_eq!(both, Config { flip: Some(false), views: names(&["retail"]), ..of(&["sface"]) });
        let once = Config { flip: Some(false), ..auto.clone() };
        assert_eq!(once.resolved(None, |_| false), Config { flip: Some(false), ..of(&["sface"]) });
        assert_eq!(both.networks().unwrap(), names(&["retail", "sface"]));
        assert_eq!(auto.resolved(Some(&alone), |_| true), alone);
        assert_eq!(auto.resolved(Some(&both), |_| false), both);
        let named = Config { flip: Some(false), ..of(&["dlib"]) };
        assert_eq!(of(&["dlib"]).resolved(Some(&both), |_| true), named);
    }

    #[test]
    fn auto_is_a_word_and_embedders_are_a_list() {
        let read = |value: serde_json::Value| serde_json::from_value::<Embedders>(value);
        for embedders in [Embedders::Auto, of(&["sface", "dlib"]).embedders] {
            let written = serde_json::to_value(&embedders).unwrap();
            assert_eq!(read(written).unwrap(), embedders);
        }
        assert_eq!(serde_json::to_value(Embedders::Auto).unwrap(), "auto");
        let message = read("sface".into()).unwrap_err().to_string();
        assert!(message.contains("expected \"auto\" or a list of embedders"), "{message}");
    }

    #[test]
    fn descriptors_have_no_weights_and_need_opencv() {
        for name in ["orb", "sift"] {
            let networks = of(&["sface", name]).networks().map_err(|error| error.to_string());
            let refused = format!("the embedder {name} needs OpenCV, which this program was built without");
            let expected = if cfg!(feature = "opencv") { Ok(names(&["sface"])) } else { Err(refused) };
            assert_eq!(networks, expected);
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let fusion = |part: &str, weight| Config {
            fusion: BTreeMap::from([(part.parse().unwrap(), weight)]),
            ..of(&["fusion"])
        };
        let cases = [
            (of(&[]), "embedders is empty"),
            (of(&["orb", "sface", "orb"]), "embedders contains `orb` twice"),
            (fusion("sift", 1.0), "fusion cannot contain `sift`, which is not a network"),
            (fusion("dlib", 0.0), "fusion: the weight of `dlib` is 0; it must be above 0"),
            (Config { fusion: BTreeMap::new(), ..of(&["fusion"]) }, "fusion is empty"),
            (
                Config { views: names(&["retail"]), ..Config::default() },
                "views must be empty while embedders is \"auto\"",
            ),
            (
                Config { views: names(&["sface"]), ..of(&["sface"]) },
                "embedders and views contain `sface` twice",
            ),
            (
                Config { views: names(&["fusion"]), ..of(&["sface"]) },
                "views cannot contain `fusion`, which is not a network",
            ),
        ];
        for (config, expected) in cases {
            let message = config.networks().unwrap_err().to_string();
            assert!(message.ends_with(expected), "{message}");
        }
    }
}
