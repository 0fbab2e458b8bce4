//! The program polls a device that lives through everything, over a real socket pair: what it sends is
//! what the agent's worker gets.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use xiezhi_protocol::event::kinds;
use xiezhi_protocol::poll::{DeviceState, Poll, PollValue};
use xiezhi_test_device::FakeDevice;

use crate::program::{
    COMMUNITY, PATIENCE, Program, SWITCH, Switch, behaviour, entry, folder, runtime,
};

/// The samples of `name`, by ifName; the empty name for a single one.
fn samples(poll: &Poll, name: &str) -> BTreeMap<String, f64> {
    let mut samples = BTreeMap::new();
    for table in &poll.tables {
        let label = table.labels.iter().position(|label| label == "ifName");
        for column in table.columns.iter().filter(|column| column.name == name) {
            for (row, value) in table.rows.iter().zip(&column.values) {
                let port = label.map(|at| row[at].clone()).unwrap_or_default();
                samples.extend(value.map(|value: PollValue| (port, value.as_f64())));
            }
        }
    }
    samples
}

fn octets(poll: &Poll) -> Vec<(String, f64)> {
    samples(poll, "ifHCInOctets").into_iter().collect()
}

/// Whether the first port's octets are `expected`.
fn first_is(expected: f64) -> impl Fn(&Poll) -> bool {
    move |poll| samples(poll, "ifHCInOctets").get("GE0/0/1") == Some(&expected)
}

fn state(poll: &Poll) -> DeviceState {
    poll.about.as_ref().unwrap().state
}

#[test]
fn a_device_lives_through_everything_and_no_sample_lies() {
    let runtime = runtime();
    let device = runtime
        .block_on(FakeDevice::start(SWITCH.walk(), behaviour(true)))
        .unwrap();
    let folder = folder(&format!("devices:\n{}", entry("sw-1", &device)));
    let mut program = Program::start(folder.path());
    let first = program.poll("sw-1", |_| true);
    assert_eq!(
        octets(&first),
        [("GE0/0/1".to_owned(), 5e6), ("GE0/0/2".to_owned(), 7e6)]
    );
    assert_eq!(samples(&first, "up")[""], 1.0);
    assert_eq!(samples(&first, "snmp_device_uptime_seconds")[""], 1e6);
    let about = first.about.as_ref().unwrap();
    assert_eq!(
        (about.state, about.name.as_str()),
        (DeviceState::Answered, "switch-3f")
    );
    assert!(about.needs_profile && about.ports.len() == 2);

    // It goes on counting, then it starts again.
    let mut switch = Switch {
        octets: [5_001_000, 7_000_500],
        ..SWITCH
    };
    device.tell(switch.walk());
    program.poll("sw-1", first_is(5_001_000.0));
    switch = Switch {
        octets: [50, 60],
        uptime_s: 1,
        ..switch
    };
    device.tell(switch.walk());
    program.poll("sw-1", first_is(50.0));
    assert_eq!(
        program.event(kinds::DEVICE_RESTARTED).fields["device"],
        "sw-1"
    );

    // Its ports change their numbers; their series do not change.
    switch = Switch {
        indexes: [2, 1],
        octets: [150, 160],
        ..switch
    };
    device.tell(switch.walk());
    let renumbered = program.poll("sw-1", first_is(150.0));
    assert_eq!(octets(&renumbered)[1], ("GE0/0/2".to_owned(), 160.0));

    // Somebody clears its counters: a gap, then from zero.
    switch = Switch {
        octets: [20, 30],
        ..switch
    };
    device.tell(switch.walk());
    let gap = program.poll("sw-1", |poll| octets(poll).is_empty());
    assert_eq!(gap.about.unwrap().left_out["counter_decreased"], 2);
    switch = Switch {
        octets: [45, 30],
        ..switch
    };
    device.tell(switch.walk());
    program.poll("sw-1", first_is(25.0));

    // A port goes down.
    switch.second_is_up = false;
    device.tell(switch.walk());
    let down = program.event(kinds::DEVICE_PORT_DOWN);
    assert_eq!(down.fields["port"], "GE0/0/2");

    // It is replaced by another model with the same ports.
    switch.object_id = "1.3.6.1.4.1.2011.2.23.999";
    device.tell(switch.walk());
    let changed = program.event(kinds::DEVICE_CHANGED);
    assert_eq!(changed.fields["change"], "model");
    assert_eq!(changed.fields["object_id_after"], switch.object_id);

    // It dies and comes back.
    device.behave(behaviour(false));
    let silent = program.poll("sw-1", |poll| state(poll) == DeviceState::Silent);
    assert_eq!(samples(&silent, "up")[""], 0.0);
    assert_eq!(silent.about.unwrap().problem, "no_answer");
    assert_eq!(
        program.event(kinds::DEVICE_SILENT).fields["problem"],
        "no_answer"
    );
    device.behave(behaviour(true));
    program.event(kinds::DEVICE_ANSWERS);

    // The program itself starts again, and goes on where it was: its correction is kept.
    let log = program.log();
    drop(program);
    let mut program = Program::start(folder.path());
    switch.octets = [145, 130];
    device.tell(switch.walk());
    program.poll("sw-1", first_is(125.0));
    assert!(
        !log.contains(COMMUNITY) && !program.log().contains(COMMUNITY),
        "{log}"
    );
}

