//! The whole watch over a folder that plays the host.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use proptest::prelude::*;
use xiezhi_protocol::event::{Event, kinds};

use super::privileged::{Direct, Unprivileged};
use super::watcher::Now;
use super::{SecurityOptions, SecurityWatch};

const START: i64 = 1_795_300_000_000; // 2026-11-21 UTC
const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJpVkVvoR6xI6Kn8vCmPg1uYFqLrTSTS5rMTLNzH0Lg li@gs-01";
const TCP_HEAD: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";

struct Host {
    dir: tempfile::TempDir,
    now: Now,
    options: SecurityOptions,
}

impl Host {
    fn new() -> Self {
        let host = Self {
            dir: tempfile::tempdir().unwrap(),
            now: Now {
                wall_ms: START,
                boot_ms: 5_000_000,
            },
            options: SecurityOptions::default(),
        };
        host.write(
            "etc/passwd",
            "root:x:0:0::/root:/bin/sh\nli:x:1000:1000::/home/li:/bin/bash\n",
        );
        host.write("etc/group", "root:x:0:\nsudo:x:27:\n");
        host.write("proc/net/tcp", TCP_HEAD);
        host.write("proc/sys/kernel/random/boot_id", "boot-1\n");
        host.write(
            "var/log/auth.log",
            "Nov 21 10:00:00 h sshd[1]: Accepted password for old from 10.0.0.1 port 1 ssh2\n",
        );
        host.write("home/li/.ssh/authorized_keys", "");
        host
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.dir.path().join("root").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn append(&self, path: &str, text: &str) {
        let path = self.dir.path().join("root").join(path);
        fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
    }

    fn root(&self) -> std::path::PathBuf {
        self.dir.path().join("root")
    }

    fn open(&self) -> SecurityWatch {
        let state = self.dir.path().join("state");
        let direct = Box::new(Direct::new(&self.root()));
        SecurityWatch::open(&self.root(), &state, self.options.clone(), direct).unwrap()
    }

    /// Time passes, enough for every cadence but the daily one.
    fn poll(&mut self, watch: &mut SecurityWatch) -> Vec<Event> {
        self.now.wall_ms += 700_000;
        self.now.boot_ms += 700_000;
        watch.poll_at(self.now)
    }
}

fn kinds_of(events: &[Event]) -> Vec<&str> {
    let mut kinds: Vec<_> = events.iter().map(|event| event.kind.as_str()).collect();
    kinds.sort_unstable();
    kinds
}

fn accepted(n: usize) -> String {
    format!(
        "Nov 21 10:{:02}:{:02} h sshd[{n}]: Accepted password for user{n} from 10.0.0.9 port 5 ssh2\n",
        n / 60 % 60,
        n % 60
    )
}

#[test]
fn first_run_is_a_silent_baseline_and_changes_after_it_are_events() {
    let mut host = Host::prepared();
    let mut watch = host.open();
    assert_eq!(host.poll(&mut watch), []);
    assert_eq!(host.poll(&mut watch), []);
    change_everything(&host);
    let events = host.poll(&mut watch);
    assert_eq!(kinds_of(&events), EVERYTHING);
    assert_eq!(host.poll(&mut watch), []);
}

#[test]
fn changes_made_while_the_agent_was_down_are_reported_afterwards() {
    let mut host = Host::prepared();
    let mut watch = host.open();
    host.poll(&mut watch);
    watch.commit().unwrap();
    drop(watch);
    change_everything(&host);
    let mut watch = host.open();
    assert_eq!(kinds_of(&host.poll(&mut watch)), EVERYTHING);
    watch.commit().unwrap();
    drop(watch);
    let mut watch = host.open();
    assert_eq!(host.poll(&mut watch), []);
}

const EVERYTHING: [&str; 8] = [
    kinds::ACCOUNT_CHANGED,
    kinds::GROUP_CHANGED,
    kinds::KEY_CHANGED,
    kinds::LISTENING_PORT_OPENED,
    kinds::LOGIN,
    kinds::PACKAGE_CHANGED,
    kinds::SETUID_FILE_ADDED,
    kinds::USB_ADDED,
];

/// One change per source.
fn change_everything(host: &Host) {
    use std::os::unix::fs::PermissionsExt as _;
    host.append("etc/passwd", "toor:x:0:0::/root:/bin/sh\n");
    host.write("etc/group", "root:x:0:\nsudo:x:27:li\n");
    host.write("home/li/.ssh/authorized_keys", KEY);
    host.write("proc/net/tcp", &format!("{TCP_HEAD}   0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000 0 1 1 0 100 0 0 10 0\n"));
    host.append("var/log/auth.log", &accepted(7));
    host.append(
        "var/log/dpkg.log",
        "2026-11-21 10:00:00 install nmap:amd64 <none> 7.93\n",
    );
    for (file, text) in [
        ("idVendor", "0781"),
        ("idProduct", "5581"),
        ("serial", "4C53"),
        ("devnum", "9"),
        ("1-4:1.0/bInterfaceClass", "08"),
    ] {
        host.write(&format!("sys/bus/usb/devices/1-4/{file}"), text);
    }
    host.write("usr/bin/evil", "x");
    fs::set_permissions(
        host.root().join("usr/bin/evil"),
        fs::Permissions::from_mode(0o4755),
    )
    .unwrap();
}

impl Host {
    /// The baseline must know the sources that `change_everything` touches, and scan each time.
    fn prepared() -> Self {
        let mut host = Self::new();
        host.options.setuid_every = std::time::Duration::from_secs(60);
        host.write(
            "var/log/dpkg.log",
            "2026-11-20 10:00:00 install old:amd64 <none> 1\n",
        );
        host
    }
}

#[test]
fn a_key_file_grown_beyond_the_bound_is_told_once_and_its_keys_stand() {
    let mut host = Host::new();
    host.write("home/li/.ssh/authorized_keys", KEY);
    let mut watch = host.open();
    host.poll(&mut watch);
    host.append("home/li/.ssh/authorized_keys", &"#\n".repeat(1 << 20));
    let events = host.poll(&mut watch);
    assert_eq!(kinds_of(&events), [kinds::KEY_CHANGED]);
    assert_eq!(events[0].fields["change"], "file too large to read");
    assert_eq!(events[0].fields["path"], "/home/li/.ssh/authorized_keys");
    assert_eq!(host.poll(&mut watch), []);
    host.write("home/li/.ssh/authorized_keys", KEY);
    assert_eq!(host.poll(&mut watch), [], "the key was there all the time");
    host.write("home/li/.ssh/authorized_keys", "");
    let events = host.poll(&mut watch);
    assert_eq!(events[0].fields["change"], "removed");
}

#[test]
fn brute_force_is_sixty_events_one_count_and_the_success() {
    let mut host = Host::new();
    let mut watch = host.open();
    host.poll(&mut watch);
    let failures: String = (0..2000)
        .map(|n| format!("Nov 21 11:00:00 h sshd[{n}]: Failed password for root from 203.0.113.9 port {n} ssh2\n"))
        .collect();
    host.append("var/log/auth.log", &(failures + &accepted(9)));
    let events = host.poll(&mut watch);
    assert_eq!(
        events
            .iter()
            .filter(|event| event.kind == kinds::LOGIN_FAILED)
            .count(),
        60
    );
    assert_eq!(
        events
            .iter()
            .filter(|event| event.kind == kinds::LOGIN)
            .count(),
        1
    );
    watch.commit().unwrap();
    // The count survives a restart.
    let mut watch = host.open();
    let events = host.poll(&mut watch);
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].fields["count"], "1940");
    assert_eq!(events[0].fields["source_addresses"], "203.0.113.9 (1940)");
}

