//! What people see while stages run, on standard error.
//!
//! On a terminal one bar, redrawn in place; elsewhere a plain line every few seconds; nothing for
//! those who asked for JSON or for quiet, except warnings.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use console::{Result, duration, rounded, say};
use run::manifest::STAGES;

use crate::stages::{Event, Finished};

/// Pause between two plain lines.
const PLAIN_PAUSE: Duration = Duration::from_secs(5);
/// Pause between two drawings of a bar.
const DRAW_PAUSE: Duration = Duration::from_millis(100);
/// Width of a bar, characters.
const BAR: usize = 24;
/// Share of a run that each stage usually takes: the mean over eleven clips.
const SHARES: [f64; STAGES.len()] = [0.005, 0.52, 0.43, 0.005, 0.04];
/// A stage with a smaller share says nothing about the others.
const LEAST_SHARE: f64 = 0.1;
/// Goes to the start of the line and clears it.
const CLEAR: &str = "\r\x1b[2K";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Bar,
    Plain,
    Silent,
}

/// The place where progress appears.
#[derive(Debug)]
pub(crate) struct Screen {
    style: Style,
    /// Whether events are repeated as they are, for programs.
    json: bool,
    closings: bool,
    stage: &'static str,
    /// Number of the stage, from 1; 0 where the work is no stage of a run.
    number: usize,
    /// Work that is left after this run, in runs like this one.
    runs_left: f64,
    started: Instant,
    counting_since: Option<(Instant, u64)>,
    last: Option<Instant>,
}

impl Screen {
    /// Returns a screen for the user; with `json` or `quiet`, a silent one.
    pub(crate) fn new(json: bool, quiet: bool) -> Self {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let style = match (json || quiet, std::io::stderr().is_terminal() && !dumb) {
            (true, _) => Style::Silent,
            (false, true) => Style::Bar,
            (false, false) => Style::Plain,
        };
        Self {
            style,
            json,
            closings: true,
            stage: "",
            number: 0,
            runs_left: 0.0,
            started: Instant::now(),
            counting_since: None,
            last: None,
        }
    }

    /// The same for one of several runs: stages that finish leave no line behind, and `runs_left` is the work that
    /// is left after this run, in runs like this one.
    pub(crate) fn of_several(self, runs_left: f64) -> Self {
        Self { closings: false, runs_left, ..self }
    }

    /// A stage begins.
    pub(crate) fn begin(&mut self, stage: &'static str) {
        self.stage = stage;
        self.number = STAGES.iter().position(|known| *known == stage).map_or(0, |place| place + 1);
        self.started = Instant::now();
        self.counting_since = None;
        self.last = None;
        if self.style == Style::Bar {
            self.write(&format!("{CLEAR}{} {stage:<12} starting", self.place()));
        }
    }

    /// Repeats the line of an event for programs.
    pub(crate) fn repeat(&self, event: &str) {
        if self.json {
            say(event);
        }
    }

    /// The running stage said something.
    pub(crate) fn hear(&mut self, event: &Event) {
        match event {
            Event::Progress { done, total, unit } => self.advance(*done, *total, unit),
            Event::Warning { message } if !self.json => {
                self.clear();
                console::warn(message);
            }
            _ => {}
        }
    }

    /// The running stage ended.
    pub(crate) fn end(&mut self, result: &Result<Finished>) {
        self.clear();
        let how = match result {
            Ok(_) if !self.closings => return,
            Ok(Finished { skipped: true, figures, .. }) => match figures.get(run::REUSED) {
                Some(from) => format!("reused from {}", from.as_str().unwrap_or_default()),
                None => "up to date".to_owned(),
            },
            Ok(finished) => format!("done in {}", duration(finished.secs)),
            Err(error) if error.is_interrupt() => return,
            Err(_) => format!("failed after {}", duration(self.started.elapsed().as_secs_f64())),
        };
        if self.style != Style::Silent {
            eprintln!("{} {}: {how}", self.place(), self.stage);
        }
    }

    /// Removes the bar, so that what follows starts on an empty line.
    fn clear(&mut self) {
        if self.style == Style::Bar {
            self.write(CLEAR);
        }
    }

    fn advance(&mut self, done: u64, total: u64, unit: &str) {
        let now = Instant::now();
        let (since, first) = *self.counting_since.get_or_insert((now, done));
        // A bar appears at once; the first plain line waits too, for most stages end before it.
        let is_due = match self.style {
            Style::Silent => false,
            Style::Bar => self.last.is_none_or(|last| now - last >= DRAW_PAUSE),
            Style::Plain => now - self.last.unwrap_or(since) >= PLAIN_PAUSE,
        };
        if !is_due {
            return;
        }
        self.last = Some(now);
        let pace =
            Pace { done, total, gained: done.saturating_sub(first), secs: (now - since).as_secs_f64() };
        let (place, left) = (self.place(), self.left(&pace));
        match self.style {
            Style::Bar => self.write(&format!("{CLEAR}{place} {}", bar_line(self.stage, &pace, unit, left))),
            _ => eprintln!("{place} {}", plain_line(self.stage, &pace, unit, left)),
        }
    }

    /// Which of the stages is running: `[2/5]`.
    fn place(&self) -> String {
        format!("[{}/{}]", self.number, STAGES.len())
    }

