//! What the spool promises, one sentence at a time.

use xiezhi_protocol::batch::{BatchInfo, Stream};
use xiezhi_protocol::range_set::RangeSet;

use crate::disk::{Disk, Faults};
use crate::{Limits, Record, Spool, SpoolError};
use std::path::Path;
use std::sync::{Arc, Mutex};

pub(crate) fn info(stream: Stream, seq: u64) -> BatchInfo {
    let checksum = crc32fast::hash(&[seq.to_le_bytes(), [stream.number(); 8]].concat());
    BatchInfo {
        seq,
        time_ms: seq as i64 * 1000,
        checksum,
    }
}

pub(crate) fn set(ranges: &[(u64, u64)]) -> RangeSet {
    let mut set = RangeSet::new();
    for &(first, last) in ranges {
        set.insert_range(first, last);
    }
    set
}

fn open(dir: &Path) -> Spool {
    Spool::open(dir, Limits::default(), 0).unwrap()
}

fn append(spool: &mut Spool, stream: Stream, key: bool, size: usize) -> Result<u64, SpoolError> {
    let seq = spool.next_seq(stream);
    spool
        .append(stream, info(stream, seq), key, &vec![seq as u8; size])
        .map(|()| seq)
}

fn read_all(spool: &mut Spool, stream: Stream, from: u64) -> Vec<(Record, Vec<u8>)> {
    let mut cursor = spool.cursor(stream, from);
    let mut found = Vec::new();
    let mut bytes = Vec::new();
    while let Some(record) = spool.read(&mut cursor, &mut bytes) {
        found.push((record, std::mem::take(&mut bytes)));
    }
    found
}

fn numbers(spool: &mut Spool, stream: Stream) -> Vec<u64> {
    read_all(spool, stream, 0)
        .iter()
        .map(|(record, _)| record.info.seq)
        .collect()
}

#[test]
fn batches_survive_a_restart_and_numbers_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    for index in 0..10 {
        append(&mut spool, Stream::Samples, index % 4 == 0, 30).unwrap();
        append(&mut spool, Stream::Security, false, 0).unwrap();
    }
    spool.set_epoch(3).unwrap();
    spool.set_session("abc").unwrap();
    drop(spool);
    let mut spool = open(dir.path());
    assert_eq!((spool.epoch(), spool.session()), (3, "abc"));
    assert_eq!(spool.next_seq(Stream::Samples), 11, "same boot: no hole");
    let records = read_all(&mut spool, Stream::Samples, 0);
    assert_eq!(records.len(), 10);
    for (index, (record, bytes)) in records.iter().enumerate() {
        assert_eq!(record.info, info(Stream::Samples, index as u64 + 1));
        assert_eq!((record.key, bytes.len()), (index % 4 == 0, 30));
    }
    assert_eq!(
        numbers(&mut spool, Stream::Security),
        (1..=10).collect::<Vec<_>>()
    );
}

#[test]
fn numbers_go_on_when_everything_was_acknowledged_and_deleted() {
    let dir = tempfile::tempdir().unwrap();
    for (restart, first) in [(0, 1), (1, 6), (2, 11)] {
        let mut spool = open(dir.path());
        for index in 0..5 {
            assert_eq!(
                append(&mut spool, Stream::Samples, index == 0, 9).unwrap(),
                first + index
            );
        }
        spool.ack(Stream::Samples, &set(&[(1, first + 4)]));
        assert_eq!(spool.status().pending, 0, "{restart}");
        if restart == 1 {
            spool.close();
            assert_eq!(
                std::fs::read_dir(dir.path()).unwrap().count(),
                2,
                "open chain goes later"
            );
        }
    }
}

#[test]
fn a_second_agent_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let _first = open(dir.path());
    let second = Spool::open(dir.path(), Limits::default(), 0);
    assert!(matches!(second, Err(SpoolError::Busy { .. })));
}

#[test]
fn a_delta_without_its_chain_is_refused_and_its_number_stays_free() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    assert!(spool.needs_key());
    let refused = append(&mut spool, Stream::Samples, false, 5);
    assert!(matches!(refused, Err(SpoolError::NeedsKey { seq: 1 })));
    append(&mut spool, Stream::Samples, true, 5).unwrap();
    assert!(!spool.needs_key());
    let skipped = spool.append(Stream::Samples, info(Stream::Samples, 9), true, &[]);
    assert!(matches!(
        skipped,
        Err(SpoolError::OutOfOrder {
            seq: 9,
            expected: 2
        })
    ));
}

