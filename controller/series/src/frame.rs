//! What goes in and what comes out: frames, verdicts and points.

use std::sync::Arc;

use xiezhi_protocol::batch::BatchInfo;

/// The host a frame belongs to: the database's number of it. Keys of foreign sources are below zero.
pub type HostKey = i64;

/// Where the keys of devices end: those of tokens are above.
const DEVICES_END: HostKey = -(1 << 40);

/// The key of a device of the network: its number in the database, far below those of tokens.
#[must_use]
pub const fn device_key(device: i64) -> HostKey {
    DEVICES_END.saturating_sub(device)
}

/// The device that has this key.
#[must_use]
pub const fn device_of(key: HostKey) -> Option<i64> {
    if key < DEVICES_END {
        Some(DEVICES_END.saturating_sub(key))
    } else {
        None
    }
}

/// A sample frame on its way into the store. The bytes are opaque to everything but queries.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// The host that reported it.
    pub host: HostKey,
    /// Epoch of the host's sequence numbers.
    pub epoch: u64,
    /// Sequence number, time and content checksum.
    pub batch: BatchInfo,
    /// Whether the frame starts a chain.
    pub key: bool,
    /// The frame as it came over the wire.
    pub bytes: &'a [u8],
}

/// What became of an appended frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// New, and durable now.
    Stored,
    /// Already stored with the same content; nothing changed. Acknowledge it.
    Replay,
    /// The sequence number is taken by other content, or by content that is no longer known.
    /// Nothing was stored: the caller opens a new epoch and appends again.
    Conflict,
}

/// Points of one series, ascending in time, one per timestamp.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesPoints {
    /// Name and labels, as the agent wrote them.
    pub series: Arc<str>,
    /// Unix milliseconds and value.
    pub points: Vec<(i64, f64)>,
}

/// Answer of a query, with what could not be answered.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RangeAnswer {
    /// The series, by name.
    pub series: Vec<SeriesPoints>,
    /// Frames looked at.
    pub frames: u64,
    /// Frames inside the time range whose chain has no beginning, or that the codec refused.
    pub undecodable: u64,
    /// Damaged places met while reading; what they held is missing above.
    pub damaged: u64,
    /// What may be missing above, a sentence for each thing; none if nothing is.
    pub lacking: Vec<String>,
}

/// The last values of a host.
#[derive(Debug, Clone, PartialEq)]
pub struct Latest {
    /// Time of the frame, Unix milliseconds.
    pub time_ms: i64,
    /// Epoch of the frame.
    pub epoch: u64,
    /// Sequence number of the frame.
    pub seq: u64,
    /// The series of that frame and their values.
    pub values: Vec<(Arc<str>, f64)>,
}

/// What is known of a stored frame without decoding it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredFrame {
    /// Epoch of the host's sequence numbers.
    pub epoch: u64,
    /// Sequence number, time and content checksum.
    pub batch: BatchInfo,
    /// Whether the frame starts a chain.
    pub key: bool,
    /// When the store took it, Unix milliseconds.
    pub received_ms: i64,
}

/// Why segments are not sealed now. Samples are stored all the same; they take more space and are
/// read more slowly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealingTrouble {
    /// Whether the disk is full.
    pub full: bool,
    /// What failed, for a person.
    pub reason: String,
}

/// The state of the store, for pages and metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SeriesStats {
    /// Frames stored.
    pub frames: u64,
    /// Bytes on disk, without the checkpoint.
    pub bytes: u64,
    /// Blocks, and segments of the first format.
    pub sealed_segments: u64,
    /// Rollups.
    pub rollups: u64,
    /// Samples in blocks.
    pub samples: u64,
    /// Series of hosts that report.
    pub series: u64,
    /// Series refused by the limits since opening, counted each time that a frame named them.
    pub refused_series: u64,
    /// Logs that are no blocks yet, the active one included.
    pub log_segments: u64,
    /// Hosts known.
    pub hosts: u64,
    /// Time of the oldest frame, Unix milliseconds.
    pub oldest_ms: Option<i64>,
    /// Time of the newest frame, Unix milliseconds.
    pub newest_ms: Option<i64>,
    /// Frames stored since this process opened the store.
    pub appended: u64,
    /// Replays seen since opening.
    pub replays: u64,
    /// Samples of foreign sources stored since opening.
    pub foreign_stored: u64,
    /// Samples of foreign sources that were there already, since opening.
    pub foreign_repeated: u64,
    /// Samples of foreign sources whose time had another value already, since opening.
    pub foreign_contradicted: u64,
    /// Conflicts seen since opening.
    pub conflicts: u64,
    /// Torn ends cut off since opening.
    pub torn_tails: u64,
    /// Bytes that those ends had.
    pub torn_bytes: u64,
    /// Damaged places met since opening.
    pub damaged: u64,
    /// Files that were set aside because they are damaged, and still lie in the folder.
    pub set_aside: u64,
    /// Files that the disk refused when the store was opened, and refuses yet.
    pub refused_files: u64,
    /// What is named as a file of the store, is none, and lies in the folder.
    pub stray_files: u64,
    /// Frames held that cannot be decoded: their samples are in no answer.
    pub undecoded_frames: u64,
    /// Frames that queries could not decode since opening.
    pub undecodable: u64,
    /// Segments removed by retention since opening.
    pub removed_segments: u64,
    /// Logs that are kept because they were not followed to their end yet.
    pub held_logs: u64,
    /// Their bytes, which are in `bytes` too.
    pub held_bytes: u64,
    /// Frames of logs that went before they were followed, since opening.
    pub unfollowed: u64,
    /// Files that went for their age without steps, see [`WithoutSteps`], since opening.
    pub expired_without_steps: u64,
    /// Failed attempts to seal a segment since opening.
    pub failed_seals: u64,
    /// Whether the last append failed for lack of space.
    pub full: bool,
    /// Memory held by de-duplication state and indexes, estimated from capacities.
    pub memory_bytes: u64,
}

