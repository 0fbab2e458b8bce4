//! Variable-length integers: seven bits a byte, least significant first; signed ones zigzagged.

/// Longest encoding of a `u64`.
pub const MAX_BYTES: usize = 10;

/// Appends `value` in one to ten bytes.
pub fn write(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Takes a number off the front of `bytes`; `None` if they end early or exceed 64 bits, and then
/// `bytes` is left as it was.
pub fn read(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for (index, &byte) in bytes.iter().enumerate().take(MAX_BYTES) {
        let part = u64::from(byte & 0x7f);
        let shift = 7 * index as u32;
        if shift == 63 && part > 1 {
            return None;
        }
        value |= part << shift;
        if byte < 0x80 {
            *bytes = bytes.get(index + 1..)?;
            return Some(value);
        }
    }
    None
}

/// Small magnitudes of either sign become small numbers: 0, −1, 1, −2 → 0, 1, 2, 3.
#[must_use]
pub const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// Reverses [`zigzag`].
#[must_use]
pub const fn unzigzag(value: u64) -> i64 {
    ((value >> 1) as i64) ^ -((value & 1) as i64)
}

/// Appends a signed number.
pub fn write_signed(out: &mut Vec<u8>, value: i64) {
    write(out, zigzag(value));
}

/// Takes a signed number off the front of `bytes`, as [`read`] does.
pub fn read_signed(bytes: &mut &[u8]) -> Option<i64> {
    read(bytes).map(unzigzag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_come_back_as_they_went(value in any::<u64>(), signed in any::<i64>()) {
            let mut bytes = Vec::new();
            write(&mut bytes, value);
            prop_assert!(bytes.len() <= MAX_BYTES);
            write_signed(&mut bytes, signed);
            let mut rest = bytes.as_slice();
            prop_assert_eq!(read(&mut rest), Some(value));
            prop_assert_eq!(read_signed(&mut rest), Some(signed));
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn cut_numbers_are_refused(value in any::<u64>()) {
            let mut bytes = Vec::new();
            write(&mut bytes, value);
            bytes.pop();
            prop_assert_eq!(read(&mut bytes.as_slice()), None);
        }
    }

    #[test]
    fn numbers_beyond_64_bits_are_refused() {
        let mut bytes: &[u8] = &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
        assert_eq!(read(&mut bytes), None);
    }
}
