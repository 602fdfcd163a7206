//! What Linux says of this process.

use std::fs;

/// Clock ticks a second in `/proc`, the same on every Linux.
const TICKS_PER_SEC: f64 = 100.0;

/// Processor time of this process so far, user and kernel mode.
pub(crate) fn cpu_secs() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    let ticks = after_name.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
    let ticks: f64 = ticks.sum::<std::result::Result<f64, _>>().ok()?;
    Some(ticks / TICKS_PER_SEC)
}
