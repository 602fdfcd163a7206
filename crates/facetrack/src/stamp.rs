//! `run --stamp FILE`: hashes of the results of a run and no times, so that a workflow engine that compares files sees
//! whether a run changed anything.

use std::collections::BTreeMap;
use std::path::Path;

use console::{Error, Result, exit};
use run::RunReader;
use run::files;
use serde_json::{Value, json};

use crate::{outputs, single};

/// Writes the stamp of a run that has finished, or that ended because the video cannot be used; after another error,
/// which a second run may mend, there is no stamp.
pub(crate) fn write(stamp: &Path, video: &Path, run_dir: &Path, result: &Result<()>) -> Result<()> {
    let content = match result {
        // Corrections that are not applied leave a finished run.
        Ok(()) => finished(run_dir)?,
        Err(error) if error.code == exit::QUALITY => finished(run_dir)?,
        Err(error) if is_about_video(error, video, run_dir) => json!({ "unusable": error.message }),
        Err(_) => return Ok(()),
    };
    let text = format!("{content:#}\n");
    Ok(files::replace(stamp, text.as_bytes())?)
}

/// Whether an error says that the video cannot be used: the labels and the weights have the same exit code.
fn is_about_video(error: &Error, video: &Path, run_dir: &Path) -> bool {
    let is_read = RunReader::open(run_dir).is_ok_and(|run| run.manifest().stage("detect-track").is_some());
    let is_of_stage = error.in_events && !is_read;
    error.code == exit::INPUT && (is_of_stage || single::check_file(video, "video", exit::INPUT).is_err())
}

fn finished(run_dir: &Path) -> Result<Value> {
    let run = RunReader::open(run_dir)?;
    let manifest = run.manifest();
    let stage = |record: &run::manifest::StageRecord| {
        let files: BTreeMap<_, _> =
            record.outputs.iter().map(|output| (&output.file, &output.sha256)).collect();
        json!({ "stage": record.stage, "fingerprint": record.fingerprint, "files": files })
    };
    Ok(json!({
        "run_id": manifest.run_id,
        "video_sha256": manifest.video.as_ref().map(|video| &video.sha256),
        "stages": manifest.stages.iter().map(stage).collect::<Vec<_>>(),
    }))
}

/// Fails if the folder of the stamp is missing, before minutes of work.
pub(crate) fn check(stamp: &Path) -> Result<()> {
    if outputs::missing_folder(stamp).is_some() || stamp.is_dir() {
        let message = format!("failed to write the stamp `{}`: no such folder", stamp.display());
        return Err(Error::new(exit::USAGE, message).hint("make the folder first"));
    }
    outputs::check("--stamp", stamp)
}
