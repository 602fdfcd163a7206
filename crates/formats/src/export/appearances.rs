//! Formats of appearances, in which gaps of at most 2 s are closed: CSV, edit decision list.

use std::fmt::Write as _;

use crate::run::Run;

/// One line per appearance, in order of people, then of time.
pub(super) fn csv(run: &Run) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let header = [
        "person",
        "cluster_id",
        "appearance",
        "start_secs",
        "end_secs",
        "first_frame",
        "last_frame",
        "tracks",
        "shots",
        "first_shot",
        "last_shot",
    ];
    // Writing to memory cannot fail.
    let _ = writer.write_record(header);
    for row in &run.appearances {
        let (start, end) = run.appearance_secs(row);
        let numbers = [
            row.first_frame_idx,
            row.last_frame_idx,
            row.n_tracks,
            row.n_shots,
            row.first_shot_idx,
            row.last_shot_idx,
        ];
        let cells =
            [row.cluster_id.to_string(), row.appearance_idx.to_string(), start.to_string(), end.to_string()];
        let cells = std::iter::once(run.name(row.cluster_id)).chain(cells);
        let _ = writer.write_record(cells.chain(numbers.iter().map(i64::to_string)));
    }
    String::from_utf8(writer.into_inner().unwrap_or_default()).unwrap_or_default()
}

/// Returns the appearances as an edit decision list: see [`list`].
pub(super) fn edl(run: &Run) -> String {
    let appearances = run.appearances.iter().map(|row| (run.name(row.cluster_id), run.appearance_secs(row)));
    list(&run.video.file_name, run.times.editing_fps(), appearances)
}

/// Returns an edit decision list in the format CMX 3600 with one event per appearance: a name, and start and end in
/// seconds. The events stand one after the other on the recorded side. Timecode 0 of the source is the time 0.
fn list(file: &str, fps: f64, appearances: impl Iterator<Item = (String, (f64, f64))>) -> String {
    let (rate, file) = (Rate::of(fps), one_line(file));
    let mut text = format!("TITLE: {file}\nFCM: {}\n", rate.mode());
    let mut recorded = 0;
    for (event, (name, (start, end))) in (1..).zip(appearances) {
        let start = rate.frames(start);
        // An appearance shorter than half a frame of the list is one frame long.
        let length = rate.frames(end).saturating_sub(start).max(1);
        let times = [start, start + length, recorded, recorded + length].map(|frames| rate.timecode(frames));
        recorded += length;
        let _ = write!(
            text,
            "\n{event:03}  AX       V     C        {}\n* FROM CLIP NAME: {}\n* SOURCE FILE: {file}\n",
            times.join(" "),
            one_line(&name),
        );
    }
    text
}

