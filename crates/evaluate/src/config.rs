//! The section `[evaluate]` of the configuration.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// How figures are computed and what the page shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Smallest IoU of a detection and the labelled face that it matches, above 0 to 1.
    pub min_iou: f64,
    /// Number of sample pictures per person on the page, 1 to 100, spread over the appearances of the
    /// person.
    pub samples_per_identity: usize,
    /// Edge of the largest pictures on the page, 32 to 512 pixels; crops are never enlarged.
    pub thumbnail_px: u32,
    /// Address of the video, for the times on the page, which play the video: `https://…`, `http://…`, `file://…`, or a
    /// path relative to the page. An address that ends with `/` is a folder; the name of the file is added. An empty text
    /// makes times without links. Default: the video file.
    pub video_url: Option<String>,
    /// Show pictures of faces on the page, which is not encrypted. Default: not in an encrypted run, otherwise yes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page_pictures: Option<bool>,
    /// Show names on the page and in the subtitles, which are not encrypted. Default: not in an encrypted run, otherwise
    /// yes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page_names: Option<bool>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            min_iou: 0.5,
            samples_per_identity: 12,
            thumbnail_px: 112,
            video_url: None,
            page_pictures: None,
            page_names: None,
        }
    }
}

impl Config {
    /// Refuses values outside their documented ranges.
    pub fn check(&self) -> Result<()> {
        let wrong = |key, range| Err(Error::Setting { key, range });
        if !(self.min_iou > 0.0 && self.min_iou <= 1.0) {
            return wrong("min_iou", "above 0 and at most 1");
        }
        if !(1..=100).contains(&self.samples_per_identity) {
            return wrong("samples_per_identity", "from 1 to 100");
        }
        if !(32..=512).contains(&self.thumbnail_px) {
            return wrong("thumbnail_px", "from 32 to 512");
        }
        if !self.video_url.as_deref().is_none_or(is_address) {
            return wrong(
                "video_url",
                "an address http://, https:// or file://, or a relative path, without `#`",
            );
        }
        Ok(())
    }
}

/// Whether a text is an address of a video: no browser executes it.
fn is_address(text: &str) -> bool {
    let has_scheme = ["http://", "https://", "file://"].iter().any(|scheme| text.starts_with(scheme));
    let is_plain = text.chars().all(|c| !c.is_control() && !c.is_whitespace() && !"#\"'<>\\`".contains(c));
    is_plain && (has_scheme || !text.contains(':'))
}

#[cfg(test)]
mod tests {
    use super::Config;

    #[test]
    fn defaults_are_within_their_ranges() {
        assert!(Config::default().check().is_ok());
    }

    #[test]
    fn values_outside_their_range_are_refused() {
        let wrong = [
            Config { min_iou: 0.0, ..Config::default() },
            Config { min_iou: f64::NAN, ..Config::default() },
            Config { samples_per_identity: 0, ..Config::default() },
            Config { thumbnail_px: 4096, ..Config::default() },
        ];
        assert!(wrong.iter().all(|config| config.check().is_err()));
    }

    #[test]
    fn only_addresses_of_files_are_taken() {
        let is_taken =
            |url: &str| Config { video_url: Some(url.to_owned()), ..Config::default() }.check().is_ok();
        for url in [
            "",
            "film.mp4",
            "../films/",
            "/films/a.mkv",
            "https://tv.example:8443/a?b=1&c=2",
            "file:///a%20b.mkv",
        ] {
            assert!(is_taken(url), "{url}");
        }
        for url in
            ["javascript:alert(1)", "data:video/mp4;base64,", "a b.mp4", "a.mp4#t=3", "https://a/\"><script>"]
        {
            assert!(!is_taken(url), "{url}");
        }
    }
}
