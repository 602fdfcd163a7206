//! Ground truth of other tools as the labels that a run takes: `frame,x,y,w,h,identity[,shot]`.
//!
//! Frames count from zero. `?` is a face that nobody is asked to know, `-` a frame without faces. Frames
//! that do not occur are not judged, so whoever says that all frames were looked at gets a line for each.

mod cvat;
mod mot;
mod table;

use std::collections::BTreeSet;
use std::path::Path;

/// More frames than a day of video has, at 60 a second; a number from a foreign file must not fill the memory.
pub const MOST_FRAMES: i64 = 6_000_000;
/// More pixels than any picture has.
const MOST_PIXELS: f64 = 1e9;

/// What is wrong, with the line from 1.
pub type Wrong = (u64, String);

/// A labelled face.
#[derive(Debug, Clone, PartialEq)]
pub struct Face {
    /// Frame, from zero.
    pub frame: i64,
    /// Left, top, width, height, pixels.
    pub rect: [f64; 4],
    /// Who it is; none where nobody is asked to know.
    pub identity: Option<String>,
    /// The shot it is in, where labels know shots.
    pub shot: Option<i64>,
}

/// Everything that a file says.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Labels {
    /// Faces.
    pub faces: Vec<Face>,
    /// Frames that were looked at, beside those of the faces.
    pub looked_at: BTreeSet<i64>,
}

/// A format of labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A table with a header.
    Csv,
    /// MOTChallenge.
    Mot,
    /// CVAT for video or for images, 1.1.
    Cvat,
}

impl Source {
    /// Names, as on the command line.
    pub const NAMES: [&'static str; 3] = ["csv", "mot", "cvat"];

    /// The format called `name`.
    pub fn by_name(name: &str) -> Option<Self> {
        let all = [Self::Csv, Self::Mot, Self::Cvat];
        Self::NAMES.iter().position(|known| *known == name).map(|at| all[at])
    }

    /// The format that a file's ending promises.
    pub fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "csv" => Some(Self::Csv),
            "txt" => Some(Self::Mot),
            "xml" => Some(Self::Cvat),
            _ => None,
        }
    }

    /// Where the format begins to count frames.
    pub fn first_frame(self) -> i64 {
        i64::from(self == Self::Mot)
    }

    /// Reads labels whose first frame is `first`; of `frames` frames, if that is known, each was looked at.
    ///
    /// # Errors
    /// The line and what is wrong with it.
    pub fn read(self, content: &str, first: i64, frames: Option<i64>) -> Result<Labels, Wrong> {
        let mut labels = match self {
            Self::Csv => table::read(content)?,
            Self::Mot => mot::read(content)?,
            Self::Cvat => cvat::read(content)?,
        };
        labels.faces.sort_by_key(|face| face.frame);
        let earliest = labels.faces.first().map(|face| face.frame);
        let earliest = earliest.into_iter().chain(labels.looked_at.first().copied()).min();
        if let Some(earliest) = earliest.filter(|earliest| *earliest < first) {
            return Err((1, format!("frame {earliest} is before the first frame, {first}")));
        }
        labels.faces.iter_mut().for_each(|face| face.frame = face.frame.saturating_sub(first));
        let looked_at = std::mem::take(&mut labels.looked_at).into_iter();
        labels.looked_at = looked_at.map(|frame| frame.saturating_sub(first)).collect();
        labels.looked_at.extend(0..frames.unwrap_or(0));
        Ok(labels)
    }
}

/// The CSV that a run takes. It says of shots only when every known face does.
pub fn write(labels: &Labels) -> String {
    let shots = labels.faces.iter().filter(|face| face.identity.is_some()).all(|face| face.shot.is_some());
    let shots = shots && labels.faces.iter().any(|face| face.shot.is_some());
    let header = ["frame", "x", "y", "w", "h", "identity", "shot"];
    let columns = if shots { 7 } else { 6 };
    let mut writer = csv::Writer::from_writer(Vec::new());
    // Writing to memory cannot fail.
    let _ = writer.write_record(&header[..columns]);
    let shown: BTreeSet<_> = labels.faces.iter().map(|face| face.frame).collect();
    let empty = labels.looked_at.iter().filter(|frame| !shown.contains(frame));
    let faces = labels.faces.iter().map(|face| (face.frame, Some(face)));
    let mut lines: Vec<_> = faces.chain(empty.map(|frame| (*frame, None))).collect();
    lines.sort_by_key(|(frame, _)| *frame);
    for (frame, face) in lines {
        let [x, y, w, h] = face.map_or([0.0; 4], |face| face.rect);
        let identity = face.map_or("-", |face| face.identity.as_deref().unwrap_or("?"));
        let shot = face.and_then(|face| face.shot).map_or_else(String::new, |shot| shot.to_string());
        let record = [
            frame.to_string(),
            x.to_string(),
            y.to_string(),
            w.to_string(),
            h.to_string(),
            identity.into(),
            shot,
        ];
        let _ = writer.write_record(&record[..columns]);
    }
    String::from_utf8(writer.into_inner().unwrap_or_default()).unwrap_or_default()
}