#[test]
fn clock_steps_are_events_and_slewing_is_not() {
    let mut host = Host::new();
    let mut watch = host.open();
    host.poll(&mut watch);
    host.now.wall_ms += 200;
    assert_eq!(host.poll(&mut watch), []);
    host.now.wall_ms -= 3_600_000;
    let events = host.poll(&mut watch);
    assert_eq!(kinds_of(&events), [kinds::TIME_STEPPED]);
    assert_eq!(events[0].fields["step_ms"], "-3600000");
    watch.commit().unwrap();
    host.now.wall_ms += 50_000;
    let mut watch = host.open();
    assert_eq!(kinds_of(&host.poll(&mut watch)), [kinds::TIME_STEPPED]);
}

#[test]
fn touched_agent_files_are_events_unless_announced() {
    let mut host = Host::new();
    host.write("agent.key", "one");
    let key = host.root().join("agent.key");
    host.options.guarded = vec![key.clone()];
    let mut watch = host.open();
    host.poll(&mut watch);
    watch.expect_change(&key);
    host.write("agent.key", "renewed");
    assert_eq!(host.poll(&mut watch), []);
    host.write("agent.key", "forged");
    let events = host.poll(&mut watch);
    assert_eq!(kinds_of(&events), [kinds::AGENT_TAMPERED]);
    assert!(events[0].fields["change"].contains("content"));
    fs::remove_file(&key).unwrap();
    assert_eq!(host.poll(&mut watch)[0].fields["change"], "removed");
}

