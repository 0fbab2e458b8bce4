//! One process per folder.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::error::SeriesError;

const NAME: &str = "lock";

/// Held for as long as the store is open; the kernel lets go of it when the process ends.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the folder's lock, or says who has it.
    pub(crate) fn take(dir: &Path) -> Result<Self, SeriesError> {
        let path = dir.join(NAME);
        let io = |action| {
            let path = path.clone();
            move |source| SeriesError::io(action, path, source)
        };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        options.mode(0o600);
        let mut file = options.open(&path).map_err(io("open"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(SeriesError::Locked {
                    dir: dir.to_path_buf(),
                    holder: holder(file),
                });
            }
            Err(TryLockError::Error(source)) => return Err(io("lock")(source)),
        }
        // The number is a courtesy to whoever is refused; a full disk must not keep us from opening.
        if let Err(error) = file
            .set_len(0)
            .and_then(|()| write!(file, "{}", std::process::id()))
        {
            tracing::debug!(error = %error, "lock file does not name this process");
        }
        Ok(Self { _file: file })
    }
}

fn holder(file: File) -> String {
    let mut text = String::new();
    match file.take(20).read_to_string(&mut text) {
        Ok(count) if count > 0 => format!("process {}", text.trim()),
        _ => "another process".to_owned(),
    }
}
