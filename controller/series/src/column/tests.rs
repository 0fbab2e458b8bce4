//! Columns against the rows that went in.

use proptest::prelude::*;

use super::*;

fn encoded(rows: &[f64]) -> Vec<u8> {
    let mut out = Vec::new();
    encode(rows, &mut Scratch::default(), &mut out);
    out
}

fn check(rows: &[f64]) -> usize {
    let bytes = encoded(rows);
    let mut back = Vec::new();
    decode(&bytes, rows.len(), &mut back).unwrap();
    let bits = |rows: &[f64]| -> Vec<u64> { rows.iter().map(|row| row.to_bits()).collect() };
    assert_eq!(bits(&back), bits(rows));
    bytes.len()
}

fn rows() -> impl Strategy<Value = Vec<f64>> {
    let value = prop_oneof![
        6 => (-1_000i64..1_000).prop_map(|n| n as f64 / 100.0),
        3 => Just(7.0),
        2 => (0i64..1 << 40).prop_map(|n| (n * 4096) as f64),
        1 => any::<u64>().prop_map(f64::from_bits),
        1 => Just(ABSENT),
        1 => Just(STALE),
        1 => Just(-0.0),
    ];
    prop::collection::vec(value, 0..300)
}

/// A counter or gauge as hosts have them: steps of some size, sometimes none, sometimes a reset.
fn walk() -> impl Strategy<Value = Vec<f64>> {
    let step =
        prop_oneof![3 => Just(0i64), 5 => -50i64..2000, 1 => any::<i32>().prop_map(i64::from)];
    let unit = prop_oneof![Just(1.0), Just(100.0), Just(1e9)];
    let factor = prop_oneof![Just(1i64), Just(512), Just(10)];
    (prop::collection::vec(step, 1..300), unit, factor).prop_map(|(steps, unit, factor)| {
        let mut level = 0i64;
        steps
            .iter()
            .map(|step| {
                level += step * factor;
                level as f64 / unit
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn rows_come_back_as_they_went(rows in rows()) {
        check(&rows);
    }

    #[test]
    fn walks_come_back_as_they_went(rows in walk()) {
        check(&rows);
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200), rows in 0usize..5000,
    ) {
        let mut out = Vec::new();
        if decode(&bytes, rows, &mut out).is_some() {
            prop_assert_eq!(out.len(), rows);
        }
    }

    #[test]
    fn damaged_columns_never_panic(
        rows in walk(), place in any::<prop::sample::Index>(), bit in 0u8..8,
    ) {
        let mut bytes = encoded(&rows);
        let place = place.index(bytes.len());
        bytes[place] ^= 1 << bit;
        let _done = decode(&bytes, rows.len(), &mut Vec::new());
    }
}

#[test]
fn a_constant_costs_its_value() {
    assert_eq!(check(&[7.0; 240]), 2);
    assert_eq!(check(&[0.1 + 0.2; 240]), 9);
}

#[test]
fn a_steady_counter_costs_next_to_nothing() {
    let rows: Vec<f64> = (0..240).map(|row| f64::from(row) * 15.0 + 1e6).collect();
    assert!(check(&rows) < 16, "{}", check(&rows));
}

#[test]
fn pages_of_memory_cost_what_their_numbers_do() {
    let rows: Vec<f64> = (0..240)
        .map(|row| f64::from(row * 7 % 13) * 4096.0 + 8e9)
        .collect();
    assert!(check(&rows) < 160, "{}", check(&rows));
}

#[test]
fn the_ends_of_the_integers_are_exact() {
    check(&[9_007_199_254_740_992.0, -9_007_199_254_740_992.0, 0.0, 1.0]);
    check(&[f64::MAX, f64::MIN_POSITIVE, f64::NAN, f64::INFINITY]);
    check(&[]);
    check(&[ABSENT; 5]);
    check(&[STALE]);
}
