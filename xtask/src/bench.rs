//! scratch
pub mod load;
