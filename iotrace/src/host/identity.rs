//! Who a command runs as: the user behind sudo, or one that was named.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use nix::unistd::geteuid;
use thiserror::Error;

use super::accounts::{self, Account};
use super::stderr::shown;

/// Variables that sudo adds, sudo(8): the user's own shell has none of them.
const OF_SUDO: [&str; 6] = ["SUDO_UID", "SUDO_GID", "SUDO_USER", "SUDO_COMMAND", "SUDO_HOME", "SUDO_TTY"];
/// Where mail lies, if the environment says so at all.
const MAIL: &str = "/var/mail/";

/// A user that a command runs as, in place of the one that iotrace runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// User id.
    pub uid: u32,
    /// Id of the primary group.
    pub gid: u32,
    /// Ids of all groups, the primary one too.
    pub groups: Vec<u32>,
    account: Account,
}

/// Why nobody is to be trusted with a command; exit code 2.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Refused {
    /// Variables of sudo that sudo does not set like this.
    #[error(
        "the environment looks like sudo's, but {0}; so the user behind sudo is not known, and iotrace does not run a \
         command as root instead. Name a user with --as USER (--as root for root itself), or unset SUDO_UID, \
         SUDO_GID and SUDO_USER"
    )]
    Forged(String),
    /// `--as` names nobody.
    #[error("--as {0}: there is no such user; `getent passwd` lists those that there are")]
    NoUser(String),
    /// `--as` without the right to.
    #[error(
        "--as {0}: only root may start a command as another user. Run iotrace with sudo, or leave --as out"
    )]
    NotRoot(String),
}

/// The variables by which sudo tells who called it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sudo {
    /// `SUDO_UID`.
    pub uid: Option<OsString>,
    /// `SUDO_GID`.
    pub gid: Option<OsString>,
    /// `SUDO_USER`.
    pub user: Option<OsString>,
}

impl Sudo {
    /// Those of this process.
    pub fn of_environment() -> Self {
        let of = |name| std::env::var_os(name);
        Self { uid: of("SUDO_UID"), gid: of("SUDO_GID"), user: of("SUDO_USER") }
    }

    /// Who called sudo; `None`: nobody did, or root. All three must be there and agree with the user database: a
    /// mistake here would run the command of a user as root.
    ///
    /// # Errors
    /// They do not.
    pub fn caller(&self, find: impl Fn(&OsStr) -> Option<Account>) -> Result<Option<Caller>, Refused> {
        let refused = |why: String| Err(Refused::Forged(why));
        let (uid, gid, user) = match (&self.uid, &self.gid, &self.user) {
            (None, None, None) => return Ok(None),
            (Some(uid), Some(gid), Some(user)) => (uid, gid, user),
            _ => {
                let all = [("SUDO_UID", &self.uid), ("SUDO_GID", &self.gid), ("SUDO_USER", &self.user)];
                let lacking: Vec<&str> =
                    all.iter().filter(|(_, value)| value.is_none()).map(|(name, _)| *name).collect();
                let verb = if lacking.len() == 1 { "is" } else { "are" };
                return refused(format!("{} {verb} not set", lacking.join(" and ")));
            }
        };
        let Some(uid) = accounts::id(uid.as_bytes()) else {
            return refused(format!("SUDO_UID={} is no user id", shown(uid)));
        };
        let Some(gid) = accounts::id(gid.as_bytes()) else {
            return refused(format!("SUDO_GID={} is no group id", shown(gid)));
        };
        let Some(account) = find(user) else {
            return refused(format!("SUDO_USER={} is no user of this machine", shown(user)));
        };
        if account.uid != uid {
            return refused(format!(
                "SUDO_UID is {uid}, and the user id of SUDO_USER={} is {}",
                shown(user),
                account.uid
            ));
        }
        // Root called it, and goes on as root.
        Ok((uid != 0).then_some(Caller { account, gid }))
    }
}

/// The user who called sudo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    account: Account,
    /// The group that was current, see newgrp(1).
    gid: u32,
}

impl Identity {
    /// Who a command is to run as: `named` (of `--as`), else the user who called sudo. `None`: as iotrace itself.
    ///
    /// # Errors
    /// There is no such user, only root could, or the variables of sudo are not those of sudo.
    pub fn of_command(named: Option<&OsStr>) -> Result<Option<Self>, Refused> {
        let own = geteuid().as_raw();
        let Some(named) = named else {
            // Only root can become another. To everybody else the variables mean nothing.
            let caller = if own == 0 { Sudo::of_environment().caller(accounts::by_name)? } else { None };
            return caller.map(|caller| Self::of_caller(caller, accounts::groups)).transpose();
        };
        let account = accounts::by_name(named)
            .or_else(|| accounts::by_uid(accounts::id(named.as_bytes())?))
            .ok_or_else(|| Refused::NoUser(shown(named)))?;
        match own {
            _ if account.uid == own => Ok(None),
            0 => {
                let groups = accounts::groups(&account);
                Ok(Some(Self { uid: account.uid, gid: account.gid, groups, account }))
            }
            _ => Err(Refused::NotRoot(shown(named))),
        }
    }

    /// The user who called sudo, for what is written for that user; `None` where there is none, or it is not known.
    pub fn behind_sudo() -> Option<Self> {
        Self::of_command(None).ok().flatten()
    }

    fn of_caller(caller: Caller, groups: impl Fn(&Account) -> Vec<u32>) -> Result<Self, Refused> {
        let Caller { account, gid } = caller;
        let groups = groups(&account);
        if !groups.contains(&gid) {
            let name = shown(&account.name);
            return Err(Refused::Forged(format!("SUDO_GID={gid} is no group of {name}")));
        }
        Ok(Self { uid: account.uid, gid, groups, account })
    }

