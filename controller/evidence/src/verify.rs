//! Walks a chain and names the first place where it is broken.

use crate::record::{Head, Record};

/// The first place where a chain does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the chain is broken at record {seq}: {reason}")]
pub struct Broken {
    /// Number of the record that was expected there.
    pub seq: u64,
    /// What is wrong.
    pub reason: Reason,
}

/// What is wrong with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Another number stands in its place: a record was removed, inserted or moved.
    #[error("record {found} stands in its place")]
    Sequence {
        /// The number that was found.
        found: u64,
    },
    /// It does not follow the record before it: that one was replaced, or this one was inserted.
    #[error("it does not follow the record before it")]
    Previous,
    /// Its content is not what was hashed.
    #[error("its content was changed")]
    Content,
    /// Its detail is not what was hashed.
    #[error("its detail was changed")]
    Detail,
}

/// Checks records one by one, so that a chain of any length is verified in constant memory.
#[derive(Debug, Clone)]
pub struct Verifier {
    head: Head,
}

/// Checks the whole chain of this name, oldest record first, and returns its head: compare it with
/// one that was kept elsewhere, because a chain that lost its newest records is still a valid chain.
///
/// # Errors
/// Names the first record that is missing, foreign, moved or changed.
pub fn verify<'a>(
    chain: &str,
    records: impl IntoIterator<Item = &'a Record>,
) -> Result<Head, Broken> {
    let mut verifier = Verifier::new(Head::genesis(chain));
    for record in records {
        verifier.check(record, None)?;
    }
    Ok(verifier.head())
}

impl Verifier {
    /// Starts after `head`: [`Head::genesis`], or a head that was kept from an earlier check.
    #[must_use]
    pub fn new(head: Head) -> Self {
        Self { head }
    }

    /// Checks the next record, and its detail unless that has been erased.
    ///
    /// # Errors
    /// Says why this record cannot be the next one; the verifier stays where it was.
    pub fn check(&mut self, record: &Record, detail: Option<&[u8]>) -> Result<(), Broken> {
        // Saturating is enough: `append` never makes a record after the last number.
        let seq = self.head.seq.saturating_add(1);
        match self.judge(seq, record, detail) {
            Some(reason) => Err(Broken { seq, reason }),
            None => {
                self.head = record.head();
                Ok(())
            }
        }
    }

    /// Head of what has been checked so far.
    #[must_use]
    pub fn head(&self) -> Head {
        self.head
    }

