//! What `xiezhi-agent status` shows: the identity, checked by loading it, and what the worker noted.
//!
//! The worker leaves a note at its start and once a minute: one small file, written and renamed, never
//! synced. Nothing depends on it, so a lost one costs nothing. Showing it changes nothing on the host.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::identity::{Anchor, HostRecord, IdentityFiles, TrustedTime, tls_config};

/// What the worker knows of itself, for a person; times are of the local clock, Unix milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Note {
    /// Version of this format.
    pub(crate) version: u8,
    /// Number of the worker's process; 0 once it has stopped.
    pub(crate) process: u32,
    /// When this was written.
    pub(crate) written_ms: i64,
    /// When the present session began; `None` without one.
    pub(crate) connected_since_ms: Option<i64>,
    /// When the latest session began, also of an earlier process.
    pub(crate) last_session_ms: Option<i64>,
    /// When the controller last acknowledged something.
    pub(crate) last_ack_ms: Option<i64>,
    /// Batches that wait for acknowledgement.
    pub(crate) pending: u64,
    /// Bytes that they take on the disk.
    pub(crate) spool_bytes: u64,
    /// Batches that were given up and not yet noted by the controller.
    pub(crate) dropped: u64,
    /// Why there is no session, or why the spool cannot write; empty if all is well.
    pub(crate) trouble: String,
    /// Short word with which the controller refuses this host, such as `revoked`; empty if not.
    pub(crate) refused: String,
}

impl Note {
    /// What was last noted below `state_dir`; `None` if nothing was, or it cannot be read.
    pub(crate) fn read(state_dir: &Path) -> Option<Self> {
        let text = fs::read(path(state_dir)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Writes it; whoever reads meanwhile sees the old one or the new one. On a full disk the old
    /// file is written over: a note that says what is wrong is worth more than one that is whole.
    ///
    /// # Errors
    /// There is no old file on a full disk, or the folder is not this user's.
    pub(crate) fn write(&self, state_dir: &Path) -> io::Result<()> {
        let path = path(state_dir);
        let temporary = path.with_extension("json.new");
        let text = serde_json::to_vec(self)?;
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let written = options
            .open(&temporary)
            .and_then(|mut file| file.write_all(&text))
            .and_then(|()| fs::rename(&temporary, &path));
        written.or_else(|error| {
            // Its blocks are what the disk lacks; if it was not even made there is nothing to remove.
            drop(fs::remove_file(&temporary));
            overwrite(&path, text).map_err(|_| error)
        })
    }

    /// Whether the process that wrote it is alive and still an agent's.
    fn is_running(&self) -> bool {
        let name = fs::read_to_string(format!("/proc/{}/comm", self.process)).unwrap_or_default();
        self.process != 0 && ["xiezhi-worker\n", "xiezhi-agent\n"].contains(&name.as_str())
    }
}

/// Writes over a file without taking or giving back any of its space; what is left of a longer text
/// becomes blanks, which JSON allows.
fn overwrite(path: &Path, mut text: Vec<u8>) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(0);
    text.resize(length.max(text.len()), b' ');
    file.write_all(&text)
}

fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("status.json")
}

/// What there is to tell.
pub(crate) struct Shown {
    /// Lines for a person.
    pub(crate) text: String,
    /// What keeps the agent from working, each with what to do.
    pub(crate) problems: Vec<String>,
}

/// Looks at the identity and the note below the state folder.
///
/// # Errors
/// The host has not enrolled, or this user may not see whether it has.
pub(crate) fn show(config: &Config, now_ms: i64) -> Result<Shown> {
    let files = IdentityFiles::below(&config.state_dir);
    let record = files.record()?;
    let time = Arc::new(TrustedTime::open(files.path("time")));
    let mut text = describe(&record, time.now_s());
    let note = Note::read(&config.state_dir);
    describe_note(&mut text, note.as_ref(), now_ms);
    let mut problems = work_problems(note.as_ref(), &record.controller);
    if record.not_after_s < time.now_s() {
        problems.push(
            "the certificate has ended: an agent that runs and reaches the controller renews it by itself \
             for 180 days; after that, enrol again with --force and a new token"
                .to_owned(),
        );
    }
    let next = files.has_next();
    for prefix in ["", "next-"].into_iter().take(1 + usize::from(next)) {
        let loaded = load(&files, prefix, &time);
        problems.extend(loaded.err().map(|error| format!("{error:#}")));
    }
    problems.extend(files.exposed());
    if let Some(note) = note.filter(|note| !note.refused.is_empty()) {
        let word = printable(&note.refused);
        problems.push(format!(
            "the controller refuses this host: {word}; if that is not intended, enrol again with --force"
        ));
    }
    Ok(Shown { text, problems })
}

