//! What libc and `/proc` tell of this machine and its processes, and how a command is started.

pub mod bounded;
pub mod check;
pub mod clock;
pub mod diag;
pub mod fd;
pub mod kallsyms;
pub mod launch;
pub mod namespaces;
pub mod networks;
pub mod priority;
pub mod proc;
pub mod sockets;
pub mod stderr;