#[test]
fn damaged_state_is_a_gap_and_a_new_baseline() {
    let mut host = Host::new();
    let mut watch = host.open();
    host.poll(&mut watch);
    watch.commit().unwrap();
    fs::write(host.dir.path().join("state/security-state.json"), "{").unwrap();
    let mut watch = host.open();
    assert_eq!(kinds_of(&host.poll(&mut watch)), [kinds::SOURCE_GAP]);
    assert_eq!(host.poll(&mut watch), []);
}

#[test]
fn what_cannot_be_read_is_stated_and_said_once() {
    let mut host = Host::new();
    let state = host.dir.path().join("state");
    let open = |host: &Host| {
        SecurityWatch::open(
            &host.root(),
            &state,
            SecurityOptions::default(),
            Box::new(Unprivileged),
        )
        .unwrap()
    };
    let mut watch = open(&host);
    host.poll(&mut watch);
    let said = host.poll(&mut watch);
    assert!(said.iter().all(|event| event.kind == kinds::SOURCE_GAP));
    let mut sources: Vec<_> = said
        .iter()
        .map(|event| event.fields["source"].as_str())
        .collect();
    sources.sort_unstable();
    assert_eq!(sources, ["authorized_keys", "setuid_files"]);
    watch.commit().unwrap();
    let mut watch = open(&host);
    assert_eq!(host.poll(&mut watch), []);
    let losses: Vec<_> = watch
        .sources()
        .into_iter()
        .filter(|source| source.loss.is_some())
        .map(|source| source.name)
        .collect();
    assert_eq!(losses, ["audit", "authorized_keys", "setuid_files", "dpkg"]);
}

#[test]
fn log_that_moves_to_another_file_is_a_gap_and_nothing_twice() {
    let mut host = Host::new();
    let mut watch = host.open();
    host.poll(&mut watch);
    fs::remove_file(host.root().join("var/log/auth.log")).unwrap();
    host.write("var/log/secure", &accepted(1));
    assert_eq!(kinds_of(&host.poll(&mut watch)), [kinds::SOURCE_GAP]);
    host.append("var/log/secure", &accepted(2));
    let events = host.poll(&mut watch);
    assert_eq!(
        (events.len(), events[0].fields["user"].as_str()),
        (1, "user2")
    );
}

/// The spool as far as it matters here: batches under numbers, durable at once.
#[derive(Default)]
struct FakeSpool {
    batches: Vec<Vec<Event>>,
    /// The last number that was used, and those that a power cut passed over since.
    used: u64,
    passed: u64,
}

impl FakeSpool {
    fn append(&mut self, batch: &[Event]) {
        self.batches.push(batch.to_vec());
        self.used += self.passed + 1;
        self.passed = 0;
    }
}

