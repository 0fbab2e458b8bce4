//! Against snmpsim with a recording: every object of it, as we read it from the file, as we ask for
//! it, and as net-snmp's walker prints it.

use std::net::{SocketAddr, UdpSocket};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use xiezhi_devices::{Limits, Target};
use xiezhi_profiles::{Hints, Value, Walk};
use xiezhi_test_skip::skip;

use crate::snmpd::{as_printed, printed};
use crate::support::{DEADLINE, community, oid, poller, switch};

struct Simulator {
    address: SocketAddr,
    child: Child,
    _folder: TempDir,
}

impl Drop for Simulator {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Simulator {
    fn start(walk: &Walk) -> Option<Self> {
        let programs = ["/usr/bin/snmpsimd", "/usr/bin/snmpbulkwalk"];
        if !programs
            .iter()
            .all(|path| std::path::Path::new(path).exists())
        {
            skip("no snmpsimd or snmpbulkwalk here (Debian packages snmpsim and snmp)");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("data")).unwrap();
        std::fs::create_dir(folder.path().join("cache")).unwrap();
        std::fs::write(folder.path().join("data/public.snmprec"), walk.text()).unwrap();
        // It refuses to run as root, and its user must be able to write its index.
        use std::os::unix::fs::PermissionsExt as _;
        for path in [
            folder.path().to_owned(),
            folder.path().join("cache"),
            folder.path().join("data"),
        ] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
        }
        let port = UdpSocket::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let mut command = Command::new("/usr/bin/snmpsimd");
        command
            .arg(format!("--agent-udpv4-endpoint=127.0.0.1:{port}"))
            .arg(format!(
                "--data-dir={}",
                folder.path().join("data").display()
            ))
            .arg(format!(
                "--cache-dir={}",
                folder.path().join("cache").display()
            ))
            .args([
                "--process-user=nobody",
                "--process-group=nogroup",
                "--logging-method=null",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        Some(Self {
            address: ([127, 0, 0, 1], port).into(),
            child: command.spawn().unwrap(),
            _folder: folder,
        })
    }
}

#[tokio::test]
async fn a_recording_is_told_as_it_was_recorded() {
    let (mut walk, _) = switch(24, 3);
    let values = [
        Value::Integer(-2_147_483_648),
        Value::Octets([0, 255, 128, 10].into()),
        Value::Octets([].into()),
        Value::Address([10, 0, 0, 255]),
        Value::Counter32(u32::MAX),
        Value::Gauge32(u32::MAX),
        Value::Counter64(u64::MAX),
        Value::Oid(oid("1.3.6.1.4.1.4294967295")),
    ];
    for (place, value) in (1..).zip(values) {
        let name = oid("1.3.6.1.4.1.99999.1").at(&xiezhi_profiles::Oid::new(&[place, 0]));
        walk.add(name, value);
    }
    let Some(simulator) = Simulator::start(&walk) else {
        return;
    };
    let poller = poller().await;
    let target = Target {
        address: simulator.address,
        login: community("public"),
        hints: Hints {
            timeout: Duration::from_secs(5),
            ..Hints::default()
        },
        pace: None,
    };
    let start = std::time::Instant::now();
    let mut impatient = target.clone();
    impatient.hints.timeout = Duration::from_millis(300);
    while poller.identify(&impatient).await.is_err() {
        assert!(start.elapsed() < DEADLINE, "snmpsimd does not answer");
    }
    let root = oid("1.3.6.1");
    let walked = poller
        .walk(&target, &root, Limits::default(), DEADLINE)
        .await;
    assert_eq!((walked.fault, walked.error), (None, None));
    assert_eq!(walked.walk, walk);
    let ours = walked
        .walk
        .iter()
        .map(|(name, value)| (name.clone(), as_printed(value)))
        .collect();
    let theirs = printed(simulator.address, &["-v2c", "-cpublic"], &root);
    similar(&theirs, &ours);
}

fn similar<K: Ord + std::fmt::Debug>(
    theirs: &std::collections::BTreeMap<K, String>,
    ours: &std::collections::BTreeMap<K, String>,
) {
    assert_eq!(theirs.len(), ours.len());
    for ((name, theirs), (our_name, ours)) in theirs.iter().zip(ours) {
        assert_eq!((name, theirs), (our_name, ours));
    }
}
