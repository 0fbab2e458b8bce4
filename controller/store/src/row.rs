//! Small helpers to read rows and to prepare values, shared by all nouns.

use std::collections::BTreeMap;

use sqlx::Row as _;
use sqlx::any::AnyRow;

use crate::StoreError;
pub(crate) use crate::bounded::Write;

/// A number.
pub(crate) fn number(row: &AnyRow, column: &str) -> Result<i64, StoreError> {
    Ok(row.try_get(column)?)
}

/// A number or nothing.
pub(crate) fn optional(row: &AnyRow, column: &str) -> Result<Option<i64>, StoreError> {
    Ok(row.try_get(column)?)
}

/// A number that is never negative.
pub(crate) fn unsigned(row: &AnyRow, column: &str) -> Result<u64, StoreError> {
    let value = number(row, column)?;
    u64::try_from(value).map_err(|_| StoreError::Impossible(format!("{column} = {value}")))
}

/// A text.
pub(crate) fn text(row: &AnyRow, column: &str) -> Result<String, StoreError> {
    Ok(row.try_get(column)?)
}

/// A truth value, stored as 0 or 1.
pub(crate) fn truth(row: &AnyRow, column: &str) -> Result<bool, StoreError> {
    Ok(number(row, column)? != 0)
}

/// The database's numbers are signed: an absurd number of a hostile peer becomes the largest.
pub(crate) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// PostgreSQL refuses the character U+0000 in texts, and one host must not be able to fail a
/// transaction that carries other hosts' events.
pub(crate) fn storable(text: &str) -> String {
    text.replace('\0', " ")
}

/// `%text%` for LIKE with `!` as its escape: the pattern's own signs stand for themselves.
pub(crate) fn pattern(text: &str) -> String {
    let mut pattern = String::from("%");
    for sign in storable(text).chars() {
        if matches!(sign, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(sign);
    }
    pattern.push('%');
    pattern
}

/// A map as JSON text.
pub(crate) fn json_of(map: &BTreeMap<String, String>) -> Result<String, StoreError> {
    // JSON writes U+0000 as an escape, so the text is storable as it is.
    serde_json::to_string(map).map_err(|error| StoreError::Impossible(error.to_string()))
}

/// A column that [`json_of`] wrote.
pub(crate) fn json_map(row: &AnyRow, column: &str) -> Result<BTreeMap<String, String>, StoreError> {
    let text = text(row, column)?;
    serde_json::from_str(&text)
        .map_err(|error| StoreError::Impossible(format!("{column}: {error}")))
}

/// At most `most` bytes of a text, cut between characters.
pub(crate) fn cut(text: &str, most: usize) -> &str {
    text.get(..text.floor_char_boundary(most))
        .unwrap_or_default()
}

/// Counts `name` up by `by` and returns the new value: the last of `by` fresh numbers.
pub(crate) async fn count_up(write: &mut Write, name: &str, by: i64) -> Result<i64, StoreError> {
    let row = sqlx::query("UPDATE counters SET value = value + $2 WHERE name = $1 RETURNING value")
        .bind(name)
        .bind(by)
        .fetch_one(&mut **write)
        .await?;
    number(&row, "value")
}

/// Reserves as many numbers and gives the one before the first of them.
pub(crate) async fn numbers_before(
    write: &mut Write,
    name: &str,
    count: usize,
) -> Result<i64, StoreError> {
    let by = signed(count as u64);
    Ok(count_up(write, name, by).await?.saturating_sub(by))
}

/// `($1, $2), ($3, $4)`: placeholders for `rows` rows of `columns` values.
pub(crate) fn placeholders(rows: usize, columns: usize) -> String {
    let mut out = String::with_capacity(rows * columns * 6);
    for row in 0..rows {
        out.push_str(if row == 0 { "(" } else { ", (" });
        for column in 1..=columns {
            let comma = if column == 1 { "" } else { ", " };
            out.push_str(&format!("{comma}${}", row * columns + column));
        }
        out.push(')');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_count_through_all_rows() {
        assert_eq!(placeholders(2, 3), "($1, $2, $3), ($4, $5, $6)");
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(cut("法院", 4), "法");
        assert_eq!(cut("ab", 10), "ab");
        assert_eq!(storable("a\0b"), "a b");
    }
}
