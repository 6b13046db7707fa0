//! Records of the ring buffer: decoded, put in order of time, and what they tell of a copy.

pub mod copy;
pub mod journal;
pub mod record;
