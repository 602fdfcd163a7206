//! Files that options name for results. None of them may replace a video, or a file of a run or a gallery.

use std::fs;
use std::path::Path;

use console::{Error, Result, exit};
use run::RunReader;
use run::files::name_in;

use crate::several::is_video_name;

/// The folder of a file, if there is no such folder. A name alone is a file in the present folder.
pub(crate) fn missing_folder(file: &Path) -> Option<&Path> {
    file.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir())
}

/// Fails if a result at `out`, which `option` names, would replace a video or a file of a run or a gallery.
pub(crate) fn check(option: &str, out: &Path) -> Result<()> {
    let Ok(path) = fs::canonicalize(out) else { return Ok(()) };
    if !path.is_file() {
        return Ok(());
    }
    let is_part_of = |folder: &Path| {
        let name = name_in(folder, &path);
        RunReader::open(folder).is_ok_and(|run| run.is_own(&name)) || gallery::is_own(folder, &name)
    };
    let what = if is_video_name(&path) {
        "a video"
    } else if path.ancestors().skip(1).any(is_part_of) {
        "a file of a run or gallery"
    } else {
        return Ok(());
    };
    let message = format!("{option} would overwrite {what}: `{}`", out.display());
    Err(Error::new(exit::USAGE, message).hint(format!("use another file name with {option}")))
}
