//! What was made whole, in a file without a name until it is taken: its reader may take hours, and memory is
//! short. The system forgets it with the answer, or with this process.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::PathBuf;

use axum::body::Bytes;
use axum::http::StatusCode;
use futures_util::{Stream, stream};

use crate::guard::Held;
use crate::problem::Problem;
use crate::turns::Stand;

/// What is in memory of it at one time.
const PIECE_BYTES: usize = 64 << 10;

/// A file that is whole.
#[derive(Debug)]
pub(super) struct Spooled {
    file: File,
    bytes: u64,
}

/// Makes a file off the threads that take samples in.
pub(super) async fn made<F>(make: F) -> Result<Spooled, Problem>
where
    F: FnOnce() -> io::Result<Vec<u8>> + Send + 'static,
{
    let making = tokio::task::spawn_blocking(move || {
        let bytes = make()?;
        let mut file = tempfile::tempfile_in(folder(std::env::var_os("TMPDIR")))?;
        file.write_all(&bytes)?;
        file.rewind()?;
        let bytes = bytes.len() as u64;
        Ok(Spooled { file, bytes })
    });
    let made = making.await.map_err(io::Error::other).flatten();
    made.map_err(|error| failed(&error))
}

/// Where such files lie: where the administrator says, else on a disk. `/tmp` is memory on many systems, and the
/// data folder's last bytes belong to reports.
fn folder(asked: Option<OsString>) -> PathBuf {
    match asked {
        Some(asked) if !asked.is_empty() => asked.into(),
        _ => "/var/tmp".into(),
    }
}

fn failed(error: &io::Error) -> Problem {
    tracing::error!(error = %error, "an export could not be made");
    let (status, code) = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            (StatusCode::INSUFFICIENT_STORAGE, "disk_full")
        }
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "failed"),
    };
    let detail = "the file could not be made; the controller's log says why";
    Problem::new(status, code, detail)
}

impl Spooled {
    /// Its length.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Its bytes, for as long as their reader may have them.
    pub(super) fn pieces(
        self,
        held: Held,
        stand: Stand,
    ) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        stream::try_unfold((self.file, held, stand), async |(mut file, held, stand)| {
            let ended = |problem: Problem| io::Error::other(problem.detail().to_owned());
            held.still().await.map_err(ended)?;
            let reading = tokio::task::spawn_blocking(move || {
                let mut piece = vec![0; PIECE_BYTES];
                let read = file.read(&mut piece)?;
                piece.truncate(read);
                Ok::<_, io::Error>((file, piece))
            });
            let (file, piece) = reading.await.map_err(io::Error::other)??;
            let more = !piece.is_empty();
            Ok(more.then(|| (piece.into(), (file, held, stand))))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_lie_on_a_disk_unless_another_place_is_named() {
        assert_eq!(folder(None), folder(Some("".into())));
        assert_eq!(folder(None), PathBuf::from("/var/tmp"));
        assert_eq!(folder(Some("/srv/tmp".into())), PathBuf::from("/srv/tmp"));
    }
}