#[test]
fn full_spool_drops_oldest_samples_then_events_and_security_last() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits {
        max_bytes: 32 * 1024 + 30_000,
        ..Limits::default()
    };
    let mut spool = Spool::open(dir.path(), limits, 0).unwrap();
    for _ in 0..10 {
        append(&mut spool, Stream::Samples, true, 900).unwrap();
        append(&mut spool, Stream::Events, true, 900).unwrap();
    }
    for _ in 0..15 {
        append(&mut spool, Stream::Security, true, 900).unwrap();
    }
    let status = spool.status();
    assert!(status.bytes <= limits.max_bytes);
    assert!(
        status
            .dropped
            .iter()
            .all(|drop| drop.stream == Stream::Samples)
    );
    assert_eq!(
        (status.dropped[0].first, status.dropped[0].reason.as_str()),
        (1, "full")
    );
    let has_lost_security = |spool: &Spool| spool.status().dropped.len() == 3;
    while !has_lost_security(&spool) || spool.status().bytes + 920 < limits.max_bytes {
        append(&mut spool, Stream::Security, true, 900).unwrap();
    }
    let samples = append(&mut spool, Stream::Samples, true, 900);
    assert!(
        matches!(samples, Err(SpoolError::Full { seq: 11 })),
        "security is not taken for it"
    );
    let dropped: Vec<_> = spool.status().dropped;
    assert_eq!((dropped[0].first, dropped[0].last), (1, 11));
    assert_eq!(
        (dropped[1].stream, dropped[1].first, dropped[1].last),
        (Stream::Events, 1, 10)
    );
    assert_eq!(spool.counters().dropped, 11 + 10 + dropped[2].last);
    drop(spool);
    let mut spool = Spool::open(dir.path(), limits, 0).unwrap();
    assert_eq!(
        spool.status().dropped,
        dropped,
        "drops are kept until they are confirmed"
    );
    spool.confirm_dropped(&dropped);
    assert!(spool.status().dropped.is_empty());
}

#[test]
fn polls_of_devices_give_way_to_everything_else() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits {
        max_bytes: 32 * 1024 + 30_000,
        ..Limits::default()
    };
    let mut spool = Spool::open(dir.path(), limits, 0).unwrap();
    for _ in 0..10 {
        append(&mut spool, Stream::Samples, true, 900).unwrap();
        append(&mut spool, Stream::Polls, true, 1900).unwrap();
    }
    let is_lost = |spool: &Spool, stream| {
        let dropped = spool.status().dropped;
        dropped.iter().any(|drop| drop.stream == stream)
    };
    while !is_lost(&spool, Stream::Samples) {
        let polls = numbers(&mut spool, Stream::Polls).len();
        append(&mut spool, Stream::Samples, true, 900).unwrap();
        assert!(
            polls == 0 || !is_lost(&spool, Stream::Samples),
            "no sample goes while there are polls"
        );
    }
    let refused = append(&mut spool, Stream::Polls, true, 1900);
    assert!(
        matches!(refused, Err(SpoolError::Full { seq: 11 })),
        "{refused:?}"
    );
    spool.close();
    drop(spool);
    let spool = Spool::open(dir.path(), limits, 0).unwrap();
    assert_eq!(spool.next_seq(Stream::Polls), 12, "its number is used");
    assert_eq!(spool.status().dropped[0].last, 11, "and its loss is kept");
}

#[test]
fn old_batches_go_by_running_time_and_a_clock_step_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let day = 24 * 3600 * 1000i64;
    let mut spool = open(dir.path());
    append(&mut spool, Stream::Samples, true, 9).unwrap();
    spool.tick(730 * day);
    spool.tick(0);
    spool.tick(3650 * day);
    assert_eq!(spool.status().pending, 1);
    let mut now = 0;
    spool.tick(now);
    while now < 8 * day {
        now += 600_000;
        spool.tick(now);
    }
    assert_eq!(spool.status().pending, 0);
    assert_eq!(spool.status().dropped[0].reason, "age");
}

