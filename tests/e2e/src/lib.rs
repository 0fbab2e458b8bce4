//! Journeys through real processes, from enrolment to revocation; see `tests/journeys`.
