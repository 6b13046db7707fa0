//! Users and groups of this machine, as the system's own look-up tells them.
//!
//! `getent` is asked, since iotrace is linked statically: getpwuid(3) would then load the modules of
//! nsswitch.conf(5), LDAP and such, into a program that has another C library inside. Where there is no `getent`
//! (an initramfs, a bare container), `/etc/passwd` and `/etc/group` are read.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::process::{Command, Stdio};

/// Where `getent` lies; no search path is trusted for what runs as root.
const GETENT: [&str; 2] = ["/usr/bin/getent", "/bin/getent"];

/// One user, passwd(5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Login name.
    pub name: OsString,
    /// User id.
    pub uid: u32,
    /// Id of the primary group.
    pub gid: u32,
    /// Home directory; may be empty.
    pub home: OsString,
    /// Login shell; `/bin/sh` where the field is empty.
    pub shell: OsString,
}

/// The user of this name.
pub fn by_name(name: &OsStr) -> Option<Account> {
    let is_it = |account: &Account| account.name == name;
    is_name(name).then(|| asked("passwd", name).and_then(|text| find(&text, is_it)))?
}

/// The first user with this id.
pub fn by_uid(uid: u32) -> Option<Account> {
    asked("passwd", OsStr::new(&uid.to_string())).and_then(|text| find(&text, |account| account.uid == uid))
}

/// The groups that initgroups(3) would give a user: the primary one first.
pub fn groups(account: &Account) -> Vec<u32> {
    let listed = getent("initgroups", &account.name).map(|text| listed_groups(&text, &account.name));
    let others = listed.filter(|groups| !groups.is_empty()).unwrap_or_else(|| {
        let text = fs::read("/etc/group").unwrap_or_default();
        member_of(&text, &account.name)
    });
    let mut all = vec![account.gid];
    for gid in others {
        if !all.contains(&gid) {
            all.push(gid);
        }
    }
    all
}

/// Whether it can be a name in passwd(5), and no option of `getent`.
fn is_name(name: &OsStr) -> bool {
    let bytes = name.as_bytes();
    !bytes.is_empty() && !bytes.starts_with(b"-") && !bytes.iter().any(|byte| b":\n\0".contains(byte))
}

fn asked(database: &str, key: &OsStr) -> Option<Vec<u8>> {
    getent(database, key).or_else(|| fs::read(format!("/etc/{database}")).ok())
}

/// What `getent` prints; `None` where there is none, or it fails.
fn getent(database: &str, key: &OsStr) -> Option<Vec<u8>> {
    let program = GETENT.into_iter().find(|path| fs::exists(path).unwrap_or(false))?;
    let mut command = Command::new(program);
    command.env_clear().current_dir("/").arg(database).arg(key).stdin(Stdio::null()).stderr(Stdio::null());
    let output = command.output().ok()?;
    output.status.success().then_some(output.stdout)
}

fn find(passwd: &[u8], is_it: impl Fn(&Account) -> bool) -> Option<Account> {
    passwd.split(|&byte| byte == b'\n').filter_map(account).find(is_it)
}

/// A line of passwd(5): name, password, user id, group id, comment, home, shell.
fn account(line: &[u8]) -> Option<Account> {
    let fields: Vec<&[u8]> = line.split(|&byte| byte == b':').collect();
    let [name, _, uid, gid, _, home, shell] = fields[..] else { return None };
    let own = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
    let shell = if shell.is_empty() { b"/bin/sh" } else { shell };
    Some(Account { name: own(name), uid: id(uid)?, gid: id(gid)?, home: own(home), shell: own(shell) })
}

/// A user or group id in plain decimal digits. The highest number is none: to setuid(2) and chown(2) it means "leave
/// it".
pub fn id(digits: &[u8]) -> Option<u32> {
    let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let number: u32 = plain.then(|| std::str::from_utf8(digits).ok()?.parse().ok())??;
    (number != u32::MAX).then_some(number)
}

/// The line of `getent initgroups`: the name, then ids.
fn listed_groups(text: &[u8], name: &OsStr) -> Vec<u32> {
    let mut words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    if words.next() != Some(name.as_bytes()) {
        return Vec::new();
    }
    words.filter_map(id).collect()
}

/// Ids of the groups of group(5) that list a user: name, password, id, members.
fn member_of(group: &[u8], name: &OsStr) -> Vec<u32> {
    let of = |line: &[u8]| {
        let fields: Vec<&[u8]> = line.split(|&byte| byte == b':').collect();
        let [_, _, gid, members] = fields[..] else { return None };
        members.split(|&byte| byte == b',').any(|member| member == name.as_bytes()).then(|| id(gid))?
    };
    group.split(|&byte| byte == b'\n').filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] =
        b"root:x:0:0:root:/root:/bin/bash\n# a comment\nalice:x:1000:100:A,,:/users/alice:\n\
                            b\xffd:x:1001:1001::/users/b:/bin/zsh\nbroken:x:12\nworse:x:-1:0::/:/bin/sh\n";

    #[test]
    fn a_line_of_passwd_is_an_account() {
        let alice = find(PASSWD, |account| account.name == "alice").unwrap();
        assert_eq!((alice.uid, alice.gid), (1000, 100));
        assert_eq!(
            (alice.home.as_os_str(), alice.shell.as_os_str()),
            ("/users/alice".as_ref(), "/bin/sh".as_ref())
        );
        assert_eq!(find(PASSWD, |account| account.uid == 1001).unwrap().name.as_bytes(), b"b\xffd");
        assert!(find(PASSWD, |account| account.name == "broken" || account.name == "worse").is_none());
    }

    #[test]
    fn an_id_is_digits_and_never_the_one_that_means_none() {
        for word in ["", " 1", "+1", "-1", "abc", "1000x", "4294967295", "4294967296", "99999999999999999999"]
        {
            assert_eq!(id(word.as_bytes()), None, "{word}");
        }
        assert_eq!((id(b"0"), id(b"4294967294")), (Some(0), Some(u32::MAX - 1)));
    }

    #[test]
    fn groups_are_those_that_list_the_user() {
        let group = b"adm:x:4:syslog,alice\nalic:x:7:alicea\nempty:x:8:\ndocker:x:999:alice\n";
        assert_eq!(member_of(group, "alice".as_ref()), [4, 999]);
        assert_eq!(listed_groups(b"alice                 100 4 999\n", "alice".as_ref()), [100, 4, 999]);
        assert!(listed_groups(b"bob 1 2\n", "alice".as_ref()).is_empty());
    }

    #[test]
    fn the_user_of_number_0_is_called_root_here() {
        let root = by_uid(0).unwrap();
        assert_eq!(by_name("root".as_ref()).as_ref(), Some(&root));
        assert_eq!(groups(&root).first(), Some(&root.gid));
        for odd in ["", "-s", "a:b", "no such user"] {
            assert_eq!(by_name(odd.as_ref()), None, "{odd}");
        }
        // `getent passwd 0` takes digits for an id.
        assert_eq!(by_name("0".as_ref()), None);
    }
}
