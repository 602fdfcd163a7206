//! A program that passes images through a network on request, as `ftl-bench` and `runner.py` do.
//!
//! One JSON object a line: something about itself when it is ready, then, for every line
//! `BATCH COUNT` we write, what it took to pass that many batches of so many images.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use console::{Error, Result, process};
use serde_json::Value;

/// How long a measurement takes at least; of several sides that pass the same batches, that of the fastest.
const LEAST_SECS: f64 = 0.4;

/// What some batches took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Took {
    /// Seconds.
    pub(super) wall_secs: f64,
    /// On all cores together, seconds; absent where the system does not say.
    pub(super) cpu_secs: Option<f64>,
}

/// A running program; it ends with the value.
pub(super) struct Runner {
    name: String,
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// What it said of itself.
    pub(super) about: Value,
}

impl Runner {
    /// Starts a program and waits until it is ready.
    pub(super) fn start(command: &mut Command) -> Result<Self> {
        let program = Path::new(command.get_program());
        let name = program.file_name().unwrap_or(program.as_os_str()).display().to_string();
        let mut child = process::spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped()))?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (requests, answers) =
            pipes.ok_or_else(|| Error::unexpected(format!("`{name}` was started without pipes")))?;
        let answers = BufReader::new(answers);
        let mut runner = Self { name, child, requests, answers, about: Value::Null };
        runner.about = runner.answer()?;
        Ok(runner)
    }

    /// Has `count` batches of `batch` images passed.
    pub(super) fn pass(&mut self, batch: usize, count: usize) -> Result<Took> {
        let answer = self.ask(&format!("{batch} {count}"))?;
        let secs = answer["wall_secs"].as_f64().filter(|secs| *secs > 0.0);
        let wall_secs = secs.ok_or_else(|| self.stray(&answer.to_string()))?;
        Ok(Took { wall_secs, cpu_secs: answer["cpu_secs"].as_f64().filter(|secs| *secs > 0.0) })
    }

    /// Number of batches that are enough for a measurement. The first batch is not counted.
    pub(super) fn enough(&mut self, batch: usize) -> Result<usize> {
        self.pass(batch, 1)?;
        Ok((LEAST_SECS / self.pass(batch, 1)?.wall_secs).ceil().clamp(1.0, 1e6) as usize)
    }

    /// What one image of `count` batches took.
    pub(super) fn pass_images(&mut self, batch: usize, count: usize) -> Result<Took> {
        let (took, images) = (self.pass(batch, count)?, (batch * count) as f64);
        Ok(Took { wall_secs: took.wall_secs / images, cpu_secs: took.cpu_secs.map(|secs| secs / images) })
    }

    /// What it answers to a line.
    pub(super) fn ask(&mut self, line: &str) -> Result<Value> {
        // A program that has ended says why itself; that its pipe is closed is the same news.
        let _ = writeln!(self.requests, "{line}");
        let answer = self.answer()?;
        match answer["error"].as_str() {
            Some(error) => Err(Error::unexpected(format!("`{}` failed: {error}", self.name))),
            None => Ok(answer),
        }
    }

    fn answer(&mut self) -> Result<Value> {
        let mut line = String::new();
        let read = self.answers.read_line(&mut line);
        process::check_interrupt()?;
        match read {
            Ok(0) | Err(_) => Err(Error::unexpected(format!("`{}` ended too early", self.name))),
            Ok(_) => serde_json::from_str(&line).map_err(|_| self.stray(line.trim_end())),
        }
    }

    fn stray(&self, line: &str) -> Error {
        Error::unexpected(format!("unexpected output of `{}`: `{line}`", self.name))
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        // It has nothing to lose, and may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(script: &str) -> Result<Runner> {
        Runner::start(Command::new("sh").args(["-c", script]))
    }

    #[test]
    fn a_contestant_says_what_it_is_and_what_it_took() -> Result<()> {
        let script = r#"echo '{"macs":7}'; read batch count
            echo "{\"wall_secs\":$batch,\"cpu_secs\":$count}""#;
        let mut runner = start(script)?;
        assert_eq!(runner.about["macs"], 7);
        assert_eq!(runner.pass(2, 3)?, Took { wall_secs: 2.0, cpu_secs: Some(3.0) });
        Ok(())
    }

    #[test]
    fn what_goes_wrong_is_reported() {
        let message = |script: &str| {
            let failure = start(script).and_then(|mut c| c.pass(1, 1)).err();
            failure.map(|f| f.message)
        };
        assert_eq!(message("exit 1").as_deref(), Some("`sh` ended too early"));
        assert_eq!(message("echo '{}'").as_deref(), Some("`sh` ended too early"));
        assert_eq!(message("echo oh").as_deref(), Some("unexpected output of `sh`: `oh`"));
        assert_eq!(
            message("echo '{}'; read a; echo '{\"wall_secs\":0}'").as_deref(),
            Some("unexpected output of `sh`: `{\"wall_secs\":0}`")
        );
        assert_eq!(
            message("echo '{}'; read a; echo '{\"error\":\"out of memory\"}'").as_deref(),
            Some("`sh` failed: out of memory")
        );
    }
}
