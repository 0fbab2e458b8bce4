//! Second factors: codes of an authenticator app (RFC 6238: HMAC-SHA-1, 6 digits, 30 s), and recovery
//! codes for when the phone is lost.
//!
//! RFC 6238 is ten lines over ring's HMAC, so there is no library for it here. Whether a code was used
//! before is the store's to know: a code is good for one sign-in.

use data_encoding::{BASE32_NOPAD, HEXLOWER};
use ring::hmac;
use zeroize::Zeroizing;

use crate::IdentityError;
use crate::tokens::{SecretHash, hash_text, random};

/// Seconds of one time step.
pub const STEP_SECONDS: i64 = 30;

/// Steps by which a phone's clock may be ahead or behind.
const DRIFT_STEPS: i64 = 1;

/// Recovery codes that an account is given.
const RECOVERY_CODES: usize = 8;

/// The secret that an authenticator app and the controller share.
pub struct FactorSecret(Zeroizing<[u8; 20]>);

/// Never shows the secret.
impl std::fmt::Debug for FactorSecret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("FactorSecret(…)")
    }
}

impl FactorSecret {
    /// A new one.
    ///
    /// # Errors
    /// If the operating system gives no random numbers.
    pub fn generate() -> Result<Self, IdentityError> {
        Ok(Self(Zeroizing::new(random()?)))
    }

    /// The one with these bytes; `None` if their number is wrong.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes
            .try_into()
            .ok()
            .map(|bytes| Self(Zeroizing::new(bytes)))
    }

    /// Its bytes, to be sealed.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// What a person types into an app that has no camera: base32.
    #[must_use]
    pub fn to_text(&self) -> String {
        BASE32_NOPAD.encode(self.bytes())
    }

    /// The address that an app's camera reads.
    #[must_use]
    pub fn to_uri(&self, user: &str) -> String {
        let user = percent(user);
        format!(
            "otpauth://totp/Xiezhi:{user}?secret={}&issuer=Xiezhi&algorithm=SHA1&digits=6&period=30",
            self.to_text()
        )
    }

    /// The time step whose code this is, around `now_s` Unix seconds. `None`: the code is wrong.
    #[must_use]
    pub fn step_of(&self, code: &str, now_s: i64) -> Option<i64> {
        let code: String = code.chars().filter(|sign| !sign.is_whitespace()).collect();
        let now = now_s.div_euclid(STEP_SECONDS);
        let steps = now.saturating_sub(DRIFT_STEPS)..=now.saturating_add(DRIFT_STEPS);
        // All are tried, so that the time taken says nothing.
        let mut found = None;
        for step in steps {
            if same(self.code(step).as_bytes(), code.as_bytes()) {
                found = Some(step);
            }
        }
        found
    }

    /// The code of a time step.
    #[must_use]
    pub fn code(&self, step: i64) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, self.bytes());
        let tag = hmac::sign(&key, &step.to_be_bytes());
        let tag = tag.as_ref();
        // RFC 4226, 5.3: the last four bits say where to take 31 bits from.
        let offset = usize::from(tag.last().copied().unwrap_or(0) & 0x0f);
        let taken = tag.iter().skip(offset).take(4);
        let number = taken.fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
        format!("{:06}", (number & 0x7fff_ffff) % 1_000_000)
    }
}

/// New recovery codes in groups that can be written down, and what the store keeps of each: 60 random
/// bits, for one use.
///
/// # Errors
/// If the operating system gives no random numbers.
pub fn recovery_codes() -> Result<Vec<(String, SecretHash)>, IdentityError> {
    let code = |_| {
        let letters = HEXLOWER.encode(&random::<8>()?);
        let text = letters.get(..15).unwrap_or_default();
        let groups: Vec<&str> = [text.get(..5), text.get(5..10), text.get(10..)]
            .into_iter()
            .flatten()
            .collect();
        let text = groups.join("-");
        let hash = hash_text(&text);
        Ok((text, hash))
    };
    (0..RECOVERY_CODES).map(code).collect()
}

/// Whether two texts are the same, in a time that depends on their length only.
fn same(one: &[u8], two: &[u8]) -> bool {
    let difference = one.iter().zip(two).fold(0, |sum, (a, b)| sum | (a ^ b));
    one.len() == two.len() && std::hint::black_box(difference) == 0
}

fn percent(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rfc_secret() -> FactorSecret {
        FactorSecret::from_bytes(b"12345678901234567890").unwrap()
    }

    /// RFC 6238, appendix B; its codes have eight digits, of which an app shows the last six.
    #[test]
    fn codes_are_those_of_the_standard() {
        for (time_s, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            let step = time_s / STEP_SECONDS;
            assert_eq!(rfc_secret().code(step), code, "{time_s}");
            assert_eq!(rfc_secret().step_of(code, time_s), Some(step));
        }
    }

    #[test]
    fn a_clock_may_be_one_step_off_and_a_code_may_be_typed_with_a_space() {
        let secret = rfc_secret();
        let code = secret.code(100);
        for (step, expected) in [(98, None), (99, Some(100)), (101, Some(100)), (102, None)] {
            assert_eq!(secret.step_of(&code, step * STEP_SECONDS), expected);
        }
        let spaced = format!("{} {}", &code[..3], &code[3..]);
        assert_eq!(secret.step_of(&spaced, 100 * STEP_SECONDS), Some(100));
        for wrong in ["", "1", &code[..5], &format!("{code}0")] {
            assert_eq!(secret.step_of(wrong, 100 * STEP_SECONDS), None, "{wrong}");
        }
    }

    #[test]
    fn an_app_reads_the_address() {
        let uri = rfc_secret().to_uri("王芳");
        assert!(uri.starts_with("otpauth://totp/Xiezhi:%E7%8E%8B%E8%8A%B3?secret=GEZDGNBV"));
        assert!(!format!("{:?}", rfc_secret()).contains("GEZ"));
    }

    #[test]
    fn recovery_codes_differ_and_are_found_as_they_are_typed() {
        let codes = recovery_codes().unwrap();
        assert_eq!(codes.len(), RECOVERY_CODES);
        for (text, hash) in &codes {
            assert_eq!(text.len(), 17, "{text}");
            assert!(hash_text(&text.to_uppercase().replace('-', " ")) == *hash);
        }
        assert!(codes[0].1 != codes[1].1);
    }
}
