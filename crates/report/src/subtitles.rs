//! `report/boxes.ass`: ASS subtitles that draw the box of every face over the video, in the colour and with
//! the name of its person. Players and FFmpeg render them; the video itself does not change.
//!
//! The path of a track is cut into stretches in which the box moves in a straight line, to the pixel, so that
//! the file of a film has some megabytes instead of a line for every box of every frame.

use std::collections::BTreeMap;

use geometry::BBox;

use crate::input::{Tables, TrackBox};
use crate::palette::Colour;

/// How far a box may be from its straight line, pixels.
const TOLERANCE: f64 = 1.0;
/// Longest stretch, boxes: each is compared with all of its line.
const MAX_BOXES: usize = 60;

/// Renders the whole file.
pub fn subtitles(tables: &Tables) -> String {
    let mut text = header(tables);
    let mut tracks: BTreeMap<i64, Vec<&TrackBox>> = BTreeMap::new();
    for found in &tables.boxes {
        tracks.entry(found.track_id).or_default().push(found);
    }
    let colours = tables.colours();
    let names: BTreeMap<i64, String> =
        tables.identities.iter().map(|i| (i.cluster_id, plain(&i.label()))).collect();
    for track in tracks.values() {
        for stretch in stretches(track) {
            text.push_str(&event(tables.times.secs(), stretch, &names, &colours));
        }
    }
    text
}

fn header(tables: &Tables) -> String {
    let (width, height) = (tables.video.width, tables.video.height);
    let size = (height / 24).max(10);
    let border = (height / 240).max(1);
    format!(
        "[Script Info]\nScriptType: v4.00+\nPlayResX: {width}\nPlayResY: {height}\n\
         WrapStyle: 2\nScaledBorderAndShadow: yes\n\n\
         [V4+ Styles]\nFormat: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, \
         BackColour, Bold, Italic, Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, \
         Outline, Shadow, Alignment, MarginL, MarginR, MarginV, Encoding\n\
         Style: box,Sans,{size},&HFF000000,&HFF000000,&H00FFFFFF,&H00000000,0,0,0,0,100,100,0,0,1,{border},0,7,0,0,0,1\n\
         Style: name,Sans,{size},&H00FFFFFF,&H00FFFFFF,&H00000000,&H00000000,1,0,0,0,100,100,0,0,1,{border},0,1,0,0,0,1\n\n\
         [Events]\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n"
    )
}

/// A name without the characters that could start an ASS command.
fn plain(name: &str) -> String {
    name.chars().filter(|c| !c.is_control() && !"{}\\".contains(*c)).collect()
}

