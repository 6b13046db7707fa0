//! What libc and `/proc` tell of this machine and its processes, and how a command is started.

pub mod check;
pub mod clock;
pub mod fd;
pub mod launch;
pub mod priority;
pub mod proc;
pub mod sockets;
