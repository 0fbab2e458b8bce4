//! The register: rooms and divisions, staff, and assets of every site.
//!
//! All three are *items* of a site: values by [`Field`]. A kind says which fields it has, a field how
//! its text is checked, and everything else (tables, imports, exports, history) goes by that list, so
//! that a new field is one line here. An item is known by its site and its code, which never changes;
//! a room or an owner is named by the code that it has at the same site.

mod field;

use std::collections::BTreeMap;

pub use self::field::{DATE_SHAPE, Field, FieldProblem, Shape, half_width};
use crate::SiteId;

/// Values by field. A field that holds nothing is not in it.
pub type Values = BTreeMap<Field, String>;

/// What an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RegisterKind {
    /// 庭室、机房: a room or a division.
    Room,
    /// 干警: a member of staff.
    Staff,
    /// 资产: a device or another thing that somebody owns.
    Asset,
}

impl RegisterKind {
    /// All of them; what others refer to comes first.
    pub const ALL: [Self; 3] = [Self::Room, Self::Staff, Self::Asset];

    /// Stable word: `rooms`, `staff` or `assets`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Room => "rooms",
            Self::Staff => "staff",
            Self::Asset => "assets",
        }
    }

    /// One of them, in the words of messages and of the audit record.
    #[must_use]
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Room => "room",
            Self::Staff => "staff member",
            Self::Asset => "asset",
        }
    }

    /// The kind that [`RegisterKind::word`] writes so.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }

    /// Number that is stored.
    #[must_use]
    pub const fn number(self) -> i64 {
        match self {
            Self::Room => 1,
            Self::Staff => 2,
            Self::Asset => 3,
        }
    }

    /// The kind with this number.
    #[must_use]
    pub fn from_number(number: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }

    /// Its fields, in the order of an export's columns; the first two must hold something.
    #[must_use]
    pub const fn fields(self) -> &'static [Field] {
        use Field as F;
        match self {
            Self::Room => &[
                F::Code,
                F::Name,
                F::Use,
                F::Floor,
                F::Phone,
                F::State,
                F::Note,
            ],
            Self::Staff => &[
                F::Code,
                F::Name,
                F::Room,
                F::Title,
                F::Phone,
                F::Email,
                F::State,
                F::Note,
            ],
            Self::Asset => &[
                F::Code,
                F::Name,
                F::Type,
                F::Model,
                F::Serial,
                F::Room,
                F::Owner,
                F::Bought,
                F::Warranty,
                F::State,
                F::Note,
            ],
        }
    }

    /// Its states: words with their Chinese names. The first is that of a new item, the last that of a
    /// retired one.
    #[must_use]
    pub const fn states(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Room => &[(IN_USE, "在用"), (RETIRED, "停用")],
            Self::Staff => &[(IN_USE, "在职"), (RETIRED, "离职")],
            Self::Asset => &[
                (IN_USE, "在用"),
                ("in_stock", "库存"),
                ("repair", "维修"),
                ("idle", "闲置"),
                (RETIRED, "报废"),
            ],
        }
    }

    /// Checks what somebody wrote for a new item or for the whole of one, and gives it as it is kept.
    ///
    /// # Errors
    /// Every field that is wrong.
    pub fn check(self, given: &Values) -> Result<Values, Vec<(Field, FieldProblem)>> {
        let (mut kept, mut problems) = (Values::new(), Vec::new());
        for (&field, text) in given {
            if !self.fields().contains(&field) {
                problems.push((field, FieldProblem::NotOfThisKind(self)));
                continue;
            }
            match field.check(self, text) {
                Ok(text) if text.is_empty() => {}
                Ok(text) => drop(kept.insert(field, text)),
                Err(problem) => problems.push((field, problem)),
            }
        }
        for field in [Field::Code, Field::Name] {
            let reported = problems.iter().any(|(wrong, _)| *wrong == field);
            if !reported && !kept.contains_key(&field) {
                problems.push((field, FieldProblem::Empty));
            }
        }
        let state = || IN_USE.to_owned();
        kept.entry(Field::State).or_insert_with(state);
        if problems.is_empty() {
            Ok(kept)
        } else {
            Err(problems)
        }
    }
}

/// The state of what is in use.
pub const IN_USE: &str = "in_use";

/// The state at the end of a life.
pub const RETIRED: &str = "retired";

/// One thing of the register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its number.
    pub id: i64,
    /// What it is.
    pub kind: RegisterKind,
    /// Whose it is.
    pub site: SiteId,
    /// What is known of it.
    pub values: Values,
    /// When it was written down, Unix milliseconds.
    pub created_ms: i64,
    /// When it was last changed, Unix milliseconds.
    pub changed_ms: i64,
    /// Number of its last change: whoever changes it says which he saw.
    pub version: i64,
}

