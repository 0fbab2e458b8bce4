//! One chain of sample frames, followed and checked.
//!
//! A session has two: live and backlog. A refused frame never costs the frames of the other lane,
//! and costs later frames of its own lane only a fresh start of the chain.

use std::time::Duration;

use xiezhi_protocol::batch::BatchInfo;
use xiezhi_protocol::codec::{Column, Decoder, Encoder, FrameError, peek};
use xiezhi_protocol::report::Report;

use crate::interner::Interner;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LaneKind {
    Live,
    Backlog,
}

/// What a lane needs from outside for each frame.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LaneRules<'a> {
    pub(crate) interner: &'a Interner,
    pub(crate) series_per_host: usize,
    pub(crate) future_limit: Duration,
    pub(crate) now_ms: i64,
}

/// A frame that may be stored.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) batch: BatchInfo,
    /// Whether `bytes` start a chain.
    pub(crate) key: bool,
    /// Whether the frame as sent did.
    pub(crate) key_sent: bool,
    pub(crate) samples: usize,
    /// Values left out because they are no numbers or have no proper name.
    pub(crate) values_refused: usize,
    /// Series left out because the host has too many.
    pub(crate) series_refused: usize,
    pub(crate) bytes: Box<[u8]>,
}

/// A frame that is not stored, and why.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FrameRefusal {
    /// Word of a closed set, for counters.
    pub(crate) word: &'static str,
    pub(crate) detail: String,
    pub(crate) seq: Option<u64>,
    /// Whether the agent should try again with a fresh chain.
    pub(crate) resend: bool,
}

/// State of one lane.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    decoder: Decoder,
    /// The frame before was decoded and not stored: the next one must start a chain.
    gap: bool,
    /// Asked for again once already; a second failure gives it up, so that one bad batch cannot
    /// circulate for ever.
    asked_again: Option<u64>,
}

impl Lane {
    /// Decodes and checks one frame.
    pub(crate) fn accept(
        &mut self,
        frame: &[u8],
        rules: LaneRules<'_>,
    ) -> Result<Accepted, FrameRefusal> {
        let decoded = self
            .decoder
            .decode(frame, &mut |name| rules.interner.intern(name));
        let info = decoded.map_err(|error| self.explain(frame, &error))?;
        if let Err(refusal) = check_time(info.batch, rules) {
            self.gap = true;
            return Err(refusal);
        }
        let mut accepted = Accepted {
            batch: info.batch,
            key: info.key,
            key_sent: info.key,
            samples: info.samples,
            values_refused: info.refused,
            series_refused: info.samples.saturating_sub(rules.series_per_host),
            bytes: Box::default(),
        };
        if accepted.series_refused > 0 {
            accepted.samples = rules.series_per_host;
            (accepted.key, accepted.bytes) = (true, self.encode_within(rules.series_per_host));
            self.gap = true;
        } else if self.gap && !info.key {
            let mut bytes = Vec::new();
            self.decoder.encode_key(&mut bytes);
            (accepted.key, accepted.bytes) = (true, bytes.into());
            self.gap = false;
        } else {
            accepted.bytes = frame.into();
            self.gap = false;
        }
        Ok(accepted)
    }

    /// The columns of the last decoded frame.
    pub(crate) fn columns(&self) -> &[Column] {
        self.decoder.columns()
    }

    /// Gives the lane's memory back; the next frame must be a key frame.
    pub(crate) fn rest(&mut self) {
        self.decoder = Decoder::new();
    }

    /// The first `limit` series of the last decoded frame, as a chain of their own: the frame's
    /// number and time stay, and a frame after it that is within the limit starts a chain too.
    fn encode_within(&self, limit: usize) -> Box<[u8]> {
        let mut bytes = Vec::new();
        if let Some(batch) = self.decoder.last() {
            let mut report = Report::new();
            report.start(batch.time_ms);
            for (series, value) in self.decoder.values().take(limit) {
                // They came out of a decoder and are fewer than a report may hold.
                if report.push_series(series, value).is_err() {
                    break;
                }
            }
            Encoder::new(0).encode(batch.seq, &report, &mut bytes);
        }
        bytes.into()
    }

    fn explain(&mut self, frame: &[u8], error: &FrameError) -> FrameRefusal {
        let seq = peek(frame).ok().map(|head| head.seq);
        let (word, hopeless) = match error {
            FrameError::ChainBroken { .. } => ("chain", false),
            FrameError::Malformed => ("malformed", false),
            FrameError::Compression(_) => ("compression", false),
            FrameError::Checksum { .. } => ("checksum", false),
            FrameError::TooManySeries => ("series_limit", true),
            FrameError::Version(_) => ("version", true),
        };
        let second = word != "chain" && seq.is_some() && self.asked_again == seq;
        if word != "chain" {
            self.asked_again = seq;
        }
        FrameRefusal {
            word,
            detail: error.to_string(),
            seq,
            resend: seq.is_some() && !hopeless && !second,
        }
    }
}

