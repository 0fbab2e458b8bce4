//! Package changes on hosts with dpkg: new lines of `/var/log/dpkg.log`.

use std::time::Duration;

use serde_json::Value;
use xiezhi_protocol::event::{Event, Severity, kinds};

use super::logfile::{LogFile, LogState};
use super::syslog;
use super::watcher::{Context, Watcher};
use super::zone::Zone;

/// The watcher.
#[derive(Debug)]
pub(crate) struct Packages {
    log: LogFile,
}

impl Packages {
    pub(crate) fn new() -> Self {
        Self {
            log: LogFile::readable("var/log/dpkg.log"),
        }
    }
}

impl Watcher for Packages {
    fn name(&self) -> &'static str {
        "dpkg"
    }

    fn every(&self) -> Duration {
        Duration::from_secs(10)
    }

    fn poll(&mut self, context: &mut Context<'_>) {
        self.log.poll(context, &mut |context, line| {
            if let Some(event) = parse(line, context.zone) {
                context.emit(event);
            }
        });
    }

    fn loss(&self) -> Option<String> {
        self.log.loss()
    }

    fn save(&self) -> Value {
        serde_json::to_value(&self.log.state).unwrap_or(Value::Null)
    }

    fn load(&mut self, saved: Value) -> bool {
        serde_json::from_value::<LogState>(saved)
            .map(|state| self.log.state = state)
            .is_ok()
    }
}

/// `2026-11-21 21:35:01 upgrade openssl:amd64 3.0.11-1 3.0.15-1`
pub(crate) fn parse(line: &str, zone: &Zone) -> Option<Event> {
    let mut words = line.split(' ');
    let stamp = format!("{}T{}", words.next()?, words.next()?);
    let (action, package) = (words.next()?, words.next()?);
    let (before, after) = (words.next()?, words.next()?);
    let change = match action {
        "install" => "installed",
        "upgrade" => "upgraded",
        "remove" => "removed",
        "purge" => "purged",
        _ => return None,
    };
    let time_ms = syslog::parse_rfc3339(&stamp, zone)?;
    Some(event(time_ms, package, change, before, after))
}

/// The event of one package; versions may be `<none>`.
pub(crate) fn event(time_ms: i64, package: &str, change: &str, before: &str, after: &str) -> Event {
    let message = format!("package {package} {change}: {before} → {after}");
    let mut event = Event::new(time_ms, kinds::PACKAGE_CHANGED, Severity::Info, message)
        .with("package", package)
        .with("change", change);
    for (name, version) in [("before", before), ("after", after)] {
        if version != "<none>" && !version.is_empty() {
            event = event.with(name, version);
        }
    }
    event
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn actions_are_changes_and_states_are_not() {
        let zone = Zone::utc();
        let event = parse(
            "2026-11-21 21:35:01 upgrade openssl:amd64 3.0.11-1 3.0.15-1",
            &zone,
        )
        .unwrap();
        assert_eq!(event.fields["before"], "3.0.11-1");
        assert_eq!(event.fields["after"], "3.0.15-1");
        let event = parse(
            "2026-11-21 21:35:01 install mold:amd64 <none> 1.10.1",
            &zone,
        )
        .unwrap();
        assert!(!event.fields.contains_key("before"));
        assert_eq!(
            parse(
                "2026-11-21 21:35:01 status installed mold:amd64 1.10.1",
                &zone
            ),
            None
        );
        assert_eq!(
            parse(
                "2026-11-21 21:35:01 configure mold:amd64 1.10.1 <none>",
                &zone
            ),
            None
        );
        assert_eq!(
            parse("2026-11-21 21:35:01 startup archives unpack", &zone),
            None
        );
    }

    proptest! {
        #[test]
        fn arbitrary_lines_never_panic(line in "\\PC{0,80}") {
            let _ = parse(&line, &Zone::utc());
        }
    }
}
