//! Counters of the IP, ICMP, TCP and UDP protocols.
//!
//! Source: `/proc/net/netstat`, `/proc/net/snmp` and `/proc/net/snmp6` (proc(5)); the fields that
//! node_exporter takes by default.

use super::{Cadence, Collector};
use crate::bytes::{lines, signed, split_once, text, words};
use crate::error::{CollectError, Problems};
use crate::files::Base;
use crate::readings::{Readings, Samples};
use crate::root::HostRoot;

pub(super) struct Netstat;

impl Collector for Netstat {
    fn name(&self) -> &'static str {
        "netstat"
    }

    fn cadence(&self) -> Cadence {
        Cadence::Every
    }

    fn collect(&mut self, _: &HostRoot, out: &mut Readings<'_>) -> Result<(), CollectError> {
        let mut problems = Problems::new();
        for path in ["net/netstat", "net/snmp"] {
            let Some(content) = problems.check(out.files.read(Base::Proc, path)) else {
                continue;
            };
            if pairs_of_lines(content, &mut out.samples).is_none() {
                problems.malformed(path, "a line of values does not match its line of names");
            }
        }
        match out.files.read(Base::Proc, "net/snmp6") {
            // Absent where IPv6 is switched off.
            Err(error) if error.is_not_found() => {}
            Err(error) => problems.add(error),
            Ok(content) => {
                if line_per_field(content, &mut out.samples).is_none() {
                    problems.malformed("net/snmp6", "a line is not `name number`");
                }
            }
        }
        problems.finish()
    }
}

/// `Tcp: Name Name …` followed by `Tcp: 1 2 …`. A pair that does not match is left out.
fn pairs_of_lines(content: &[u8], samples: &mut Samples<'_>) -> Option<()> {
    let mut all = lines(content);
    let mut outcome = Some(());
    while let Some(names) = all.next() {
        outcome = all
            .next()
            .and_then(|values| pair(names, values, samples))
            .and(outcome);
    }
    outcome
}

fn pair(names: &[u8], values: &[u8], samples: &mut Samples<'_>) -> Option<()> {
    let (protocol, names) = split_once(names, b':')?;
    let (same, values) = split_once(values, b':')?;
    if protocol != same || words(names).count() != words(values).count() {
        return None;
    }
    for (name, value) in words(names).zip(words(values)) {
        if is_wanted(protocol, name) {
            put(protocol, name, signed(value)?, samples);
        }
    }
    Some(())
}

/// `Ip6InOctets 128`: the protocol's name ends with the 6.
fn line_per_field(content: &[u8], samples: &mut Samples<'_>) -> Option<()> {
    let mut outcome = Some(());
    for line in lines(content) {
        outcome = field(line, samples).and(outcome);
    }
    outcome
}

fn field(line: &[u8], samples: &mut Samples<'_>) -> Option<()> {
    let mut fields = words(line);
    let name = fields.next()?;
    let six = name.iter().position(|byte| *byte == b'6')?;
    let (protocol, name) = name.split_at_checked(six + 1)?;
    if is_wanted(protocol, name) {
        put(protocol, name, signed(fields.next()?)?, samples);
    }
    Some(())
}

fn put(protocol: &[u8], name: &[u8], value: i64, samples: &mut Samples<'_>) {
    let parts = ["node_netstat_", &text(protocol), "_", &text(name)];
    samples.put_parts(&parts, &[], value as f64);
}

/// node_exporter's default of `--collector.netstat.fields`.
fn is_wanted(protocol: &[u8], name: &[u8]) -> bool {
    if matches!(name, b"InErrors" | b"InErrs") {
        return true;
    }
    match protocol {
        b"Ip" => name == b"Forwarding",
        b"Ip6" | b"IpExt" => matches!(name, b"InOctets" | b"OutOctets"),
        b"Icmp" | b"Icmp6" => matches!(name, b"InMsgs" | b"OutMsgs"),
        b"TcpExt" => {
            name.starts_with(b"Listen")
                || name.starts_with(b"Syncookies")
                || matches!(name, b"TCPSynRetrans" | b"TCPTimeouts")
        }
        b"Tcp" => matches!(
            name,
            b"ActiveOpens"
                | b"InSegs"
                | b"OutSegs"
                | b"OutRsts"
                | b"PassiveOpens"
                | b"RetransSegs"
                | b"CurrEstab"
        ),
        b"Udp" | b"Udp6" => matches!(
            name,
            b"InDatagrams" | b"OutDatagrams" | b"NoPorts" | b"RcvbufErrors" | b"SndbufErrors"
        ),
        _ => false,
    }
}
