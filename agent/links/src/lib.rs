//! Measures leased lines: STAMP (RFC 8762) from the sending end to the numbers of a minute.
//!
//! | module | what it holds |
//! |---|---|
//! | [`packet`] | the test packets of RFC 8762, plain and signed, and their extensions; pure |
//! | [`stamp`] | timestamps and error estimates as they travel; pure |
//! | [`ledger`] | what became of every packet: answered, lost and on which way, late, twice; pure |
//! | [`interval`] | the numbers of one interval: round trip, jitter, delay; pure |
//! | [`sessions`] | what a reflector remembers of those who measure against it; pure |
//! | [`config`] | links and the reflector as people write them; pure |
//! | [`report`] | an interval becomes the tables of a poll; pure |
//! | [`clock`] | the clocks of this host, and what it claims of them |
//! | [`socket`] | a UDP socket whose packets carry the kernel's time of arrival |
//! | [`sender`] | sends to all links and listens, on one thread |
//! | [`reflector`] | answers whoever may measure against this host, on one thread |
//!
//! Nothing here is told by the controller whom to send to.

pub mod clock;
pub mod config;
pub mod interval;
pub mod ledger;
pub mod packet;
pub mod reflector;
pub mod report;
pub mod sender;
pub mod sessions;
pub mod socket;
pub mod stamp;
