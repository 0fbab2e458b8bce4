//! What lies in the folder, is named as the store's files are, and is none of them: a folder, a link, a pipe,
//! or a name with a number that no file of the store can have. It is named, counted and left alone, and the
//! store goes on without it: a copy that somebody made by hand must not end every start.

use crate::block;
use crate::checkpoint;
use crate::damage;
use crate::disk::Disk;
use crate::log;
use crate::segment;

/// The highest number that a log can have: at two an hour, it is reached in sixty million years.
pub(crate) const HIGHEST: u64 = 1 << 40;
/// So far may a number lie beyond all that are known to be the store's. What lies beyond is of another
/// store, and the next log must not follow it.
const LEAP: u64 = 1_000_000;

/// Names in the folder that look like the store's and are not, ascending.
///
/// # Errors
/// The folder cannot be listed.
pub(crate) fn list(disk: &dyn Disk) -> std::io::Result<Vec<String>> {
    let others = disk.others()?.into_iter().filter(|name| is_like_ours(name));
    let files = disk.list()?.into_iter();
    let files = files.filter(|name| is_like_ours(name) && !is_ours(name));
    let mut names: Vec<String> = others.chain(files).collect();
    names.sort_unstable();
    Ok(names)
}

fn is_like_ours(name: &str) -> bool {
    let begins = ["wal-", "segment-", "block-", "rollup-"];
    let ends = [".log", ".xzs", ".xzb"];
    let base = base(name);
    let is_data = begins.iter().any(|begin| base.starts_with(begin))
        && ends.iter().any(|end| base.ends_with(end));
    is_data || [checkpoint::NAME, checkpoint::PREVIOUS].contains(&base)
}

fn is_ours(name: &str) -> bool {
    let base = base(name);
    ids(base).is_some() || [checkpoint::NAME, checkpoint::PREVIOUS].contains(&base)
}

/// The name without what tells that a file is unfinished, torn off or set aside.
fn base(name: &str) -> &str {
    let base = damage::base_of(name).or_else(|| name.strip_suffix(".torn"));
    base.or_else(|| name.strip_suffix(".tmp")).unwrap_or(name)
}

/// The highest number in the name of a file of samples.
fn ids(name: &str) -> Option<u64> {
    let own = log::id_of(name).or_else(|| segment::id_of(name));
    own.or_else(|| block::parse_name(name).map(|(_, last, _)| last))
}

/// The highest number in use. `known` is that of files that could be read; names of the folder count as
/// well, as far as they follow it: a new log must not have the number of one that was set aside.
pub(crate) fn highest<'n>(known: u64, names: impl Iterator<Item = &'n String>) -> u64 {
    let mut numbers: Vec<u64> = names.filter_map(|name| ids(base(name))).collect();
    numbers.sort_unstable();
    let follows = |highest: u64, number: u64| number > highest && number - highest <= LEAP;
    numbers.into_iter().fold(known, |highest, number| {
        if follows(highest, number) {
            number
        } else {
            highest
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_ours_as_they_are_written_and_no_other_way() {
        for name in [
            "wal-0000000007.log",
            "wal-0000000007.log.torn",
            "wal-0000000007.log.damaged",
            "block-0000000001-0000000006.xzb",
            "block-0000000001-0000000006.xzb.tmp",
            "rollup-0000000001-0000000048-300.xzb",
            "segment-0000000001.xzs",
            "dedup.checkpoint",
            "dedup.checkpoint.tmp",
            "dedup.previous",
        ] {
            assert!(is_like_ours(name) && is_ours(name), "{name}");
        }
        for name in [
            "wal-7.log",
            "wal-+000000007.log",
            "wal-99999999999999999999.log",
            "wal-18446744073709551615.log",
            "wal-copy of 0000000007.log",
            "block-0000000006-0000000001.xzb",
            "block-1-6.xzb",
            "block-0000000001-18446744073709551615.xzb",
            "rollup-0000000001-0000000048-0.xzb",
            "segment-.xzs",
        ] {
            assert!(is_like_ours(name) && !is_ours(name), "{name}");
        }
        for name in ["lock", "notes.txt", "wal-0000000007.txt", "MANIFEST"] {
            assert!(!is_like_ours(name), "{name}");
        }
    }

    #[test]
    fn numbers_far_beyond_those_that_are_known_do_not_count() {
        let names = |names: &[&str]| {
            names
                .iter()
                .map(|&name| name.to_owned())
                .collect::<Vec<_>>()
        };
        let all = names(&[
            "wal-0000000007.log.damaged",
            "wal-9999999999.log",
            "block-0000000009-0000000009.xzb",
        ]);
        assert_eq!(highest(5, all.iter()), 9);
        assert_eq!(highest(0, all.iter()), 9);
        assert_eq!(highest(9_999_999_990, all.iter()), 9_999_999_999);
    }
}