/// Returns a text without line breaks and control characters, which would end a line of the list.
fn one_line(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A frame rate of editing, with the timecode of SMPTE ST 12-1.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Rate {
    fps: f64,
    /// Frames counted in a second of timecode: 30 for 29.97 frames per second.
    nominal: u64,
    /// Numbers that are left out at the start of a minute, except every tenth, so that timecode follows the clock: 2
    /// for 29.97 and 4 for 59.94 frames per second, otherwise 0.
    dropped: u64,
}

impl Rate {
    fn of(fps: f64) -> Self {
        let nominal = fps.round();
        // Timecode at 23.976 frames per second drops no numbers, by convention.
        let is_dropped = nominal - fps > 0.01 && nominal > 24.0;
        let dropped = if is_dropped { nominal as u64 / 15 } else { 0 };
        Self { fps, nominal: nominal as u64, dropped }
    }

    fn mode(self) -> &'static str {
        if self.dropped > 0 { "DROP FRAME" } else { "NON-DROP FRAME" }
    }

    /// Returns the number of the frame nearest to a time in seconds, from 0; at most that of 100 hours, which timecode
    /// does not reach.
    fn frames(self, secs: f64) -> u64 {
        (secs.clamp(0.0, 360_000.0) * self.fps).round() as u64
    }

    fn timecode(self, frames: u64) -> String {
        let Self { nominal, dropped, .. } = self;
        let minute = 60 * nominal - dropped;
        let ten_minutes = 10 * minute + dropped;
        let (tens, rest) = (frames / ten_minutes, frames % ten_minutes);
        // The first minute of ten has all numbers.
        let minutes = if rest < 60 * nominal { 0 } else { 1 + (rest - 60 * nominal) / minute };
        let number = frames + dropped * (9 * tens + minutes);
        let (secs, frame) = (number / nominal, number % nominal);
        let mark = if dropped > 0 { ';' } else { ':' };
        format!("{:02}:{:02}:{:02}{mark}{frame:02}", secs / 3600, secs / 60 % 60, secs % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NTSC: f64 = 30_000.0 / 1001.0;

    #[test]
    fn a_line_stays_a_line() {
        assert_eq!(one_line(" Ida\r\n* B\u{7}."), "Ida * B .");
    }

    #[test]
    fn a_list_has_one_event_per_appearance() {
        let people = [("Ida\nB.", (59.9, 61.0)), ("Person 2", (0.0, 0.001)), ("Person 2", (3600.0, 3720.0))];
        let people = people.map(|(name, times)| (name.to_owned(), times));
        let expected = "TITLE: a film.mkv\n\
                        FCM: DROP FRAME\n\
                        \n\
                        001  AX       V     C        00:00:59;25 00:01:01;00 00:00:00;00 00:00:01;03\n\
                        * FROM CLIP NAME: Ida B.\n\
                        * SOURCE FILE: a film.mkv\n\
                        \n\
                        002  AX       V     C        00:00:00;00 00:00:00;01 00:00:01;03 00:00:01;04\n\
                        * FROM CLIP NAME: Person 2\n\
                        * SOURCE FILE: a film.mkv\n\
                        \n\
                        003  AX       V     C        01:00:00;00 01:01:59;29 00:00:01;04 00:02:01;05\n\
                        * FROM CLIP NAME: Person 2\n\
                        * SOURCE FILE: a film.mkv\n";
        assert_eq!(list("a film.mkv", NTSC, people.into_iter()), expected);
    }

    /// The first numbers after a dropped pair, and the frames before them.
    #[test]
    fn drop_frame_timecode_leaves_out_two_numbers_a_minute() {
        let rate = Rate::of(NTSC);
        assert_eq!(rate.mode(), "DROP FRAME");
        for (frames, expected) in [
            (0, "00:00:00;00"),
            (1799, "00:00:59;29"),
            (1800, "00:01:00;02"),
            (3597, "00:01:59;29"),
            (3598, "00:02:00;02"),
            (17_981, "00:09:59;29"),
            (17_982, "00:10:00;00"),
            (17_982 + 1800, "00:11:00;02"),
            (107_892, "01:00:00;00"),
        ] {
            assert_eq!(rate.timecode(frames), expected, "{frames}");
        }
        let rate = Rate::of(2.0 * NTSC);
        assert_eq!(
            [3599, 3600, 35_964].map(|n| rate.timecode(n)),
            ["00:00:59;59", "00:01:00;04", "00:10:00;00"]
        );
    }

    #[test]
    fn other_rates_count_every_number() {
        for (fps, nominal) in
            [(24.0, 24), (24_000.0 / 1001.0, 24), (25.0, 25), (30.0, 30), (50.0, 50), (60.0, 60)]
        {
            let rate = Rate::of(fps);
            assert_eq!((rate.mode(), rate.nominal), ("NON-DROP FRAME", nominal), "{fps}");
            assert_eq!(rate.timecode(nominal * 3661 + 3), "01:01:01:03", "{fps}");
        }
    }

    /// Drop-frame timecode is at most two frames off the clock within a day.
    #[test]
    fn drop_frame_timecode_follows_the_clock() {
        let rate = Rate::of(NTSC);
        for secs in (0..86_400).step_by(7) {
            let [hours, minutes, rest] = <[String; 3]>::try_from(
                rate.timecode(rate.frames(secs.into())).split(':').map(str::to_owned).collect::<Vec<_>>(),
            )
            .unwrap_or_default();
            let (whole, frame) = rest.split_once(';').unwrap_or_default();
            let number = |text: &str| text.parse::<f64>().unwrap_or(f64::NAN);
            let shown =
                number(&hours) * 3600.0 + number(&minutes) * 60.0 + number(whole) + number(frame) / NTSC;
            assert!((shown - f64::from(secs)).abs() < 0.16, "{shown} at {secs}");
        }
    }
}