fn check_time(batch: BatchInfo, rules: LaneRules<'_>) -> Result<(), FrameRefusal> {
    let limit_ms = i64::try_from(rules.future_limit.as_millis()).unwrap_or(i64::MAX);
    if (0..=rules.now_ms.saturating_add(limit_ms)).contains(&batch.time_ms) {
        return Ok(());
    }
    let ahead_s = batch.time_ms.saturating_sub(rules.now_ms) / 1000;
    Err(FrameRefusal {
        word: "clock",
        detail: format!("clock: the report is dated {ahead_s} s ahead of the controller"),
        seq: Some(batch.seq),
        resend: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(time_ms: i64, series: usize) -> Report {
        let mut report = Report::new();
        report.start(time_ms);
        for number in 0..series {
            report
                .push("m", &[("n", &number.to_string())], time_ms as f64)
                .unwrap();
        }
        report
    }

    fn rules(interner: &Interner) -> LaneRules<'_> {
        let future_limit = Duration::from_secs(86_400);
        LaneRules {
            interner,
            series_per_host: 10,
            future_limit,
            now_ms: 1_000_000,
        }
    }

    struct Wire(Encoder, u64);

    impl Wire {
        fn next(&mut self, time_ms: i64, series: usize) -> Vec<u8> {
            self.1 += 1;
            let mut bytes = Vec::new();
            self.0.encode(self.1, &report(time_ms, series), &mut bytes);
            bytes
        }
    }

    fn wire() -> Wire {
        Wire(Encoder::new(15_000), 0)
    }

    /// What someone who reads the stored frames later gets out of them.
    fn read_back(frames: &[Accepted]) -> Vec<(i64, usize)> {
        let mut decoder = Decoder::new();
        let read = |frame: &Accepted| {
            let info = decoder
                .decode(&frame.bytes, &mut |name| name.into())
                .unwrap();
            assert_eq!((info.key, info.batch.seq), (frame.key, frame.batch.seq));
            (info.batch.time_ms, decoder.values().count())
        };
        frames.iter().map(read).collect()
    }

    #[test]
    fn a_report_from_the_far_future_costs_only_itself() {
        let (interner, mut lane, mut wire) = (Interner::new(), Lane::default(), wire());
        let mut stored = vec![lane.accept(&wire.next(1, 3), rules(&interner)).unwrap()];
        let refusal = lane
            .accept(&wire.next(90_000_000_000, 3), rules(&interner))
            .unwrap_err();
        assert_eq!(
            (refusal.word, refusal.seq, refusal.resend),
            ("clock", Some(2), false)
        );
        for time_ms in [20_000, 35_000] {
            stored.push(
                lane.accept(&wire.next(time_ms, 3), rules(&interner))
                    .unwrap(),
            );
        }
        assert_eq!(read_back(&stored), [(1, 3), (20_000, 3), (35_000, 3)]);
        assert_eq!(
            stored.iter().map(|frame| frame.key).collect::<Vec<_>>(),
            [true, true, false]
        );
    }

    #[test]
    fn series_beyond_the_bound_are_left_out_and_the_rest_goes_on() {
        let (interner, mut lane, mut wire) = (Interner::new(), Lane::default(), wire());
        let mut stored = Vec::new();
        for (step, series) in [(0, 8), (1, 14), (2, 14), (3, 9), (4, 9)] {
            let frame = wire.next(step * 15_000, series);
            stored.push(lane.accept(&frame, rules(&interner)).unwrap());
        }
        let left_out: Vec<_> = stored.iter().map(|frame| frame.series_refused).collect();
        assert_eq!(left_out, [0, 4, 4, 0, 0]);
        let kept: Vec<_> = read_back(&stored)
            .iter()
            .map(|&(_, series)| series)
            .collect();
        assert_eq!(kept, [8, 10, 10, 9, 9]);
    }

    #[test]
    fn a_damaged_frame_is_asked_for_once_and_then_given_up() {
        let (interner, mut lane, mut wire) = (Interner::new(), Lane::default(), wire());
        let mut damaged = wire.next(1, 3);
        let middle = damaged.len() - 6;
        damaged[middle] ^= 1;
        let first = lane.accept(&damaged, rules(&interner)).unwrap_err();
        assert!(first.resend, "{first:?}");
        let broken = lane.accept(&wire.next(2, 3), rules(&interner)).unwrap_err();
        assert_eq!(
            (broken.word, broken.seq, broken.resend),
            ("chain", Some(2), true)
        );
        let second = lane.accept(&damaged, rules(&interner)).unwrap_err();
        assert!(!second.resend);
        wire.0.restart();
        lane.accept(&wire.next(3, 3), rules(&interner)).unwrap();
    }

    #[test]
    fn bytes_that_are_no_frame_are_refused_without_a_number() {
        let interner = Interner::new();
        let refusal = Lane::default()
            .accept(b"\x01", rules(&interner))
            .unwrap_err();
        assert_eq!(
            (refusal.word, refusal.seq, refusal.resend),
            ("malformed", None, false)
        );
    }
}
