//! A private key on disk, sealed by a passphrase.
//!
//! | bytes | content |
//! |---|---|
//! | 1 | format version, 1 |
//! | 4, 4, 4 | argon2id (version 0x13): memory in KiB, passes, lanes; little-endian |
//! | 16 | salt |
//! | 12 | nonce |
//! | n | PKCS#8 key, ChaCha20-Poly1305 with everything above as associated data |
//! | 16 | its tag |
//! | 8 | first bytes of SHA-256 over everything above |
//!
//! The last field is no protection: it tells a damaged file from a wrong passphrase, so that a person
//! knows which of the two to look for.

use argon2::{Algorithm, Argon2, Params, Version};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::digest;
use zeroize::Zeroizing;

use crate::passphrase::Passphrase;
use crate::tokens::random;

const VERSION: u8 = 1;
const HEADER_BYTES: usize = 1 + 12 + 16 + 12;
const TAG_BYTES: usize = 16;
const CHECK_BYTES: usize = 8;
/// A PKCS#8 P-256 key has 138 bytes; a file many times larger is not one of ours.
const MAX_BYTES: usize = 16 * 1024;

/// RFC 9106's second recommendation: 64 MiB, 3 passes. Paid once at each start.
const MEMORY_KIB: u32 = 64 * 1024;
const PASSES: u32 = 3;
const LANES: u32 = 1;

/// Bounds on what a file may demand, so that a damaged header cannot exhaust the machine.
const MAX_MEMORY_KIB: u32 = 1024 * 1024;
const MAX_PASSES: u32 = 32;
const MAX_LANES: u32 = 8;

/// Why a sealed key did not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SealError {
    /// The file is not what was written.
    Damaged(&'static str),
    /// The file is whole; the passphrase is another.
    WrongPassphrase,
    /// No memory to derive the key.
    Derive,
    /// No randomness.
    Random,
}

/// Seals a PKCS#8 key.
pub(crate) fn seal(key: &[u8], passphrase: &Passphrase) -> Result<Vec<u8>, SealError> {
    let salt: [u8; 16] = random().map_err(|_| SealError::Random)?;
    let nonce: [u8; 12] = random().map_err(|_| SealError::Random)?;
    let mut out = vec![VERSION];
    for number in [MEMORY_KIB, PASSES, LANES] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(&salt);
    out.extend_from_slice(&nonce);
    let sealing = derive(passphrase, &salt, [MEMORY_KIB, PASSES, LANES])?;
    let mut content = Zeroizing::new(key.to_vec());
    let tag = sealing
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(&out),
            content.as_mut_slice(),
        )
        .map_err(|_| SealError::Derive)?;
    out.extend_from_slice(&content);
    out.extend_from_slice(tag.as_ref());
    let check = digest::digest(&digest::SHA256, &out);
    out.extend(check.as_ref().iter().take(CHECK_BYTES));
    Ok(out)
}

/// Opens what [`seal`] wrote.
pub(crate) fn open(
    sealed: &[u8],
    passphrase: &Passphrase,
) -> Result<Zeroizing<Vec<u8>>, SealError> {
    match sealed.first() {
        Some(&VERSION) => {}
        Some(_) => return Err(SealError::Damaged("of a newer version, or no key file")),
        None => return Err(SealError::Damaged("empty")),
    }
    if sealed.len() > MAX_BYTES {
        return Err(SealError::Damaged("far too long"));
    }
    let cut_short = SealError::Damaged("cut short");
    let (whole, check) = sealed.split_last_chunk::<CHECK_BYTES>().ok_or(cut_short)?;
    if whole.len() <= HEADER_BYTES + TAG_BYTES {
        return Err(cut_short);
    }
    if !digest::digest(&digest::SHA256, whole)
        .as_ref()
        .starts_with(check)
    {
        return Err(SealError::Damaged("changed or cut short"));
    }
    let (header, content) = whole.split_at(HEADER_BYTES);
    let (costs, salt, nonce) = parse_header(header).ok_or(cut_short)?;
    let opening = derive(passphrase, &salt, costs)?;
    let mut content = Zeroizing::new(content.to_vec());
    let nonce = Nonce::assume_unique_for_key(nonce);
    let key = opening
        .open_in_place(nonce, Aad::from(header), content.as_mut_slice())
        .map_err(|_| SealError::WrongPassphrase)?;
    Ok(Zeroizing::new(key.to_vec()))
}