/// Samples that went for their age, of which no steps are kept, or not all: there was no room for them, or the
/// disk refused the samples until then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WithoutSteps {
    /// How many files, since the store was opened.
    pub files: u64,
    /// When the first of them went, Unix milliseconds.
    pub since_ms: i64,
    /// When the last of them did.
    pub last_ms: i64,
}

/// What a backup wrote.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BackupReport {
    /// Files in it, the manifest left out.
    pub files: u64,
    /// Of these, how many share their content with the store.
    pub linked: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Files that are not in it: the disk refuses what tells how they are read.
    pub left_out: Vec<String>,
    /// What is damaged of the samples, and so of the backup.
    pub found: VerifyReport,
}

/// A place that does not hold what was written there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// File name within the store's folder.
    pub file: String,
    /// First damaged byte.
    pub offset: u64,
    /// How many bytes cannot be read as records.
    pub bytes: u64,
}

/// Stored frames of a host that cannot be decoded: the frame with which their chain begins is
/// damaged or was never there, or the codec refuses them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undecoded {
    /// Name of the log or block that holds them.
    pub file: String,
    /// Whose they are.
    pub host: HostKey,
    /// How many.
    pub frames: u64,
}

/// What is damaged of the store, as far as this process has met it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DamageMet {
    /// Damaged places met since opening.
    pub places: u64,
    /// Frames held that cannot be decoded.
    pub undecoded_frames: u64,
    /// Files that were set aside, at opening or later, and still lie in the folder, ascending.
    pub set_aside: Vec<String>,
    /// Files that the disk refused when the store was opened, whole or in part, and refuses yet, ascending.
    /// They are asked for again and come back by themselves.
    pub refused: Vec<String>,
    /// Whether the folder cannot be listed, so that `set_aside` is what was known before.
    pub is_unlisted: bool,
    /// What is named as a file of the store and is none (a folder, a link, a number that cannot be), ascending:
    /// it is left alone and not read.
    pub strays: Vec<String>,
    /// Of the places, those in files that are refused: they come back with them.
    pub refused_places: u64,
    /// Of the frames, those in files that are refused.
    pub refused_frames: u64,
}

impl DamageMet {
    /// Whether nothing is damaged, as far as is known.
    #[must_use]
    pub fn is_none(&self) -> bool {
        let all_read = self.set_aside.is_empty() && self.refused.is_empty() && !self.is_unlisted;
        self.places == 0 && self.undecoded_frames == 0 && all_read
    }

    /// Whether something is missing, and all of it is in files that the disk refuses and that come back by
    /// themselves.
    #[must_use]
    pub fn only_waits(&self) -> bool {
        let is_all = self.places == self.refused_places
            && self.undecoded_frames == self.refused_frames
            && self.set_aside.is_empty()
            && !self.is_unlisted;
        is_all && !self.refused.is_empty()
    }
}

/// What a full read of the store found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Files read.
    pub files: u64,
    /// Intact records of logs, and intact pieces of blocks.
    pub records: u64,
    /// Damaged places, at most [`VerifyReport::MAX_DAMAGES`].
    pub damaged: Vec<Damage>,
    /// Frames that cannot be decoded, by file and host, at most [`VerifyReport::MAX_DAMAGES`].
    pub undecoded: Vec<Undecoded>,
    /// Files that were set aside because they are damaged: what they hold is not served.
    pub set_aside: Vec<String>,
    /// Files that the disk refused when the store was opened, and refuses yet.
    pub refused: Vec<String>,
    /// All frames that cannot be decoded, those that are not listed included.
    pub undecoded_frames: u64,
}

impl VerifyReport {
    /// Damaged places listed at most; a disk that lies has millions.
    pub const MAX_DAMAGES: usize = 10_000;

    /// Whether all that was stored can be served.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let all_read = self.set_aside.is_empty() && self.refused.is_empty();
        self.damaged.is_empty() && self.undecoded_frames == 0 && all_read
    }

    /// What is not whole, one line each.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let damaged = self.damaged.iter().map(|place| {
            let Damage {
                file,
                offset,
                bytes,
            } = place;
            format!("damaged: {file}: {bytes} bytes from byte {offset}")
        });
        let undecoded = self.undecoded.iter().map(|lost| {
            let Undecoded { file, host, frames } = lost;
            format!("cannot be decoded: {file}: {frames} frames of host {host}")
        });
        let set_aside = self.set_aside.iter();
        let set_aside = set_aside.map(|file| format!("set aside and not served: {file}"));
        let refused = self.refused.iter();
        let refused = refused.map(|file| format!("refused by the disk and kept as it is: {file}"));
        let aside = set_aside.chain(refused);
        damaged.chain(undecoded).chain(aside).collect()
    }

    /// How much is not whole, in a few words.
    #[must_use]
    pub fn summary(&self) -> String {
        format!(
            "{} damaged places, {} frames that cannot be decoded, {} files set aside, {} files refused by the disk",
            self.damaged.len(),
            self.undecoded_frames,
            self.set_aside.len(),
            self.refused.len()
        )
    }
}
