//! Moments of the video: a time, and a link that plays it.

use serde_json::{Value, json};

use crate::format;

/// Links to moments of the video.
#[derive(Debug, Clone)]
pub(crate) struct Moments {
    /// Address of the video as text of an attribute; `None` for times that are no links.
    url: Option<String>,
    /// Source of media in the content security policy.
    pub(crate) source: String,
}

impl Moments {
    /// For a video at this address.
    pub(crate) fn new(url: Option<&str>) -> Self {
        Self { url: url.map(escaped), source: url.map_or_else(|| "'none'".into(), source) }
    }

    /// A moment of the video: text, and the address of the link or null.
    pub(crate) fn at(&self, secs: f64) -> Value {
        json!({ "text": format::moment(secs), "href": self.href(secs) })
    }

    /// Address of a moment, as text of an attribute: a media fragment (W3C Media Fragments URI 1.0).
    pub(crate) fn href(&self, secs: f64) -> Option<String> {
        Some(format!("{}#t={:.2}", self.url.as_ref()?, secs.max(0.0)))
    }
}

/// The source of a content security policy that allows exactly the scheme, or the host, of an address; a relative address
/// is on the host of the page.
fn source(url: &str) -> String {
    match url.split_once("://") {
        Some(("file", _)) => "file:".into(),
        Some((scheme, rest)) => {
            let host = rest.split(['/', '?', '#', ';', ',']).next().unwrap_or_default();
            format!("{scheme}://{host}")
        }
        None => "'self' file:".into(),
    }
}

/// Text of an attribute. The template engine would also write a slash as six characters, thousands of times.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

/// The address of a file by its absolute path, percent-encoded (RFC 8089, RFC 3986); `None` for another path.
pub fn file_url(path: &str) -> Option<String> {
    let absolute = path.strip_prefix('/')?;
    Some(format!("file:///{}", encoded(absolute)))
}

/// A path with all bytes percent-encoded that are neither unreserved nor a slash (RFC 3986).
pub fn encoded(path: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
            char::from(byte).to_string()
        }
        other => format!("%{other:02X}"),
    };
    path.bytes().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_media_fragment() {
        let moments = Moments::new(file_url("/films/Der Tod & \"ich\" #1.mkv").as_deref());
        let expected = "file:///films/Der%20Tod%20%26%20%22ich%22%20%231.mkv#t=61.50";
        assert_eq!(moments.at(61.5), json!({ "text": "1:01.5", "href": expected }));
        assert_eq!(Moments::new(file_url("film.mkv").as_deref()).at(-1.0)["href"], Value::Null);
    }

    #[test]
    fn the_policy_allows_the_host_of_the_video_and_no_other() {
        let source = |url| Moments::new(url).source;
        assert_eq!(source(Some("https://tv.example:8443/a?b=1;c")), "https://tv.example:8443");
        assert_eq!(source(Some("https://tv.example;script-src *")), "https://tv.example");
        assert_eq!(source(Some("media/a.mp4")), "'self' file:");
        assert_eq!(source(None), "'none'");
        assert_eq!(Moments::new(Some("/a?b=\"&c")).href(0.0).as_deref(), Some("/a?b=&quot;&amp;c#t=0.00"));
    }
}