/// What keeps the worker from its work.
fn work_problems(note: Option<&Note>, controller: &str) -> Vec<String> {
    let Some(note) = note.filter(|note| note.is_running()) else {
        return vec![
            "the worker is not running, so nothing is reported: `systemctl start xiezhi-agent`, and if it \
             does not stay, `journalctl -u xiezhi-agent` says why"
                .to_owned(),
        ];
    };
    let trouble = printable(&note.trouble);
    if note.connected_since_ms.is_none() {
        let why = if trouble.is_empty() { "" } else { ": " };
        return vec![format!(
            "there is no session with the controller{why}{trouble}; reports wait on the disk. Check that \
             {controller} can be reached (line, firewall) and that the controller runs"
        )];
    }
    if trouble.is_empty() {
        return Vec::new();
    }
    // With a session it is the spool's.
    vec![format!(
        "reports cannot be kept on the disk: {trouble}; make room there or mend it"
    )]
}

fn describe(record: &HostRecord, now_s: i64) -> String {
    let left_s = record.not_after_s - now_s;
    let days = left_s.abs() / 86_400;
    let certificate = if left_s < 0 {
        format!("ended {days} days ago")
    } else {
        format!("ends in {days} days")
    };
    let policy = if record.policy_root.is_empty() {
        "none: this host only observes"
    } else {
        &record.policy_root
    };
    format!(
        "host         {}\nsite         {}\ncontroller   {}\ncertificate  {certificate}\npolicy root  {policy}\n",
        record.host, record.site, record.controller
    )
}

fn describe_note(text: &mut String, note: Option<&Note>, now_ms: i64) {
    let mut line = |name: &str, value: &str| {
        // Writing to a text cannot fail.
        writeln!(text, "{name:<12} {}", printable(value)).ok();
    };
    let Some(note) = note else {
        return line(
            "worker",
            "has not noted anything yet: it never ran, or not for some seconds",
        );
    };
    let ago = |then_ms: Option<i64>| then_ms.map_or("never".to_owned(), |then| ago(now_ms - then));
    let written = ago(Some(note.written_ms));
    let is_running = note.is_running();
    if is_running {
        line(
            "worker",
            &format!("running, process {}; noted {written}", note.process),
        );
    } else {
        line("worker", &format!("not running; last noted {written}"));
    }
    match note.connected_since_ms.filter(|_| is_running) {
        Some(since) => line("session", &format!("open, began {}", ago(Some(since)))),
        None => line(
            "session",
            &format!("none; the last began {}", ago(note.last_session_ms)),
        ),
    }
    line("acknowledged", &ago(note.last_ack_ms));
    let waiting = format!("{} batches, {} bytes", note.pending, note.spool_bytes);
    line("waiting", &waiting);
    line(
        "dropped",
        &format!("{} batches not yet told to the controller", note.dropped),
    );
    line(
        "refused",
        if note.refused.is_empty() {
            "no"
        } else {
            &note.refused
        },
    );
    if !note.trouble.is_empty() {
        line("trouble", &note.trouble);
    }
}

/// Text of the network on a terminal: without control characters.
fn printable(text: &str) -> String {
    text.chars()
        .map(|one| if one.is_control() { ' ' } else { one })
        .collect()
}

