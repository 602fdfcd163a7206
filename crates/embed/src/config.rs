//! Section `[embed]` of the configuration.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::spec::{Name, Source};

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
            embedders: vec![Name::SFACE],
            fusion: BTreeMap::from([(Name::SFACE, 1.0), (Name::DLIB, 0.5)]),
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
    /// [`Error::Config`] when nothing or nonsense is asked for; [`Error::NeedsOpenCv`] for an embedder that
    /// this program was built without.
    pub fn networks(&self) -> Result<Vec<Name>, Error> {
        let wrong = |reason: String| Err(Error::Config { reason });
        let mut wanted = self.embedders.clone();
        wanted.sort();
        if wanted.is_empty() {
            return wrong("embedders is empty".into());
        }
        if let Some(pair) = wanted.windows(2).find(|pair| pair[0] == pair[1]) {
            return wrong(format!("embedders contains `{}` twice", pair[0]));
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
        Config { embedders: names(embedders), ..Config::default() }
    }

    #[test]
    fn networks_are_those_that_need_weights_once_each() {
        assert_eq!(Config::default().networks().unwrap(), names(&["sface"]));
        let all = of(&["vgg", "fusion", "dlib"]);
        assert_eq!(all.networks().unwrap(), names(&["dlib", "sface", "vgg"]));
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
        ];
        for (config, expected) in cases {
            let message = config.networks().unwrap_err().to_string();
            assert!(message.ends_with(expected), "{message}");
        }
    }
}
