//! The programs that use most processor time and most memory, by name.
//!
//! A list of process numbers would be new series at every report. Here processes of one name are
//! one program, five programs are listed per resource, and a program that is listed stays so until
//! another one uses clearly more: series come and go rarely. What is kept between two minutes is
//! 64 bytes per program name and at most [`MAX_PROGRAMS`] of them.
//!
//! `xiezhi_process_top_cpu_seconds_total{comm}` never falls while its program is known, although
//! processes end: only what a program gained since the last minute is added. What a process used
//! in its last minute before its end is lost. `xiezhi_process_top_resident_bytes{comm}` counts
//! memory that processes share once for each.

use crate::bytes::text;
use crate::kernel;
use crate::readings::Samples;

/// Most program names; what exceeds it counts as `(other)`.
const MAX_PROGRAMS: usize = 256;
/// Programs listed per resource.
const LISTED: usize = 5;
/// `TASK_COMM_LEN` of the kernel.
const NAME_BYTES: usize = 16;
/// A challenger must use this many times as much as a program that is listed.
const CPU_ADVANTAGE: f64 = 2.0;
/// As [`CPU_ADVANTAGE`]; memory moves less.
const MEMORY_ADVANTAGE: f64 = 1.25;
/// What remains of a minute's processor time in the next minute's ranking.
const MEMORY_OF_PAST: f64 = 0.8;
/// Weight of all time before the first look, about which nothing else is known.
const WEIGHT_OF_LIFETIME: f64 = 0.001;

#[derive(Default)]
pub(super) struct Top {
    programs: Vec<Program>,
    looked_before: bool,
}

#[derive(Default, Clone)]
struct Program {
    name: [u8; NAME_BYTES],
    /// Ticks of its processes in this look and in the one before.
    ticks: u64,
    ticks_before: u64,
    /// Ticks counted since it is known.
    counted: u64,
    resident_pages: u64,
    score: f64,
    is_new: bool,
    is_seen: bool,
    lists_cpu: bool,
    lists_memory: bool,
}

impl Top {
    /// Begins a look at all processes.
    pub(super) fn start(&mut self) {
        for program in &mut self.programs {
            program.ticks_before = program.ticks;
            program.ticks = 0;
            program.resident_pages = 0;
            program.is_seen = false;
            program.is_new = false;
        }
    }

    /// Counts one process.
    pub(super) fn add(&mut self, name: &[u8], ticks: u64, resident_pages: u64) {
        let program = self.program(name);
        program.is_seen = true;
        program.ticks = program.ticks.saturating_add(ticks);
        program.resident_pages = program.resident_pages.saturating_add(resident_pages);
    }

    fn program(&mut self, name: &[u8]) -> &mut Program {
        let key = key(name);
        let found = self.programs.iter().position(|program| program.name == key);
        let index = found.unwrap_or_else(|| {
            let is_full = self.programs.len() >= MAX_PROGRAMS;
            let key = if is_full { self::key(b"(other)") } else { key };
            let other = self.programs.iter().position(|program| program.name == key);
            other.unwrap_or_else(|| {
                let program = Program {
                    name: key,
                    is_new: true,
                    ..Program::default()
                };
                self.programs.push(program);
                self.programs.len() - 1
            })
        });
        // The index was found or pushed above.
        #[expect(
            clippy::indexing_slicing,
            reason = "the index was found or pushed above"
        )]
        &mut self.programs[index]
    }

    /// Ends the look and pushes the listed programs.
    pub(super) fn report(&mut self, samples: &mut Samples<'_>) {
        self.programs.retain(|program| program.is_seen);
        for program in &mut self.programs {
            program.settle(self.looked_before);
        }
        self.looked_before = true;
        choose(&mut self.programs, CPU_ADVANTAGE, |program| {
            (program.score, &mut program.lists_cpu)
        });
        choose(&mut self.programs, MEMORY_ADVANTAGE, |program| {
            (program.resident_pages as f64, &mut program.lists_memory)
        });
        for program in &self.programs {
            program.report(samples);
        }
    }
}

impl Program {
    fn settle(&mut self, looked_before: bool) {
        let gained = self.ticks.saturating_sub(self.ticks_before);
        self.counted = self.counted.saturating_add(gained);
        let weight = if self.is_new && !looked_before {
            WEIGHT_OF_LIFETIME
        } else {
            1.0
        };
        self.score = self.score * MEMORY_OF_PAST + gained as f64 * weight;
    }

