//! What is fuzzed: one function per reader of bytes that come from outside or from a disk.
//!
//! A function takes any bytes and panics if the reader breaks a promise: that it neither panics nor
//! loops, and that what it accepts comes back the same. The fuzzer (`tests/fuzz/run`) drives them
//! with coverage; the tests of this crate drive the same functions on every run of the suite, with
//! arbitrary bytes and with damaged copies of valid ones.
//!
//! A new target: a function here, one line in [`ALL`], and `fuzz_targets/NAME.rs`.
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "to panic is how a target says what it found"
)]

mod devices;
mod disk;
mod links;
mod polls;
mod protocol;
mod query;
mod remote_write;
mod seeds;
mod spreadsheet;
mod storage;

pub use devices::{answer, devices_file, memory, profile, traps, walk};
pub use links::{links_file, stamp};
pub use polls::polls;
pub use protocol::{acks, events, frames, messages, records, token};
pub use query::promql;
pub use remote_write::remote_write;
pub use spreadsheet::spreadsheet;
pub use storage::{chunks, config, log, pieces, spool, store};

/// A target: its name, its function, and valid inputs to begin with.
pub struct Target {
    /// Name of the target and of its file.
    pub name: &'static str,
    /// What it does with bytes.
    pub run: fn(&[u8]),
    /// Valid inputs.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

impl Target {
    /// Inputs that were kept (`tests/fuzz/kept/NAME`): of formats as they were written once, and of what
    /// a fuzzer or somebody found worth reading on every run.
    ///
    /// # Panics
    /// If a kept file cannot be read.
    #[must_use]
    pub fn kept(&self) -> Vec<Vec<u8>> {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../kept")
            .join(self.name);
        if !folder.exists() {
            return Vec::new();
        }
        let files = std::fs::read_dir(folder).expect("a folder");
        let mut paths: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
        paths.sort();
        let read = |path| std::fs::read(path).expect("a kept input");
        paths.iter().map(read).collect()
    }
}

/// Every target.
pub const ALL: &[Target] = &[
    Target {
        name: "frames",
        run: frames,
        seeds: seeds::frames,
    },
    Target {
        name: "events",
        run: events,
        seeds: seeds::events,
    },
    Target {
        name: "polls",
        run: polls,
        seeds: polls::seeds,
    },
    Target {
        name: "records",
        run: records,
        seeds: seeds::records,
    },
    Target {
        name: "acks",
        run: acks,
        seeds: seeds::acks,
    },
    Target {
        name: "messages",
        run: messages,
        seeds: seeds::messages,
    },
    Target {
        name: "token",
        run: token,
        seeds: seeds::token,
    },
    Target {
        name: "spool",
        run: spool,
        seeds: seeds::spool,
    },
    Target {
        name: "log",
        run: log,
        seeds: seeds::log,
    },
    Target {
        name: "chunks",
        run: chunks,
        seeds: seeds::chunks,
    },
    Target {
        name: "pieces",
        run: pieces,
        seeds: seeds::chunks,
    },
    Target {
        name: "store",
        run: store,
        seeds: seeds::store,
    },
    Target {
        name: "config",
        run: config,
        seeds: seeds::config,
    },
    Target {
        name: "promql",
        run: promql,
        seeds: seeds::promql,
    },
    Target {
        name: "remote_write",
        run: remote_write,
        seeds: seeds::remote_write,
    },
    Target {
        name: "spreadsheet",
        run: spreadsheet,
        seeds: seeds::spreadsheet,
    },
    Target {
        name: "profile",
        run: profile,
        seeds: devices::profiles,
    },
    Target {
        name: "walk",
        run: walk,
        seeds: devices::walks,
    },
    Target {
        name: "devices_file",
        run: devices_file,
        seeds: devices::devices_files,
    },
    Target {
        name: "memory",
        run: memory,
        seeds: devices::memories,
    },
    Target {
        name: "answer",
        run: answer,
        seeds: devices::answers,
    },
    Target {
        name: "traps",
        run: traps,
        seeds: devices::trap_datagrams,
    },
    Target {
        name: "stamp",
        run: stamp,
        seeds: links::stamps,
    },
    Target {
        name: "links_file",
        run: links_file,
        seeds: links::links_files,
    },
];