/// Cuts a track's boxes, in order of frames, where the path bends or a frame is missing.
fn stretches<'a>(track: &'a [&'a TrackBox]) -> Vec<&'a [&'a TrackBox]> {
    let mut stretches = Vec::new();
    let mut rest = track;
    while !rest.is_empty() {
        let mut n = 1;
        while n < rest.len().min(MAX_BOXES) && is_straight(&rest[..=n]) {
            n += 1;
        }
        let (stretch, after) = rest.split_at(n);
        stretches.push(stretch);
        rest = after;
    }
    stretches
}

/// Whether no frame is missing and every box lies where the line from first to last has it.
fn is_straight(boxes: &[&TrackBox]) -> bool {
    let (Some(first), Some(last)) = (boxes.first(), boxes.last()) else { return true };
    let frames = last.frame_idx - first.frame_idx;
    if usize::try_from(frames) != Ok(boxes.len() - 1) {
        return false;
    }
    let (from, to) = (first.bbox.edges(), last.bbox.edges());
    boxes.iter().enumerate().all(|(at, found)| {
        let share = at as f64 / frames.max(1) as f64;
        let line = from.iter().zip(to).map(|(from, to)| from + share * (to - from));
        line.zip(found.bbox.edges()).all(|(line, edge)| (line - edge).abs() <= TOLERANCE)
    })
}

/// A box with a name above it, which moves from the place of the first to that of the last box of a stretch.
fn event(
    times: &[f64],
    stretch: &[&TrackBox],
    names: &BTreeMap<i64, String>,
    colours: &dyn Fn(Option<i64>) -> &'static Colour,
) -> String {
    /// Its scale in percent is its size in pixels.
    const SQUARE: &str = "m 0 0 l 100 0 100 100 0 100";
    let (first, last) = (stretch[0], stretch[stretch.len() - 1]);
    let at = |frame: i64| usize::try_from(frame).ok().and_then(|frame| times.get(frame)).copied();
    let (t_first, t_last) = (at(first.frame_idx).unwrap_or(0.0), at(last.frame_idx).unwrap_or(0.0));
    // From halfway after the frame before to halfway before the frame after, so that no rounding of
    // times moves a box into a frame that is not its own.
    let before = at(first.frame_idx - 1).map_or(0.0, |before| f64::midpoint(before, t_first));
    let after = at(last.frame_idx + 1).map_or(t_last + 1.0, |after| f64::midpoint(t_last, after));
    // Times at which the box leaves its first place and reaches its last.
    let millis = |t: f64| ((t - before) * 1000.0).round() as i64;
    let (leaves, arrives) = (millis(t_first), millis(t_last));
    let ([x, y, ..], [to_x, to_y, ..]) = (first.bbox.edges(), last.bbox.edges());
    let moves = |lift: f64| {
        if leaves == arrives {
            return format!("\\pos({x:.1},{:.1})", y - lift);
        }
        format!("\\move({x:.1},{:.1},{to_x:.1},{:.1},{leaves},{arrives})", y - lift, to_y - lift)
    };
    let size = |bbox: &BBox<f64>| format!("\\fscx{:.1}\\fscy{:.1}", bbox.width(), bbox.height());
    let mut grows = size(&first.bbox);
    if leaves != arrives {
        grows += &format!("\\t({leaves},{arrives},{})", size(&last.bbox));
    }
    let (start, end) = (clock(before), clock(after));
    let bright = colours(first.cluster_id).2.trim_start_matches('#');
    let (red_green, blue) = bright.split_at(4);
    let (red, green) = red_green.split_at(2);
    let colour = format!("&H{blue}{green}{red}&");
    let name = first.cluster_id.and_then(|id| names.get(&id)).map_or("?", String::as_str);
    let (at_box, at_name) = (moves(0.0), moves(3.0));
    format!(
        "Dialogue: 0,{start},{end},box,,0,0,0,,{{{at_box}{grows}\\3c{colour}\\p1}}{SQUARE}\n\
         Dialogue: 1,{start},{end},name,,0,0,0,,{{{at_name}\\1c{colour}}}{name}\n"
    )
}

/// `0:01:02.34`.
fn clock(secs: f64) -> String {
    let cs = (secs.max(0.0) * 100.0).round() as u64;
    format!("{}:{:02}:{:02}.{:02}", cs / 360_000, cs / 6000 % 60, cs / 100 % 60, cs % 100)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::palette;

    fn found(frame_idx: i64, x: f64) -> TrackBox {
        let bbox = BBox::from_corner(x, 10.0, 50.0, 60.0);
        TrackBox { frame_idx, bbox, track_id: 3, cluster_id: Some(1) }
    }

    #[test]
    fn a_path_is_cut_where_it_bends_and_where_a_frame_is_missing() {
        let path = [0.0, 4.0, 8.0, 12.0, 2.0, 2.0].map(f64::from);
        let mut track: Vec<_> = (0..).zip(path).map(|(frame, x)| found(frame, x)).collect();
        track.push(found(9, 2.0));
        let track: Vec<_> = track.iter().collect();
        let lengths: Vec<_> = stretches(&track).iter().map(|stretch| stretch.len()).collect();
        assert_eq!(lengths, [4, 2, 1]);
    }

    #[test]
    fn a_box_is_there_from_halfway_to_halfway() {
        let times = [0.0, 0.04, 0.08, 0.12];
        let boxes = [found(1, 0.0), found(2, 8.0)];
        let names = BTreeMap::from([(1, plain("An{\\b1}na"))]);
        let colours = |id| palette::colour(id, |_| true);
        let text = event(&times, &boxes.iter().collect::<Vec<_>>(), &names, &colours);
        let expected = "Dialogue: 0,0:00:00.02,0:00:00.10,box,,0,0,0,,{\\move(0.0,10.0,8.0,10.0,20,60)\
             \\fscx50.0\\fscy60.0\\t(20,60,\\fscx50.0\\fscy60.0)\\3c&H52a5ff&\\p1}m 0 0 l 100 0 100 100 0 100\n\
             Dialogue: 1,0:00:00.02,0:00:00.10,name,,0,0,0,,{\\move(0.0,7.0,8.0,7.0,20,60)\\1c&H52a5ff&}Anb1na\n";
        assert_eq!(text, expected);
    }

    proptest! {
        #[test]
        fn every_box_is_in_one_stretch_and_near_its_line(
            path in proptest::collection::vec((0_i64..2, 0.0_f64..30.0), 1..80)
        ) {
            let mut frame = 0;
            let track: Vec<_> = path.iter().map(|(gap, x)| { frame += 1 + gap; found(frame, *x) }).collect();
            let track: Vec<_> = track.iter().collect();
            let stretches = stretches(&track);
            prop_assert_eq!(&stretches.concat(), &track);
            prop_assert!(stretches.iter().all(|stretch| is_straight(stretch)));
        }
    }
}
