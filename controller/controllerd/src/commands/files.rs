//! Lists written to files, and pages for paper. A file appears under its name whole or not at all, and one
//! that is there already is never written over. What left in a list is in the audit log before the file is
//! there.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use tempfile::NamedTempFile;
use xiezhi_inventory::export::{
    FileKind, MOST_SHEET_ROWS, SheetError, csv_lines, csv_start, xlsx_file,
};
use xiezhi_inventory::register::MAX_ROWS;
use xiezhi_model::AuditEntry;
use xiezhi_store::Store;

use crate::terminal::say;

/// A file that has its name only when it is whole; only its owner reads it.
pub(super) struct NewFile {
    path: PathBuf,
    part: NamedTempFile,
}

impl NewFile {
    pub(super) fn begin(path: &Path) -> Result<Self> {
        let name = path.display();
        let making = || format!("making {name}: it must not be there yet, and its folder must");
        let is_there = path.try_exists().with_context(making)?;
        ensure!(!is_there, "{}", making());
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let part = tempfile::Builder::new()
            .prefix(".xiezhi-")
            .suffix(".part")
            .tempfile_in(folder.unwrap_or(Path::new(".")))
            .with_context(making)?;
        let path = path.to_owned();
        Ok(Self { path, part })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.part.write_all(bytes);
        written.with_context(|| format!("writing {}", self.path.display()))
    }

    /// Gives it its name.
    pub(super) fn keep(self) -> Result<()> {
        let name = self.path.display();
        let synced = self.part.as_file().sync_all();
        synced.with_context(|| format!("writing {name}"))?;
        let kept = self.part.persist_noclobber(&self.path);
        kept.with_context(|| format!("making {name}: it must not be there yet"))?;
        Ok(())
    }
}

/// A list on its way into a file.
pub(super) struct ListFile {
    file: NewFile,
    kind: FileKind,
    header: Vec<String>,
    /// Of XLSX, which is written whole in the end.
    rows: Vec<Vec<String>>,
    count: usize,
    importable: bool,
}

impl ListFile {
    /// Begins a file whose name ends with `.csv` or `.xlsx`.
    pub(super) fn begin<H: AsRef<str>>(path: &Path, header: &[H]) -> Result<Self> {
        let ending = path.extension().and_then(|ending| ending.to_str());
        let kind = ending.and_then(|ending| FileKind::from_word(&ending.to_lowercase()));
        let kind = kind
            .with_context(|| format!("{}: the name must end with .csv or .xlsx", path.display()))?;
        let mut file = NewFile::begin(path)?;
        if kind == FileKind::Csv {
            file.write(&csv_start(header))?;
        }
        Ok(Self {
            file,
            kind,
            header: header.iter().map(|cell| cell.as_ref().to_owned()).collect(),
            rows: Vec::new(),
            count: 0,
            importable: false,
        })
    }

    /// The same, of a list that an import takes back.
    pub(super) fn begin_importable<H: AsRef<str>>(path: &Path, header: &[H]) -> Result<Self> {
        let list = Self::begin(path, header)?;
        let importable = true;
        Ok(Self { importable, ..list })
    }

    /// Adds rows.
    ///
    /// # Errors
    /// As soon as an XLSX file has too many.
    pub(super) fn push(&mut self, rows: Vec<Vec<String>>) -> Result<()> {
        self.count += rows.len();
        match self.kind {
            FileKind::Csv => self.file.write(&csv_lines(&rows))?,
            FileKind::Xlsx if self.count > MOST_SHEET_ROWS => {
                return Err(SheetError::TooManyRows.into());
            }
            FileKind::Xlsx => self.rows.extend(rows),
        }
        Ok(())
    }

    /// Ends the file, writes down that it was made and says how much is in it.
    pub(super) async fn finish(mut self, store: &Store, audit: AuditEntry) -> Result<()> {
        if self.kind == FileKind::Xlsx {
            self.file.write(&xlsx_file(&self.header, &self.rows)?)?;
        }
        let audit = audit
            .with("format", self.kind.word())
            .with("rows", self.count.to_string());
        store.append_audit(audit).await?;
        let name = self.file.path.display().to_string();
        self.file.keep()?;
        say!("{name}: {} rows", self.count);
        if self.importable && self.count > MAX_ROWS {
            say!(
                "an import takes {MAX_ROWS} rows at a time: to read it back, narrow the list or split the file"
            );
        }
        Ok(())
    }
}

/// Writes a new file that only its owner reads.
pub(super) fn write_new(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = NewFile::begin(path)?;
    file.write(bytes)?;
    file.keep()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::by_console;
    use super::*;

    async fn store(folder: &Path) -> Store {
        let url = format!("sqlite://{}", folder.join("state.db").display());
        Store::open(&url).await.unwrap()
    }

    #[tokio::test]
    async fn a_file_is_written_once_in_the_shape_that_its_name_says_and_audited() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path()).await;
        for (name, start) in [("a.csv", b"\xef\xbb\xbf".as_slice()), ("a.XLSX", b"PK")] {
            let path = folder.path().join(name);
            let mut list = ListFile::begin(&path, &["编号"]).unwrap();
            list.push(vec![vec!["=1".to_owned()]]).unwrap();
            assert!(!path.exists(), "{name}");
            let audit = by_console("hosts.export", "");
            list.finish(&store, audit).await.unwrap();
            assert!(std::fs::read(&path).unwrap().starts_with(start), "{name}");
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            assert!(ListFile::begin(&path, &["编号"]).is_err(), "{name}");
        }
        let told = store.audit(&Default::default()).await.unwrap();
        let told: Vec<_> = told.iter().map(|one| (&*one.action, &one.detail)).collect();
        assert_eq!(told.len(), 2);
        assert_eq!((told[0].0, &*told[0].1["format"]), ("hosts.export", "xlsx"));
        assert_eq!(told[0].1["rows"], "1");
        assert!(ListFile::begin(&folder.path().join("a.ods"), &["x"]).is_err());
    }

    #[tokio::test]
    async fn what_is_not_finished_leaves_nothing_and_a_sheet_ends_with_the_first_row_too_many() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let slice = || vec![vec!["x".to_owned()]; 1000];
        let mut csv = ListFile::begin(&path("a.csv"), &["编号"]).unwrap();
        csv.push(slice()).unwrap();
        let mut sheet = ListFile::begin(&path("a.xlsx"), &["编号"]).unwrap();
        let refused = (0..).find_map(|at| sheet.push(slice()).err().map(|why| (at, why)));
        let (slices, why) = refused.unwrap();
        assert_eq!(slices * 1000, MOST_SHEET_ROWS);
        assert!(why.to_string().contains("CSV"), "{why}");
        // Somebody else was there first.
        let mut late = NewFile::begin(&path("late")).unwrap();
        late.write(b"mine").unwrap();
        std::fs::write(path("late"), "theirs").unwrap();
        assert!(late.keep().is_err());
        drop((csv, sheet));
        let left = std::fs::read_dir(folder.path()).unwrap();
        let left: Vec<_> = left.map(|one| one.unwrap().file_name()).collect();
        assert_eq!(left, ["late"]);
        assert_eq!(std::fs::read(path("late")).unwrap(), b"theirs");
    }
}
