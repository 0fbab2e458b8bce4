//! Faults against real processes: kills, old copies, cut lines, full disks; see `tests/faults`.
