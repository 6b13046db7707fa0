//! Errors of the kernel: their names, and the codes that no program ever sees (`include/linux/errno.h`).

/// `EAGAIN`, positive: nothing there yet.
pub const EAGAIN: i64 = 11;
/// `EPERM`, positive.
pub const EPERM: i64 = 1;
/// `EINTR`, positive: a handler of a signal ran.
pub const EINTR: i64 = 4;
/// `EACCES`, positive.
pub const EACCES: i64 = 13;
/// `ENOSYS`, positive: this kernel has no such syscall.
pub const ENOSYS: i64 = 38;
/// `ETIME`, positive: the time of an `io_uring_enter` was up.
pub const ETIME: i64 = 62;
/// `ETIMEDOUT`, positive: the time of a futex was up.
pub const ETIMEDOUT: i64 = 110;
/// `ERESTARTSYS`, positive: entered again, unless a handler without `SA_RESTART` runs.
pub const ERESTARTSYS: i64 = 512;
/// `ERESTARTNOINTR`, positive: entered again, whatever handler runs.
pub const ERESTARTNOINTR: i64 = 513;

/// Whether a return value is one of the kernel's restart codes: `ERESTARTSYS` (512), `ERESTARTNOINTR` (513),
/// `ERESTARTNOHAND` (514), `ERESTART_RESTARTBLOCK` (516). A signal ended the call, and the kernel decides behind
/// `sys_exit` whether the program sees `EINTR` or the call is entered again.
#[inline(always)]
pub fn is_restart(ret: i64) -> bool {
    (-516..=-512).contains(&ret) && ret != -515
}

/// The name of error `errno` (positive); `None` for a number that has none.
pub fn name(errno: i64) -> Option<&'static str> {
    let name = usize::try_from(errno).ok().and_then(|index| NAMES.get(index)).copied()?;
    (!name.is_empty()).then_some(name)
}

/// Names by number, `include/uapi/asm-generic/errno.h`; `""` where a number has none.
#[rustfmt::skip]
const NAMES: [&str; 134] = [
    "", "EPERM", "ENOENT", "ESRCH", "EINTR", "EIO", "ENXIO", "E2BIG", "ENOEXEC", "EBADF", "ECHILD",
    "EAGAIN", "ENOMEM", "EACCES", "EFAULT", "ENOTBLK", "EBUSY", "EEXIST", "EXDEV", "ENODEV", "ENOTDIR",
    "EISDIR", "EINVAL", "ENFILE", "EMFILE", "ENOTTY", "ETXTBSY", "EFBIG", "ENOSPC", "ESPIPE", "EROFS",
    "EMLINK", "EPIPE", "EDOM", "ERANGE", "EDEADLK", "ENAMETOOLONG", "ENOLCK", "ENOSYS", "ENOTEMPTY",
    "ELOOP", "", "ENOMSG", "EIDRM", "ECHRNG", "EL2NSYNC", "EL3HLT", "EL3RST", "ELNRNG", "EUNATCH", "ENOCSI",
    "EL2HLT", "EBADE", "EBADR", "EXFULL", "ENOANO", "EBADRQC", "EBADSLT", "", "EBFONT", "ENOSTR", "ENODATA",
    "ETIME", "ENOSR", "ENONET", "ENOPKG", "EREMOTE", "ENOLINK", "EADV", "ESRMNT", "ECOMM", "EPROTO",
    "EMULTIHOP", "EDOTDOT", "EBADMSG", "EOVERFLOW", "ENOTUNIQ", "EBADFD", "EREMCHG", "ELIBACC", "ELIBBAD",
    "ELIBSCN", "ELIBMAX", "ELIBEXEC", "EILSEQ", "ERESTART", "ESTRPIPE", "EUSERS", "ENOTSOCK",
    "EDESTADDRREQ", "EMSGSIZE", "EPROTOTYPE", "ENOPROTOOPT", "EPROTONOSUPPORT", "ESOCKTNOSUPPORT",
    "EOPNOTSUPP", "EPFNOSUPPORT", "EAFNOSUPPORT", "EADDRINUSE", "EADDRNOTAVAIL", "ENETDOWN", "ENETUNREACH",
    "ENETRESET", "ECONNABORTED", "ECONNRESET", "ENOBUFS", "EISCONN", "ENOTCONN", "ESHUTDOWN",
    "ETOOMANYREFS", "ETIMEDOUT", "ECONNREFUSED", "EHOSTDOWN", "EHOSTUNREACH", "EALREADY", "EINPROGRESS",
    "ESTALE", "EUCLEAN", "ENOTNAM", "ENAVAIL", "EISNAM", "EREMOTEIO", "EDQUOT", "ENOMEDIUM", "EMEDIUMTYPE",
    "ECANCELED", "ENOKEY", "EKEYEXPIRED", "EKEYREVOKED", "EKEYREJECTED", "EOWNERDEAD", "ENOTRECOVERABLE",
    "ERFKILL", "EHWPOISON",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restart_codes_are_no_errors_of_a_program() {
        let codes: Vec<i64> = (-600..0).filter(|ret| is_restart(*ret)).collect();
        assert_eq!(codes, [-516, -514, -513, -512], "515 is ENOIOCTLCMD");
    }

    #[test]
    fn errors_have_the_names_of_the_header() {
        let known = [(1, "EPERM"), (4, "EINTR"), (11, "EAGAIN"), (35, "EDEADLK"), (95, "EOPNOTSUPP")];
        for (number, expected) in known.into_iter().chain([(104, "ECONNRESET"), (133, "EHWPOISON")]) {
            assert_eq!(name(number), Some(expected));
        }
        for unnamed in [-1, 0, 41, 58, 134, 512, i64::MAX] {
            assert_eq!(name(unnamed), None, "{unnamed}");
        }
    }
}
