//! The place in the log up to which a cluster has everything for certain, on disk.
//!
//! ```text
//! file = version:u8 log:u64 offset:u64 mark:u32 crc:u32      little-endian
//! ```
//!
//! Written beside and renamed, so it is the old one or the new one. One that is lost or damaged costs
//! time and no sample: sending begins at the oldest log.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use xiezhi_series::Place;

const VERSION: u8 = 1;
const LENGTH: usize = 25;

/// The file.
#[derive(Debug)]
pub(super) struct PlaceFile {
    path: PathBuf,
    written: Option<Place>,
}

impl PlaceFile {
    /// The file in this folder, which is made, and what it says.
    pub(super) fn open(folder: &Path) -> io::Result<(Self, Place)> {
        fs::create_dir_all(folder)?;
        let path = folder.join("place");
        let place = match fs::read(&path) {
            Ok(bytes) => {
                let place = parse(&bytes);
                if place.is_none() {
                    tracing::warn!(file = %path.display(),
                        "damaged: samples are sent again from the oldest log on");
                }
                place
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let file = Self {
            path,
            written: place,
        };
        Ok((file, place.unwrap_or_default()))
    }

    /// Makes `place` durable, if it is not yet.
    pub(super) fn write(&mut self, place: Place) -> io::Result<()> {
        if self.written == Some(place) {
            return Ok(());
        }
        let beside = self.path.with_extension("new");
        let mut file = File::create(&beside)?;
        file.write_all(&format(place))?;
        file.sync_data()?;
        fs::rename(&beside, &self.path)?;
        if let Some(folder) = self.path.parent() {
            File::open(folder)?.sync_all()?;
        }
        self.written = Some(place);
        Ok(())
    }
}

fn format(place: Place) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    bytes.extend_from_slice(&place.log.to_le_bytes());
    bytes.extend_from_slice(&place.offset.to_le_bytes());
    bytes.extend_from_slice(&place.mark.to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
    bytes
}

fn parse(bytes: &[u8]) -> Option<Place> {
    let (content, crc) = bytes.split_last_chunk::<4>()?;
    let intact = bytes.len() == LENGTH && crc32fast::hash(content) == u32::from_le_bytes(*crc);
    let (&version, content) = content.split_first()?;
    let (log, content) = content.split_first_chunk::<8>()?;
    let (offset, content) = content.split_first_chunk::<8>()?;
    let mark = content.first_chunk::<4>()?;
    (intact && version == VERSION).then(|| Place {
        log: u64::from_le_bytes(*log),
        offset: u64::from_le_bytes(*offset),
        mark: u32::from_le_bytes(*mark),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_comes_back_and_damage_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place {
            log: 7,
            offset: 1 << 33,
            mark: 0xDEAD_BEEF,
        };
        let (mut file, before) = PlaceFile::open(folder.path()).unwrap();
        assert_eq!(before, Place::default());
        file.write(place).unwrap();
        assert_eq!(PlaceFile::open(folder.path()).unwrap().1, place);
        let whole = format(place);
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            assert_eq!(parse(&damaged), None);
            assert_eq!(parse(&whole[..at]), None);
        }
    }

    /// Version 1 as it was first written: read for ever.
    #[test]
    fn the_first_version_is_read() {
        let kept = [
            1, 7, 0, 0, 0, 0, 0, 0, 0, 44, 1, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0,
        ];
        let mut bytes = kept.to_vec();
        bytes.extend_from_slice(&crc32fast::hash(&kept).to_le_bytes());
        let place = parse(&bytes).unwrap();
        assert_eq!((place.log, place.offset, place.mark), (7, 300, 9));
    }
}
