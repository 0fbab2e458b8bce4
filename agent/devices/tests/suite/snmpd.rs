//! Against net-snmp: its daemon is the device, its walker the judge.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use xiezhi_devices::{
    Ask, AskError, Cipher, Credentials, Digest, Limits, Login, PollError, Poller, Secret, Security,
    Target, User,
};
use xiezhi_profiles::{Hints, Oid, Value};
use xiezhi_test_skip::skip;

use crate::relay::Relay;
use crate::support::{DEADLINE, community, oid, poller};

const PASSWORD: &str = "signing-password";
const CIPHER_PASSWORD: &str = "ciphering-password";

/// net-snmp's daemon with its own folder; it ends with this.
struct Daemon {
    address: SocketAddr,
    child: Child,
    folder: TempDir,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Every way to sign that Debian's daemon has, and every way to encrypt; the names that it gives them.
const USERS: [(&str, Digest, &str, Cipher, &str); 6] = [
    ("one", Digest::Sha1, "SHA", Cipher::Aes128, "AES"),
    ("two", Digest::Sha224, "SHA-224", Cipher::Aes128, "AES"),
    (
        "three",
        Digest::Sha256,
        "SHA-256",
        Cipher::Aes256,
        "AES-256",
    ),
    ("four", Digest::Sha384, "SHA-384", Cipher::Aes192, "AES-192"),
    ("five", Digest::Sha512, "SHA-512", Cipher::Aes256, "AES-256"),
    ("six", Digest::Md5, "MD5", Cipher::Aes128, "AES"),
];

impl Daemon {
    /// Starts one; `None`, and why is said, where the package is missing.
    async fn start(more: &str) -> Option<Self> {
        let program = ["/usr/sbin/snmpd", "/sbin/snmpd"]
            .into_iter()
            .find(|path| std::path::Path::new(path).exists());
        let (Some(program), true) = (program, has_walker()) else {
            skip("no snmpd or snmpbulkwalk here (Debian packages snmpd and snmp)");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        // A free port; somebody could take it in between, which the identity would show.
        let port = UdpSocket::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let mut text = format!(
            "agentAddress udp:127.0.0.1:{port}\nrocommunity public\nsysName tested\n\
             sysDescr a tested daemon\nrouser plain noauth\ncreateUser plain\n{more}\n"
        );
        for (name, _, digest, _, cipher) in USERS {
            text += &format!(
                "createUser {name} {digest} {PASSWORD} {cipher} {CIPHER_PASSWORD}\nrouser {name} priv\n"
            );
        }
        let configuration = folder.path().join("snmpd.conf");
        std::fs::File::create(&configuration)
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
        let child = Command::new(program)
            .args(["-f", "-C", "-Lf"])
            .arg(folder.path().join("log"))
            .arg("-c")
            .arg(&configuration)
            .env("SNMP_PERSISTENT_DIR", folder.path().join("persistent"))
            .stdin(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        let daemon = Self {
            address: ([127, 0, 0, 1], port).into(),
            child,
            folder,
        };
        daemon.wait().await;
        Some(daemon)
    }

    async fn wait(&self) {
        let poller = poller().await;
        let target = self.target(community("public"), Duration::from_millis(300));
        let start = std::time::Instant::now();
        while poller.identify(&target).await.is_err() {
            let said = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(start.elapsed() < DEADLINE, "snmpd does not answer: {said}");
        }
    }

    fn target(&self, login: Login, timeout: Duration) -> Target {
        Target {
            address: self.address,
            login,
            hints: Hints {
                timeout,
                ..Hints::default()
            },
            pace: None,
        }
    }

    fn patient(&self, login: Login) -> Target {
        self.target(login, Duration::from_secs(5))
    }
}

fn has_walker() -> bool {
    std::path::Path::new("/usr/bin/snmpbulkwalk").exists()
}

fn user(name: &str, security: Security) -> Login {
    Login::new(&Credentials::V3(User {
        name: name.to_owned(),
        context: String::new(),
        security,
    }))
    .unwrap()
}

fn private(digest: Digest, password: &str, cipher: Cipher, cipher_password: &str) -> Security {
    Security::Private {
        digest,
        password: Secret::new(password.to_owned()),
        cipher,
        cipher_password: Secret::new(cipher_password.to_owned()),
    }
}

/// What net-snmp's walker prints for `root`: for each object its type and value as text.
pub(crate) fn printed(
    address: SocketAddr,
    arguments: &[&str],
    root: &Oid,
) -> BTreeMap<Oid, String> {
    // Numbers, not names: of objects, of enumerations, of ticks; no units, no hints; hexadecimal.
    let output = Command::new("snmpbulkwalk")
        .args(["-m", "", "-M", "/nonexistent", "-OnetUx", "-r2", "-t5"])
        .args(arguments)
        .arg(address.to_string())
        .arg(root.to_string())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let mut objects = BTreeMap::new();
    let mut last: Option<Oid> = None;
    for line in text.lines() {
        match line
            .split_once(" = ")
            .and_then(|(name, value)| Some((name.parse::<Oid>().ok()?, value)))
        {
            // Said of the last object once more.
            Some((_, value)) if value.starts_with("No more variables") => break,
            Some((name, value)) => {
                objects.insert(name.clone(), value.trim_end().to_owned());
                last = Some(name);
            }
            // A long value goes on.
            None => {
                let last = last
                    .as_ref()
                    .and_then(|last| objects.get_mut(last))
                    .unwrap();
                last.push(' ');
                last.push_str(line.trim());
            }
        }
    }
    objects
}

/// A value as net-snmp's walker prints it with these options.
pub(crate) fn as_printed(value: &Value) -> String {
    match value {
        Value::Integer(number) => format!("INTEGER: {number}"),
        Value::Octets(octets) if octets.is_empty() => "\"\"".to_owned(),
        Value::Octets(octets) => {
            let digits: Vec<String> = octets.iter().map(|octet| format!("{octet:02X}")).collect();
            format!("Hex-STRING: {}", digits.join(" "))
        }
        Value::Oid(oid) => format!("OID: .{oid}"),
        Value::Address([a, b, c, d]) => format!("IpAddress: {a}.{b}.{c}.{d}"),
        Value::Counter32(number) => format!("Counter32: {number}"),
        Value::Gauge32(number) => format!("Gauge32: {number}"),
        Value::Ticks(number) => number.to_string(),
        Value::Counter64(number) => format!("Counter64: {number}"),
        Value::Float(number) => format!("Opaque: Float: {number:.6}"),
    }
}

async fn walked(poller: &Poller, target: &Target, root: &Oid) -> BTreeMap<Oid, String> {
    let walked = poller.walk(target, root, Limits::default(), DEADLINE).await;
    assert_eq!((walked.fault, walked.error), (None, None));
    walked
        .walk
        .iter()
        .map(|(name, value)| (name.clone(), as_printed(value)))
        .collect()
}

/// What does not change between two walks: no counters, no clocks.
fn lasting(objects: BTreeMap<Oid, String>) -> BTreeMap<Oid, String> {
    let changes = |value: &str| {
        value.starts_with("Counter") || value.bytes().all(|byte| byte.is_ascii_digit())
    };
    let kind = |value: String| match value.split_once(':') {
        Some((kind, _)) if changes(&value) => kind.to_owned(),
        _ if changes(&value) => String::new(),
        _ => value,
    };
    objects
        .into_iter()
        .map(|(name, value)| (name, kind(value)))
        .collect()
}

/// Subtrees whose objects stay while a test runs: system, interfaces, ip, snmp, ifMIB.
const SUBTREES: [&str; 5] = [
    "1.3.6.1.2.1.1",
    "1.3.6.1.2.1.2",
    "1.3.6.1.2.1.4.20",
    "1.3.6.1.2.1.11",
    "1.3.6.1.2.1.31",
];

#[tokio::test]
async fn the_daemon_tells_us_what_it_tells_its_own_walker() {
    let Some(daemon) = Daemon::start("").await else {
        return;
    };
    let poller = poller().await;
    let target = daemon.patient(community("public"));
    for root in SUBTREES.map(oid) {
        let ours = lasting(walked(&poller, &target, &root).await);
        let theirs = lasting(printed(daemon.address, &["-v2c", "-cpublic"], &root));
        assert!(!ours.is_empty(), "{root}");
        assert_eq!(ours, theirs, "{root}");
    }
    let identity = poller.identify(&target).await.unwrap();
    assert_eq!(identity.name.as_deref(), Some("tested"));
    assert_eq!(identity.description.as_deref(), Some("a tested daemon"));
    assert!(identity.engine_time_s.is_some() && identity.uptime_ticks.is_some());
}

#[tokio::test]
async fn the_tables_of_the_daemon_are_the_same_by_column_and_by_walk() {
    let Some(daemon) = Daemon::start("").await else {
        return;
    };
    let poller = poller().await;
    let target = daemon.patient(community("public"));
    let columns = |entry: &str, lasts: std::ops::RangeInclusive<u32>| -> Vec<Oid> {
        lasts
            .map(|last| oid(entry).at(&Oid::new(&[last])))
            .collect()
    };
    let ask = Ask {
        scalars: vec![],
        columns: vec![
            columns("1.3.6.1.2.1.2.2.1", 1..=22),
            columns("1.3.6.1.2.1.31.1.1.1", 1..=19),
        ],
    };
    let polled = poller
        .poll(&target, &ask, Limits::default(), DEADLINE)
        .await;
    assert_eq!((polled.error, polled.faults), (None, vec![]));
    let mut ours = BTreeMap::new();
    for column in ask.columns.iter().flatten() {
        for (index, value) in polled.answers.rows(column) {
            ours.insert(column.at(index), as_printed(value));
        }
    }
    let mut theirs = BTreeMap::new();
    for entry in ["1.3.6.1.2.1.2.2.1", "1.3.6.1.2.1.31.1.1.1"] {
        theirs.extend(printed(daemon.address, &["-v2c", "-cpublic"], &oid(entry)));
    }
    assert_eq!(lasting(ours), lasting(theirs));
}

#[tokio::test]
async fn every_way_to_sign_and_to_encrypt_is_understood() {
    let Some(daemon) = Daemon::start("").await else {
        return;
    };
    let poller = poller().await;
    let root = oid("1.3.6.1.2.1.1");
    let plain = lasting(walked(&poller, &daemon.patient(community("public")), &root).await);
    let unsigned = daemon.patient(user("plain", Security::None));
    assert_eq!(lasting(walked(&poller, &unsigned, &root).await), plain);
    for (name, digest, _, cipher, _) in USERS {
        let login = user(name, private(digest, PASSWORD, cipher, CIPHER_PASSWORD));
        let told = walked(&poller, &daemon.patient(login), &root).await;
        assert_eq!(lasting(told), plain, "{digest:?} {cipher:?}");
    }
}

#[tokio::test]
async fn a_user_that_is_not_accepted_is_told_why() {
    let Some(daemon) = Daemon::start("").await else {
        return;
    };
    let poller = poller().await;
    let right = |name| {
        user(
            name,
            private(Digest::Sha256, PASSWORD, Cipher::Aes256, CIPHER_PASSWORD),
        )
    };
    poller
        .identify(&daemon.patient(right("three")))
        .await
        .unwrap();
    for (login, expected) in [
        (right("nobody"), "it does not know the user's name"),
        (
            user(
                "three",
                private(
                    Digest::Sha256,
                    "hidden-password",
                    Cipher::Aes256,
                    CIPHER_PASSWORD,
                ),
            ),
            "the password or the way of signing is wrong",
        ),
        (
            user(
                "plain",
                private(Digest::Sha256, PASSWORD, Cipher::Aes256, CIPHER_PASSWORD),
            ),
            "the user is not set up for signing or encrypting like this",
        ),
    ] {
        let impatient = daemon.target(login, Duration::from_secs(1));
        let error = poller.identify(&impatient).await.unwrap_err();
        assert_eq!(error, PollError::Ask(AskError::Login(expected)));
        assert!(!format!("{error} {error:?}").contains("hidden"));
    }
    // With a wrong password for the cipher the question is noise to this daemon, and it says nothing.
    let security = private(Digest::Sha256, PASSWORD, Cipher::Aes256, "hidden-password");
    let impatient = daemon.target(user("three", security), Duration::from_millis(300));
    let error = poller.identify(&impatient).await.unwrap_err();
    assert_eq!(error, PollError::Ask(AskError::Silent));
}

/// A relay that changes every answer with `change`, and what it is asked with.
async fn behind_relay(
    daemon: &Daemon,
    change: impl FnMut(Vec<u8>) -> Vec<Vec<u8>> + Send + 'static,
) -> (Relay, Target) {
    let relay = Relay::start(daemon.address, Box::new(change)).await;
    let login = user(
        "three",
        private(Digest::Sha256, PASSWORD, Cipher::Aes256, CIPHER_PASSWORD),
    );
    let mut target = daemon.target(login, Duration::from_millis(400));
    target.address = relay.address;
    target.hints.retries = 1;
    (relay, target)
}

#[tokio::test]
async fn a_forged_answer_is_not_believed_and_the_right_one_still_is() {
    let Some(daemon) = Daemon::start("").await else {
        return;
    };
    let poller = poller().await;
    // The last octet is encrypted content: its signature does not fit any more.
    let forge = |mut datagram: Vec<u8>| {
        if let Some(last) = datagram.last_mut() {
            *last ^= 1;
        }
        datagram
    };
    let mut answers = 0;
    let (_relay, target) = behind_relay(&daemon, move |datagram| {
        // The first is the discovery, which nothing signs.
        answers += 1;
        let forged = if answers > 1 {
            vec![forge(datagram.clone())]
        } else {
            vec![]
        };
        forged.into_iter().chain([datagram]).collect()
    })
    .await;
    let identity = poller.identify(&target).await.unwrap();
    assert_eq!(identity.name.as_deref(), Some("tested"));
    let mut answers = 0;
    let (_relay, target) = behind_relay(&daemon, move |datagram| {
        answers += 1;
        vec![if answers > 1 {
            forge(datagram)
        } else {
            datagram
        }]
    })
    .await;
    poller.identify(&target).await.unwrap_err();
}

#[tokio::test]
async fn an_answer_that_is_played_back_is_not_believed() {
    let Some(daemon) = Daemon::start("").await else {
        return;
    };
    let poller = poller().await;
    let mut first: Option<Vec<u8>> = None;
    let mut answers = 0;
    let (_relay, target) = behind_relay(&daemon, move |datagram| {
        answers += 1;
        if answers < 3 {
            first = Some(datagram.clone());
            return vec![datagram];
        }
        // From then on the same signed answer, for ever.
        first.iter().cloned().collect()
    })
    .await;
    let walked = poller
        .walk(&target, &oid("1.3.6.1.2.1.1"), Limits::default(), DEADLINE)
        .await;
    assert_eq!(walked.error, Some(PollError::Ask(AskError::Silent)));
}

#[tokio::test]
async fn another_engine_at_the_same_address_is_found_out_and_asked() {
    let (Some(first), Some(second)) = (
        Daemon::start("engineID one-engine").await,
        Daemon::start("engineID another-engine").await,
    ) else {
        return;
    };
    let poller = poller().await;
    let (relay, target) = behind_relay(&first, |datagram| vec![datagram]).await;
    poller.identify(&target).await.unwrap();
    relay.turn_to(second.address);
    poller.identify(&target).await.unwrap();
}

#[tokio::test]
async fn a_restarted_daemon_is_asked_on() {
    let Some(mut daemon) = Daemon::start("").await else {
        return;
    };
    let poller = poller().await;
    let login = user(
        "three",
        private(Digest::Sha256, PASSWORD, Cipher::Aes256, CIPHER_PASSWORD),
    );
    let target = daemon.patient(login);
    poller.identify(&target).await.unwrap();
    drop(daemon.child.kill());
    drop(daemon.child.wait());
    // Its count of restarts went up, its clock went back to zero: our idea of both is wrong now.
    daemon.child = Command::new("/usr/sbin/snmpd")
        .args(["-f", "-C", "-Lf"])
        .arg(daemon.folder.path().join("log"))
        .arg("-c")
        .arg(daemon.folder.path().join("snmpd.conf"))
        .env(
            "SNMP_PERSISTENT_DIR",
            daemon.folder.path().join("persistent"),
        )
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    daemon.wait().await;
    poller.identify(&target).await.unwrap();
}
