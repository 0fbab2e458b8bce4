//! `accuracy SECONDS SCRIPT`: measures a line of 5 ms each way that says itself what it does to each packet, with
//! STAMP, `ping` and TWAMP Light in Python (SCRIPT) at the same time, and then one that loses packets. The figure
//! `stamp-accuracy` is made with it. Root only.

#![expect(clippy::print_stdout, reason = "a command answers on the terminal")]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use xiezhi_links::config::{Link, Reflector};
use xiezhi_links::packet::{Key, SIGNED};
use xiezhi_links::reflector::Running;
use xiezhi_links::sender::{self, Measured};
use xiezhi_links::sessions::Peer;
use xiezhi_test_support::{Carriage, Conditions, LossyLine, NEAR, Namespace, Way};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

const PORT: u16 = 20_862;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [seconds, script] = arguments.as_slice() else {
        return Err("usage: accuracy SECONDS SCRIPT".into());
    };
    let seconds: u64 = seconds.parse()?;
    idle(seconds, script)?;
    lossy(seconds, script)
}

/// What was measured on one line, and what the line says itself.
struct Round {
    ours: Measured,
    ping: String,
    python: String,
    there: Vec<Carriage>,
    back: Vec<Carriage>,
}

fn measure(seconds: u64, script: &str, conditions: Conditions) -> Outcome<Round> {
    let (near, far) = (Namespace::new()?, Namespace::new()?);
    let line = LossyLine::lay(&near, &far, conditions)?;
    let there: SocketAddr = format!("{NEAR}:{PORT}").parse()?;
    let key = Key::new("a key of both ends");
    let everybody = (Ipv4Addr::UNSPECIFIED.into(), 0);
    let reflector = Reflector {
        listen: vec![there],
        peers: [key.clone(), None]
            .map(|key| Peer {
                network: everybody,
                key,
            })
            .into(),
        rate: 1000,
        file: String::new(),
    };
    let _reflector = near.inside(|| Running::start(&reflector))??;
    let link = Link {
        name: "line".to_owned(),
        peer: there,
        source: None,
        key,
        rate: 10,
        size: SIGNED,
        every: Duration::from_secs(seconds),
        timeout: Duration::from_secs(2),
        stateful: true,
        note: String::new(),
        file: String::new(),
    };
    let count = (seconds * 10).to_string();
    let peers = far.inside(|| {
        let ping =
            started(Command::new("ping").args(["-q", "-n", "-i", "0.1", "-c", &count, NEAR]));
        let words = [script, "measure", &there.to_string(), "--count", &count];
        let python = started(Command::new("python3").args(words));
        (ping, python)
    })?;
    let (links, given) = mpsc::channel();
    let (tell, told) = mpsc::channel();
    links.send(vec![link])?;
    let inside = &far;
    let ours = std::thread::scope(|scope| {
        scope.spawn(move || {
            inside.inside(move || sender::run(&given, |measured| drop(tell.send(measured))))
        });
        let mut ours = told.recv();
        // The last loss has no way before something is answered behind it.
        while let Ok(Measured { totals, .. }) = &ours
            && totals.counts.lost != totals.counts.lost_forward + totals.counts.lost_backward
        {
            ours = told.recv();
        }
        drop(links);
        ours
    })?;
    let (ping, python) = (said(peers.0?)?, said(peers.1?)?);
    Ok(Round {
        ours,
        ping,
        python,
        there: line.carriages(Way::ToNear),
        back: line.carriages(Way::ToFar),
    })
}

fn started(command: &mut Command) -> std::io::Result<Child> {
    command.stdout(Stdio::piped()).spawn()
}

fn said(child: Child) -> Outcome<String> {
    Ok(String::from_utf8(child.wait_with_output()?.stdout)?)
}

/// Which packets of a way are whose: the length of an IP packet, and where it has its number.
#[derive(Clone, Copy)]
struct Flow {
    length: u16,
    number: usize,
    wide: bool,
}

const OURS: [Flow; 2] = [flow(28 + 112, 28), flow(28 + 112, 28 + 48)];
const PYTHON: [Flow; 2] = [flow(28 + 44, 28), flow(28 + 44, 28 + 24)];
/// ICMP's number has 16 bits.
const PING: [Flow; 2] = [
    Flow {
        length: 84,
        number: 26,
        wide: false,
    },
    Flow {
        length: 84,
        number: 26,
        wide: false,
    },
];

const fn flow(length: u16, number: usize) -> Flow {
    Flow {
        length,
        number,
        wide: true,
    }
}

