//! What to send next: live batches as they come, and the backlog in order behind them.
//!
//! A batch is live if it was appended after the session began, and for samples if it belongs to a
//! chain that was begun since. Everything before is backlog. The controller follows live and backlog
//! chains apart, so neither disturbs the other.
//!
//! Polls of devices can be many, so they never go at once: live ones follow when the backlog of all other
//! streams is through, under the same budget, and their own backlog comes last.

use xiezhi_protocol::batch::{Stream, without_signature};
use xiezhi_protocol::codec::Decoder;
use xiezhi_protocol::message::{Dropped, SpoolStatus};
use xiezhi_protocol::range_set::RangeSet;
use xiezhi_protocol::record::{self, Kind};
use xiezhi_protocol::{POLLS_PROTOCOL, SIGNED_EVENTS_PROTOCOL};
use xiezhi_spool::{Cursor, Spool};

/// Bytes of backlog that are handed over at a time.
const CHUNK_BYTES: usize = 8 * 1024;
/// Order of the streams on either lane.
const LIVE_ORDER: [Stream; 3] = [Stream::Samples, Stream::Security, Stream::Events];
const BACKLOG_ORDER: [Stream; 4] = [
    Stream::Security,
    Stream::Events,
    Stream::Samples,
    Stream::Polls,
];

/// One stream's place in a session.
struct Lane {
    stream: Stream,
    live: Cursor,
    /// Batches from here on are live.
    live_from: u64,
    /// Samples: a key frame was sent on the live lane and each frame since follows it.
    in_chain: bool,
    /// The first backlog batch that was not sent yet.
    next: u64,
    chain: Option<Chain>,
    /// The number whose refusal, if it comes next, is a consequence of one that was dealt with, and
    /// the last such number: a broken chain has every frame refused that was under way.
    rewound: Option<(u64, u64)>,
}

/// A place in the backlog.
struct Chain {
    cursor: Cursor,
    /// Follows the chain where its first frames are not to be sent.
    decoder: Option<Decoder>,
    sent: Option<u64>,
}

/// The places of all streams.
pub(crate) struct Lanes {
    /// In the order of [`Stream::ALL`].
    lanes: [Lane; 4],
    scratch: Vec<u8>,
    /// Whether the controller reads signed batches; if not, they go without their signatures.
    signed: bool,
    /// Whether it takes polls; if not, they stay in the spool.
    polls: bool,
}

/// What a turn of backlog found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) live: u64,
    pub(crate) backlog: u64,
}

/// What a live turn found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Live {
    pub(crate) batches: u64,
    /// The sample chain does not continue: the encoder must restart.
    pub(crate) broken: bool,
}

impl Lanes {
    /// At the begin of a session: what the spool holds now is backlog. `protocol` is what the controller
    /// speaks.
    pub(crate) fn new(spool: &Spool, protocol: u32) -> Self {
        let lanes = Stream::ALL.map(|stream| {
            let live_from = spool.next_seq(stream);
            Lane {
                stream,
                live: spool.cursor(stream, live_from),
                live_from,
                in_chain: false,
                next: 0,
                chain: None,
                rewound: None,
            }
        });
        Self {
            lanes,
            scratch: Vec::new(),
            signed: protocol >= SIGNED_EVENTS_PROTOCOL,
            polls: protocol >= POLLS_PROTOCOL,
        }
    }

    /// What the controller may be told of the spool: one that knows no polls would not understand what
    /// was lost of them.
    pub(crate) fn told(&self, mut status: SpoolStatus) -> SpoolStatus {
        if !self.polls {
            status.dropped = without_polls(status.dropped);
        }
        status
    }