fn ago(passed_ms: i64) -> String {
    match passed_ms / 1000 {
        ..0 => "in the future by this clock".to_owned(),
        seconds @ 0..120 => format!("{seconds} s ago"),
        seconds @ 120..7_200 => format!("{} min ago", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h ago", seconds / 3_600),
        seconds => format!("{} days ago", seconds / 86_400),
    }
}

/// Loads what a session needs, as the worker would.
fn load(files: &IdentityFiles, prefix: &str, time: &Arc<TrustedTime>) -> Result<()> {
    let credentials = files.credentials(prefix)?;
    let anchor = Anchor::Root(files.root()?);
    tls_config(anchor, Arc::clone(time), Some(credentials)).with_context(|| {
        format!("{prefix}chain.pem and {prefix}key.pem cannot be used: enrol again with --force")
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const NOW_MS: i64 = 1_795_300_000_000;

    /// An enrolled host without a worker.
    fn host() -> (tempfile::TempDir, Config, IdentityFiles) {
        let folder = tempfile::tempdir().unwrap();
        let files = IdentityFiles::below(folder.path());
        files.create().unwrap();
        let record = HostRecord {
            host: "7".to_owned(),
            site: "court".to_owned(),
            controller: "127.0.0.1:1".to_owned(),
            policy_root: String::new(),
            not_before_s: 0,
            not_after_s: NOW_MS,
        };
        let key = rcgen::KeyPair::generate().unwrap();
        let parameters = rcgen::CertificateParams::new(vec!["host".to_owned()]).unwrap();
        let certificate = parameters.self_signed(&key).unwrap().pem();
        let key = key.serialize_pem();
        files
            .write_next(&key, &certificate, Some(&certificate), &record)
            .unwrap();
        files.adopt_next().unwrap();
        let config = Config {
            state_dir: folder.path().to_owned(),
            ..Config::default()
        };
        (folder, config, files)
    }

    /// The note of a worker that runs and has a session. A test's own name is not an agent's, so this
    /// thread, whose number is found like a process's, takes one.
    fn working() -> Note {
        fs::write("/proc/thread-self/comm", "xiezhi-worker").unwrap();
        let own = fs::read_link("/proc/thread-self").unwrap();
        let number = own.file_name().unwrap().to_str().unwrap();
        Note {
            version: 1,
            process: number.parse().unwrap(),
            connected_since_ms: Some(NOW_MS),
            ..Note::default()
        }
    }

    #[test]
    fn a_worker_with_a_session_has_no_problems() {
        let (folder, config, _) = host();
        working().write(folder.path()).unwrap();
        let shown = show(&config, NOW_MS).unwrap();
        assert_eq!(shown.problems, Vec::<String>::new(), "{}", shown.text);
    }

    #[test]
    fn what_keeps_an_agent_from_reporting_is_a_problem_that_says_what_to_do() {
        let (folder, config, files) = host();
        let problems = |note: &Note| {
            note.write(folder.path()).unwrap();
            show(&config, NOW_MS).unwrap().problems
        };
        let stopped = Note {
            process: 0,
            ..working()
        };
        let cut = Note {
            connected_since_ms: None,
            trouble: "no route".to_owned(),
            ..working()
        };
        let full = Note {
            trouble: "no space left".to_owned(),
            ..working()
        };
        for (note, said) in [
            (stopped, "`systemctl start xiezhi-agent`"),
            (
                cut,
                "the controller: no route; reports wait on the disk. Check that 127.0.0.1:1 can",
            ),
            (full, "on the disk: no space left"),
        ] {
            let problems = problems(&note);
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert!(problems.concat().contains(said), "{problems:?}");
        }
        let ended = HostRecord {
            not_after_s: 5,
            ..files.record().unwrap()
        };
        fs::write(files.path("host.json"), serde_json::to_vec(&ended).unwrap()).unwrap();
        let problems = problems(&working());
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems.concat().contains("the certificate has ended"));
        let text = show(&config, NOW_MS).unwrap().text;
        assert!(
            text.contains("certificate  ended ") && text.contains(" days ago"),
            "{text}"
        );
    }

    #[test]
    fn the_note_is_told_and_a_host_that_never_ran_is_told_to_start() {
        let (folder, config, _) = host();
        let shown = show(&config, NOW_MS).unwrap();
        assert!(
            shown.problems.concat().contains("is not running"),
            "{:?}",
            shown.problems
        );
        assert!(
            shown.text.contains("has not noted anything"),
            "{}",
            shown.text
        );
        let note = Note {
            version: 1,
            process: 0,
            written_ms: NOW_MS - 30_000,
            last_session_ms: Some(NOW_MS - 600_000),
            pending: 3,
            trouble: "no route\u{1b}[2J".to_owned(),
            ..Note::default()
        };
        note.write(folder.path()).unwrap();
        assert_eq!(Note::read(folder.path()), Some(note));
        let text = show(&config, NOW_MS).unwrap().text;
        for line in [
            "host         7",
            "worker       not running; last noted 30 s ago",
            "session      none; the last began 10 min ago",
            "acknowledged never",
            "waiting      3 batches, 0 bytes",
            "refused      no",
            "trouble      no route [2J",
        ] {
            assert!(text.lines().any(|other| other == line), "{line}:\n{text}");
        }
    }

    #[test]
    fn damaged_certificates_keys_of_another_and_open_modes_are_problems() {
        let (_folder, config, files) = host();
        let problems = || show(&config, NOW_MS).unwrap().problems.join("\n");
        let (chain, key) = (files.path("chain.pem"), files.path("key.pem"));
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(
            problems().contains("key.pem has mode 0644"),
            "{}",
            problems()
        );
        let good = fs::read(&chain).unwrap();
        fs::write(&chain, "garbage").unwrap();
        assert!(
            problems().contains("chain.pem holds no certificate"),
            "{}",
            problems()
        );
        fs::write(&chain, good).unwrap();
        let other = rcgen::KeyPair::generate().unwrap().serialize_pem();
        fs::write(&key, other).unwrap();
        assert!(problems().contains("cannot be used"), "{}", problems());
    }

    #[test]
    fn a_host_that_is_refused_says_so() {
        let (folder, config, _) = host();
        let note = Note {
            refused: "revoked".to_owned(),
            ..Note::default()
        };
        note.write(folder.path()).unwrap();
        let problems = show(&config, NOW_MS).unwrap().problems;
        assert!(
            problems.concat().contains("refuses this host: revoked"),
            "{problems:?}"
        );
    }

    #[test]
    fn a_host_that_never_enrolled_is_told_how() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config {
            state_dir: folder.path().to_owned(),
            ..Config::default()
        };
        let error = show(&config, NOW_MS).err().unwrap().to_string();
        assert!(error.contains("has not enrolled"), "{error}");
    }
}
