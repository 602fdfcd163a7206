//! The stages as `facetrack run` starts them: processes, one after the other, on one run directory.

use std::path::{Path, PathBuf};
use std::process::Command;

use run::manifest::STAGES;
use serde_json::Value;

use crate::assets;

/// What the stages are started with.
#[derive(Debug, Clone)]
pub struct Line {
    /// The program `facetrack`.
    pub program: PathBuf,
    /// Run directory.
    pub run_dir: PathBuf,
    /// Video.
    pub video: PathBuf,
    /// Weights of the detector.
    pub yunet: PathBuf,
    /// Weights of the embedder; those of the others lie beside it.
    pub sface: PathBuf,
    /// Ground truth.
    pub labels: Option<PathBuf>,
    /// Configuration.
    pub config: Option<PathBuf>,
    /// Worker threads.
    pub threads: Option<usize>,
}

/// How a stage ended, and what it said.
#[derive(Debug, Clone)]
pub struct Said {
    /// Exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Events on standard output.
    pub events: Vec<Value>,
    /// Everything on standard error.
    pub stderr: String,
}

impl Line {
    /// The line on the test clip; `None`, after saying why, when something that it needs is missing.
    pub fn on_clip(run_dir: &Path) -> Option<Self> {
        Self::on(&assets::require("FACETRACK_CLIP")?, run_dir)
    }

    /// The line on any video.
    pub fn on(video: &Path, run_dir: &Path) -> Option<Self> {
        let weights = assets::require("FACETRACK_WEIGHTS_DIR")?;
        Some(Self {
            program: assets::require_program("facetrack")?,
            run_dir: run_dir.to_path_buf(),
            // As stages name it in their messages.
            video: video.canonicalize().unwrap(),
            yunet: weights.join("yunet.safetensors"),
            sface: weights.join("sface.safetensors"),
            labels: None,
            config: None,
            threads: None,
        })
    }

    /// The command of a stage, without `--json`.
    pub fn command(&self, stage: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["stage", stage, "--run-dir"]).arg(&self.run_dir);
        let own: &[(&str, &Path)] = match stage {
            "ingest" => &[("--video", &self.video)],
            "detect-track" => &[("--video", &self.video), ("--weights", &self.yunet)],
            _ => &[],
        };
        for (name, path) in own {
            command.arg(name).arg(path);
        }
        if stage == "embed" {
            for name in ["sface", "dlib", "facenet", "vgg", "retail"] {
                let path = self.sface.with_file_name(format!("{name}.safetensors"));
                let path = if name == "sface" { &self.sface } else { &path };
                // Not every machine can obtain them; see `assets::find_retail`.
                if name == "retail" && !path.is_file() {
                    continue;
                }
                command.arg("--weights").arg(format!("{name}={}", path.display()));
            }
        }
        if let Some(labels) = self.labels.as_ref().filter(|_| stage == "evaluate") {
            command.arg("--labels").arg(labels);
        }
        if let Some(config) = &self.config {
            command.arg("--config").arg(config);
        }
        if let Some(threads) = self.threads {
            command.arg("--threads").arg(threads.to_string());
        }
        command
    }

    /// Runs a stage with `--json`; every line on standard output must be an event of it.
    pub fn run(&self, stage: &str) -> Said {
        Said::of(self.command(stage).arg("--json"))
    }

    /// Runs stages until one fails; gives what each said.
    pub fn run_stages(&self, stages: &[&'static str]) -> Vec<(&'static str, Said)> {
        let mut said = Vec::new();
        for stage in stages {
            said.push((*stage, self.run(stage)));
            if said.last().is_some_and(|(_, said)| said.code != Some(0)) {
                break;
            }
        }
        said
    }

    /// Runs every stage; each must succeed.
    pub fn run_all(&self) -> Vec<(&'static str, Said)> {
        let said = self.run_stages(&STAGES);
        for (stage, said) in &said {
            assert_eq!(said.code, Some(0), "{stage}: {said:?}");
        }
        said
    }

    /// Names of the stages that had something to do.
    pub fn run_again(&self) -> Vec<&'static str> {
        let ran = self.run_all().into_iter().filter(|(_, said)| said.finished()["skipped"] == false);
        ran.map(|(stage, _)| stage).collect()
    }
}

impl Said {
    /// Runs a command that was given `--json`.
    pub fn of(command: &mut Command) -> Self {
        let done = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let stdout = String::from_utf8(done.stdout).unwrap();
        let event = |line: &str| {
            serde_json::from_str(line).unwrap_or_else(|e| panic!("{command:?} said {line:?}: {e}"))
        };
        Self {
            code: done.status.code(),
            events: stdout.lines().map(event).collect(),
            stderr: String::from_utf8_lossy(&done.stderr).into_owned(),
        }
    }

    /// Events of a kind.
    pub fn events<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.events.iter().filter(move |event| event["event"] == kind)
    }

    /// The closing event of a success.
    pub fn finished(&self) -> &Value {
        self.events("finished").next().unwrap_or_else(|| panic!("did not finish: {self:?}"))
    }

    /// Warnings in words.
    pub fn warnings(&self) -> Vec<&str> {
        self.events("warning").filter_map(|event| event["message"].as_str()).collect()
    }
}
