//! Values that are no short decimals: their bits, exclusive-ored with those before, without the
//! zero bytes at both ends.

use super::{KIND_CONSTANT, KIND_DENSE};

/// Appends the values; returns the kind's bits of the head.
pub(super) fn encode(values: &[f64], out: &mut Vec<u8>) -> u8 {
    let Some((first, rest)) = values.split_first() else {
        return KIND_CONSTANT << 4;
    };
    let first = first.to_bits();
    out.extend_from_slice(&first.to_le_bytes());
    if rest.iter().all(|value| value.to_bits() == first) {
        return KIND_CONSTANT << 4;
    }
    let mut before = first;
    for value in rest {
        let bits = value.to_bits();
        write(bits ^ before, out);
        before = bits;
    }
    KIND_DENSE << 4
}

fn write(difference: u64, out: &mut Vec<u8>) {
    if difference == 0 {
        out.push(0);
        return;
    }
    let lead = difference.leading_zeros() / 8;
    let trail = difference.trailing_zeros() / 8;
    let length = 8 - lead - trail;
    out.push((lead << 4 | length) as u8);
    let bytes = (difference >> (8 * trail)).to_le_bytes();
    out.extend_from_slice(bytes.get(..length as usize).unwrap_or_default());
}

/// Appends `count` values, at least one.
pub(super) fn decode(kind: u8, mut bytes: &[u8], count: usize, out: &mut Vec<f64>) -> Option<()> {
    let (first, rest) = bytes.split_first_chunk::<8>()?;
    bytes = rest;
    let mut bits = u64::from_le_bytes(*first);
    if kind == KIND_CONSTANT {
        out.resize(out.len() + count, f64::from_bits(bits));
        return bytes.is_empty().then_some(());
    }
    if kind != KIND_DENSE {
        return None;
    }
    out.push(f64::from_bits(bits));
    for _ in 1..count {
        let (&head, rest) = bytes.split_first()?;
        let (lead, length) = (u32::from(head >> 4), u32::from(head & 0x0f));
        let (part, rest) = rest.split_at_checked(length as usize)?;
        bytes = rest;
        let trail = 8u32.checked_sub(lead + length)?;
        if length > 0 {
            let part = part.iter().rev();
            let value = part.fold(0, |value, &byte| value << 8 | u64::from(byte));
            bits ^= value << (8 * trail);
        }
        out.push(f64::from_bits(bits));
    }
    bytes.is_empty().then_some(())
}