    fn report(&self, samples: &mut Samples<'_>) {
        let end = self
            .name
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(NAME_BYTES);
        let name = text(self.name.get(..end).unwrap_or_default());
        let labels = [("comm", name.as_ref())];
        if self.lists_cpu {
            let seconds = self.counted as f64 / kernel::ticks_per_second();
            samples.put("xiezhi_process_top_cpu_seconds_total", &labels, seconds);
        }
        if self.lists_memory {
            let bytes = self.resident_pages as f64 * kernel::page_bytes() as f64;
            samples.put("xiezhi_process_top_resident_bytes", &labels, bytes);
        }
    }
}

/// Sets the flag of the first [`LISTED`] programs, those that have it already being preferred.
fn choose(
    programs: &mut [Program],
    advantage: f64,
    part: impl Fn(&mut Program) -> (f64, &mut bool),
) {
    let mut best = [(0.0f64, usize::MAX); LISTED];
    for (index, program) in programs.iter_mut().enumerate() {
        let (use_now, is_listed) = part(program);
        let mut candidate = (
            if *is_listed {
                use_now * advantage
            } else {
                use_now
            },
            index,
        );
        *is_listed = false;
        for place in &mut best {
            if candidate.0 > place.0 {
                std::mem::swap(place, &mut candidate);
            }
        }
    }
    for (_, index) in best {
        if let Some(program) = programs.get_mut(index) {
            *part(program).1 = true;
        }
    }
}

fn key(name: &[u8]) -> [u8; NAME_BYTES] {
    let mut key = [0; NAME_BYTES];
    for (to, from) in key.iter_mut().zip(name) {
        *to = *from;
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(top: &mut Top, processes: &[(&str, u64, u64)]) -> Vec<(String, u64)> {
        top.start();
        for (name, ticks, pages) in processes {
            top.add(name.as_bytes(), *ticks, *pages);
        }
        let mut report = xiezhi_protocol::report::Report::new();
        let (mut files, mut name) = (crate::files::Files::default(), String::new());
        let mut readings = crate::readings::Readings::new(&mut files, &mut report, &mut name);
        top.report(&mut readings.samples);
        report
            .iter()
            .filter_map(|(series, value)| {
                let name = series.strip_prefix("xiezhi_process_top_cpu_seconds_total{comm=\"")?;
                Some((
                    name.trim_end_matches("\"}").to_owned(),
                    (value * 100.0).round() as u64,
                ))
            })
            .collect()
    }

    #[test]
    fn a_listed_program_stays_until_another_uses_clearly_more() {
        let mut top = Top::default();
        let busy: Vec<(&str, u64, u64)> = ["a", "b", "c", "d", "e"]
            .map(|name| (name, 100_000, 1))
            .to_vec();
        let mut all = busy.clone();
        all.push(("f", 90_000, 1));
        let first = look(&mut top, &all);
        assert_eq!(
            first
                .iter()
                .map(|(name, _)| name.as_str())
                .collect::<String>(),
            "abcde"
        );
        let gain = |all: &mut Vec<(&str, u64, u64)>, f: u64| {
            for (name, ticks, _) in all.iter_mut() {
                *ticks += if *name == "f" { f } else { 100 };
            }
        };
        gain(&mut all, 120);
        assert!(look(&mut top, &all).iter().all(|(name, _)| name != "f"));
        gain(&mut all, 1000);
        assert!(look(&mut top, &all).iter().any(|(name, _)| name == "f"));
    }

    #[test]
    fn seconds_do_not_fall_when_a_process_ends() {
        let mut top = Top::default();
        assert_eq!(
            look(&mut top, &[("a", 50, 1), ("a", 100, 1)]),
            [("a".to_owned(), 150)]
        );
        assert_eq!(look(&mut top, &[("a", 120, 1)]), [("a".to_owned(), 150)]);
        assert_eq!(look(&mut top, &[("a", 125, 1)]), [("a".to_owned(), 155)]);
    }

    #[test]
    fn names_beyond_the_bound_count_together() {
        let mut top = Top::default();
        top.start();
        for number in 0..1000 {
            top.add(format!("p{number}").as_bytes(), 1, 1);
        }
        assert_eq!(top.programs.len(), MAX_PROGRAMS + 1);
        assert_eq!(
            top.programs.last().unwrap().ticks,
            1000 - MAX_PROGRAMS as u64
        );
    }
}
