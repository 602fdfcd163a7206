//! `facetrack review`: the page on which a person corrects a run.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;
use console::{Error, Result, process, say};

use crate::edits::{heeding, user};
use crate::single::open;

/// Arguments of `review`.
#[derive(Debug, Args)]
pub(crate) struct ReviewArgs {
    /// The run directory
    run: PathBuf,
    /// The video file, if the file was moved after the run
    #[arg(long, value_name = "FILE")]
    video: Option<PathBuf>,
    /// Port of 127.0.0.1 [default: a free one]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    port: u16,
    /// Show the run, but refuse corrections
    #[arg(long)]
    read_only: bool,
    /// Who makes the corrections [default: $USER]
    #[arg(long, value_name = "NAME")]
    author: Option<String>,
    /// Ground truth, CSV, for the metrics of the page
    #[arg(long, value_name = "CSV")]
    labels: Option<PathBuf>,
    /// Open the page in the browser
    #[arg(long)]
    open: bool,
}

/// Serves the page until Ctrl-C.
pub(crate) fn main(args: &ReviewArgs) -> Result<()> {
    let run = std::path::absolute(&args.run).map_err(Error::io("resolve", &args.run))?;
    let options = review::Options {
        run: run.clone(),
        video: args.video.clone(),
        port: args.port,
        is_read_only: args.read_only,
        author: args.author.clone().unwrap_or_else(user),
    };
    let make = move || make_tables(&run, args.labels.as_deref());
    let ready = |address: &str| {
        eprintln!("open this address in a browser; the address works once. Ctrl-C ends the server");
        say(address);
        if args.open {
            open(address.as_ref());
        }
    };
    review::serve(&options, &make, &process::interrupted, ready)?;
    Ok(())
}

/// Runs `cluster` and `evaluate` in separate process groups: the Ctrl-C that ends the server must not interrupt the
/// update of the tables.
fn make_tables(run: &Path, labels: Option<&Path>) -> std::result::Result<(), String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let config = run.join("config.toml");
    let settings = heeding(run).map_err(|error| error.to_string())?;
    for stage in [cluster::STAGE.name, evaluate::STAGE.name] {
        let mut command = Command::new(&program);
        command.args(["stage", stage, "--run-dir"]).arg(run).arg("--config").arg(&config);
        let settings = settings.iter().filter(|_| stage == cluster::STAGE.name);
        command.args(settings.flat_map(|setting| ["--set", setting]));
        let labels = labels.filter(|_| stage == evaluate::STAGE.name);
        command.args(labels.iter().flat_map(|labels| [Path::new("--labels"), labels]));
        let done =
            command.stdin(Stdio::null()).process_group(0).output().map_err(|error| error.to_string())?;
        if !done.status.success() {
            let said = String::from_utf8_lossy(&done.stderr);
            return Err(process::tail(&said, 2));
        }
    }
    Ok(())
}
