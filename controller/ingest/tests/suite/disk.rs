//! A full disk under the samples.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use xiezhi_ingest::IngestOptions;
use xiezhi_protocol::batch::Stream;
use xiezhi_series::SeriesStore;
use xiezhi_series::disk::{Disk, DiskFile, Folder, ReadAt};

use crate::port::{Port, options, until};

/// A folder whose disk fills up and is freed at will.
#[derive(Debug)]
struct Filling {
    folder: Folder,
    full: Arc<AtomicBool>,
}

#[derive(Debug)]
struct FillingFile {
    file: Arc<dyn DiskFile>,
    full: Arc<AtomicBool>,
}

fn check(full: &AtomicBool) -> io::Result<()> {
    if full.load(Ordering::Acquire) {
        Err(io::ErrorKind::StorageFull.into())
    } else {
        Ok(())
    }
}

impl ReadAt for FillingFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }
}

impl DiskFile for FillingFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        check(&self.full)?;
        self.file.write_at(bytes, offset)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }
}

impl Filling {
    fn wrap(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(FillingFile {
            file,
            full: Arc::clone(&self.full),
        })
    }
}

impl Disk for Filling {
    fn list(&self) -> io::Result<Vec<String>> {
        self.folder.list()
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.wrap(Disk::open(&self.folder, name)?))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        check(&self.full)?;
        Ok(self.wrap(self.folder.create(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.folder.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.folder.remove(name)
    }

    fn sync(&self) -> io::Result<()> {
        self.folder.sync()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path(name)
    }
}

fn filling(folder: &Path) -> (SeriesStore, Arc<AtomicBool>) {
    let full = Arc::new(AtomicBool::new(false));
    let folder = Folder::open(folder).unwrap();
    let disk = Filling {
        folder,
        full: Arc::clone(&full),
    };
    (
        SeriesStore::open_on(Arc::new(disk), Default::default()).unwrap(),
        full,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_acknowledgements_shows_and_recovers_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let (series, full) = filling(folder.path());
    let port = Port::start_with(IngestOptions { ..options() }, Some(series)).await;
    let identity = port.enrol("one").await;
    let mut agent = port.session(&identity).await;
    agent.live(1, 15_000, 1.0);
    agent.flush();
    assert_eq!(agent.acked().await, (1, vec![(1, 1)]));
    full.store(true, Ordering::Release);
    for seq in 2..=6 {
        agent.live(seq, seq as i64 * 15_000, seq as f64);
    }
    until("the trouble shows", async || {
        port.ingest.health().samples.is_some()
    })
    .await;
    assert!(port.ingest.health().events.is_none());
    // Events have a store of their own; theirs is the first acknowledgement that comes.
    agent.login(1, "zhangsan");
    assert_eq!(agent.down.next().await.ack().stream, Stream::Security);
    full.store(false, Ordering::Release);
    agent.flush();
    let mut next = 2;
    while next <= 6 {
        let (epoch, ranges) = agent.acked().await;
        assert_eq!((epoch, ranges.len(), ranges[0].0), (1, 1, next));
        next = ranges[0].1 + 1;
    }
    until("the trouble is over", async || {
        port.ingest.health().is_well()
    })
    .await;
    assert_eq!(port.series.frames(identity.host.0).unwrap().len(), 6);
}
