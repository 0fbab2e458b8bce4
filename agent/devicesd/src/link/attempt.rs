//! Tries a link: three seconds of packets, and the result in words.

use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use xiezhi_devices::Secret;
use xiezhi_document::Language;
use xiezhi_links::config::{self, File, Link};
use xiezhi_links::sender::{self, Measured};
use xiezhi_protocol::poll::DeviceState;
use zeroize::Zeroizing;

use crate::device::quoted;
use crate::{network, show};

/// The word by which the agent's worker is asked; the link stands on standard input.
pub(crate) const WORD: &str = "link-try";

/// How long is measured. Answers may take a second of it.
const LENGTH: Duration = Duration::from_secs(3);
const TIMEOUT: Duration = Duration::from_secs(1);

/// Whether the other end answers; says how.
pub(super) fn try_link(link: &Link, config: Option<&Path>, language: Language) -> Result<bool> {
    if rustix::process::geteuid().is_root() {
        let lang = show::word(language, "zh", "en");
        let words = [WORD.into(), "--lang".into(), lang.into()];
        return network::by_worker(config, &words, &text(link));
    }
    Ok(measure(link, language))
}

/// `link-try`, without rights: reads the link from standard input.
pub(crate) fn run(parser: &mut lexopt::Parser) -> Result<ExitCode> {
    let mut language = crate::of_the_terminal();
    while let Some(argument) = parser.next()? {
        match argument {
            lexopt::Arg::Long("lang") => {
                let word = lexopt::ValueExt::string(parser.value()?)?;
                language = crate::language(&word).context("`--lang`: there are zh and en")?;
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let mut text = Zeroizing::new(String::new());
    std::io::stdin()
        .take(64 << 10)
        .read_to_string(&mut text)
        .context("reading the link")?;
    let file = File {
        path: "link",
        text: &text,
    };
    let folder = config::read(&[file], &|_| Err("nothing is sealed here".into()));
    let link = folder
        .links
        .into_values()
        .next()
        .context("standard input holds no link")?;
    Ok(if measure(&link, language) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The link as a text for the worker, which is handed over through a pipe.
fn text(link: &Link) -> Secret {
    let mut text = format!(
        "links:\n- name: {}\n  address: {}\n  rate: {}\n  size: {}\n",
        quoted(&link.name),
        quoted(&link.peer.to_string()),
        link.rate,
        link.size,
    );
    if let Some(source) = link.source {
        text.push_str(&format!("  source: {}\n", quoted(&source.to_string())));
    }
    if !link.stateful {
        text.push_str("  reflector: stateless\n");
    }
    if let Some(key) = &link.key {
        text.push_str(&format!("  key: {}\n", quoted(key.text())));
    }
    Secret::new(text)
}

fn measure(link: &Link, language: Language) -> bool {
    let link = Link {
        every: LENGTH,
        timeout: TIMEOUT,
        ..link.clone()
    };
    let (links, given) = mpsc::channel();
    links.send(vec![link]).ok();
    let (tell, told) = mpsc::channel();
    let thread =
        std::thread::spawn(move || sender::run(&given, |measured| drop(tell.send(measured))));
    let measured = told.recv();
    drop(links);
    thread.join().ok();
    measured.is_ok_and(|measured| told_well(&measured, language))
}

/// Says what came of it; whether anything was answered.
fn told_well(measured: &Measured, language: Language) -> bool {
    let (state, _) = xiezhi_links::report::state(&measured.totals, &measured.before);
    let counts = measured.totals.counts;
    let peer = measured.link.peer;
    if let Some(spread) = measured.summary.round_trip {
        let ms = |ns: i64| format!("{:.2} ms", ns as f64 / 1e6);
        let (median, p95) = (ms(spread.median), ms(spread.p95));
        let (sent, lost) = (counts.sent, counts.lost);
        say!(
            "{}",
            show::word(
                language,
                &format!(
                    "{peer} 有应答：往返时延中位数 {median}，P95 {p95}；发送 {sent} 个，丢失 {lost} 个"
                ),
                &format!(
                    "{peer} answers: round trip {median} (median), {p95} (95th); {lost} of {sent} lost"
                ),
            )
        );
        return true;
    }
    let (zh, en) = match state {
        DeviceState::Refused => (
            "有应答，但签名不对：两端的密钥不一致",
            "answers, but with another key: both ends need the same",
        ),
        DeviceState::Unreachable if measured.totals.closed > 0 => (
            "没有程序在该端口应答：请在对端运行 `xiezhi-agent link reflect`",
            "nobody listens at that port: run `xiezhi-agent link reflect` at the other end",
        ),
        DeviceState::Unreachable => (
            "网络到不了该地址：没有路由，或源地址不是本机的",
            "there is no way there: no route, or `source` is none of this host's addresses",
        ),
        _ => (
            "没有应答：请检查线路、防火墙（UDP）、对端允许的网段和密钥",
            "does not answer: look at the line, firewalls (UDP), the peers and the key that the other end allows",
        ),
    };
    say!("{peer} {}", show::word(language, zh, en));
    false
}