    /// Seconds that are left of everything, estimated from the running stage and from what other stages usually
    /// take beside it; `None` where the stage says nothing about them.
    fn left(&self, pace: &Pace) -> Option<f64> {
        let (own, later) = self.number.checked_sub(1).map(|place| (SHARES[place], &SHARES[place + 1..]))?;
        let (left, part) = (pace.left()?, pace.part()?);
        if own < LEAST_SHARE || part <= 0.0 || part >= 1.0 {
            return None;
        }
        // The whole run at the pace of this stage.
        let whole = left / (1.0 - part) / own;
        Some(left + whole * (later.iter().sum::<f64>() + self.runs_left))
    }

    fn write(&self, text: &str) {
        let mut err = std::io::stderr().lock();
        // A terminal that has gone away must not end a run.
        let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
    }
}

/// How far a stage is, and how fast it got there.
#[derive(Debug, Clone, Copy)]
struct Pace {
    done: u64,
    total: u64,
    gained: u64,
    secs: f64,
}

impl Pace {
    /// Units a second; unknown at first.
    fn rate(self) -> Option<f64> {
        (self.gained > 0 && self.secs > 0.2).then(|| self.gained as f64 / self.secs)
    }

    /// Seconds still to go.
    fn left(self) -> Option<f64> {
        let rest = self.total.checked_sub(self.done).filter(|_| self.total > 0)?;
        self.rate().map(|rate| rest as f64 / rate)
    }

    /// The part that is done; unknown while the total is.
    fn part(self) -> Option<f64> {
        (self.total > 0).then(|| (self.done as f64 / self.total as f64).min(1.0))
    }
}

fn bar_line(stage: &str, pace: &Pace, unit: &str, left_of_all: Option<f64>) -> String {
    let mut line = format!("{stage:<12} ");
    if let Some(part) = pace.part() {
        let full = (part * BAR as f64) as usize;
        line += &format!("{}{} {:>3.0}% ", "━".repeat(full), "─".repeat(BAR - full), (part * 100.0).floor());
    }
    line += &format!("{} {unit}", amount(pace));
    if let Some(rate) = pace.rate() {
        line += &format!("  {}/s", rounded(rate));
    }
    if let Some(left) = pace.left() {
        line += &format!("  ETA {}", clock(left));
    }
    if let Some(left) = left_of_all {
        line += &format!(", all {}", clock(left));
    }
    line
}

fn plain_line(stage: &str, pace: &Pace, unit: &str, left_of_all: Option<f64>) -> String {
    let mut line = format!("{stage}: {} {unit}", amount(pace));
    if let Some(part) = pace.part() {
        line += &format!(" ({:.0}%)", (part * 100.0).floor());
    }
    if let Some(rate) = pace.rate() {
        line += &format!(", {}/s", rounded(rate));
    }
    if let Some(left) = pace.left() {
        line += &format!(", {} left", duration(left));
    }
    if let Some(left) = left_of_all {
        line += &format!(", {} in all", duration(left));
    }
    line
}

fn amount(pace: &Pace) -> String {
    if pace.total > 0 { format!("{}/{}", pace.done, pace.total) } else { pace.done.to_string() }
}

/// A time as a clock shows it: `0:07`, `12:34`, `1:02:03`.
pub(crate) fn clock(secs: f64) -> String {
    let secs = secs.max(0.0).round() as u64;
    let (hours, minutes, seconds) = (secs / 3600, secs / 60 % 60, secs % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF: Pace = Pace { done: 500, total: 1000, gained: 500, secs: 10.0 };

    #[test]
    fn a_bar_shows_part_rate_and_time_left() {
        let bar = "━".repeat(12) + &"─".repeat(12);
        assert_eq!(
            bar_line("embed", &HALF, "crops", Some(70.0)),
            format!("embed        {bar}  50% 500/1000 crops  50.0/s  ETA 0:10, all 1:10")
        );
    }

    #[test]
    fn a_plain_line_says_the_same() {
        assert_eq!(
            plain_line("embed", &HALF, "crops", Some(70.0)),
            "embed: 500/1000 crops (50%), 50.0/s, 10 s left, 1 min 10 s in all"
        );
    }

    #[test]
    fn what_is_left_of_all_follows_from_the_running_stage() {
        let mut screen = Screen::new(true, true);
        assert_eq!(screen.left(&HALF), None, "no stage runs");
        screen.begin("detect-track");
        // Ten seconds of detect-track are left of twenty, which are 52 % of a run.
        let whole = 20.0 / 0.52;
        assert!(screen.left(&HALF).is_some_and(|left| (left - (10.0 + whole * 0.475)).abs() < 1e-9));
        let mut screen = screen.of_several(2.0);
        assert!(screen.left(&HALF).is_some_and(|left| (left - (10.0 + whole * 2.475)).abs() < 1e-9));
        screen.begin("ingest");
        assert_eq!(screen.left(&HALF), None);
    }

    #[test]
    fn an_unknown_total_gives_no_part_and_no_time_left() {
        let pace = Pace { total: 0, ..HALF };
        assert_eq!(plain_line("ingest", &pace, "packets", None), "ingest: 500 packets, 50.0/s");
    }

    #[test]
    fn more_done_than_estimated_never_overflows_the_bar() {
        let pace = Pace { done: 1200, ..HALF };
        assert!(bar_line("ingest", &pace, "frames", None).contains("100% 1200/1000 frames"));
        assert_eq!(pace.left(), None);
    }

    #[test]
    fn times_read_well() {
        assert_eq!([clock(7.4), clock(754.0), clock(3723.0)], ["0:07", "12:34", "1:02:03"]);
    }
}
