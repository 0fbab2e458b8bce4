//! su, in the words of util-linux and of shadow.
//!
//! | line | event |
//! |---|---|
//! | `(to root) bob on pts/0` | login |
//! | `Successful su for root by bob` | login |
//! | `FAILED SU (to root) bob on pts/0`, `FAILED su for root by bob` | login_failed |

use xiezhi_protocol::event::{Severity, kinds};

use super::Finding;

pub(super) fn parse(text: &str) -> Option<Finding> {
    if let Some(rest) = text
        .strip_prefix("FAILED SU ")
        .or_else(|| text.strip_prefix("FAILED su "))
    {
        return finding(rest, kinds::LOGIN_FAILED, Severity::Warning);
    }
    let rest = text.strip_prefix("Successful su ").unwrap_or(text);
    finding(rest, kinds::LOGIN, Severity::Notice)
}

/// `(to root) bob on pts/0` or `for root by bob`
fn finding(rest: &str, kind: &'static str, severity: Severity) -> Option<Finding> {
    let (user, by, terminal) = if let Some(rest) = rest.strip_prefix("(to ") {
        let (user, rest) = rest.split_once(") ")?;
        let (by, terminal) = rest.rsplit_once(" on ").unwrap_or((rest, ""));
        (user, by, terminal)
    } else {
        let (user, by) = rest.strip_prefix("for ")?.rsplit_once(" by ")?;
        (user, by, "")
    };
    Some(
        Finding::new(kind, severity)
            .with("user", user)
            .with("by_user", by)
            .with("tty", terminal)
            .with("service", "su"),
    )
}
