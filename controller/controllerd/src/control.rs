//! What commands ask of the controller that runs: things that only the owner of the samples can do.
//!
//! A socket in the data folder, which only the controller's user and root can reach; a request is one
//! line, and so is the answer. It takes no paths and no data from the asker, so whoever reaches it
//! gains nothing that reading the folder does not give.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream as Stream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;
use tracing::{info, warn};
use xiezhi_series::SeriesStore;

/// Most bytes of a request, and time to send it.
const REQUEST: (u64, Duration) = (256, Duration::from_secs(5));

/// What can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    /// A copy of the samples in the staging folder.
    StageSeries,
    /// Read all samples.
    VerifySeries,
}

/// What comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// The copy is there.
    Staged,
    /// All samples were read.
    Verified {
        files: u64,
        records: u64,
        /// What is not whole, one line each.
        wrong: Vec<String>,
        /// How much that is; `None` if all is whole.
        summary: Option<String>,
    },
    /// It could not be done.
    Failed(String),
}

/// Where the running controller listens.
fn socket(data_dir: &Path) -> PathBuf {
    data_dir.join("control.sock")
}

/// Where the running controller puts the copy that it was asked for.
pub(crate) fn staging(data_dir: &Path) -> PathBuf {
    data_dir.join("series-backup.staging")
}

/// Answers commands until the task is aborted.
pub(crate) fn start(data_dir: &Path, series: SeriesStore) -> Result<JoinHandle<()>> {
    let path = socket(data_dir);
    // Left behind by a crash; the samples' lock says that no other controller uses it.
    drop(std::fs::remove_file(&path));
    let shown = path.display();
    let listener = UnixListener::bind(&path).with_context(|| format!("listening on {shown}"))?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))
        .with_context(|| format!("setting the mode of {shown}"))?;
    let staging = staging(data_dir);
    Ok(tokio::spawn(async move {
        loop {
            // One at a time: each reads the whole disk.
            match listener.accept().await {
                Ok((stream, _)) => serve(stream, &series, &staging).await,
                Err(error) => {
                    warn!(%error, "a command could not be answered");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }))
}

async fn serve(mut stream: UnixStream, series: &SeriesStore, staging: &Path) {
    let (bytes, patience) = REQUEST;
    let mut line = String::new();
    let mut reader = tokio::io::BufReader::new((&mut stream).take(bytes));
    let read = tokio::time::timeout(patience, reader.read_line(&mut line)).await;
    let answer = match (read, serde_json::from_str(&line)) {
        (Ok(Ok(_)), Ok(request)) => {
            info!(?request, "a command asks");
            let (series, staging) = (series.clone(), staging.to_owned());
            tokio::task::spawn_blocking(move || act(request, &series, &staging))
                .await
                .unwrap_or_else(|error| Answer::Failed(error.to_string()))
        }
        _ => Answer::Failed("not a request of this version".to_owned()),
    };
    let mut text = serde_json::to_vec(&answer).unwrap_or_default();
    text.push(b'\n');
    // Who no longer listens needs no answer.
    drop(stream.write_all(&text).await);
}

fn act(request: Request, series: &SeriesStore, staging: &Path) -> Answer {
    let done = match request {
        Request::StageSeries => stage(series, staging).map(|()| Answer::Staged),
        Request::VerifySeries => verify(series),
    };
    done.unwrap_or_else(|error| Answer::Failed(format!("{error:#}")))
}

/// Makes the copy anew; what an interrupted command left is removed.
fn stage(series: &SeriesStore, staging: &Path) -> Result<()> {
    match std::fs::remove_dir_all(staging) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("removing {}", staging.display()));
        }
        _ => {}
    }
    series.backup(staging)?;
    Ok(())
}

/// Reads everything and names each damaged place.
pub(crate) fn verify(series: &SeriesStore) -> Result<Answer> {
    let report = series.verify().context("reading the samples")?;
    Ok(Answer::Verified {
        files: report.files,
        records: report.records,
        wrong: report.lines(),
        summary: (!report.is_whole()).then(|| report.summary()),
    })
}

/// Asks the running controller; `None` if none runs.
pub(crate) fn ask(data_dir: &Path, request: Request) -> Result<Option<Answer>> {
    let path = socket(data_dir);
    let mut stream = match Stream::connect(&path) {
        Ok(stream) => stream,
        Err(error) => {
            use std::io::ErrorKind::{ConnectionRefused, NotFound};
            if matches!(error.kind(), NotFound | ConnectionRefused) {
                return Ok(None);
            }
            return Err(error).with_context(|| {
                let shown = path.display();
                format!("asking the running controller at {shown}: run this as its user or as root")
            });
        }
    };
    let mut text = serde_json::to_vec(&request)?;
    text.push(b'\n');
    stream.write_all(&text)?;
    let mut line = String::new();
    BufReader::new(stream)
        .read_line(&mut line)
        .context("waiting for the running controller")?;
    match serde_json::from_str(&line)
        .context("the running controller ended or is another version")?
    {
        Answer::Failed(why) => bail!("the running controller could not: {why}"),
        answer => Ok(Some(answer)),
    }
}