impl Item {
    /// The value of a field; empty if there is none.
    #[must_use]
    pub fn value(&self, field: Field) -> &str {
        self.values.get(&field).map_or("", String::as_str)
    }

    /// Whether it is not at the end of its life.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        self.value(Field::State) != RETIRED
    }
}

/// One field before and after; an empty text is no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldChange {
    /// Which; `None` is the site, whose key stands in the texts.
    pub field: Option<Field>,
    /// What was there.
    pub before: String,
    /// What is there now.
    pub after: String,
}

/// What differs between two states of an item, in the order of the fields.
#[must_use]
pub fn differences(before: &Values, after: &Values) -> Vec<FieldChange> {
    let of = |values: &Values, field| values.get(&field).cloned().unwrap_or_default();
    let all = Field::ALL.into_iter().map(|field| FieldChange {
        field: Some(field),
        before: of(before, field),
        after: of(after, field),
    });
    all.filter(|change| change.before != change.after).collect()
}

/// What is wrong with a row of an import only in the light of what is there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RowProblem {
    /// A new item needs a value.
    #[error("is empty, and this is a new one: fill it in")]
    Empty,
    /// No room or member of staff in use has this code.
    #[error("{0:?} is not in use at this site: add it first, or correct the code")]
    Unknown(String),
    /// The site takes nothing that is in use.
    #[error("is retired: choose a site in use, or let the site be restored first")]
    RetiredSite,
    /// It is to be retired, but so many others in use name it.
    #[error("{0} others in use name it: give them another room or owner first")]
    StillNamed(i64),
}

/// One entry of an item's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemChange {
    /// Its number; later changes have higher ones.
    pub id: i64,
    /// When, Unix milliseconds.
    pub time_ms: i64,
    /// Who, as an [`Actor`](crate::Actor) displays.
    pub actor: String,
    /// `create`, `change` or `undo`.
    pub action: String,
    /// The import that did it.
    pub import: Option<i64>,
    /// What changed; for a new item all that it has.
    pub changes: Vec<FieldChange>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(given: &[(Field, &str)]) -> Values {
        let owned = given
            .iter()
            .map(|(field, text)| (*field, (*text).to_owned()));
        owned.collect()
    }

    #[test]
    fn words_and_numbers_lead_back_to_kinds_and_every_kind_begins_with_code_and_name() {
        for kind in RegisterKind::ALL {
            assert_eq!(RegisterKind::from_word(kind.word()), Some(kind));
            assert_eq!(RegisterKind::from_number(kind.number()), Some(kind));
            assert_eq!(kind.fields()[..2], [Field::Code, Field::Name]);
            assert_eq!(kind.states().last().unwrap().0, RETIRED);
        }
    }

    #[test]
    fn all_that_is_wrong_with_an_item_is_said_at_once() {
        let given = values(&[
            (Field::Code, " "),
            (Field::Warranty, "明年"),
            (Field::Floor, "3"),
            (Field::State, "lost"),
        ]);
        let problems = RegisterKind::Asset.check(&given).unwrap_err();
        let fields: Vec<Field> = problems.iter().map(|(field, _)| *field).collect();
        for field in [
            Field::Code,
            Field::Name,
            Field::Floor,
            Field::Warranty,
            Field::State,
        ] {
            assert!(fields.contains(&field), "{field:?} of {problems:?}");
        }
        assert_eq!(fields.len(), 5, "{problems:?}");
    }

    #[test]
    fn what_is_kept_is_trimmed_has_a_state_and_no_empty_values() {
        let given = values(&[
            (Field::Code, " A-1 "),
            (Field::Name, "交换机"),
            (Field::Serial, ""),
            (Field::Bought, "2024年3月5日"),
        ]);
        let kept = RegisterKind::Asset.check(&given).unwrap();
        let expected = [
            (Field::Code, "A-1"),
            (Field::Name, "交换机"),
            (Field::Bought, "2024-03-05"),
            (Field::State, IN_USE),
        ];
        assert_eq!(kept, values(&expected));
    }

    #[test]
    fn differences_name_what_came_went_and_changed() {
        let before = values(&[
            (Field::Code, "1"),
            (Field::Room, "301"),
            (Field::Owner, "7"),
        ]);
        let after = values(&[
            (Field::Code, "1"),
            (Field::Room, "302"),
            (Field::Note, "新"),
        ]);
        let changes = differences(&before, &after);
        let told = |change: &FieldChange| {
            let name = change.field.map_or("", Field::word);
            format!("{name}:{}>{}", change.before, change.after)
        };
        let told: Vec<String> = changes.iter().map(told).collect();
        assert_eq!(told, ["room:301>302", "owner:7>", "note:>新"]);
    }
}