/// How long the packets of a flow took, by number; `None` for lost ones.
fn taken(carriages: &[Carriage], flow: Flow) -> BTreeMap<u32, Option<Duration>> {
    let mut found = BTreeMap::new();
    for one in carriages {
        let length = one.head.get(2..4).and_then(|octets| octets.try_into().ok());
        if length.map(u16::from_be_bytes) != Some(flow.length) {
            continue;
        }
        let number = if flow.wide {
            let octets = one.head.get(flow.number..flow.number + 4);
            octets
                .and_then(|octets| octets.try_into().ok())
                .map(u32::from_be_bytes)
        } else {
            let octets = one.head.get(flow.number..flow.number + 2);
            let number = octets
                .and_then(|octets| octets.try_into().ok())
                .map(u16::from_be_bytes);
            number.map(u32::from)
        };
        found.extend(number.map(|number| (number, one.took)));
    }
    found
}

/// The line's own round trip: the middle of all packets that went both ways, in milliseconds.
fn truth(round: &Round, [there, back]: [Flow; 2]) -> Option<f64> {
    let back = taken(&round.back, back);
    let there = taken(&round.there, there);
    let mut whole: Vec<f64> = there
        .iter()
        .filter_map(|(number, there)| Some((*there)? + back.get(number).copied().flatten()?))
        .map(|took| took.as_secs_f64() * 1000.0)
        .collect();
    whole.sort_by(f64::total_cmp);
    whole.get(whole.len().saturating_sub(1) / 2).copied()
}

fn idle(seconds: u64, script: &str) -> Outcome<()> {
    let conditions = Conditions {
        delay: Duration::from_millis(5),
        noted: true,
        ..Conditions::default()
    };
    let round = measure(seconds, script, conditions)?;
    let spread = round
        .ours
        .summary
        .round_trip
        .ok_or("nothing was answered")?;
    let ours = spread.median as f64 / 1e6;
    let python: f64 = word_after(&round.python, "median_ms").ok_or("the script told no median")?;
    // Of all round trips it says but the mean.
    let ping: f64 = round
        .ping
        .split(" = ")
        .nth(1)
        .and_then(|rest| rest.split('/').nth(1))
        .ok_or("ping told no round trip")?
        .parse()?;
    for (name, measured, flow) in [
        ("ours", ours, OURS),
        ("python", python, PYTHON),
        ("ping", ping, PING),
    ] {
        let truth = truth(&round, flow).ok_or("the relay noted nothing")?;
        println!("{name}_ms {measured:.3}");
        println!("{name}_line_ms {truth:.3}");
        println!("{name}_error_ms {:.3}", measured - truth);
    }
    println!("packets {}", round.ours.totals.counts.sent);
    println!("lost_idle {}", round.ours.totals.counts.lost);
    Ok(())
}

fn lossy(seconds: u64, script: &str) -> Outcome<()> {
    let conditions = Conditions {
        delay: Duration::from_millis(5),
        loss_percent: 5,
        noted: true,
        ..Conditions::default()
    };
    let round = measure(seconds, script, conditions)?;
    let counts = round.ours.totals.counts;
    let lost = |carriages: &[Carriage], flow: Flow, judged: u64| {
        let all = taken(carriages, flow);
        all.iter()
            .filter(|(number, took)| u64::from(**number) < judged && took.is_none())
            .count()
    };
    println!("ours_lost_there {}", counts.lost_forward);
    println!(
        "line_lost_there {}",
        lost(&round.there, OURS[0], counts.sent)
    );
    println!("ours_lost_back {}", counts.lost_backward);
    println!("line_lost_back {}", lost(&round.back, OURS[1], counts.sent));
    let all = |flow: [Flow; 2]| {
        lost(&round.there, flow[0], u64::MAX) + lost(&round.back, flow[1], u64::MAX)
    };
    let python: u64 = word_after(&round.python, "lost").ok_or("the script told no loss")?;
    println!("python_lost {python}\npython_line_lost {}", all(PYTHON));
    let sent = seconds * 10;
    let received: u64 = round
        .ping
        .split(", ")
        .find_map(|part| part.strip_suffix(" received"))
        .ok_or("ping told no loss")?
        .parse()?;
    println!(
        "ping_lost {}\nping_line_lost {}",
        sent - received,
        all(PING)
    );
    Ok(())
}

fn word_after<T: std::str::FromStr>(text: &str, name: &str) -> Option<T> {
    let mut words = text.split_whitespace();
    words.find(|word| *word == name)?;
    words.next()?.parse().ok()
}
