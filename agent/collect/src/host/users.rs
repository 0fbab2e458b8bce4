//! How many people are logged in.
//!
//! Source: `/run/utmp` (utmp(5)), or where a system no longer keeps one, logind's session files in
//! `/run/systemd/sessions`. Only counts are kept here; who and from where are security events.

use super::{Cadence, Collector};
use crate::bytes::{lines, text};
use crate::error::{CollectError, Problems};
use crate::files::{Base, Files, Names};
use crate::readings::Readings;
use crate::root::HostRoot;

/// Size of a utmp record: glibc gives 64-bit times to the architectures that came after x86-64.
const RECORD_BYTES: usize = if cfg!(target_arch = "x86_64") {
    384
} else {
    400
};
/// `ut_type` of a login by a user.
const USER_PROCESS: u16 = 7;
/// Most logins that are counted.
const MAX_LOGINS: usize = 4096;

#[derive(Default)]
pub(super) struct Users {
    names: Names,
}

/// One entry per login: the user's name or number.
type Logins = Vec<String>;

impl Collector for Users {
    fn name(&self) -> &'static str {
        "users"
    }

    fn cadence(&self) -> Cadence {
        Cadence::Slow
    }

    fn collect(&mut self, _: &HostRoot, out: &mut Readings<'_>) -> Result<(), CollectError> {
        let mut problems = Problems::new();
        let mut logins = match out.files.read(Base::Root, "run/utmp") {
            Err(error) if error.is_not_found() => self.of_logind(out.files)?,
            Err(error) => return Err(error),
            Ok(content) => of_utmp(content, &mut problems),
        };
        out.samples
            .put("xiezhi_logged_in_sessions", &[], logins.len() as f64);
        logins.sort_unstable();
        logins.dedup();
        out.samples
            .put("xiezhi_logged_in_users", &[], logins.len() as f64);
        problems.finish()
    }
}

fn of_utmp(content: &[u8], problems: &mut Problems) -> Logins {
    let mut logins = Vec::new();
    let records = content.chunks_exact(RECORD_BYTES);
    if !records.remainder().is_empty() {
        problems.malformed("run/utmp", "its length is not a whole number of records");
    }
    for record in records.take(MAX_LOGINS) {
        let kind = record.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes));
        // ut_user: 32 bytes after type, process, line and id.
        let user = record.get(44..76).unwrap_or_default();
        let user = user.split(|byte| *byte == 0).next().unwrap_or_default();
        if kind == Some(USER_PROCESS) && !user.is_empty() {
            logins.push(text(user).into_owned());
        }
    }
    logins
}

impl Users {
    fn of_logind(&mut self, files: &mut Files) -> Result<Logins, CollectError> {
        files
            .list(Base::Root, &["run/systemd/sessions"], &mut self.names)
            .map_err(|_| {
                CollectError::NoData("neither utmp nor logind counts logins; login events remain")
            })?;
        let mut logins = Vec::new();
        for name in self
            .names
            .iter()
            .filter(|name| !name.ends_with(".ref"))
            .take(MAX_LOGINS)
        {
            let path = ["run/systemd/sessions/", name];
            let Some(content) = files.attribute(Base::Root, &path) else {
                continue;
            };
            let value = |key: &[u8]| lines(content).find_map(|line| line.strip_prefix(key));
            let is_user = value(b"CLASS=").is_none_or(|class| class.starts_with(b"user"));
            let is_open = value(b"STATE=") != Some(b"closing");
            if let (Some(user), true, true) = (value(b"UID="), is_user, is_open) {
                logins.push(text(user).into_owned());
            }
        }
        Ok(logins)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u16, user: &str) -> Vec<u8> {
        let mut record = vec![0; RECORD_BYTES];
        record[..2].copy_from_slice(&kind.to_ne_bytes());
        record[44..44 + user.len()].copy_from_slice(user.as_bytes());
        record
    }

    #[test]
    fn only_logins_of_users_count() {
        let records = [
            (2, "reboot"),
            (7, "clerk"),
            (7, "judge"),
            (8, "gone"),
            (7, "clerk"),
            (7, ""),
        ];
        let content: Vec<u8> = records
            .iter()
            .flat_map(|(kind, user)| record(*kind, user))
            .collect();
        let mut problems = Problems::new();
        assert_eq!(
            of_utmp(&content, &mut problems),
            ["clerk", "judge", "clerk"]
        );
        assert!(problems.finish().is_ok());
    }

    #[test]
    fn a_cut_record_is_said_and_the_others_count() {
        let content = [record(7, "clerk"), vec![7, 0, 0]].concat();
        let mut problems = Problems::new();
        assert_eq!(of_utmp(&content, &mut problems), ["clerk"]);
        assert!(problems.finish().is_err());
    }
}
