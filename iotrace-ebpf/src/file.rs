//! Finds the file behind a descriptor, and tells it from other files that had the same descriptor or address.

use aya_ebpf::helpers::bpf_probe_read_kernel_str_bytes;
use iotrace_ebpf::abi::kernel::{family, file_type};
use iotrace_ebpf::abi::{ANY_FILE, FOLDED, Field, FileRecord, Kind, MARKS_OF_FILE, SHARED, listener};
use iotrace_ebpf::arch::native;

use crate::maps::{LISTENING, offset};
use crate::memory::{current_address, peek, read};
use crate::sink;
use crate::task::{Task, now};

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
    // Both lie side by side, and a read costs as much as it is long only far beyond that.
    let (most, array) = if offset(Field::FdtableFd) == offset(Field::FdtableMax) + 8 {
        let [most, array]: [u64; 2] = read(table, Field::FdtableMax);
        (most as u32, array)
    } else {
        (read(table, Field::FdtableMax), read(table, Field::FdtableFd))
    };
    if fd as u32 >= most {
        return 0;
    }
    peek(array + fd as u64 * 8)
}

/// Whether a file was opened with `O_DIRECT`.
#[inline(always)]
pub fn is_direct(file: u64) -> bool {
    file != 0 && read::<u32>(file, Field::FileFlags) & native::O_DIRECT != 0
}

/// A number that tells the file at an address from earlier files at that address, which the slab allocator gives to the
/// next file at once. Inodes of sockets and pipes have numbers of their own; eventfd, epoll and the like share one
/// inode and differ by their operations. A regular file is the same however often it is opened.
#[unsafe(export_name = "file_id")]
#[inline(never)]
pub extern "C" fn id(file: u64) -> u64 {
    if file == 0 {
        return 0;
    }
    let inode: u64 = read(file, Field::FileInode);
    let number: u64 = read(inode, Field::InodeIno);
    let operations: u64 = read(file, Field::FileOps);
    let mixed = mix(mix(inode, number), operations);
    if is_regular_inode(inode) {
        return mixed & !MARKS_OF_FILE | ANY_FILE | SHARED;
    }
    mix(mixed, file) & !MARKS_OF_FILE | ANY_FILE
}

/// `S_ANON_INODE` in `i_flags`: the inode that eventfd, epoll and the like share, which from 6.16 has the type of a
/// regular file (`anon_inode_make_secure_inode`, `fs/anon_inodes.c`).
const ANONYMOUS: u32 = 1 << 19;

/// The type of a file: one of `abi::kernel::file_type`.
#[inline(always)]
pub fn kind(file: u64) -> u32 {
    kind_of_inode(read(file, Field::FileInode))
}

#[inline(always)]
fn kind_of_inode(inode: u64) -> u32 {
    u32::from(read::<u16>(inode, Field::InodeMode)) & file_type::MASK
}

/// Whether a file is a regular one.
#[inline(always)]
pub fn is_regular(file: u64) -> bool {
    file != 0 && is_regular_inode(read(file, Field::FileInode))
}

#[inline(always)]
fn is_regular_inode(inode: u64) -> bool {
    kind_of_inode(inode) == file_type::REGULAR && read::<u32>(inode, Field::InodeFlags) & ANONYMOUS == 0
}

