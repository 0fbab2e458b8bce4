//! What is known of a host, and how it is judged.

use super::*;

const NOW: i64 = 10_000_000;
const INTERVAL: i64 = 15_000;

/// A host that reported `age_ms` ago, over a line that is closed now, watched for an hour.
fn silent_for(age_ms: i64) -> PresenceInputs {
    PresenceInputs {
        revoked: false,
        interval_ms: INTERVAL,
        last_report_ms: Some(NOW - age_ms),
        session_open: false,
        goodbye: None,
        sibling_report_ms: None,
        watching_since_ms: NOW - 3_600_000,
    }
}

#[test]
fn presence_follows_evidence() {
    use Farewell::{AgentStopped as Stopped, HostShutdown, Reconnect};
    use Presence::{Down, Stale, Unknown, Up};
    use PresenceReason::*;
    let base = silent_for(0);
    let late = silent_for(60_000);
    let silent = silent_for(90_001);
    let cases = [
        ("fresh", base, Up, Reporting),
        ("two intervals", silent_for(30_000), Up, Reporting),
        (
            "just over two intervals",
            silent_for(30_001),
            Stale,
            ReportLate,
        ),
        ("at the limit", silent_for(90_000), Stale, ReportLate),
        ("silent alone", silent, Unknown, SilentWithoutEvidence),
        (
            "silent for days",
            silent_for(9_000_000),
            Unknown,
            SilentWithoutEvidence,
        ),
        (
            "silent among reporting siblings",
            PresenceInputs {
                sibling_report_ms: Some(NOW),
                ..silent
            },
            Down,
            SiteReportsWithoutIt,
        ),
        (
            "a sibling's report of an hour's cadence, from before the line was cut",
            PresenceInputs {
                sibling_report_ms: Some(NOW - 80_000),
                ..silent
            },
            Unknown,
            SilentWithoutEvidence,
        ),
        (
            "late among reporting siblings is not yet down",
            PresenceInputs {
                sibling_report_ms: Some(NOW),
                ..late
            },
            Stale,
            ReportLate,
        ),
        (
            "connected and late",
            PresenceInputs {
                session_open: true,
                sibling_report_ms: Some(NOW),
                ..late
            },
            Stale,
            ReportLate,
        ),
        (
            "connected and silent is not down: an open session is evidence of life",
            PresenceInputs {
                session_open: true,
                sibling_report_ms: Some(NOW),
                ..silent
            },
            Stale,
            ConnectedButSilent,
        ),
        (
            "shut down at once",
            PresenceInputs {
                goodbye: Some((HostShutdown, NOW)),
                ..base
            },
            Down,
            HostShutDown,
        ),
        (
            "shut down long ago",
            PresenceInputs {
                goodbye: Some((HostShutdown, NOW - 8_000_000)),
                ..silent_for(9_000_000)
            },
            Down,
            HostShutDown,
        ),
        (
            "shut down, booted, reported, silent: the old goodbye says nothing",
            PresenceInputs {
                goodbye: Some((HostShutdown, NOW - 100_000)),
                ..silent
            },
            Unknown,
            SilentWithoutEvidence,
        ),
        (
            "booted again and connected before its first report",
            PresenceInputs {
                goodbye: Some((HostShutdown, NOW - 50_000)),
                session_open: true,
                ..late
            },
            Stale,
            ReportLate,
        ),
        (
            "agent stopped",
            PresenceInputs {
                goodbye: Some((Stopped, NOW)),
                sibling_report_ms: Some(NOW),
                ..base
            },
            Unknown,
            AgentStopped,
        ),
        (
            "agent stopped long ago among reporting siblings: the host may still run",
            PresenceInputs {
                goodbye: Some((Stopped, NOW - 90_000)),
                sibling_report_ms: Some(NOW),
                ..silent
            },
            Unknown,
            AgentStopped,
        ),
        (
            "reconnecting",
            PresenceInputs {
                goodbye: Some((Reconnect, NOW)),
                ..base
            },
            Up,
            Reporting,
        ),
        (
            "said it would reconnect and did not",
            PresenceInputs {
                goodbye: Some((Reconnect, NOW - 90_001)),
                ..silent
            },
            Unknown,
            SilentWithoutEvidence,
        ),
        (
            "the controller started a minute ago and siblings were faster",
            PresenceInputs {
                sibling_report_ms: Some(NOW),
                watching_since_ms: NOW - 60_000,
                ..silent
            },
            Unknown,
            ControllerStarted,
        ),
        (
            "never reported",
            PresenceInputs {
                last_report_ms: None,
                ..base
            },
            Unknown,
            NeverReported,
        ),
        (
            "never reported among reporting siblings",
            PresenceInputs {
                last_report_ms: None,
                sibling_report_ms: Some(NOW),
                ..base
            },
            Unknown,
            NeverReported,
        ),
        (
            "revoked",
            PresenceInputs {
                revoked: true,
                session_open: true,
                ..base
            },
            Unknown,
            Revoked,
        ),
        ("the clock went back", silent_for(-7_200_000), Up, Reporting),
        (
            "a slow reporter is given three of its intervals",
            PresenceInputs {
                interval_ms: 60_000,
                sibling_report_ms: Some(NOW),
                ..silent_for(180_000)
            },
            Stale,
            ReportLate,
        ),
        (
            "a slow reporter is silent after three of its intervals",
            PresenceInputs {
                interval_ms: 60_000,
                sibling_report_ms: Some(NOW),
                ..silent_for(180_001)
            },
            Down,
            SiteReportsWithoutIt,
        ),
        (
            "a nonsense interval does not overflow",
            PresenceInputs {
                interval_ms: i64::MAX,
                ..silent
            },
            Up,
            Reporting,
        ),
    ];
    for (name, inputs, presence, reason) in cases {
        assert_eq!(judge(&inputs, NOW), (presence, reason), "{name}");
    }
}

/// Every combination: nothing is ever called down without positive evidence.
#[test]
fn down_always_has_positive_evidence() {
    let farewells = [
        Farewell::HostShutdown,
        Farewell::AgentStopped,
        Farewell::Reconnect,
    ];
    let goodbyes = farewells
        .iter()
        .flat_map(|&why| [(why, NOW), (why, NOW - 100_000)]);
    let goodbyes: Vec<_> = goodbyes.map(Some).chain([None]).collect();
    for age_ms in [0, 40_000, 95_000, 5_000_000] {
        for &goodbye in &goodbyes {
            for bits in 0..16 {
                let inputs = PresenceInputs {
                    revoked: bits & 1 != 0,
                    session_open: bits & 2 != 0,
                    sibling_report_ms: (bits & 4 != 0).then_some(NOW),
                    last_report_ms: (bits & 8 == 0).then_some(NOW - age_ms),
                    goodbye,
                    ..silent_for(age_ms)
                };
                let (presence, _) = judge(&inputs, NOW);
                let shut_down = matches!(goodbye, Some((Farewell::HostShutdown, _)));
                if presence == Presence::Down {
                    assert!(
                        inputs.sibling_report_ms.is_some() || shut_down,
                        "{inputs:?}"
                    );
                    assert!(!inputs.session_open && !inputs.revoked, "{inputs:?}");
                }
            }
        }
    }
}
