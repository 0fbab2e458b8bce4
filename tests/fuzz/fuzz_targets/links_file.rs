//! Fuzzes `xiezhi_fuzz_entries::links_file`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| xiezhi_fuzz_entries::links_file(bytes));