/// Who logged in, by the events of several polls: a rotated log is read to its end first.
fn logins(host: &mut Host, watch: &mut SecurityWatch) -> Vec<String> {
    let polls: Vec<Event> = (0..3).flat_map(|_| host.poll(watch)).collect();
    assert!(
        polls.iter().all(|event| event.kind == kinds::LOGIN),
        "{polls:?}"
    );
    let user = |event: &Event| event.fields.get("user").cloned();
    polls.iter().filter_map(user).collect()
}

/// What logrotate and the next message do.
fn rotate(host: &Host, line: &str) {
    let logs = host.root().join("var/log");
    fs::rename(logs.join("auth.log"), logs.join("auth.log.1")).unwrap();
    host.append("var/log/auth.log", line);
}

#[test]
fn sources_that_are_opened_again_read_on_across_a_rotation() {
    let mut host = Host::new();
    host.options.spooled = Some(0);
    let mut watch = host.open();
    host.poll(&mut watch);
    watch.commit().unwrap();
    host.append("var/log/auth.log", &accepted(1));
    assert_eq!(kinds_of(&host.poll(&mut watch)), [kinds::LOGIN]);
    // The spool takes nothing, so the positions that were prepared for its batch do not hold.
    watch.stage(1, &[]).unwrap();
    drop(watch);
    host.append("var/log/auth.log", &accepted(2));
    rotate(&host, &accepted(3));

    let mut watch = host.open();
    assert_eq!(logins(&mut host, &mut watch), ["user1", "user2", "user3"]);
    watch.stage(1, &[]).unwrap();
    watch.commit().unwrap();
    drop(watch);
    host.options.spooled = Some(1);
    rotate(&host, &accepted(4));
    let mut watch = host.open();
    assert_eq!(logins(&mut host, &mut watch), ["user4"]);
}

#[test]
fn a_log_that_is_rotated_under_an_open_watch_loses_and_repeats_nothing() {
    let mut host = Host::new();
    let mut watch = host.open();
    host.poll(&mut watch);
    for round in [10, 20, 30] {
        host.append("var/log/auth.log", &accepted(round));
        rotate(&host, &accepted(round + 1));
        host.append("var/log/auth.log", &accepted(round + 2));
        let users = [round, round + 1, round + 2].map(|number| format!("user{number}"));
        assert_eq!(logins(&mut host, &mut watch), users);
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Log,
    Rotate,
    Turn,
    CrashBeforeStage,
    /// After so many batches of the poll.
    CrashAfterBatch(usize),
    CrashBeforeCommit,
    /// The next crash is a power cut: numbers are passed over.
    CutPower,
}

/// Events of a batch here, so that a poll makes several.
const BATCH: usize = 2;

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Log),
        1 => Just(Step::Rotate),
        3 => Just(Step::Turn),
        1 => Just(Step::CrashBeforeStage),
        3 => (0usize..4).prop_map(Step::CrashAfterBatch),
        1 => Just(Step::CrashBeforeCommit),
        1 => Just(Step::CutPower),
    ]
}

fn turn(host: &mut Host, watch: &mut SecurityWatch, spool: &mut FakeSpool, crash: Step) {
    let events = host.poll(watch);
    if matches!(crash, Step::CrashBeforeStage) {
        return;
    }
    if !events.is_empty() {
        let batches: Vec<_> = events.chunks(BATCH).collect();
        let first = spool.used + spool.passed + 1;
        watch.stage(first, &batches).unwrap();
        for (done, batch) in batches.iter().enumerate() {
            if matches!(crash, Step::CrashAfterBatch(after) if done >= after) {
                return;
            }
            spool.append(batch);
        }
    }
    if !matches!(crash, Step::CrashBeforeCommit) {
        watch.commit().unwrap();
    }
}

