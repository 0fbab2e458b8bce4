//! What an operator may set, and the seams that tests use.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::frame::{HostKey, device_of};

/// Settings of a [`crate::SeriesStore`].
#[derive(Debug, Clone)]
pub struct SeriesOptions {
    /// Time that one log spans before its samples become a block. Half an hour bounds what the
    /// head holds in memory.
    pub segment_span: Duration,
    /// Size at which a segment is sealed early; at most 4 GiB, because offsets are kept in 32 bits.
    pub segment_bytes: u64,
    /// How long samples are kept as they were reported, after they arrived.
    pub retention: Duration,
    /// How long rollups of five minutes are kept.
    pub retention_5m: Duration,
    /// How long rollups of an hour are kept.
    pub retention_1h: Duration,
    /// Largest size on disk; the oldest sealed segments are removed above it. None: no limit.
    pub max_bytes: Option<u64>,
    /// What one query may cost.
    pub limits: QueryLimits,
    /// How many series there may be.
    pub series: SeriesLimits,
    /// Whether somebody follows the log ([`crate::SeriesStore::tail`]), and how long what was not
    /// followed yet is kept. Such logs take at most half of `max_bytes`.
    pub hold: Option<Duration>,
    /// Stored points that are read at most to judge one request of a foreign source; they are held
    /// meanwhile, 16 bytes each.
    pub lookup_points: u64,
    /// Who seals segments.
    pub sealing: Sealing,
    /// Pace of sealing, so that it never competes with appends for the disk.
    pub seal_bytes_per_s: u64,
    /// How often what the disk refuses to read is asked for again.
    pub ask_again: AskAgain,
    /// Where the time comes from.
    pub clock: Clock,
}

/// How often what the disk refuses to read is asked for again.
#[derive(Debug, Clone, Copy)]
pub struct AskAgain {
    /// How long a start waits for what is refused, all files together.
    pub opening: Duration,
    /// Least time between two asks for a refused sector.
    pub sector: Duration,
    /// Least time between two passes that doubt a refusal before it is believed.
    pub doubt: Duration,
    /// Where the time between asks comes from; a test may count it.
    pub now: fn() -> Instant,
}

impl Default for AskAgain {
    fn default() -> Self {
        Self {
            opening: Duration::from_secs(30),
            sector: Duration::from_secs(60),
            doubt: Duration::from_secs(600),
            now: Instant::now,
        }
    }
}

impl Default for SeriesOptions {
    fn default() -> Self {
        Self {
            segment_span: Duration::from_secs(1800),
            segment_bytes: 2 << 30,
            retention: Duration::from_secs(15 * 24 * 3600),
            retention_5m: Duration::from_secs(90 * 24 * 3600),
            retention_1h: Duration::from_secs(730 * 24 * 3600),
            max_bytes: None,
            hold: None,
            limits: QueryLimits::default(),
            series: SeriesLimits::default(),
            lookup_points: 4_000_000,
            sealing: Sealing::Background,
            seal_bytes_per_s: 32 << 20,
            ask_again: AskAgain::default(),
            clock: Clock::system(),
        }
    }
}

/// Bounds of cardinality. A series beyond one is left out and counted; nothing else is.
#[derive(Debug, Clone, Copy)]
pub struct SeriesLimits {
    /// Series of all hosts and sources that are in memory: 20,000 hosts of 150 have 3 million. The
    /// chains of a host (live, and what waited) name the same series and count once.
    pub series: u64,
    /// Series of one host.
    pub series_per_host: u32,
    /// Series of one foreign source: a Prometheus that scrapes for many has far more than a host.
    pub series_per_source: u32,
    /// Labels of one series, host labels not counted.
    pub labels_per_series: u32,
    /// Distinct series texts of all hosts: two hosts with the same disks share theirs. Foreign
    /// sources get no more than half of them, and of the new ones.
    pub texts: u64,
    /// Bytes of these texts together; foreign sources get no more than half of them.
    pub text_bytes: u64,
    /// Bytes of the texts of one foreign source: 200,000 series of 300 bytes have 60 MB.
    pub text_bytes_per_source: u64,
    /// Texts that may be new within an hour.
    pub new_texts_per_hour: u64,
}

/// Series of one device of the network, if a foreign source may have as many: a switch of 500 ports has
/// 10,000, and what one device makes up takes nothing from the others.
const SERIES_PER_DEVICE: u32 = 20_000;

/// Bytes of the texts of one device: 20,000 series of 400 bytes.
const TEXT_BYTES_PER_DEVICE: u64 = 8 << 20;

/// Bounds of one source.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SourceLimits {
    pub(crate) series: u32,
    pub(crate) text_bytes: u64,
}

impl SeriesLimits {
    /// Those of a source with this key.
    pub(crate) fn of_source(&self, source: HostKey) -> SourceLimits {
        let (series, text_bytes) = match device_of(source) {
            Some(_) => (SERIES_PER_DEVICE, TEXT_BYTES_PER_DEVICE),
            None => (u32::MAX, u64::MAX),
        };
        SourceLimits {
            series: self.series_per_source.min(series),
            text_bytes: self.text_bytes_per_source.min(text_bytes),
        }
    }
}

impl Default for SeriesLimits {
    fn default() -> Self {
        Self {
            series: 8_000_000,
            series_per_host: 20_000,
            series_per_source: 200_000,
            labels_per_series: 30,
            texts: 2_000_000,
            text_bytes: 512 << 20,
            text_bytes_per_source: 64 << 20,
            new_texts_per_hour: 500_000,
        }
    }
}

/// Bounds of one query; beyond them it gets an error instead of the machine's memory.
#[derive(Debug, Clone, Copy)]
pub struct QueryLimits {
    /// Points returned. A day of 150 series every 15 s is 864,000.
    pub max_points: u64,
    /// Frames read. Fifteen days at 15 s are 86,400.
    pub max_frames: u64,
    /// Frame bytes read.
    pub max_bytes: u64,
}

impl Default for QueryLimits {
    fn default() -> Self {
        Self {
            max_points: 5_000_000,
            max_frames: 200_000,
            max_bytes: 256 << 20,
        }
    }
}

/// Who seals segments and applies retention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sealing {
    /// A low-priority thread of the store.
    Background,
    /// Whoever calls [`crate::SeriesStore::maintain`]; for tests and tools.
    Manual,
}

/// A source of Unix milliseconds.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> i64 + Send + Sync>);

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn system() -> Self {
        Self::new(|| {
            let since = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default();
            i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
        })
    }

    /// A clock of one's own.
    pub fn new(now_ms: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(now_ms))
    }

    /// Unix milliseconds now.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Clock")
    }
}