    fn judge(&self, seq: u64, record: &Record, detail: Option<&[u8]>) -> Option<Reason> {
        if record.seq != seq {
            return Some(Reason::Sequence { found: record.seq });
        }
        if record.previous != self.head.hash {
            return Some(Reason::Previous);
        }
        if !record.is_intact() {
            return Some(Reason::Content);
        }
        match detail {
            Some(detail) if !record.detail_matches(detail) => Some(Reason::Detail),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hash::Hash;
    use crate::record::{Entry, append};

    fn chain(name: &str, details: &[Vec<u8>]) -> Vec<Record> {
        let mut head = Head::genesis(name);
        let mut records = Vec::new();
        for (index, detail) in details.iter().enumerate() {
            let subject = format!("host:{}", index % 3);
            let entry = Entry {
                time_ms: i64::try_from(index).unwrap(),
                actor: "admin",
                action: "host.rename",
                subject: &subject,
                detail,
            };
            let record = append(&head, &entry).unwrap();
            head = record.head();
            records.push(record);
        }
        records
    }

    /// The record's fields as they lie in a row, so that a flipped bit can be put anywhere.
    fn flip(record: &Record, bit: usize) -> Option<Record> {
        let mut record = record.clone();
        let (byte, mask) = (bit / 8, 1_u8 << (bit % 8));
        match byte {
            0..8 => record.seq ^= 1 << bit,
            8..40 => record.previous.0[byte - 8] ^= mask,
            40..48 => record.time_ms ^= 1 << (bit - 320),
            48..80 => record.detail_hash.0[byte - 48] ^= mask,
            80..112 => record.hash.0[byte - 80] ^= mask,
            _ => flip_text(&mut record, byte - 112, mask)?,
        }
        Some(record)
    }

    /// `None` past the end, and where the flip leaves no UTF-8: such a row cannot be read at all.
    fn flip_text(record: &mut Record, mut at: usize, mask: u8) -> Option<()> {
        for field in [&mut record.actor, &mut record.action, &mut record.subject] {
            if at < field.len() {
                let mut bytes = field.clone().into_bytes();
                bytes[at] ^= mask;
                *field = String::from_utf8(bytes).ok()?;
                return Some(());
            }
            at -= field.len();
        }
        None
    }

    #[test]
    fn the_empty_chain_holds_and_ends_where_it_begins() {
        assert_eq!(verify("audit", []), Ok(Head::genesis("audit")));
    }

    #[test]
    fn records_of_one_chain_are_foreign_to_another() {
        let records = chain("audit", &[vec![1]]);
        let broken = Broken {
            seq: 1,
            reason: Reason::Previous,
        };
        assert_eq!(verify("findings", &records), Err(broken));
        assert_eq!(
            broken.to_string(),
            "the chain is broken at record 1: it does not follow the record before it"
        );
    }

    #[test]
    fn a_changed_detail_is_found_and_an_erased_one_is_not_missed() {
        let records = chain("audit", &[b"one".to_vec(), b"two".to_vec()]);
        let mut verifier = Verifier::new(Head::genesis("audit"));
        assert_eq!(verifier.check(&records[0], None), Ok(()));
        let changed = verifier.check(&records[1], Some(b"TWO"));
        assert_eq!(
            changed,
            Err(Broken {
                seq: 2,
                reason: Reason::Detail
            })
        );
        assert_eq!(verifier.check(&records[1], Some(b"two")), Ok(()));
        assert_eq!(verifier.head(), records[1].head());
    }

    #[test]
    fn a_check_continues_from_a_kept_head() {
        let records = chain("audit", &vec![vec![7]; 5]);
        let mut verifier = Verifier::new(records[2].head());
        assert_eq!(verifier.check(&records[3], None), Ok(()));
        assert_eq!(verifier.check(&records[4], None), Ok(()));
    }

    #[test]
    fn a_rewritten_tail_has_another_head() {
        let records = chain("audit", &[vec![1], vec![2], vec![3]]);
        let rewritten = chain("audit", &[vec![1], vec![9], vec![3]]);
        let kept = verify("audit", &records).unwrap();
        assert_ne!(verify("audit", &rewritten).unwrap(), kept);
        assert_ne!(verify("audit", &records[..2]).unwrap(), kept);
    }

    #[test]
    fn every_single_flipped_bit_of_a_record_is_found() {
        let records = chain("audit", &vec![vec![7]; 3]);
        let mut tried = 0;
        for bit in 0..(112 + 5 + 11 + 6) * 8 {
            let Some(changed) = flip(&records[1], bit) else {
                continue;
            };
            tried += 1;
            let result = verify("audit", [&records[0], &changed, &records[2]]);
            assert_eq!(result.unwrap_err().seq, 2, "bit {bit}");
        }
        assert!(tried > 1000, "{tried}");
    }

    proptest! {
        #[test]
        fn what_was_appended_verifies(details in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..30)) {
            let records = chain("audit", &details);
            let head = verify("audit", &records).unwrap();
            prop_assert_eq!(head.seq, details.len() as u64);
        }

        #[test]
        fn a_removed_record_is_found(count in 2_usize..20, at in any::<prop::sample::Index>()) {
            let mut records = chain("audit", &vec![vec![7]; count]);
            let kept = records[count - 1].head();
            records.remove(at.index(count));
            let found = verify("audit", &records);
            prop_assert!(found.is_err() || found != Ok(kept));
        }

        #[test]
        fn two_records_in_each_others_place_are_found(count in 2_usize..20, one in any::<prop::sample::Index>(), other in any::<prop::sample::Index>()) {
            let (one, other) = (one.index(count), other.index(count));
            prop_assume!(one != other);
            let mut records = chain("audit", &vec![vec![7]; count]);
            records.swap(one, other);
            prop_assert!(verify("audit", &records).is_err());
            // Renumbering them does not help.
            for (index, record) in records.iter_mut().enumerate() {
                record.seq = index as u64 + 1;
                record.hash = Hash::of(&record.canonical_bytes());
            }
            prop_assert!(verify("audit", &records).is_err());
        }

        #[test]
        fn an_inserted_record_is_found(count in 2_usize..20, at in any::<prop::sample::Index>(), detail in prop::collection::vec(any::<u8>(), 0..9)) {
            let mut records = chain("audit", &vec![vec![7]; count]);
            let at = at.index(count);
            let head = at.checked_sub(1).map_or(Head::genesis("audit"), |before| records[before].head());
            let entry = Entry { time_ms: 5, actor: "mallory", action: "host.approve", subject: "", detail: &detail };
            // The forger chains the new record correctly; the records after it give it away.
            records.insert(at, append(&head, &entry).unwrap());
            prop_assert!(verify("audit", &records).is_err());
        }
    }
}
