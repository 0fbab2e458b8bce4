//! Why an SNMPv3 device does not answer: the reports that it sends instead.
//!
//! Nobody can sign a report about a signature that does not fit, so the library rightly goes on
//! waiting for a signed answer. But if none comes, a technician wants to know that the password is
//! wrong, rather than that the device is silent: the report is then told as what is probably so. It is
//! never believed in any other way, except that a device is asked anew for its engine's identity.

/// `usmStats` (RFC 3414, section 5) as BER has it: 1.3.6.1.6.3.15.1.1; the report's number and 0 follow.
const USM_STATISTICS: [u8; 8] = [0x2b, 6, 1, 6, 3, 15, 1, 1];

/// `usmStatsUnknownEngineIDs`.
pub(crate) const UNKNOWN_ENGINE: u8 = 4;

/// The report in an answer: the number of its object below `usmStats`; 0 if there is none.
pub(crate) fn in_answer(answer: &[u8]) -> u8 {
    let found = answer.windows(USM_STATISTICS.len() + 2).find_map(|window| {
        match window.strip_prefix(&USM_STATISTICS)? {
            [number @ 1..=6, 0] => Some(*number),
            _ => None,
        }
    });
    found.unwrap_or_default()
}

/// What a report means for the one who set up the device.
pub(crate) fn meaning(report: u8) -> Option<&'static str> {
    Some(match report {
        1 => "the user is not set up for signing or encrypting like this",
        2 => "its clock and ours do not come together",
        3 => "it does not know the user's name",
        UNKNOWN_ENGINE => "it changed its engine's identity",
        5 => "the password or the way of signing is wrong",
        6 => "the password or the way of encrypting is wrong",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_found_by_its_object() {
        let report = [
            &[0x30, 12, 6, 10],
            USM_STATISTICS.as_slice(),
            &[5, 0, 0x41, 1, 9],
        ]
        .concat();
        assert_eq!(in_answer(&report), 5);
        assert_eq!(in_answer(&report[..12]), 0);
        assert_eq!(in_answer(&[USM_STATISTICS.as_slice(), &[7, 0]].concat()), 0);
        assert!(meaning(0).is_none() && meaning(7).is_none());
    }
}