fn check_exactly_once(steps: &[Step]) -> Result<(), TestCaseError> {
    let mut host = Host::new();
    host.options.per_minute = 10_000;
    let mut spool = FakeSpool::default();
    host.options.spooled = Some(0);
    let mut watch = host.open();
    turn(&mut host, &mut watch, &mut spool, Step::Turn);
    let (mut written, mut rotations) = (0, 0);
    for step in steps {
        match step {
            Step::Log => {
                written += 1;
                host.append("var/log/auth.log", &accepted(written));
            }
            Step::Rotate => {
                rotations += 1;
                let log = host.root().join("var/log/auth.log");
                fs::rename(&log, log.with_file_name(format!("auth.log-{rotations:04}"))).unwrap();
                written += 1;
                host.append("var/log/auth.log", &accepted(written));
            }
            Step::CutPower => spool.passed = 1000,
            crash => {
                turn(&mut host, &mut watch, &mut spool, *crash);
                if !matches!(crash, Step::Turn) {
                    host.options.spooled = Some(spool.used);
                    watch = host.open();
                }
            }
        }
    }
    turn(&mut host, &mut watch, &mut spool, Step::Turn);
    let seen: Vec<_> = spool
        .batches
        .iter()
        .flatten()
        .map(|event| event.fields["user"].clone())
        .collect();
    let expected: Vec<_> = (1..=written).map(|n| format!("user{n}")).collect();
    prop_assert_eq!(seen, expected);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_login_is_spooled_exactly_once_whenever_the_agent_dies(steps in prop::collection::vec(step(), 1..40)) {
        check_exactly_once(&steps)?;
    }
}

#[test]
fn a_poll_of_many_batches_survives_a_kill_at_each_of_them() {
    for after in 0..=5 {
        let mut steps = vec![Step::Log; 9];
        steps.push(Step::CrashAfterBatch(after));
        // A second kill before anything was made good.
        steps.extend([Step::CrashBeforeStage, Step::Log, Step::CrashAfterBatch(1)]);
        check_exactly_once(&steps).unwrap();
    }
}

#[test]
fn staged_positions_of_the_first_release_are_read() {
    for (spooled, expected) in [(4, vec!["user1"]), (5, vec![])] {
        let mut host = Host::new();
        host.options.spooled = Some(0);
        let mut watch = host.open();
        host.poll(&mut watch);
        watch.commit().unwrap();
        host.append("var/log/auth.log", &accepted(1));
        host.poll(&mut watch);
        // As version 0.1 wrote it: positions and a number, no events.
        watch.stage(5, &[]).unwrap();
        drop(watch);
        let staged = host.dir.path().join("state/security-staged.json");
        let mut saved: serde_json::Value =
            serde_json::from_slice(&fs::read(&staged).unwrap()).unwrap();
        saved.as_object_mut().unwrap().remove("first");
        fs::write(&staged, saved.to_string()).unwrap();
        host.options.spooled = Some(spooled);
        let mut watch = host.open();
        assert_eq!(logins(&mut host, &mut watch), expected);
    }
}

#[test]
fn events_that_a_crash_left_are_handed_over_once_to_a_caller_that_does_not_stage() {
    let mut host = Host::new();
    host.options.spooled = Some(0);
    let mut watch = host.open();
    host.poll(&mut watch);
    watch.commit().unwrap();
    host.append("var/log/auth.log", &accepted(1));
    let events = host.poll(&mut watch);
    watch.stage(1, &[&events]).unwrap();
    drop(watch);
    let mut watch = host.open();
    assert_eq!(logins(&mut host, &mut watch), ["user1"]);
    watch.commit().unwrap();
    drop(watch);
    let mut watch = host.open();
    assert_eq!(logins(&mut host, &mut watch), Vec::<String>::new());
}

#[test]
fn state_is_not_written_again_on_an_idle_host() {
    let mut host = Host::new();
    let mut watch = host.open();
    host.poll(&mut watch);
    watch.commit().unwrap();
    let path = host.dir.path().join("state/security-state.json");
    let before = modified(&path);
    for _ in 0..3 {
        // Below the hour after which the clock's own entry moves on.
        host.now.wall_ms += 70_000;
        host.now.boot_ms += 70_000;
        watch.poll_at(host.now);
        watch.commit().unwrap();
    }
    assert_eq!(modified(&path), before);
}

fn modified(path: &Path) -> std::time::SystemTime {
    fs::metadata(path).unwrap().modified().unwrap()
}