/// The number of a frame that stands under `name`.
fn frame(name: &str, text: &str) -> Result<i64, String> {
    let frame = text.trim().parse().ok().filter(|frame: &f64| frame.fract() == 0.0);
    let frame = frame.map(|frame| frame as i64).filter(|frame| frame.unsigned_abs() <= MOST_FRAMES as u64);
    frame.ok_or_else(|| format!("`{name}` is {text:?}, not a whole number that a video may reach"))
}

/// A box of a size above zero.
fn rect(x: f64, y: f64, w: f64, h: f64) -> Result<[f64; 4], String> {
    let rect = [x, y, w, h];
    if !rect.iter().all(|value| value.abs() <= MOST_PIXELS) {
        return Err("a box holds a number that no picture reaches".into());
    }
    if w > 0.0 && h > 0.0 {
        Ok(rect)
    } else {
        Err(format!("a face must have a size above zero, not {w} × {h}"))
    }
}

/// An identity in a person's words: nothing, and `?`, are nobody.
fn identity(text: &str) -> Option<String> {
    let text = text.trim();
    // A person called `-` would be a frame without faces.
    (!matches!(text, "" | "?" | "-" | "-1")).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(source: Source, text: &str) -> Result<String, Wrong> {
        source.read(text, source.first_frame(), None).map(|labels| write(&labels))
    }

    #[test]
    fn mot_counts_from_one_and_says_whom_not_to_judge() {
        let text = "1,7,10,20,30,40,1,1,1\n3,7,11,20,30,40,1,1,0.5\n3,8,50,20,30,40,0,1,1\n";
        let expected =
            "frame,x,y,w,h,identity\n0,10,20,30,40,7\n1,0,0,0,0,-\n2,11,20,30,40,7\n2,50,20,30,40,?\n";
        assert_eq!(read(Source::Mot, text).as_deref(), Ok(expected));
    }

    #[test]
    fn mot_that_is_none_is_told_by_line() {
        let cases = [
            ("1,7,10,20,30\n", (1, "it has 5 cells, where MOTChallenge has at least 6")),
            ("1,7,10,20,30,40\n2,7,ten,20,30,40\n", (2, "`left` is \"ten\", not a number")),
            ("1,7,10,20,0,40\n", (1, "a face must have a size above zero, not 0 × 40")),
            ("0,7,10,20,30,40\n", (1, "frame 0 is before the first frame, 1")),
            ("1.5,7,10,20,30,40\n", (1, "`frame` is \"1.5\", not a whole number that a video may reach")),
        ];
        for (text, (line, reason)) in cases {
            assert_eq!(read(Source::Mot, text), Err((line, reason.to_owned())), "{text}");
        }
    }

    /// Numbers whose sums and differences no integer holds, and frames that would fill the memory.
    #[test]
    fn frames_that_no_video_reaches_are_refused() {
        let far = "not a whole number that a video may reach";
        for number in ["-9223372036854775808", "9223372036854775807", "1e300", "6000001"] {
            let csv = format!("frame,x,y,w,h,identity\n{number},1,1,5,5,ida\n");
            let mot = format!("{number},7,10,20,30,40\n");
            let image = format!("<annotations><image id='{number}'/></annotations>");
            for (source, text) in [(Source::Csv, csv), (Source::Mot, mot), (Source::Cvat, image)] {
                let told = source.read(&text, i64::MAX, None);
                assert!(told.as_ref().is_err_and(|(_, reason)| reason.contains(far)), "{text}: {told:?}");
            }
            let ends = format!("<start_frame>{number}</start_frame><stop_frame>{number}</stop_frame>");
            let task = format!("<annotations><meta><task>{ends}</task></meta></annotations>");
            assert_eq!(Source::Cvat.read(&task, 0, None), Ok(Labels::default()), "{number}");
        }
        let text = "frame,x,y,w,h,identity\n3,1,1,5,5,ida\n";
        let told = Source::Csv.read(text, i64::MAX, None).map_err(|(_, reason)| reason);
        assert_eq!(told, Err("frame 3 is before the first frame, 9223372036854775807".into()));
        assert!(Source::Csv.read(text, i64::MIN, None).is_ok());
    }

    #[test]
    fn csv_may_call_its_columns_otherwise() {
        let corners = "frame_idx,name,x_min,y_min,x_max,y_max,shot\n4,ida,1,2,11,22,0\n4,,50,2,61,22,\n";
        let expected = "frame,x,y,w,h,identity,shot\n4,1,2,10,20,ida,0\n4,50,2,11,20,?,\n";
        assert_eq!(read(Source::Csv, corners).as_deref(), Ok(expected));
        assert_eq!(read(Source::Csv, expected).as_deref(), Ok(expected));
        let missing = read(Source::Csv, "frame,x,y,w,identity\n");
        assert_eq!(
            missing,
            Err((1, "there is no column h, height, bb_height, y_max, ymax or bottom".into()))
        );
    }

    #[test]
    fn csv_keeps_frames_without_faces() {
        let text = "frame,x,y,w,h,identity\n0,0,0,0,0,-\n1,1,1,5,5,ida\n";
        assert_eq!(read(Source::Csv, text).as_deref(), Ok(text));
    }

    #[test]
    fn cvat_tracks_have_an_attribute_or_their_number() {
        let text = r#"<?xml version="1.0" encoding="utf-8"?><annotations><version>1.1</version>
            <meta><task><size>4</size></task></meta>
            <track id="0" label="face"><box frame="0" outside="0" xtl="1" ytl="2" xbr="11" ybr="22">
              <attribute name="identity">ida</attribute></box>
              <box frame="1" outside="1" xtl="1" ytl="2" xbr="11" ybr="22"/></track>
            <track id="1" label="face"><box frame="1" outside="0" xtl="5" ytl="2" xbr="11" ybr="22"/></track>
            <track id="2" label="face"><box frame="1" outside="0" xtl="7" ytl="2" xbr="11" ybr="22">
              <attribute name="identity"></attribute></box></track>
            </annotations>"#;
        let expected = "frame,x,y,w,h,identity\n0,1,2,10,20,ida\n1,5,2,6,20,face 1\n1,7,2,4,20,?\n2,0,0,0,0,-\n3,0,0,0,0,-\n";
        assert_eq!(read(Source::Cvat, text).as_deref(), Ok(expected));
    }

    #[test]
    fn cvat_of_images_is_read_too() {
        let text = r#"<annotations><image id="3" name="a.png" width="9" height="9">
            <box label="ida" xtl="1" ytl="2" xbr="11" ybr="22"/></image><image id="4" name="b.png"/></annotations>"#;
        let expected = "frame,x,y,w,h,identity\n3,1,2,10,20,ida\n4,0,0,0,0,-\n";
        assert_eq!(read(Source::Cvat, text).as_deref(), Ok(expected));
    }

    #[test]
    fn cvat_that_is_none_is_told_by_line() {
        assert!(read(Source::Cvat, "<annotations>\n<track></annotations>").is_err_and(|(line, _)| line == 2));
        let no_box =
            "<annotations>\n<track id='0' label='a'>\n<box frame='0' xtl='1'/></track></annotations>";
        assert_eq!(read(Source::Cvat, no_box), Err((3, "the box has no `ytl`".into())));
        assert_eq!(read(Source::Cvat, "<svg/>"), Err((1, "the document is <svg>, not <annotations>".into())));
    }

    #[test]
    fn all_frames_may_have_been_looked_at() {
        let labels = Source::Csv.read("frame,x,y,w,h,identity\n1,1,1,5,5,ida\n", 0, Some(3));
        let text = labels.map(|labels| write(&labels));
        assert_eq!(text.as_deref(), Ok("frame,x,y,w,h,identity\n0,0,0,0,0,-\n1,1,1,5,5,ida\n2,0,0,0,0,-\n"));
    }

    proptest::proptest! {
        /// Whatever stands in a file, it is read or refused.
        #[test]
        fn nothing_breaks_the_readers(text in "(<[a-z ='/>]{0,9}|[0-9,.\\-\n a-z?]){0,60}") {
            for source in [Source::Csv, Source::Mot, Source::Cvat] {
                let _ = read(source, &text);
            }
        }
    }
}
