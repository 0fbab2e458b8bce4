//! Fuzzes `xiezhi_fuzz_entries::traps`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| xiezhi_fuzz_entries::traps(bytes));