#[test]
fn a_full_disk_keeps_batches_in_memory_and_recovers_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let faults = Arc::new(Mutex::new(Faults::default()));
    let disk = Disk {
        faults: Some(Arc::clone(&faults)),
    };
    let mut spool = Spool::open_with(dir.path(), Limits::default(), 0, "b", disk).unwrap();
    append(&mut spool, Stream::Samples, true, 100).unwrap();
    faults.lock().unwrap().room = Some(37);
    for _ in 0..5 {
        append(&mut spool, Stream::Samples, false, 100).unwrap();
        append(&mut spool, Stream::Security, false, 100).unwrap();
    }
    assert!(
        spool.status().trouble.contains("No space left"),
        "{}",
        spool.status().trouble
    );
    assert!(spool.counters().memory_bytes > 900);
    spool.set_session("still durable").unwrap();
    assert_eq!(
        numbers(&mut spool, Stream::Samples),
        [1, 2, 3, 4, 5, 6],
        "sent from memory"
    );
    faults.lock().unwrap().room = None;
    append(&mut spool, Stream::Samples, false, 100).unwrap();
    assert_eq!(
        (
            spool.status().trouble.as_str(),
            spool.counters().memory_bytes
        ),
        ("", 0)
    );
    drop(spool);
    let mut spool =
        Spool::open_with(dir.path(), Limits::default(), 0, "b", Disk::default()).unwrap();
    assert_eq!(numbers(&mut spool, Stream::Samples), [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(numbers(&mut spool, Stream::Security), [1, 2, 3, 4, 5]);
    assert_eq!(spool.session(), "still durable");
}

#[test]
fn memory_is_bounded_while_the_disk_stays_full_and_every_drop_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let faults = Arc::new(Mutex::new(Faults::default()));
    let disk = Disk {
        faults: Some(Arc::clone(&faults)),
    };
    let mut spool = Spool::open_with(dir.path(), Limits::default(), 0, "b", disk).unwrap();
    faults.lock().unwrap().room = Some(0);
    for _ in 0..600 {
        let key = spool.needs_key();
        append(&mut spool, Stream::Samples, key, 1000).unwrap();
        assert!(spool.counters().memory_bytes <= 256 * 1024);
    }
    let kept = numbers(&mut spool, Stream::Samples);
    let dropped = spool.status().dropped;
    assert_eq!(dropped.len(), 1);
    assert_eq!((dropped[0].first, dropped[0].last + 1), (1, kept[0]));
    assert_eq!(kept.last(), Some(&600));
}

#[test]
fn a_really_full_disk_loses_nothing_that_fits_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=128k", "tmpfs"])
        .arg(dir.path())
        .output()
        .is_ok_and(|output| output.status.success());
    if !mounted {
        xiezhi_test_skip::skip("only root can mount the small file system that this test fills");
        return;
    }
    let mut spool = open(dir.path());
    let filler = dir.path().join("filler");
    std::fs::write(&filler, vec![1; 60_000]).unwrap();
    for index in 0..100 {
        append(&mut spool, Stream::Samples, index == 0, 1000).unwrap();
    }
    assert!(!spool.status().trouble.is_empty());
    std::fs::remove_file(&filler).unwrap();
    spool.ack(Stream::Samples, &set(&[(1, 1)]));
    spool.tick(1);
    let kept = numbers(&mut spool, Stream::Samples);
    drop(spool);
    let unmounted = std::process::Command::new("umount")
        .arg(dir.path())
        .status()
        .unwrap();
    assert!(unmounted.success());
    assert_eq!(kept, (1..=100).collect::<Vec<_>>());
}

#[test]
fn a_damaged_record_costs_the_rest_of_its_chain_but_only_itself_among_events() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    for index in 0..12 {
        append(&mut spool, Stream::Samples, index % 6 == 0, 50).unwrap();
        append(&mut spool, Stream::Events, true, 50).unwrap();
    }
    spool.close();
    drop(spool);
    for name in [
        "samples-00000000000000000001.seg",
        "events-00000000000000000001.seg",
    ] {
        let path = dir.path().join(name);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[150] ^= 0x40;
        std::fs::write(path, bytes).unwrap();
    }
    for _ in 0..2 {
        let mut spool = open(dir.path());
        assert_eq!(
            numbers(&mut spool, Stream::Samples),
            [1, 2, 7, 8, 9, 10, 11, 12]
        );
        assert_eq!(
            numbers(&mut spool, Stream::Events),
            [1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12]
        );
        let dropped = spool.status().dropped;
        assert_eq!((dropped[0].first, dropped[0].last), (3, 6));
        assert_eq!((dropped[1].first, dropped[1].last), (3, 3));
        assert!(dropped.iter().all(|drop| drop.reason == "damaged"));
        assert_eq!(dropped.len(), 2);
    }
}

