//! Timestamps and error estimates as they travel (RFC 8762 §4.2.1, RFC 4656 §4.1.2, RFC 8186).

/// Seconds between 1900, where NTP's time begins, and 1970.
const NTP_TO_UNIX_S: i64 = 2_208_988_800;

/// Length of an NTP era, seconds: the first ends in February 2036.
const ERA_S: i64 = 1 << 32;

const NS: i64 = 1_000_000_000;

/// A timestamp of 64 bits in NTP's format, from Unix nanoseconds.
#[must_use]
pub fn to_ntp(unix_ns: i64) -> u64 {
    let seconds = unix_ns.div_euclid(NS) + NTP_TO_UNIX_S;
    let ns = unix_ns.rem_euclid(NS).unsigned_abs();
    // Rounded up, so that reading it yields the same nanosecond.
    let fraction = (ns << 32).div_ceil(1_000_000_000);
    (seconds.rem_euclid(ERA_S).unsigned_abs() << 32) | fraction.min(u64::from(u32::MAX))
}

/// Unix nanoseconds of a timestamp as its error estimate says it is written. Without an era in it, a
/// timestamp of NTP is the one between 1968 and 2104.
#[must_use]
pub fn to_unix_ns(raw: u64, is_ptp: bool) -> i64 {
    let (high, low) = (raw >> 32, raw & 0xffff_ffff);
    let high = i64::try_from(high).unwrap_or_default();
    if is_ptp {
        return high * NS + i64::try_from(low).unwrap_or_default();
    }
    let era = if high < ERA_S / 2 { ERA_S } else { 0 };
    let ns = (low * 1_000_000_000) >> 32;
    (high + era - NTP_TO_UNIX_S) * NS + i64::try_from(ns).unwrap_or_default()
}

/// What a packet says of its sender's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorEstimate(pub u16);

impl ErrorEstimate {
    const SYNCHRONIZED: u16 = 0x8000;
    const PTP: u16 = 0x4000;

    /// From a bound on the clock's error, which is rounded up; `None` if the clock follows nothing.
    #[must_use]
    pub fn of(bound_us: Option<u64>) -> Self {
        let Some(bound_us) = bound_us else {
            // As far off as can be said: 255 × 2³¹ seconds would be silly, so a multiplier of 1 at 2⁰ s.
            return Self((32 << 8) | 1);
        };
        // In units of 2⁻³² s.
        let mut units = ((u128::from(bound_us) << 32) / 1_000_000).max(1);
        let mut scale = 0_u16;
        while units > 255 && scale < 63 {
            units = units.div_ceil(2);
            scale += 1;
        }
        let multiplier = u16::try_from(units.min(255)).unwrap_or(255);
        Self(Self::SYNCHRONIZED | (scale << 8) | multiplier)
    }

    /// Whether its sender claims that its clock follows UTC. A multiplier of 0 is none (RFC 4656): such
    /// a claim is not believed.
    #[must_use]
    pub const fn is_synchronized(self) -> bool {
        self.0 & Self::SYNCHRONIZED != 0 && self.0 & 0xff != 0
    }

    /// Whether the timestamp before it is in PTP's format.
    #[must_use]
    pub const fn is_ptp(self) -> bool {
        self.0 & Self::PTP != 0
    }

    /// The bound, in nanoseconds.
    #[must_use]
    pub fn bound_ns(self) -> f64 {
        let scale = i32::from((self.0 >> 8) & 0x3f);
        f64::from(self.0 & 0xff) * 2_f64.powi(scale - 32) * 1e9
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_times_are_written_as_the_standards_have_them() {
        // RFC 5905: 1 January 1970 is 2,208,988,800 s; half a second is the top bit of the fraction.
        assert_eq!(to_ntp(0), 2_208_988_800 << 32);
        assert_eq!(to_ntp(500_000_000), (2_208_988_800 << 32) | 0x8000_0000);
        assert_eq!(to_unix_ns((1 << 32) | 7, true), 1_000_000_007);
        // The second era begins on 7 February 2036 at 06:28:16.
        let second_era = 2_085_978_496 * NS;
        assert_eq!(to_ntp(second_era), 0);
        assert_eq!(to_unix_ns(0, false), second_era);
    }

    #[test]
    fn a_clock_that_follows_nothing_claims_nothing() {
        assert!(!ErrorEstimate::of(None).is_synchronized());
        assert!(
            !ErrorEstimate(0x8000).is_synchronized(),
            "a multiplier of 0"
        );
        let ours = ErrorEstimate::of(Some(1500));
        assert!(ours.is_synchronized() && !ours.is_ptp());
        assert!(
            (1.5e6..1.52e6).contains(&ours.bound_ns()),
            "{}",
            ours.bound_ns()
        );
    }

    proptest! {
        #[test]
        fn a_time_comes_back_to_the_nanosecond(unix_ns in 0_i64..4_000_000_000_000_000_000) {
            prop_assert_eq!(to_unix_ns(to_ntp(unix_ns), false), unix_ns);
        }

        #[test]
        fn an_error_is_never_told_smaller_than_it_is(bound_us in 0_u64..16_000_000) {
            let told = ErrorEstimate::of(Some(bound_us)).bound_ns();
            prop_assert!(told + 1.0 >= bound_us as f64 * 1000.0, "{told}");
            prop_assert!(told <= bound_us as f64 * 1020.0 + 1.0, "{told}");
        }
    }
}
