//! Speakers of pyannote: RTTM, or the JSON of pyannoteAI. Voices with names and times, not faces: see `names`.

use serde::Deserialize;

use super::{Labels, Time, Wrong, documents, identity};

/// Beginning of the name of a speaker that pyannote has only numbered.
const NUMBERED: &str = "SPEAKER_";
/// Number of fields up to the name in a line of RTTM.
const FIELDS: usize = 8;

#[derive(Deserialize)]
struct Job {
    /// Where the file is the job and not its output.
    output: Option<Box<Job>>,
    diarization: Option<Vec<Turn>>,
    /// Turns with the names of voiceprints.
    identification: Option<Vec<Turn>>,
}

#[derive(Deserialize)]
struct Turn {
    speaker: String,
    start: f64,
    end: f64,
}

pub(super) fn read(content: &str) -> Result<Labels, Wrong> {
    let mut labels = Labels::default();
    if content.trim_start().starts_with(['{', '[']) {
        for job in documents::<Job>(content)? {
            let output = job.output.map_or_else(
                || (job.identification, job.diarization),
                |output| (output.identification, output.diarization),
            );
            let turns = output.0.or(output.1);
            let turns = turns.ok_or_else(|| (1, "the file has no `diarization`".to_owned()))?;
            labels.times.extend(turns.into_iter().map(|turn| time(&turn.speaker, turn.start, turn.end)));
        }
    } else {
        rttm(content, &mut labels)?;
    }
    let unnamed = labels.times.iter().filter(|time| time.name.is_none()).count();
    labels.warn(unnamed, "turns of speakers without a name, which are left out");
    if unnamed < labels.times.len() {
        labels.warnings.push(
            "speakers are voices: a person who speaks may be off screen, and a person on screen may be silent".into(),
        );
    }
    Ok(labels)
}

/// type, file, channel, onset, duration, `<NA>`, `<NA>`, name, and more.
fn rttm(content: &str, labels: &mut Labels) -> Result<(), Wrong> {
    let mut others = 0;
    let mut files: Vec<&str> = Vec::new();
    for (line, text) in (1..).zip(content.lines()) {
        let fields: Vec<_> = text.split_whitespace().collect();
        match fields.first() {
            None => continue,
            // Comments of NIST.
            Some(first) if first.starts_with(";;") => continue,
            Some(&"SPEAKER") => {}
            Some(_) => {
                others += 1;
                continue;
            }
        }
        if fields.len() < FIELDS {
            return Err((line, format!("the line has {} fields; RTTM has at least {FIELDS}", fields.len())));
        }
        let number = |name: &str, text: &str| super::number(name, text).map_err(|reason| (line, reason));
        let (onset, duration) = (number("onset", fields[3])?, number("duration", fields[4])?);
        files.push(fields[1]);
        labels.times.push(time(fields[7], onset, onset + duration));
    }
    files.sort_unstable();
    files.dedup();
    if files.len() > 1 {
        return Err((1, format!("the file is about {} recordings, such as `{}`", files.len(), files[0])));
    }
    if labels.times.is_empty() {
        return Err((1, "the file has no line of the type SPEAKER".into()));
    }
    labels.warn(others, "lines of RTTM of another type than SPEAKER, which are left out");
    Ok(())
}

fn time(speaker: &str, start_secs: f64, end_secs: f64) -> Time {
    let is_name = |name: &String| !name.starts_with(NUMBERED) && name != "<NA>";
    Time { name: identity(speaker).filter(is_name), start_secs, end_secs }
}