    /// The environment as a shell of this user would have it, as `sudo -u` sets it: HOME, USER, LOGNAME, SHELL, and
    /// MAIL where there is one. What sudo added is taken out; everything else stays.
    pub fn environment(
        &self,
        now: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Vec<(OsString, OsString)> {
        let Account { name, home, shell, .. } = &self.account;
        let mut own = vec![("USER", name.clone()), ("LOGNAME", name.clone()), ("SHELL", shell.clone())];
        if !home.is_empty() {
            own.push(("HOME", home.clone()));
        }
        let mut mail = OsString::from(MAIL);
        mail.push(name);
        let mut kept = Vec::new();
        for (key, value) in now {
            let is = |name: &str| key == name;
            if OF_SUDO.into_iter().any(is) || own.iter().any(|(name, _)| key == *name) {
                continue;
            }
            let value = if is("MAIL") { mail.clone() } else { value };
            kept.push((key, value));
        }
        kept.extend(own.into_iter().map(|(key, value)| (key.into(), value)));
        kept
    }

    /// The name, for messages.
    pub fn name(&self) -> String {
        shown(&self.account.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alice() -> Account {
        let of = OsString::from;
        Account { name: of("alice"), uid: 1000, gid: 100, home: of("/users/alice"), shell: of("/bin/zsh") }
    }

    fn find(name: &OsStr) -> Option<Account> {
        let root = Account { name: "root".into(), uid: 0, gid: 0, ..alice() };
        [alice(), root].into_iter().find(|account| account.name == name)
    }

    fn sudo(uid: Option<&str>, gid: Option<&str>, user: Option<&str>) -> Result<Option<Identity>, Refused> {
        let of = |value: Option<&str>| value.map(OsString::from);
        let caller = Sudo { uid: of(uid), gid: of(gid), user: of(user) }.caller(find)?;
        caller.map(|caller| Identity::of_caller(caller, |_| vec![100, 4, 27])).transpose()
    }

    #[test]
    fn the_user_behind_sudo_has_all_groups() {
        let found = sudo(Some("1000"), Some("100"), Some("alice")).unwrap().unwrap();
        assert_eq!((found.uid, found.gid, found.groups), (1000, 100, vec![100, 4, 27]));
        let after_newgrp = sudo(Some("1000"), Some("27"), Some("alice")).unwrap().unwrap();
        assert_eq!(after_newgrp.gid, 27);
        assert_eq!(sudo(None, None, None), Ok(None));
        assert_eq!(sudo(Some("0"), Some("0"), Some("root")), Ok(None), "root called sudo");
    }

    #[test]
    fn what_sudo_would_not_set_is_refused() {
        let full = [Some("1000"), Some("100"), Some("alice")];
        for at in 0..3 {
            let mut half = full;
            half[at] = None;
            assert!(sudo(half[0], half[1], half[2]).is_err(), "{half:?}");
            half = [None; 3];
            half[at] = full[at];
            assert!(sudo(half[0], half[1], half[2]).is_err(), "{half:?}");
            for odd in ["", "abc", "-1", " 1000", "1000 ", "0x0", "4294967295", "4294967296", "1000\n", "#0"]
            {
                let mut forged = full;
                forged[at] = Some(odd);
                assert!(sudo(forged[0], forged[1], forged[2]).is_err(), "{forged:?}");
            }
        }
        // Each by itself is somebody, together they are nobody.
        for [uid, gid, user] in
            [["0", "100", "alice"], ["1000", "100", "root"], ["1001", "100", "alice"], ["1000", "0", "alice"]]
        {
            let text = sudo(Some(uid), Some(gid), Some(user)).unwrap_err().to_string();
            assert!(text.contains("--as") && text.contains("SUDO_"), "{text}");
        }
    }

    #[test]
    fn the_environment_is_that_of_the_users_shell() {
        let who = sudo(Some("1000"), Some("100"), Some("alice")).unwrap().unwrap();
        let of = |(key, value): (&str, &str)| (OsString::from(key), OsString::from(value));
        let now = [
            ("HOME", "/root"),
            ("SUDO_USER", "alice"),
            ("SUDO_COMMAND", "iotrace"),
            ("PATH", "/bin"),
            ("LOGNAME", "root"),
            ("MAIL", "/var/mail/root"),
            ("SUDOKU", "kept"),
        ];
        let mut found = who.environment(now.map(of));
        found.sort();
        let expected = [
            ("HOME", "/users/alice"),
            ("LOGNAME", "alice"),
            ("MAIL", "/var/mail/alice"),
            ("PATH", "/bin"),
            ("SHELL", "/bin/zsh"),
            ("SUDOKU", "kept"),
            ("USER", "alice"),
        ];
        assert_eq!(found, expected.map(of));
    }

    #[test]
    fn a_user_is_named_by_name_or_number() {
        let refused = |name: &str| Identity::of_command(Some(name.as_ref())).unwrap_err();
        assert!(matches!(refused("no such user"), Refused::NoUser(_)));
        assert!(matches!(refused("4294967295"), Refused::NoUser(_)));
        let own = geteuid().as_raw().to_string();
        assert_eq!(Identity::of_command(Some(own.as_ref())), Ok(None), "as oneself");
        if own == "0" {
            let nobody = Identity::of_command(Some("nobody".as_ref())).unwrap().unwrap();
            assert_eq!((nobody.uid, nobody.name().as_str()), (65_534, "nobody"));
        }
    }
}