#[test]
fn a_folder_that_changes_is_taken_up_and_a_bad_file_stops_no_other() {
    let runtime = runtime();
    let start = || {
        runtime
            .block_on(FakeDevice::start(SWITCH.walk(), behaviour(true)))
            .unwrap()
    };
    let (one, two, dead) = (start(), start(), start());
    dead.behave(behaviour(false));
    let folder = folder(&format!(
        "devices:\n{}{}",
        entry("one", &one),
        entry("dead", &dead)
    ));
    std::fs::write(
        folder.path().join("devices.d/bad.yaml"),
        "devices: [{name: X}\n",
    )
    .unwrap();
    let mut program = Program::start(folder.path());
    program.poll("one", |poll| state(poll) == DeviceState::Answered);
    assert!(program.log().contains("bad.yaml:"), "{}", program.log());
    // The dead one is asked too, and delays nobody.
    program.poll("dead", |poll| state(poll) == DeviceState::Silent);
    program.poll("one", |poll| state(poll) == DeviceState::Answered);
    let text = format!("devices:\n{}", entry("two", &two));
    std::fs::write(folder.path().join("devices.d/bad.yaml"), text).unwrap();
    program.poll("two", |poll| state(poll) == DeviceState::Answered);
    std::fs::remove_file(folder.path().join("devices.d/a.yaml")).unwrap();
    // From some moment on nobody asks the first one.
    let until = Instant::now() + PATIENCE;
    loop {
        let before = one.asked();
        for _ in 0..3 {
            program.poll("two", |_| true);
        }
        if one.asked() == before {
            break;
        }
        assert!(Instant::now() < until, "it is still asked");
    }
}

/// The command, with what it is told on standard input; what it says, and whether it was content.
fn command(folder: &Path, words: &[&str], input: &str) -> (bool, String) {
    use std::io::Write as _;
    let mut child = Command::new(env!("CARGO_BIN_EXE_xiezhi-devices"))
        .arg("device")
        .args(words)
        .args(["--lang", "en", "--config-dir"])
        .arg(folder.join("devices.d"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Who knows already that it will not do does not read.
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).ok();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

#[test]
fn a_device_is_added_with_a_sealed_secret_which_nothing_opens_without_the_key() {
    let runtime = runtime();
    let device = runtime
        .block_on(FakeDevice::start(SWITCH.walk(), behaviour(true)))
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let address = device.address().to_string();
    let input = format!("{COMMUNITY}\n");
    // As root the agent's worker would try the device; it is not beside this program here.
    let untried = ["add", "sw-1", &address, "--every", "1s", "--untried"];
    let (good, said) = command(folder, &untried, &input);
    assert!(good, "{said}");
    let text = std::fs::read_to_string(folder.join("devices.d/sw-1.yaml")).unwrap();
    assert!(
        text.contains("sealed:") && !text.contains(COMMUNITY),
        "{text}"
    );
    let (good, said) = command(folder, &["list"], "");
    assert!(
        good && said.contains("sw-1") && said.contains(&address),
        "{said}"
    );
    let mut program = Program::start(folder);
    program.poll("sw-1", |poll| state(poll) == DeviceState::Answered);

    // A second one of the name, and a name that is none.
    assert!(!command(folder, &untried, &input).0);
    assert!(!command(folder, &["add", "Sw", &address], &input).0);

    // A plain secret is replaced.
    let traps = format!("}}, traps: {{credentials: {{version: 2c, community: {COMMUNITY}}}}}}}\n");
    let plain = format!(
        "devices:\n{}",
        entry("sw-2", &device).replace("}}\n", &traps)
    );
    std::fs::write(folder.join("devices.d/plain.yaml"), plain).unwrap();
    let (good, said) = command(folder, &["seal"], "");
    assert!(good && said.contains("sealed 2 secrets"), "{said}");
    let text = std::fs::read_to_string(folder.join("devices.d/plain.yaml")).unwrap();
    assert!(
        text.contains("sealed:") && !text.contains(COMMUNITY),
        "{text}"
    );
    program.poll("sw-2", |poll| state(poll) == DeviceState::Answered);

    // Without the key, and with another one.
    std::fs::rename(folder.join("devices.key"), folder.join("away")).unwrap();
    let (good, said) = command(folder, &["list"], "");
    assert!(!good && said.contains("cannot read the key"), "{said}");
    let input = "other\n";
    let words = ["add", "sw-3", &address, "--untried"];
    assert!(command(folder, &words, input).0);
    let (good, said) = command(folder, &["list"], "");
    assert!(!good && said.contains("sealed with another key"), "{said}");
    assert!(said.contains("sw-1.yaml:"), "{said}");
    std::fs::rename(folder.join("away"), folder.join("devices.key")).unwrap();
    assert!(command(folder, &["remove", "sw-1"], "").0);
    assert!(!folder.join("devices.d/sw-1.yaml").exists());
}