    /// Appends the records of all live batches that were not sent yet.
    pub(crate) fn take_live(&mut self, spool: &mut Spool, out: &mut Vec<u8>) -> Live {
        let mut found = Live::default();
        let signed = self.signed;
        for stream in LIVE_ORDER {
            let mut bytes = std::mem::take(&mut self.scratch);
            let lane = self.lane(stream);
            loop {
                bytes.clear();
                let expected = lane.live.next_seq();
                let Some(batch) = spool.read(&mut lane.live, &mut bytes) else {
                    break;
                };
                let follows = batch.info.seq == expected && lane.in_chain;
                if stream == Stream::Samples && !batch.key && !follows {
                    // A chain from before the session, or one that lost its middle: backlog.
                    found.broken |= lane.in_chain;
                    lane.in_chain = false;
                    lane.live_from = batch.info.seq + 1;
                    continue;
                }
                lane.in_chain = true;
                write_live(out, stream, &bytes, signed);
                found.batches += 1;
            }
            bytes.shrink_to(CHUNK_BYTES);
            self.scratch = bytes;
        }
        found
    }

    /// Appends records of the backlog and of polls, about [`CHUNK_BYTES`] of them; how many.
    pub(crate) fn take_backlog(&mut self, spool: &mut Spool, out: &mut Vec<u8>) -> Turn {
        let mut turn = Turn::default();
        let (signed, polls) = (self.signed, self.polls);
        for stream in BACKLOG_ORDER {
            if stream == Stream::Polls {
                if !polls {
                    break;
                }
                turn.live += self.take_live_polls(spool, out);
            }
            while out.len() < CHUNK_BYTES {
                let mut bytes = std::mem::take(&mut self.scratch);
                bytes.clear();
                let lane = self.lane(stream);
                let sent = match stream {
                    Stream::Samples => lane.next_frame(spool, &mut bytes, out),
                    _ => lane.next_events(spool, &mut bytes, out, signed),
                };
                bytes.shrink_to(CHUNK_BYTES);
                self.scratch = bytes;
                if !sent {
                    break;
                }
                turn.backlog += 1;
            }
        }
        turn
    }

    fn take_live_polls(&mut self, spool: &mut Spool, out: &mut Vec<u8>) -> u64 {
        let mut batches = 0;
        let mut bytes = std::mem::take(&mut self.scratch);
        let lane = self.lane(Stream::Polls);
        while out.len() < CHUNK_BYTES {
            bytes.clear();
            if spool.read(&mut lane.live, &mut bytes).is_none() {
                break;
            }
            write_live(out, Stream::Polls, &bytes, true);
            batches += 1;
        }
        bytes.shrink_to(CHUNK_BYTES);
        self.scratch = bytes;
        batches
    }

    /// Whether a batch that was sent waits for its acknowledgement.
    pub(crate) fn is_waiting(&self, spool: &Spool) -> bool {
        self.lanes.iter().any(|lane| {
            let live = spool.first_unsettled(lane.stream, lane.live_from);
            let backlog = spool.first_unsettled(lane.stream, 0);
            live.is_some_and(|seq| seq < lane.live.next_seq())
                || backlog.is_some_and(|seq| seq < lane.next.min(lane.live_from))
        })
    }

    /// The number after the last live one, per stream: what comes later was sent later.
    pub(crate) fn marks(&self) -> [u64; 4] {
        self.lanes.each_ref().map(|lane| lane.live.next_seq())
    }

    /// The controller wants `seq` again, as the start of a chain; tells whether the encoder must
    /// restart.
    pub(crate) fn send_again(&mut self, stream: Stream, seq: u64) -> bool {
        let lane = self.lane(stream);
        if let Some((expected, until)) = &mut lane.rewound
            && seq == *expected
            && seq <= *until
        {
            *expected += 1;
            return false;
        }
        lane.rewound = Some((seq + 1, lane.live.next_seq().max(lane.next)));
        let restart = stream == Stream::Samples && seq >= lane.live_from;
        if seq >= lane.live_from {
            lane.live_from = lane.live.next_seq();
            lane.in_chain = false;
        }
        lane.next = lane.next.min(seq);
        lane.chain = None;
        restart
    }

    /// Batches were taken: those are not refused any more.
    pub(crate) fn note_taken(&mut self, stream: Stream, taken: &RangeSet) {
        let lane = self.lane(stream);
        if lane
            .rewound
            .is_some_and(|(expected, _)| taken.contains(expected))
        {
            lane.rewound = None;
        }
    }

