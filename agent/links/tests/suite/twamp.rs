//! Against TWAMP Light in Python: `twamp_light.py`, written from the RFCs with nothing but the standard library.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use xiezhi_links::reflector::Running;

use crate::support::{Measuring, anywhere, link, reflector};

struct Python(Child);

impl Drop for Python {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn script(words: &[&str]) -> Command {
    let mut command = Command::new("python3");
    command
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/twamp_light.py"))
        .args(words)
        .stdout(Stdio::piped());
    command
}

/// Its reflector, and where it listens.
fn their_reflector(words: &[&str]) -> (Python, SocketAddr) {
    let mut child = script(&[&["reflect"][..], words].concat()).spawn().unwrap();
    let output = child.stdout.take().unwrap();
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line).unwrap();
    (Python(child), line.trim().parse().unwrap())
}

#[test]
fn we_measure_against_a_reflector_of_twamp_light_that_keeps_no_count() {
    for length in ["41", "44", "same"] {
        let (_python, there) = their_reflector(&["--length", length]);
        let mut link = link(there, None);
        link.stateful = false;
        let measured = Measuring::here(link).until(|totals| totals.counts.sent > 100);
        let counts = measured.totals.counts;
        assert_eq!((counts.lost, counts.answered), (0, counts.sent), "{length}");
        assert_eq!((counts.restarts, counts.duplicates), (0, 0));
        assert!(measured.summary.round_trip.unwrap().min > 0);
    }
}

#[test]
fn we_measure_against_one_that_counts_and_tell_its_losses_by_their_way() {
    // Of what arrives it forgets each seventh, and of what it sends each fifth is lost.
    let (_python, there) = their_reflector(&["--stateful", "--deaf", "7", "--mute", "5"]);
    let measuring = Measuring::here(link(there, None));
    let totals =
        measuring.until(|totals| totals.counts.sent > 200 && crate::support::is_settled(totals));
    let counts = totals.totals.counts;
    let forward = counts.sent / 7;
    assert_eq!(
        (counts.lost_forward, counts.lost_backward),
        (forward, (counts.sent - forward) / 5)
    );
    assert_eq!(counts.lost_somewhere, 0);
}

#[test]
fn a_sender_of_twamp_light_measures_against_us() {
    let reflector = Running::start(&reflector(anywhere(), None)).unwrap();
    let address = reflector.addresses()[0].to_string();
    // It checks every octet of what it gets, and tells what is wrong.
    let output = script(&["send", &address]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert_eq!(said.trim(), "50 answered, 2 too short for an answer");
    assert_eq!(reflector.tally().answered, 50);
}
