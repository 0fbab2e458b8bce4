//! Object identifiers: the names of everything that a device tells.

use std::fmt;
use std::str::FromStr;

use smallvec::SmallVec;

/// Most arcs of an object identifier (RFC 2578, section 3.5).
pub const MAX_ARCS: usize = 128;

/// An object identifier, or the index of a row (the arcs after its column), which may be empty.
///
/// Ordered as SNMP orders them: arc by arc, the shorter first. Four arcs are kept in place, because
/// the index of a row is seldom longer and a poll holds thousands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Oid(SmallVec<[u32; 4]>);

/// A text that is no object identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an object identifier such as 1.3.6.1.2.1.1.1.0")]
pub struct NotAnOid;

impl Oid {
    /// The identifier with these arcs.
    #[must_use]
    pub fn new(arcs: &[u32]) -> Self {
        Self(SmallVec::from_slice(arcs))
    }

    /// The arcs.
    #[must_use]
    pub fn arcs(&self) -> &[u32] {
        &self.0
    }

    /// Whether there are no arcs: the index of nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The arcs below `base`; `None` if this lies elsewhere. Empty if they are equal.
    #[must_use]
    pub fn below(&self, base: &Self) -> Option<Self> {
        self.0.strip_prefix(base.0.as_slice()).map(Self::new)
    }

    /// Whether this is `base` or lies below it.
    #[must_use]
    pub fn is_in(&self, base: &Self) -> bool {
        self.0.starts_with(&base.0)
    }

    /// This identifier with `index` after it.
    #[must_use]
    pub fn at(&self, index: &Self) -> Self {
        let mut arcs = self.0.clone();
        arcs.extend_from_slice(&index.0);
        Self(arcs)
    }
}

/// Reads `1.3.6.1`, with or without a dot in front; at least two arcs, at most [`MAX_ARCS`].
impl FromStr for Oid {
    type Err = NotAnOid;

    fn from_str(text: &str) -> Result<Self, NotAnOid> {
        let text = text.strip_prefix('.').unwrap_or(text);
        let mut arcs = SmallVec::new();
        for arc in text.split('.') {
            // `parse` alone would take a sign.
            if arc.is_empty() || !arc.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(NotAnOid);
            }
            arcs.push(arc.parse().map_err(|_| NotAnOid)?);
        }
        if (2..=MAX_ARCS).contains(&arcs.len()) {
            Ok(Self(arcs))
        } else {
            Err(NotAnOid)
        }
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, arc) in self.0.iter().enumerate() {
            if place > 0 {
                formatter.write_str(".")?;
            }
            write!(formatter, "{arc}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn identifiers_are_read_with_and_without_a_leading_dot() {
        let plain: Oid = "1.3.6.1".parse().unwrap();
        assert_eq!(".1.3.6.1".parse::<Oid>(), Ok(plain));
        for bad in [
            "",
            ".",
            "1",
            "1..3",
            "1.3.",
            "1.x",
            "1.+3",
            "1.4294967296",
            "iso.3",
        ] {
            assert_eq!(bad.parse::<Oid>(), Err(NotAnOid), "{bad}");
        }
        let long = vec!["1"; MAX_ARCS + 1].join(".");
        assert_eq!(long.parse::<Oid>(), Err(NotAnOid));
    }

    #[test]
    fn what_lies_below_is_the_index_of_a_row() {
        let column: Oid = "1.3.6.1.2.1.2.2.1.2".parse().unwrap();
        let row: Oid = "1.3.6.1.2.1.2.2.1.2.7".parse().unwrap();
        assert_eq!(row.below(&column), Some(Oid::new(&[7])));
        assert_eq!(column.below(&column), Some(Oid::default()));
        assert_eq!(column.at(&Oid::new(&[7])), row);
        // Column 2 is no part of column 20.
        let other: Oid = "1.3.6.1.2.1.2.2.1.20.7".parse().unwrap();
        assert_eq!(other.below(&column), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(arcs in prop::collection::vec(any::<u32>(), 2..MAX_ARCS)) {
            let oid = Oid::new(&arcs);
            prop_assert_eq!(oid.to_string().parse::<Oid>(), Ok(oid));
        }
    }
}
