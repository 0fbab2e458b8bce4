//! The privilege table: one row per kind of process.
//!
//! The rows are what the code asks for (`warden::PERMITTED`, `helper::capabilities`), written out
//! for people; tests compare them with the code, with `/proc/PID/status` of real processes, and
//! with ARCHITECTURE.md. The words on system calls and sockets are what the code does. For the
//! processes with a filter (`filter`) the kernel denies the most dangerous others.

/// What one kind of process may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    /// Name of the process, as in `/proc/PID/comm`.
    pub(crate) process: &'static str,
    /// What it is for.
    pub(crate) purpose: &'static str,
    /// User that it runs as: `root` or the agent's own.
    pub(crate) user: &'static str,
    /// Effective capabilities.
    pub(crate) effective: &'static [&'static str],
    /// Permitted capabilities: what it could make effective.
    pub(crate) permitted: &'static [&'static str],
    /// Bounding set: the most that a program it starts could get.
    pub(crate) bounding: &'static [&'static str],
    /// System calls beyond memory, time and reading files, in words; not enforced.
    pub(crate) system_calls: &'static str,
    /// Whether the kernel denies it the calls of the list in `filter`.
    pub(crate) filtered: bool,
    /// Sockets that it holds; not enforced.
    pub(crate) sockets: &'static str,
    /// What somebody who takes it over gets.
    pub(crate) compromise: &'static str,
}

const WARDEN: &[&str] = &[
    "CAP_DAC_READ_SEARCH",
    "CAP_KILL",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
];
const READER: &[&str] = &["CAP_DAC_READ_SEARCH"];

const ROWS: &[Row] = &[
    Row {
        process: "xiezhi-warden",
        purpose: "starts and stops the others",
        user: "root",
        effective: &["CAP_KILL"],
        permitted: WARDEN,
        bounding: WARDEN,
        system_calls: "fork, exec, kill, wait, poll, signalfd; at the start chown of the state folder",
        filtered: false,
        sockets: "one socket pair to the worker; reads 64-byte requests of a closed enum; holds both ends of the asker's pair, and opens UDP 162 for it once there are devices; reads none of them",
        compromise: "everything: it is root. Before it drops rights it also reads the configuration, /etc/passwd, /etc/group and, to enrol, the policy root, which all come from the administrator; never network input",
    },
    Row {
        process: "xiezhi-worker",
        purpose: "collects, spools, talks to the controller",
        user: "xiezhi-agent (groups adm, systemd-journal)",
        effective: &[],
        permitted: &[],
        bounding: &[],
        system_calls: "sockets, files of its state folder, adjtimex (read); starts `rpm -qa` and systemctl without rights",
        filtered: true,
        sockets: "TLS to the controller; the warden's and the asker's pair; D-Bus; optional loopback /metrics",
        compromise: "the host's identity towards the controller, the spool, logs that adm may read, the answers of the helpers; no change to the host",
    },
    Row {
        process: "xiezhi-devices",
        purpose: "asks devices and measures links; runs only while there are some",
        user: "xiezhi-devices (no groups)",
        effective: &[],
        permitted: &[],
        bounding: &[],
        system_calls: "sockets, files of its own folders, adjtimex (read)",
        filtered: true,
        sockets: "UDP to the devices, to the reflectors of links and, where it is one, to who may measure; UDP 162, opened by the warden, for traps; writes to the worker's pair",
        compromise: "what logs in to the devices, the keys of links, and what this host says of them; neither the host's identity nor its spool",
    },
    Row {
        process: "xiezhi-helper",
        purpose: "log-tail: new bytes of audit.log, secure or auth.log",
        user: "xiezhi-agent (no groups)",
        effective: READER,
        permitted: READER,
        bounding: READER,
        system_calls: "open, read, stat; send",
        filtered: true,
        sockets: "writes to the worker's pair; reads from none",
        compromise: "reading any file of the host, for the milliseconds that it lives; the text of logs is its only input",
    },
    Row {
        process: "xiezhi-helper",
        purpose: "authorized-keys: fingerprints of keys that may log in",
        user: "xiezhi-agent (no groups)",
        effective: READER,
        permitted: READER,
        bounding: READER,
        system_calls: "open, read, stat; send",
        filtered: true,
        sockets: "writes to the worker's pair; reads from none",
        compromise: "as log-tail; its input are users' key files",
    },
    Row {
        process: "xiezhi-helper",
        purpose: "setuid-scan: metadata of setuid and setgid files, once a day",
        user: "xiezhi-agent (no groups)",
        effective: READER,
        permitted: READER,
        bounding: READER,
        system_calls: "open, getdents, stat; send; setpriority",
        filtered: true,
        sockets: "writes to the worker's pair; reads from none",
        compromise: "as log-tail, for the minutes of a scan; opens folders, never files",
    },
    Row {
        process: "xiezhi-helper",
        purpose: "dmi: the machine's serial numbers",
        user: "xiezhi-agent (no groups)",
        effective: READER,
        permitted: READER,
        bounding: READER,
        system_calls: "open, read; send",
        filtered: true,
        sockets: "writes to the worker's pair; reads from none",
        compromise: "as log-tail; its input is the firmware's text",
    },
];

/// Every kind of process of the agent.
#[must_use]
#[cfg_attr(
    not(test),
    allow(dead_code, reason = "documentation and its tests are made from it")
)]
pub(crate) fn table() -> &'static [Row] {
    ROWS
}

/// The table as ARCHITECTURE.md shows it.
#[must_use]
#[cfg(test)]
pub(crate) fn markdown() -> String {
    let mut text = String::from(
        "| process | purpose | user | capabilities | system calls | sockets | a compromise yields |\n|---|---|---|---|---|---|---|\n",
    );
    for row in table() {
        let capabilities = match (row.effective, row.permitted) {
            ([], []) => "none".to_owned(),
            (effective, permitted) if effective == permitted => effective.join(", "),
            (effective, permitted) => {
                let rest: Vec<_> = permitted
                    .iter()
                    .filter(|name| !effective.contains(name))
                    .copied()
                    .collect();
                format!(
                    "{}; permitted, not effective: {}",
                    effective.join(", "),
                    rest.join(", ")
                )
            }
        };
        let system_calls = match row.filtered {
            true => format!("{}; filtered", row.system_calls),
            false => row.system_calls.to_owned(),
        };
        let cells = [
            row.process,
            row.purpose,
            row.user,
            &capabilities,
            &system_calls,
            row.sockets,
            row.compromise,
        ];
        text.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    text
}
