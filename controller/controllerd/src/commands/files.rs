//! Lists written to files, and pages for paper. A file that is there already is never written over.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use xiezhi_inventory::export::{FileKind, csv_lines, csv_start, xlsx_file};

use crate::terminal::say;

/// A list on its way into a file.
pub(super) struct ListFile {
    path: PathBuf,
    header: Vec<String>,
    /// `None`: XLSX, which is written whole in the end.
    lines: Option<File>,
    rows: Vec<Vec<String>>,
    count: usize,
}

impl ListFile {
    /// Begins a file whose name ends with `.csv` or `.xlsx`.
    pub(super) fn begin<H: AsRef<str>>(path: &Path, header: &[H]) -> Result<Self> {
        let ending = path.extension().and_then(|ending| ending.to_str());
        let kind = ending.and_then(|ending| FileKind::from_word(&ending.to_lowercase()));
        let kind = kind
            .with_context(|| format!("{}: the name must end with .csv or .xlsx", path.display()))?;
        let lines = match kind {
            FileKind::Csv => {
                let mut file = new_file(path)?;
                file.write_all(&csv_start(header))
                    .with_context(|| format!("writing {}", path.display()))?;
                Some(file)
            }
            FileKind::Xlsx => None,
        };
        Ok(Self {
            path: path.to_owned(),
            header: header.iter().map(|cell| cell.as_ref().to_owned()).collect(),
            lines,
            rows: Vec::new(),
            count: 0,
        })
    }

    pub(super) const fn kind(&self) -> FileKind {
        match self.lines {
            Some(_) => FileKind::Csv,
            None => FileKind::Xlsx,
        }
    }

    pub(super) fn push(&mut self, rows: Vec<Vec<String>>) -> Result<()> {
        self.count += rows.len();
        match &mut self.lines {
            Some(file) => file
                .write_all(&csv_lines(&rows))
                .with_context(|| format!("writing {}", self.path.display()))?,
            None => self.rows.extend(rows),
        }
        Ok(())
    }

    /// Ends the file and says how much is in it.
    pub(super) fn finish(self) -> Result<()> {
        let name = self.path.display();
        match self.lines {
            Some(file) => file.sync_all().with_context(|| format!("writing {name}"))?,
            None => write_new(&self.path, &xlsx_file(&self.header, &self.rows)?)?,
        }
        say!("{name}: {} rows", self.count);
        Ok(())
    }
}

/// Writes a new file that only its owner reads.
pub(super) fn write_new(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = new_file(path)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    written.with_context(|| format!("writing {}", path.display()))
}

fn new_file(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let name = path.display();
    options
        .open(path)
        .with_context(|| format!("making {name}: it must not be there yet, and its folder must"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_once_in_the_shape_that_its_name_says() {
        let folder = tempfile::tempdir().unwrap();
        for (name, start) in [("a.csv", b"\xef\xbb\xbf".as_slice()), ("a.XLSX", b"PK")] {
            let path = folder.path().join(name);
            let mut list = ListFile::begin(&path, &["编号"]).unwrap();
            list.push(vec![vec!["=1".to_owned()]]).unwrap();
            list.finish().unwrap();
            assert!(std::fs::read(&path).unwrap().starts_with(start), "{name}");
            let again = ListFile::begin(&path, &["编号"]).and_then(ListFile::finish);
            assert!(again.is_err(), "{name}");
        }
        assert!(ListFile::begin(&folder.path().join("a.ods"), &["x"]).is_err());
    }
}
