//! A wall clock that is wrong: for one program, without touching the machine's.
//!
//! The Debian package `faketime` brings a library that answers in the kernel's place when a program
//! asks for the time of day. The clock that never jumps stays right, as on a real host whose clock
//! was set. Helpers of an agent start with an empty environment and see the machine's time.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// The clock of the programs that were given [`WrongClock::environment`].
#[derive(Debug)]
pub struct WrongClock {
    library: PathBuf,
    file: PathBuf,
}

impl WrongClock {
    /// A clock whose state lies in `folder`, where its programs must be able to read; right until it
    /// is set.
    ///
    /// # Errors
    /// The library is not installed; the text says how to change that.
    pub fn new(folder: &Path) -> Result<Self> {
        let library = library().context("there is no libfaketime: apt-get install faketime")?;
        remove_leftovers();
        let clock = Self {
            library,
            file: folder.join("clock"),
        };
        clock.set(0)?;
        Ok(clock)
    }

    /// Sets the clock so many seconds ahead of the machine's; behind if negative.
    ///
    /// # Errors
    /// The folder is not writable.
    pub fn set(&self, ahead_s: i64) -> Result<()> {
        let partial = self.file.with_extension("partial");
        fs::write(&partial, format!("{ahead_s:+}\n"))?;
        fs::rename(&partial, &self.file).context("setting a clock")
    }

    /// What a program must find in its environment.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        let file = self.file.display().to_string();
        [
            ("LD_PRELOAD", self.library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", file),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("FAKETIME_DISABLE_SHM", "1".to_owned()),
            ("NO_FAKE_STAT", "1".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }
}

/// Every program leaves a semaphore and a piece of shared memory with its number in the name if it is
/// killed. Numbers come back: a worker with the number of a program that root ran could not make its
/// own, and would not start.
fn remove_leftovers() {
    let found = fs::read_dir("/dev/shm").into_iter().flatten().flatten();
    for path in found.map(|entry| entry.path()) {
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.unwrap_or_default();
        let number = ["faketime_shm_", "sem.faketime_sem_"]
            .iter()
            .find_map(|head| name.strip_prefix(head));
        if number.is_some_and(|number| !Path::new("/proc").join(number).exists()) {
            // Another test may have been faster, or it is another user's.
            drop(fs::remove_file(&path));
        }
    }
}

/// Debian keeps it in a folder named after the architecture.
fn library() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?.flatten();
    let mut places = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    places.find(|path| path.is_file())
}