    fn lane(&mut self, stream: Stream) -> &mut Lane {
        let [polls, samples, events, security] = &mut self.lanes;
        match stream {
            Stream::Polls => polls,
            Stream::Samples => samples,
            Stream::Events => events,
            Stream::Security => security,
        }
    }
}

impl Lane {
    fn next_events(
        &mut self,
        spool: &mut Spool,
        bytes: &mut Vec<u8>,
        out: &mut Vec<u8>,
        signed: bool,
    ) -> bool {
        let Some(seq) = self.first_backlog(spool) else {
            return false;
        };
        let mut chain = match self.chain.take() {
            Some(chain) if chain.cursor.next_seq() == seq => chain,
            _ => Chain {
                cursor: spool.cursor(self.stream, seq),
                decoder: None,
                sent: None,
            },
        };
        let Some(batch) = spool.read(&mut chain.cursor, bytes) else {
            return false;
        };
        if batch.info.seq >= self.live_from {
            return false;
        }
        self.next = batch.info.seq + 1;
        self.chain = Some(chain);
        write_live(out, self.stream, bytes, signed);
        true
    }

    fn next_frame(&mut self, spool: &mut Spool, bytes: &mut Vec<u8>, out: &mut Vec<u8>) -> bool {
        let Some(seq) = self.first_backlog(spool) else {
            self.chain = None;
            return false;
        };
        let mut chain = self.chain.take().unwrap_or_else(|| Chain {
            cursor: spool.chain_cursor(self.stream, seq),
            decoder: None,
            sent: None,
        });
        loop {
            bytes.clear();
            let Some(batch) = spool.read(&mut chain.cursor, bytes) else {
                return false;
            };
            let number = batch.info.seq;
            if number >= self.live_from {
                return false;
            }
            if batch.key {
                let whole = number >= self.next && spool.is_chain_untouched(number);
                chain.decoder = (!whole).then(Decoder::new);
                chain.sent = None;
            }
            let skip = number < self.next
                || chain.decoder.is_some() && spool.is_settled(self.stream, number);
            if let Some(decoder) = &mut chain.decoder
                && let Err(error) = decoder.decode(bytes, &mut |name| name.into())
            {
                tracing::error!(seq = number, %error, "a spooled frame cannot be read");
                spool.give_up(self.stream, number);
                continue;
            }
            if skip {
                continue;
            }
            let continues = batch.key || chain.sent.is_some_and(|sent| sent + 1 == number);
            if !continues && let Some(decoder) = &chain.decoder {
                bytes.clear();
                if decoder.encode_key(bytes).is_none() {
                    continue;
                }
            }
            chain.sent = Some(number);
            self.next = number + 1;
            self.chain = Some(chain);
            record::write(out, Kind::BacklogSamples, bytes);
            return true;
        }
    }

    fn first_backlog(&self, spool: &Spool) -> Option<u64> {
        spool
            .first_unsettled(self.stream, self.next)
            .filter(|&seq| seq < self.live_from)
    }
}

/// What was lost of streams that every controller knows.
pub(crate) fn without_polls(mut dropped: Vec<Dropped>) -> Vec<Dropped> {
    dropped.retain(|one| one.stream != Stream::Polls);
    dropped
}

/// Writes a record of the live lane; events have no other.
fn write_live(out: &mut Vec<u8>, stream: Stream, bytes: &[u8], signed: bool) {
    let plain = match stream {
        Stream::Events | Stream::Security if !signed => without_signature(bytes),
        _ => None,
    };
    record::write(out, live_kind(stream), plain.as_deref().unwrap_or(bytes));
}

const fn live_kind(stream: Stream) -> Kind {
    match stream {
        Stream::Polls => Kind::Polls,
        Stream::Samples => Kind::LiveSamples,
        Stream::Events => Kind::Events,
        Stream::Security => Kind::Security,
    }
}