#[test]
fn damage_met_while_running_is_isolated_and_the_open_chain_ends() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    for index in 0..6 {
        append(&mut spool, Stream::Samples, index == 0, 50).unwrap();
        append(&mut spool, Stream::Security, true, 50).unwrap();
    }
    for name in [
        "samples-00000000000000000001.seg",
        "security-00000000000000000001.seg",
    ] {
        let path = dir.path().join(name);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[150] ^= 0x40;
        std::fs::write(path, bytes).unwrap();
    }
    assert_eq!(numbers(&mut spool, Stream::Samples), [1, 2]);
    assert_eq!(numbers(&mut spool, Stream::Security), [1, 2, 4, 5, 6]);
    assert!(spool.needs_key());
    append(&mut spool, Stream::Samples, true, 50).unwrap();
    append(&mut spool, Stream::Security, true, 50).unwrap();
    assert_eq!(numbers(&mut spool, Stream::Samples), [1, 2, 7]);
    assert_eq!(numbers(&mut spool, Stream::Security), [1, 2, 4, 5, 6, 7]);
    assert_eq!(spool.counters().dropped, 5);
}

#[test]
fn a_power_cut_never_lets_a_number_be_used_twice() {
    let dir = tempfile::tempdir().unwrap();
    let open = |boot: &str| {
        Spool::open_with(dir.path(), Limits::default(), 0, boot, Disk::default()).unwrap()
    };
    let mut spool = open("one");
    append(&mut spool, Stream::Samples, true, 5).unwrap();
    drop(spool);
    assert_eq!(
        open("one").next_seq(Stream::Samples),
        2,
        "killed: the files tell"
    );
    assert_eq!(open("one").last_used(Stream::Samples), 1);
    let cut = open("two");
    let after = cut.next_seq(Stream::Samples);
    assert!(after > 1000, "power cut: beyond the reservation, {after}");
    assert_eq!(cut.last_used(Stream::Samples), 1, "no other is certain");
    drop(cut);
    open("two").close();
    assert_eq!(
        open("three").next_seq(Stream::Samples),
        after,
        "orderly stop: no hole"
    );
}

#[test]
fn unreadable_state_starts_a_fresh_session_and_keeps_the_batches() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    spool.set_session("s").unwrap();
    append(&mut spool, Stream::Events, true, 5).unwrap();
    drop(spool);
    let path = dir.path().join("state");
    let damaged = vec![0x55; std::fs::read(&path).unwrap().len()];
    std::fs::write(path, damaged).unwrap();
    let mut spool = open(dir.path());
    assert_eq!((spool.epoch(), spool.session()), (0, ""));
    assert_eq!(numbers(&mut spool, Stream::Events), [1]);
    assert!(spool.next_seq(Stream::Events) > 1000);
}

#[test]
fn a_refused_batch_is_given_up_and_a_resend_takes_acknowledgements_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    for _ in 0..5 {
        append(&mut spool, Stream::Events, true, 5).unwrap();
    }
    spool.give_up(Stream::Events, 2);
    spool.ack(Stream::Events, &set(&[(1, 1), (4, 99)]));
    assert_eq!(spool.first_unsettled(Stream::Events, 0), Some(3));
    assert_eq!(spool.first_unsettled(Stream::Events, 4), None);
    assert_eq!(spool.resend(Stream::Events, 4, 70), 2);
    assert_eq!(spool.first_unsettled(Stream::Events, 4), Some(4));
    assert!(spool.is_settled(Stream::Events, 2) && !spool.is_settled(Stream::Events, 5));
    assert_eq!(
        spool.next_seq(Stream::Events),
        6,
        "an ack for the future is ignored"
    );
    append(&mut spool, Stream::Events, true, 5).unwrap();
    assert!(!spool.is_settled(Stream::Events, 6));
}

#[test]
fn a_cursor_at_the_end_goes_on_when_more_comes() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    let mut cursor = spool.cursor(Stream::Samples, 3);
    let mut bytes = Vec::new();
    for seq in 1..=8u64 {
        append(&mut spool, Stream::Samples, seq % 3 == 1, 5).unwrap();
        let found = spool
            .read(&mut cursor, &mut bytes)
            .map(|record| record.info.seq);
        assert_eq!(found, (seq >= 3).then_some(seq));
    }
    let mut chain = spool.chain_cursor(Stream::Samples, 6);
    let first = spool.read(&mut chain, &mut bytes).unwrap();
    assert_eq!((first.info.seq, first.key), (4, true));
    assert!(spool.is_chain_untouched(5));
    spool.ack(Stream::Samples, &set(&[(4, 4)]));
    assert!(!spool.is_chain_untouched(5));
}
