//! Profiles and recordings as files.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use xiezhi_document::Problems;
use xiezhi_profiles::{BadLine, File, Library, Walk};

/// Where somebody's own profiles are looked for if nothing else is said.
const USUAL: &str = "/etc/xiezhi/profiles.d";

/// Longest recording that is read, bytes; a core switch with all its tables has about 10 MB.
const LONGEST: u64 = 64 << 20;

/// A profile's file, read.
pub(crate) struct Read {
    pub(crate) path: PathBuf,
    pub(crate) shown: String,
    pub(crate) name: String,
    pub(crate) text: String,
}

/// The profiles in a folder or the one in a file.
pub(crate) fn read(path: &Path) -> Result<Vec<Read>> {
    if !path.is_dir() {
        return Ok(vec![read_one(path)?]);
    }
    let files = read_any(path)?;
    ensure!(
        !files.is_empty(),
        "{} has no file that ends with .yaml",
        path.display()
    );
    Ok(files)
}

/// The profiles in a folder, which may have none.
pub(crate) fn read_any(path: &Path) -> Result<Vec<Read>> {
    let entries = fs::read_dir(path).with_context(|| format!("reading {}", path.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry
            .with_context(|| format!("reading {}", path.display()))?
            .path();
        if path
            .extension()
            .is_some_and(|extension| extension == "yaml")
        {
            files.push(read_one(&path)?);
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

fn read_one(path: &Path) -> Result<Read> {
    let shown = path.display().to_string();
    let text = fs::read_to_string(path).with_context(|| format!("reading {shown}"))?;
    let name = path.file_stem().unwrap_or_default();
    Ok(Read {
        path: path.to_owned(),
        name: name.to_string_lossy().into_owned(),
        shown,
        text,
    })
}

/// The shipped profiles with `own` over them, and what is wrong with those.
pub(crate) fn library(own: &[Read]) -> (Library, Vec<Problems>) {
    let files: Vec<File<'_>> = own
        .iter()
        .map(|file| File {
            path: &file.shown,
            name: &file.name,
            text: &file.text,
        })
        .collect();
    Library::with(&files)
}

/// Somebody's own profiles: from `given`, or from the usual folder if that exists.
pub(crate) fn own(given: Option<&Path>) -> Result<Vec<Read>> {
    match given {
        Some(path) => read(path),
        None if Path::new(USUAL).is_dir() => match read(Path::new(USUAL)) {
            Ok(files) => Ok(files),
            // An empty folder of the package is no reason to stop.
            Err(_) if is_empty(Path::new(USUAL)) => Ok(Vec::new()),
            Err(error) => Err(error),
        },
        None => Ok(Vec::new()),
    }
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none())
}

/// A recording, and its lines that are none.
pub(crate) fn walk(path: &Path) -> Result<(Walk, Vec<BadLine>)> {
    let reading = || format!("reading {}", path.display());
    let length = fs::metadata(path).with_context(reading)?.len();
    if length > LONGEST {
        bail!("{} is longer than {LONGEST} bytes", path.display());
    }
    let bytes = fs::read(path).with_context(reading)?;
    let (walk, bad) = Walk::parse(&String::from_utf8_lossy(&bytes));
    ensure!(
        walk.iter().next().is_some(),
        "{} is no recording: there is no line such as 1.3.6.1.2.1.1.1.0|4|a switch",
        path.display()
    );
    Ok((walk, bad))
}

/// Writes a new file; one that is there already is left alone.
pub(crate) fn write_new(path: &Path, text: &str) -> Result<()> {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .with_context(|| format!("making {}", path.display()))?;
    std::io::Write::write_all(&mut file, text.as_bytes())
        .with_context(|| format!("writing {}", path.display()))
}
