//! Finds the file behind a descriptor, and tells it from other files that had the same descriptor or address.

use aya_ebpf::helpers::bpf_probe_read_kernel_str_bytes;
use iotrace_ebpf::abi::kernel::{family, file_type};
use iotrace_ebpf::abi::{Field, FileRecord, Kind};

use iotrace_ebpf::arch::native;

use crate::sink;
use crate::task::{Task, current_address, now, peek, read};

/// Address of the `struct file` behind descriptor `fd` of the current thread; 0: there is none.
///
/// `current->files->fdt->fd[fd]`, as `fget` (`fs/file.c`) finds it, but without a reference: a descriptor that another
/// thread closes at this moment may not be found.
#[inline(always)]
pub fn of_descriptor(fd: i32) -> u64 {
    if fd < 0 {
        return 0;
    }
    let files: u64 = read(current_address(), Field::TaskFiles);
    let table: u64 = read(files, Field::FilesFdt);
    if fd as u32 >= read::<u32>(table, Field::FdtableMax) {
        return 0;
    }
    let array: u64 = read(table, Field::FdtableFd);
    peek(array + fd as u64 * 8)
}

/// Whether a file was opened with `O_DIRECT`.
#[inline(always)]
pub fn is_direct(file: u64) -> bool {
    file != 0 && read::<u32>(file, Field::FileFlags) & native::O_DIRECT != 0
}

/// A number that tells the file at an address from earlier files at that address, which the slab allocator gives to the
/// next file at once. Inodes of sockets and pipes have numbers of their own; eventfd, epoll and the like share one
/// inode and differ by their operations.
#[inline(always)]
pub fn id(file: u64) -> u64 {
    if file == 0 {
        return 0;
    }
    let inode: u64 = read(file, Field::FileInode);
    let number: u64 = read(inode, Field::InodeIno);
    let operations: u64 = read(file, Field::FileOps);
    let mixed = mix(mix(mix(file, inode), number), operations);
    // 0 means that there is no file.
    mixed | 1
}

/// Whether a file is a regular one. Newer kernels give the inode of eventfd and the like that type, too: they have names
/// such as `[eventfd]`.
#[inline(always)]
pub fn is_regular(file: u64) -> bool {
    let inode: u64 = read(file, Field::FileInode);
    let mode: u16 = read(inode, Field::InodeMode);
    if file == 0 || u32::from(mode) & file_type::MASK != file_type::REGULAR {
        return false;
    }
    let dentry: u64 = read(file, Field::FileDentry);
    let name: u64 = read(dentry, Field::DentryName);
    peek::<u8>(name) != b'['
}

/// The step of a multiplicative hash; the odd factor is 2^64 by the golden ratio.
#[inline(always)]
fn mix(hash: u64, value: u64) -> u64 {
    (hash.rotate_left(29) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Sends user space the description of a file that is seen for the first time.
#[inline(never)]
pub fn announce(task: &Task) {
    let file = task.file;
    let inode: u64 = read(file, Field::FileInode);
    let mut record = FileRecord {
        head: task.head(Kind::File, now()),
        file: task.file_id,
        inode: read(inode, Field::InodeIno),
        fd: task.fd,
        mode: u32::from(read::<u16>(inode, Field::InodeMode)),
        ..FileRecord::default()
    };
    if record.mode & file_type::MASK == file_type::SOCKET {
        let socket: u64 = read(file, Field::FilePrivate);
        let sock: u64 = read(socket, Field::SocketSk);
        record.sock = sock;
        record.head.reserved = read(read(sock, Field::SockNet), Field::NetInum);
        record.family = read(sock, Field::SockFamily);
        record.protocol = read(sock, Field::SockProtocol);
        record.local_port = read(sock, Field::SockNum);
        record.remote_port = read(sock, Field::SockDport);
        if record.family == family::INET6 {
            record.name[..16].copy_from_slice(&read::<[u8; 16]>(sock, Field::SockSaddr6));
            record.name[16..].copy_from_slice(&read::<[u8; 16]>(sock, Field::SockDaddr6));
        } else {
            record.name[..4].copy_from_slice(&read::<[u8; 4]>(sock, Field::SockSaddr));
            record.name[16..20].copy_from_slice(&read::<[u8; 4]>(sock, Field::SockDaddr));
        }
    } else {
        let dentry: u64 = read(file, Field::FileDentry);
        let name: u64 = read(dentry, Field::DentryName);
        // SAFETY: a probe read of a kernel address fails, it does not fault; 31 bytes leave a zero.
        let _ = unsafe { bpf_probe_read_kernel_str_bytes(name as *const u8, &mut record.name) };
    }
    sink::emit(record);
}
