//! Bits into bytes and back, least significant first, and Rice codes on top.

/// A quotient of this many ones is followed by the number's 64 bits instead.
const ESCAPE: u32 = 20;

/// Largest Rice parameter.
pub(super) const MAX_PARAMETER: u32 = 56;

/// Appends bits to bytes.
#[derive(Debug)]
pub(super) struct BitWriter<'o> {
    out: &'o mut Vec<u8>,
    held: u64,
    count: u32,
}

impl<'o> BitWriter<'o> {
    pub(super) fn new(out: &'o mut Vec<u8>) -> Self {
        Self {
            out,
            held: 0,
            count: 0,
        }
    }

    /// Appends the low `bits` of `value`, at most 32 of them; the others must be zero.
    fn put_few(&mut self, value: u64, bits: u32) {
        self.held |= value << self.count;
        self.count += bits;
        if self.count >= 32 {
            self.out
                .extend_from_slice(&(self.held as u32).to_le_bytes());
            self.held >>= 32;
            self.count -= 32;
        }
    }

    /// Appends the low `bits` of `value`, at most 64.
    pub(super) fn put(&mut self, value: u64, bits: u32) {
        if bits > 32 {
            self.put_few(value & 0xffff_ffff, 32);
            self.put_few(value >> 32, bits - 32);
        } else {
            self.put_few(value, bits);
        }
    }

    /// Appends a Rice code.
    pub(super) fn rice(&mut self, value: u64, parameter: u32) {
        let quotient = value >> parameter;
        if quotient >= u64::from(ESCAPE) {
            self.put((1 << ESCAPE) - 1, ESCAPE);
            self.put(value, 64);
        } else {
            // So many ones, and a zero behind them.
            self.put((1 << quotient) - 1, quotient as u32 + 1);
            self.put(value & ((1 << parameter) - 1), parameter);
        }
    }

    /// Writes what is held.
    pub(super) fn finish(self) {
        let bytes = self.count.div_ceil(8) as usize;
        let held = self.held.to_le_bytes();
        self.out
            .extend_from_slice(held.get(..bytes).unwrap_or_default());
    }
}

/// Bits that a Rice code takes.
pub(super) fn rice_bits(value: u64, parameter: u32) -> u64 {
    let quotient = value >> parameter;
    if quotient >= u64::from(ESCAPE) {
        u64::from(ESCAPE) + 64
    } else {
        quotient + 1 + u64::from(parameter)
    }
}

/// Reads bits. Behind the end there are zeros; [`Self::is_within`] tells whether that happened.
#[derive(Debug)]
pub(super) struct BitReader<'b> {
    bytes: &'b [u8],
    position: usize,
}

impl<'b> BitReader<'b> {
    pub(super) fn new(bytes: &'b [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// At least 57 bits from the position on.
    #[inline]
    fn window(&self) -> u64 {
        let at = self.position / 8;
        let word = match self
            .bytes
            .get(at..at + 8)
            .and_then(|slice| slice.first_chunk())
        {
            Some(word) => u64::from_le_bytes(*word),
            None => self.last_window(at),
        };
        word >> (self.position % 8)
    }

    #[cold]
    fn last_window(&self, at: usize) -> u64 {
        let rest = self.bytes.get(at..).unwrap_or_default();
        rest.iter()
            .take(8)
            .rev()
            .fold(0, |word, &byte| word << 8 | u64::from(byte))
    }

    /// The next bits, at most 32.
    #[inline]
    fn take_few(&mut self, bits: u32) -> u64 {
        let value = self.window() & ((1 << bits) - 1);
        self.position += bits as usize;
        value
    }

    /// The next bits, at most 64.
    #[inline]
    pub(super) fn take(&mut self, bits: u32) -> u64 {
        if bits > 32 {
            let low = self.take_few(32);
            return low | self.take_few(bits - 32) << 32;
        }
        self.take_few(bits)
    }

    /// The next Rice code.
    #[inline]
    pub(super) fn rice(&mut self, parameter: u32) -> u64 {
        let window = self.window();
        let quotient = window.trailing_ones();
        if quotient >= ESCAPE {
            self.position += ESCAPE as usize;
            return self.take(64);
        }
        let used = quotient + 1;
        if used + parameter <= 56 {
            self.position += (used + parameter) as usize;
            let rest = window >> used & ((1 << parameter) - 1);
            return u64::from(quotient) << parameter | rest;
        }
        self.position += used as usize;
        u64::from(quotient) << parameter | self.take(parameter)
    }

    /// Whether only bits that are there were read.
    pub(super) fn is_within(&self) -> bool {
        self.position <= self.bytes.len() * 8
    }
}
