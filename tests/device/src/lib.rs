//! A device that tells what a recorded walk holds, over SNMPv1 and v2c on loopback, and does wrong
//! what it is told to do wrong.

mod alive;
mod behaviour;
mod ber;
mod device;

pub use behaviour::{Behaviour, STRAYS, Stray};
pub use device::FakeDevice;
