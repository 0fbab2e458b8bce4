//! Reading on where the disk refused much: the largest pieces first, and of a refused one its halves. So a
//! healthy place behind a bad one costs a few asks, and a disk that refuses all costs no more than that.

use std::collections::VecDeque;
use std::io;

use super::{MOST_ASKED, SECTOR, SalvagedFile, is_refusal};

impl SalvagedFile {
    /// Fills `buffer` as far as the disk gives it; the rest is zeros.
    pub(super) fn read_by_halves(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let mut pieces = VecDeque::from([(offset, buffer)]);
        let mut refused = 0;
        while let Some((at, piece)) = pieces.pop_front() {
            if refused >= MOST_ASKED || self.refusals.is_given_up(&self.name) {
                piece.fill(0);
                self.refusals.pass_over(&self.name);
                continue;
            }
            if let Some(middle) = middle(at, piece.len())
                && self
                    .refusals
                    .has_just_refused(&self.name, at..at.saturating_add(piece.len() as u64))
            {
                if let Some((left, right)) = piece.split_at_mut_checked(middle) {
                    pieces.push_back((at, left));
                    pieces.push_back((at.saturating_add(middle as u64), right));
                }
                continue;
            }
            if self
                .refusals
                .was_just_refused(&self.name, at / SECTOR * SECTOR)
            {
                piece.fill(0);
                continue;
            }
            match self.ask(piece, at) {
                Ok(filled) => {
                    piece.iter_mut().skip(filled).for_each(|byte| *byte = 0);
                    let end = at.saturating_add(filled as u64);
                    for sector in self.refusals.within(&self.name, at..end) {
                        self.refusals.forget(&self.name, sector);
                    }
                }
                Err(error) if is_refusal(&error) => {
                    refused += 1;
                    let Some(middle) = middle(at, piece.len()) else {
                        piece.fill(0);
                        self.refusals.note(&self.name, at / SECTOR * SECTOR, &error);
                        continue;
                    };
                    if let Some((left, right)) = piece.split_at_mut_checked(middle) {
                        pieces.push_back((at, left));
                        pieces.push_back((at.saturating_add(middle as u64), right));
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Where a piece is divided, at the beginning of a sector; not, if it lies in one.
fn middle(at: u64, length: usize) -> Option<usize> {
    let first = at / SECTOR;
    let sectors = at.checked_add(length as u64)?.div_ceil(SECTOR) - first;
    let begin = (first + sectors / 2) * SECTOR;
    let middle = begin.checked_sub(at).filter(|middle| *middle > 0)?;
    usize::try_from(middle).ok()
}
