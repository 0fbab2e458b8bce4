//! Faults against real processes: kills, old copies, cut and lossy lines, full disks, wrong clocks,
//! and the version before; see `tests/faults`.
