//! `facetrack compare`: two runs of one video side by side.

use std::fmt::Write as _;

use console::{Error, Result, counted, duration, exit, say};
use evaluate::compare::{Comparison, Person, Side, compare};
use formats::run::Run;
use serde_json::json;

use crate::cli::CompareArgs;

/// Prints what differs between two runs.
pub(crate) fn main(arguments: &CompareArgs) -> Result<()> {
    let CompareArgs { run_a, run_b, json } = arguments;
    let (a, b) = (Run::read(run_a)?, Run::read(run_b)?);
    if a.video.sha256 != b.video.sha256 {
        let what = format!("`{}` and `{}` are runs of different videos", run_a.display(), run_b.display());
        return Err(Error::new(exit::USAGE, what)
            .hint("pass two runs of one file; `facetrack library` matches the people of several videos"));
    }
    let sides = [Side::from(&a), Side::from(&b)];
    let found = compare(&a.times, &sides[0], &sides[1]);
    if *json {
        let mut document = json!({ "run_a": run_a, "run_b": run_b, "video_id": a.video.video_id.as_str() });
        let found = serde_json::to_value(&found).map_err(|e| Error::unexpected(e.to_string()))?;
        if let (Some(document), serde_json::Value::Object(found)) = (document.as_object_mut(), found) {
            document.extend(found);
        }
        say(&document.to_string());
        return Ok(());
    }
    let people = sides.each_ref().map(|side| side.people.len());
    let mut text = format!(
        "A: {}, {}\nB: {}, {}\n",
        run_a.display(),
        counted(people[0], "person", "people"),
        run_b.display(),
        counted(people[1], "person", "people")
    );
    describe(&mut text, &found);
    say(text.trim_end());
    Ok(())
}

/// Appends a text for people.
fn describe(text: &mut String, found: &Comparison) {
    // Writing to a String cannot fail.
    let percent = |of: usize| 100.0 * found.shared_boxes as f64 / of.max(1) as f64;
    let _ = writeln!(
        text,
        "Faces in both: {} boxes, {:.1} % of A and {:.1} % of B",
        found.shared_boxes,
        percent(found.boxes[0]),
        percent(found.boxes[1])
    );
    if let Some(b3) = &found.b_cubed {
        let _ = writeln!(
            text,
            "B³ of these faces: {:.3} (of B with A as the truth: precision {:.3}, recall {:.3}; of A with B as the truth: \
             precision {:.3}, recall {:.3})",
            b3.f1, b3.precision, b3.recall, b3.recall, b3.precision
        );
    }
    if !found.same.is_empty() {
        text.push_str("\nThe same person (A, B, time in common):\n");
        let width = |name: fn(&evaluate::compare::Same) -> &str| {
            found.same.iter().map(|same| name(same).chars().count()).max().unwrap_or(0)
        };
        let widths = [width(|same| &same.a.person), width(|same| &same.b.person)];
        for same in &found.same {
            let (a, b, secs) = (&same.a.person, &same.b.person, duration(same.secs));
            let _ = writeln!(text, "  {a:<0$}  {b:<1$}  {secs}", widths[0], widths[1]);
        }
    }
    if !found.moved.is_empty() {
        text.push_str("\nWith another person:\n");
        let name =
            |person: &Option<Person>| person.as_ref().map_or("no person", |p| p.person.as_str()).to_owned();
        for moved in &found.moved {
            let (a, b, secs) = (name(&moved.a), name(&moved.b), duration(moved.secs));
            let _ = writeln!(
                text,
                "  {secs} in {}: {a} in A, {b} in B",
                counted(moved.tracks, "track", "tracks")
            );
        }
    }
    for (run, people) in [("A", &found.only_in_a), ("B", &found.only_in_b)] {
        if !people.is_empty() {
            let _ = writeln!(text, "\nOnly in {run}:");
        }
        for person in people {
            let _ = writeln!(text, "  {}, {} on screen", person.person, duration(person.screen_secs));
        }
    }
}
