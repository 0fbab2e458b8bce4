//! Writes the valid and the kept inputs of every target into `FOLDER/TARGET/`, for the fuzzer to begin
//! with.
#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a tool for people"
)]

use std::path::PathBuf;

fn main() {
    let folder = PathBuf::from(std::env::args().nth(1).expect("the folder of the corpus"));
    for target in xiezhi_fuzz_entries::ALL {
        let folder = folder.join(target.name);
        std::fs::create_dir_all(&folder).expect("a folder");
        for (index, seed) in (target.seeds)().iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{index}")), seed).expect("a seed");
        }
        for (index, kept) in target.kept().iter().enumerate() {
            std::fs::write(folder.join(format!("kept-{index}")), kept).expect("a kept input");
        }
        println!("{}", target.name);
    }
}
