//! Time stamps of packets on one clock that runs on.
//!
//! A transport or program stream that was joined from several recordings, or that lost its source, jumps on its
//! clock. Players close such jumps, and so does this module, by the rule of the program `ffmpeg` (option
//! `-dts_delta_threshold`): in a format whose clock may jump, a decoding time that is 10 s away from the end of the
//! packet before it, or earlier than that packet, is moved to that end.

use ffmpeg::Packet;
use ffmpeg::format::Flags;
use ffmpeg::format::context::Input;

/// Smallest step forward that is a jump, seconds.
const FORWARD_SECS: f64 = 10.0;
/// Smallest step backward that is a jump, seconds.
const BACKWARD_SECS: f64 = 0.1;

/// The clock of one stream, fed with its packets in the order of the file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Clock {
    /// Seconds per tick; `None` for a format whose clock does not jump.
    tick_secs: Option<f64>,
    /// What is added to the time stamps, ticks.
    offset: i64,
    /// End of the last packet on the decoder's clock, ticks.
    expected: Option<i64>,
    /// For each jump, the moved time at which it is, and by how much it moved the time, ticks.
    jumps: Vec<(i64, i64)>,
}

impl Clock {
    /// The clock of the stream of this number.
    pub(crate) fn new(input: &Input, stream: usize) -> Self {
        let jumps = input.format().flags().contains(Flags::TS_DISCONT);
        let base = input.stream(stream).filter(|_| jumps).map(|s| f64::from(s.time_base()));
        Self { tick_secs: base, offset: 0, expected: None, jumps: Vec::new() }
    }

    /// Moves the time stamps of a packet so that the clock runs on.
    pub(crate) fn set(&mut self, packet: &mut Packet) {
        let Some((tick_secs, dts)) = self.tick_secs.zip(packet.dts().or(packet.pts())) else { return };
        let moved = self.advance(dts, packet.duration(), tick_secs);
        if moved != 0 {
            packet.set_dts(packet.dts().map(|ticks| ticks.saturating_add(moved)));
            packet.set_pts(packet.pts().map(|ticks| ticks.saturating_add(moved)));
        }
    }

    /// What to add to the time stamps of a packet, given its decoding time and length.
    fn advance(&mut self, dts: i64, duration: i64, tick_secs: f64) -> i64 {
        let here = dts.saturating_add(self.offset);
        if let Some(expected) = self.expected {
            let step = expected.saturating_sub(here);
            let secs = step as f64 * tick_secs;
            if !(-FORWARD_SECS..=BACKWARD_SECS).contains(&secs) {
                self.offset = self.offset.saturating_add(step);
                self.jumps.push((expected, step));
            }
        }
        self.expected = Some(dts.saturating_add(self.offset).saturating_add(duration.max(0)));
        self.offset
    }

    /// Whether the clock may jump.
    pub(crate) fn may_jump(&self) -> bool {
        self.tick_secs.is_some()
    }

    /// The jumps that were closed: for each the time at which the clock now runs on, and the ticks by which the
    /// jump moved what follows.
    pub(crate) fn jumps(&self) -> &[(i64, i64)] {
        &self.jumps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Moved times of packets of one second, at 10 ticks per second, and the jumps.
    fn moved(times: &[i64]) -> (Vec<i64>, Vec<(i64, i64)>) {
        let mut clock = Clock { tick_secs: Some(0.1), offset: 0, expected: None, jumps: Vec::new() };
        let moved = times.iter().map(|dts| dts + clock.advance(*dts, 10, 0.1)).collect();
        (moved, clock.jumps)
    }

    #[test]
    fn jumps_are_closed() {
        assert_eq!(moved(&[500, 510, 20, 30]), (vec![500, 510, 520, 530], vec![(520, 500)]));
        assert_eq!(moved(&[0, 10, 900_000, 900_010]).0, [0, 10, 20, 30]);
        assert_eq!(moved(&[0, 500, 0]), (vec![0, 10, 20], vec![(10, -490), (20, 510)]));
    }

    #[test]
    fn holes_and_jitter_stay() {
        for times in [[0, 10, 80, 90], [0, 10, 19, 30]] {
            assert_eq!(moved(&times), (times.to_vec(), vec![]));
        }
    }
}
