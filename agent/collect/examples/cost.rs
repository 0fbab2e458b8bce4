//! What the collectors cost: processor time of this process per pass, by /proc/self/stat.
//!
//! `cargo run -p xiezhi-collect --example cost [PASSES]`

use xiezhi_collect::{Collectors, HostRoot, Options, host};
use xiezhi_protocol::report::Report;

fn main() {
    let passes = std::env::args()
        .nth(1)
        .and_then(|text| text.parse().ok())
        .unwrap_or(1000u32);
    let every = |collectors: &mut Collectors, report: &mut Report| {
        let start = ticks();
        for pass in 0..passes {
            collectors.collect(i64::from(pass), report);
        }
        (ticks() - start) * 10_000 / u64::from(passes)
    };
    let mut report = Report::new();
    let mut fast = Collectors::new(HostRoot::real(), Options::default());
    let per_pass = every(&mut fast, &mut report);
    print(&format!(
        "fast pass: {per_pass} us, {} series, {} kB resident",
        report.len(),
        resident()
    ));
    let options = || Options {
        slow_every_ms: 0,
        ..Options::default()
    };
    let mut all = Collectors::new(HostRoot::real(), options());
    print(&format!(
        "pass with all slow collectors: {} us",
        every(&mut all, &mut report)
    ));
    for name in host::names() {
        let disabled = host::names().into_iter().filter(|other| *other != name);
        let options = Options {
            disabled: disabled.map(str::to_owned).collect(),
            ..options()
        };
        let mut one = Collectors::new(HostRoot::real(), options);
        print(&format!("{name}: {} us", every(&mut one, &mut report)));
    }
}

/// User and system time of this process, in ticks of 10 ms.
fn ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace();
    fields
        .skip(11)
        .take(2)
        .filter_map(|word| word.parse::<u64>().ok())
        .sum()
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

fn print(line: &str) {
    #[expect(clippy::print_stdout, reason = "this program's purpose is to print")]
    {
        println!("{line}");
    }
}