type Header = ([u32; 3], [u8; 16], [u8; 12]);

fn parse_header(header: &[u8]) -> Option<Header> {
    let (_version, rest) = header.split_first_chunk::<1>()?;
    let (memory, rest) = rest.split_first_chunk::<4>()?;
    let (passes, rest) = rest.split_first_chunk::<4>()?;
    let (lanes, rest) = rest.split_first_chunk::<4>()?;
    let (salt, rest) = rest.split_first_chunk::<16>()?;
    let costs = [memory, passes, lanes].map(|bytes| u32::from_le_bytes(*bytes));
    Some((costs, *salt, rest.try_into().ok()?))
}

fn derive(
    passphrase: &Passphrase,
    salt: &[u8],
    [memory, passes, lanes]: [u32; 3],
) -> Result<LessSafeKey, SealError> {
    if memory > MAX_MEMORY_KIB || passes > MAX_PASSES || lanes > MAX_LANES {
        return Err(SealError::Damaged("its header asks for too much"));
    }
    let params = Params::new(memory, passes, lanes, Some(32))
        .map_err(|_| SealError::Damaged("its header is senseless"))?;
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.reveal().as_bytes(), salt, key.as_mut_slice())
        .map_err(|_| SealError::Derive)?;
    let key = UnboundKey::new(&CHACHA20_POLY1305, key.as_slice()).map_err(|_| SealError::Derive)?;
    Ok(LessSafeKey::new(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passphrase() -> Passphrase {
        Passphrase::new("a long passphrase").unwrap()
    }

    #[test]
    fn a_key_opens_with_its_passphrase_and_no_other() {
        let sealed = seal(b"the key", &passphrase()).unwrap();
        assert_eq!(open(&sealed, &passphrase()).unwrap().as_slice(), b"the key");
        let other = Passphrase::new("another passphrase").unwrap();
        assert_eq!(
            open(&sealed, &other).unwrap_err(),
            SealError::WrongPassphrase
        );
        assert!(!sealed.windows(7).any(|bytes| bytes == b"the key"));
        assert_ne!(seal(b"the key", &passphrase()).unwrap(), sealed);
    }

    #[test]
    fn any_flipped_bit_and_any_lost_byte_is_called_damage() {
        let sealed = seal(b"the key", &passphrase()).unwrap();
        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let result = open(&changed, &passphrase()).unwrap_err();
            assert!(
                matches!(result, SealError::Damaged(_)),
                "bit {bit}: {result:?}"
            );
        }
        for length in 0..sealed.len() {
            let result = open(&sealed[..length], &passphrase()).unwrap_err();
            assert!(
                matches!(result, SealError::Damaged(_)),
                "{length}: {result:?}"
            );
        }
    }

    #[test]
    fn a_header_that_demands_too_much_is_refused_before_any_memory_is_taken() {
        let mut sealed = seal(b"the key", &passphrase()).unwrap();
        sealed.truncate(sealed.len() - CHECK_BYTES);
        sealed[1..5].copy_from_slice(&u32::MAX.to_le_bytes());
        let check = digest::digest(&digest::SHA256, &sealed);
        sealed.extend_from_slice(&check.as_ref()[..CHECK_BYTES]);
        let refused = SealError::Damaged("its header asks for too much");
        assert_eq!(open(&sealed, &passphrase()).unwrap_err(), refused);
    }

    #[test]
    fn a_key_sealed_by_the_first_release_still_opens() {
        let kept = include_bytes!("../tests/kept/sealed-v1.key");
        assert_eq!(
            open(kept, &passphrase()).unwrap().as_slice(),
            b"a key kept from version 1"
        );
    }
}
