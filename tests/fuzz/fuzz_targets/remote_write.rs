//! Fuzzes `xiezhi_fuzz_entries::remote_write`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| xiezhi_fuzz_entries::remote_write(bytes));
