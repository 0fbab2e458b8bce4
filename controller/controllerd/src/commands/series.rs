//! `series`: a backup of the samples, and proof that they, or a backup, are whole.
//!
//! A running controller owns the samples, so it is asked for a copy: files that never change are
//! linked within its data folder, which costs neither time nor space. This command then carries the
//! copy to where its own user may write; the controller's user may write nowhere else.

use std::fmt;
use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use xiezhi_series::{Sealing, SeriesOptions, SeriesStore, check_backup};

use crate::cli::Series;
use crate::config::Config;
use crate::control::{self, Answer, Request};
use crate::terminal::say;

/// The file of a backup that is written last.
const MANIFEST: &str = "MANIFEST";

/// Does what `series …` asks.
pub(super) fn run(config: &Config, what: &Series) -> Result<()> {
    match what {
        Series::Backup { folder } => backup(config, folder),
        Series::Verify {
            backup: Some(folder),
        } => verify_backup(folder),
        Series::Verify { backup: None } => verify(config),
    }
}

fn backup(config: &Config, folder: &Path) -> Result<()> {
    ensure!(
        fs::symlink_metadata(folder).is_err(),
        "{} is there already: name a folder that is not, for instance one with the date",
        folder.display()
    );
    let staging = control::staging(&config.data_dir);
    if control::ask(&config.data_dir, Request::StageSeries)?.is_none() {
        // What an interrupted backup left.
        drop(fs::remove_dir_all(&staging));
        open(config)?.backup(&staging)?;
    }
    // Copied also on the same disk: links would be damaged with what they are a backup of.
    let carried = carry(&staging, folder);
    // Links to old files hold their space; the next backup would remove it as well.
    drop(fs::remove_dir_all(&staging));
    carried?;
    verify_backup(folder)
}

/// Copies a staged backup, its manifest last: a folder without one is no backup.
fn carry(from: &Path, to: &Path) -> Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.mode(0o700);
    let made = builder.create(to);
    made.with_context(|| format!("making {}", to.display()))?;
    let copy = |name: &std::ffi::OsStr| -> Result<()> {
        let target = to.join(name);
        let copied =
            fs::copy(from.join(name), &target).and_then(|_| fs::File::open(&target)?.sync_all());
        copied.with_context(|| format!("writing {}", target.display()))
    };
    let entries = fs::read_dir(from).with_context(|| format!("reading {}", from.display()))?;
    for entry in entries {
        let name = entry?.file_name();
        if name != MANIFEST {
            copy(&name)?;
        }
    }
    copy(MANIFEST.as_ref())?;
    fs::File::open(to)?.sync_all()?;
    // The folder's own name is an entry of the one above it.
    let above = to.parent().filter(|above| !above.as_os_str().is_empty());
    fs::File::open(above.unwrap_or(Path::new(".")))?.sync_all()?;
    Ok(())
}

/// A backup that was made, of samples that are damaged.
#[derive(Debug)]
pub(crate) struct DamagedBackup(String);

impl fmt::Display for DamagedBackup {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for DamagedBackup {}

/// Fails with [`DamagedBackup`] if it is what was backed up and that was damaged.
fn verify_backup(folder: &Path) -> Result<()> {
    let shown = folder.display();
    let check = check_backup(folder).with_context(|| {
        format!("{shown} is no whole backup: without {MANIFEST} its making was cut short")
    })?;
    for line in &check.noted {
        say!("when it was made: {line}");
    }
    for line in check.found.lines() {
        say!("{line}");
    }
    ensure!(
        check.changed.is_empty(),
        "{} damaged files in {shown}:\n{}",
        check.changed.len(),
        check.changed.join("\n")
    );
    if !check.is_whole() {
        let (summary, noted) = (check.found.summary(), check.noted.len());
        return Err(DamagedBackup(format!(
            "{shown} holds what was there, of damaged samples: {summary}; its manifest notes {noted}"
        ))
        .into());
    }
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        bytes += entry?.metadata()?.len();
    }
    say!("{shown}: a whole backup of the samples, {bytes} bytes");
    Ok(())
}

fn verify(config: &Config) -> Result<()> {
    let answer = match control::ask(&config.data_dir, Request::VerifySeries)? {
        Some(answer) => answer,
        None => control::verify(&open(config)?)?,
    };
    let Answer::Verified {
        files,
        records,
        wrong,
        summary,
    } = answer
    else {
        bail!("the running controller answered something else");
    };
    say!("{files} files, {records} intact records");
    for line in &wrong {
        say!("{line}");
    }
    if let Some(summary) = summary {
        bail!(
            "{summary}: the rest is served; what they held is in a backup or lost. Files that were set \
             aside are named until someone moves them elsewhere"
        );
    }
    Ok(())
}

/// The samples of a controller that does not run, as they are: nothing is sealed or removed.
fn open(config: &Config) -> Result<SeriesStore> {
    let dir = config.series_dir();
    ensure!(
        dir.is_dir(),
        "there are no samples in {}: is `data_dir` right?",
        dir.display()
    );
    let options = SeriesOptions {
        sealing: Sealing::Manual,
        ..config.series.options()
    };
    SeriesStore::open(&dir, options)
        .with_context(|| format!("opening the samples in {}", dir.display()))
}
