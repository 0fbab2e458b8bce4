//! Fuzzes `xiezhi_fuzz_entries::stamp`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| xiezhi_fuzz_entries::stamp(bytes));
