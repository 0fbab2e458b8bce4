//! The checksum of a frame's content.
//!
//! Each sample contributes a mix of its name's and its value's bits, and contributions are added:
//! the order of columns, which a re-encoded chain may change, does not matter.

/// FNV-1a over the name: fast for short texts, and only as strong as an accident needs.
pub(super) fn name_hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Sum over a frame's samples.
#[derive(Default)]
pub(super) struct Content {
    sum: u64,
    count: u64,
}

impl Content {
    pub(super) fn add(&mut self, name_hash: u64, bits: u64) {
        self.sum = self.sum.wrapping_add(mix(name_hash ^ bits.rotate_left(31)));
        self.count += 1;
    }

    pub(super) fn finish(&self, seq: u64, time_ms: i64) -> u32 {
        let all = mix(self.sum ^ mix(seq) ^ mix(time_ms as u64).rotate_left(17) ^ self.count);
        (all ^ (all >> 32)) as u32
    }
}

/// The finaliser of SplitMix64: every input bit reaches every output bit.
const fn mix(mut value: u64) -> u64 {
    value ^= value >> 30;
    value = value.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value ^= value >> 27;
    value = value.wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
