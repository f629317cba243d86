//! As whom a job's program runs: the user of its image, or one without rights in place of root.
//!
//! Most images name no user, which means root. Refusing them would refuse most of what is worth running,
//! and a user namespace of its own a container does not get from every engine. So root becomes an ordinary
//! user: the program finds no capability, no root's files, and a home of its own. An image that needs root
//! fails by itself, in its own words.
//!
//! **Invariant.** Nobody runs as user 0.

use crate::runtime::plan::APP_UID;

/// Home where the image has none that its user can write.
pub(crate) const HOME: &str = "/home/job";

/// A user in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Who {
    /// User, never 0.
    pub(crate) uid: u32,
    /// Group.
    pub(crate) gid: u32,
    /// Home, where the image knows one.
    pub(crate) home: Option<String>,
}

/// The image's user cannot be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the image's user is `{0}`, which its /etc/passwd does not have; name it by number (USER 1000)"
)]
pub(crate) struct UnknownUser(String);

/// Whether /etc/passwd has to be read to know who `user` is.
pub(crate) fn is_in_passwd(user: &str) -> bool {
    !is_root(user)
}

/// Who `user` (`USER` of an image: `name`, `uid`, `user:group`) is; `passwd` is the image's /etc/passwd.
pub(crate) fn who(user: &str, passwd: &str) -> Result<Who, UnknownUser> {
    let nobody = Who {
        uid: APP_UID,
        gid: APP_UID,
        home: None,
    };
    if is_root(user) {
        return Ok(nobody);
    }
    let (name, group) = user.split_once(':').unwrap_or((user, ""));
    let number = name.parse::<u32>().ok();
    let known = passwd.lines().find_map(|line| {
        let fields: Vec<_> = line.split(':').collect();
        let [login, _, uid, gid, _, home, ..] = fields.as_slice() else {
            return None;
        };
        let uid: u32 = uid.parse().ok()?;
        let is_it = number.map_or(*login == name, |number| uid == number);
        is_it.then_some((uid, gid.parse::<u32>().ok()?, (*home).to_owned()))
    });
    let (uid, gid, home) = match (known, number) {
        (Some((uid, gid, home)), _) => (uid, gid, Some(home)),
        (None, Some(uid)) => (uid, uid, None),
        (None, None) => return Err(UnknownUser(user.to_owned())),
    };
    if uid == 0 {
        return Ok(nobody);
    }
    let is_home = |home: &String| home.len() > 1 && super::space::is_mountable(home);
    Ok(Who {
        uid,
        gid: group.parse().unwrap_or(gid),
        home: home.filter(is_home),
    })
}

fn is_root(user: &str) -> bool {
    let (name, _) = user.split_once(':').unwrap_or((user, ""));
    matches!(name, "" | "root") || name.parse() == Ok(0_u32)
}

#[cfg(test)]
mod test {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\
        jovyan:x:1001:100::/home/jovyan:/bin/bash\n\
        toor:x:0:0::/root:/bin/sh\n\
        garbage\n\
        odd:x:1002:1002::/proc/self:/bin/sh\n";

    #[test]
    fn nobody_runs_as_root() {
        for user in ["", "root", "0", "0:0", "root:users", "toor", "00"] {
            let who = who(user, PASSWD).unwrap();
            assert_eq!(
                (who.uid, who.gid, who.home),
                (APP_UID, APP_UID, None),
                "{user}"
            );
        }
    }

    #[test]
    fn the_images_user_is_kept() {
        let check = |user, uid, gid, home: Option<&str>| {
            let who = who(user, PASSWD).unwrap();
            let seen = (who.uid, who.gid, who.home.as_deref());
            assert_eq!(seen, (uid, gid, home), "{user}");
        };
        check("jovyan", 1001, 100, Some("/home/jovyan"));
        check("1001", 1001, 100, Some("/home/jovyan"));
        check("1001:0", 1001, 0, Some("/home/jovyan"));
        check("7777", 7777, 7777, None);
        check("jovyan:staff", 1001, 100, Some("/home/jovyan"));
        check("odd", 1002, 1002, None);
        let error = who("ghost", PASSWD).unwrap_err().to_string();
        assert!(
            error.contains("ghost") && error.contains("USER 1000"),
            "{error}"
        );
    }
}