/// The step of a multiplicative hash; the odd factor is 2^64 by the golden ratio.
#[inline(always)]
fn mix(hash: u64, value: u64) -> u64 {
    (hash.rotate_left(29) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The number that a file shares with others of its kind: those of its directory, or the connections of its listening
/// port or to its remote address.
#[unsafe(export_name = "file_folded")]
#[inline(never)]
pub extern "C" fn folded(file: u64) -> u64 {
    let kind_of_file = kind(file);
    let mixed = if kind_of_file == file_type::SOCKET {
        let sock: u64 = read(read::<u64>(file, Field::FilePrivate), Field::SocketSk);
        let local: u16 = read(sock, Field::SockNum);
        let family: u16 = read(sock, Field::SockFamily);
        let network = network(sock);
        let kind = mix(u64::from(family), u64::from(read::<u16>(sock, Field::SockProtocol)));
        let kind = mix(kind, u64::from(network));
        if listens(network, local) {
            mix(kind, u64::from(local))
        } else {
            let port = mix(kind, u64::from(read::<u16>(sock, Field::SockDport)) << 16);
            if family == family::INET6 {
                let [first, second]: [u64; 2] = read(sock, Field::SockDaddr6);
                mix(mix(port, first), second)
            } else {
                mix(port, u64::from(read::<u32>(sock, Field::SockDaddr)))
            }
        }
    } else if is_regular(file) {
        mix(1, directory(file))
    } else {
        mix(u64::from(kind_of_file), read::<u64>(file, Field::FileOps))
    };
    mixed & !MARKS_OF_FILE | ANY_FILE | SHARED | FOLDED
}

/// Inode number of the network namespace of a socket; 0: this kernel has none.
#[inline(always)]
fn network(sock: u64) -> u32 {
    read(read(sock, Field::SockNet), Field::NetInum)
}

/// Whether user space has found that a port is listened on in a network namespace.
#[inline(always)]
fn listens(network: u32, port: u16) -> bool {
    LISTENING.get_ptr(listener(network, port)).is_some()
}

/// A number that tells the directory of a file from others.
#[inline(always)]
fn directory(file: u64) -> u64 {
    let dentry: u64 = read(file, Field::FileDentry);
    let parent: u64 = read(dentry, Field::DentryParent);
    let inode: u64 = read(parent, Field::DentryInode);
    mix(inode, read(inode, Field::InodeIno))
}

/// Sends user space the description of a file that is seen for the first time; `id` is its number, or the one that it
/// shares with others.
#[inline(never)]
pub fn announce(task: &Task, id: u64) {
    let file = task.file;
    let inode: u64 = read(file, Field::FileInode);
    let many = id & FOLDED != 0;
    let Some(mut slot) = sink::zeroed::<FileRecord>() else { return };
    // SAFETY: zeros are a valid record. It is made where it is sent from: with it on the stack, this function and the
    // program that calls it had more than the 512 bytes that the verifier allows them.
    let record = unsafe { &mut *slot.as_mut_ptr() };
    record.head = task.head(Kind::File, now());
    record.file = id;
    record.inode = read(inode, Field::InodeIno);
    record.fd = if many { -1 } else { task.fd };
    record.mode = u32::from(read::<u16>(inode, Field::InodeMode));
    if record.mode & file_type::MASK == file_type::SOCKET {
        of_socket(record, file, many);
    } else {
        let dentry: u64 = read(file, Field::FileDentry);
        name_of(dentry, &mut record.name);
        if record.mode & file_type::MASK == file_type::REGULAR {
            record.directory = directory(file);
            name_of(read(dentry, Field::DentryParent), &mut record.parent);
        }
    }
    sink::send(slot);
}

/// The last component of a path.
#[inline(always)]
fn name_of(dentry: u64, name: &mut [u8]) {
    let at: u64 = read(dentry, Field::DentryName);
    // SAFETY: a probe read of a kernel address fails, it does not fault; the last byte stays a zero.
    let _ = unsafe { bpf_probe_read_kernel_str_bytes(at as *const u8, name) };
}

/// What a socket is connected to; of several that share a number, only what they have in common.
#[inline(always)]
fn of_socket(record: &mut FileRecord, file: u64, many: bool) {
    let socket: u64 = read(file, Field::FilePrivate);
    let sock: u64 = read(socket, Field::SocketSk);
    record.sock = sock;
    let network = network(sock);
    record.head.reserved = network;
    record.family = read(sock, Field::SockFamily);
    record.protocol = read(sock, Field::SockProtocol);
    let local: u16 = read(sock, Field::SockNum);
    let listened = many && listens(network, local);
    let (here, there) = (!many || listened, !listened);
    if here {
        record.local_port = local;
    }
    if there {
        record.remote_port = read(sock, Field::SockDport);
    }
    if record.family == family::INET6 {
        if here {
            record.name[..16].copy_from_slice(&read::<[u8; 16]>(sock, Field::SockSaddr6));
        }
        if there {
            record.name[16..].copy_from_slice(&read::<[u8; 16]>(sock, Field::SockDaddr6));
        }
    } else {
        if here {
            record.name[..4].copy_from_slice(&read::<[u8; 4]>(sock, Field::SockSaddr));
        }
        if there {
            record.name[16..20].copy_from_slice(&read::<[u8; 4]>(sock, Field::SockDaddr));
        }
    }
}
