//! Saves: `<data>/saves/<user>/<app>/`, one directory per player and app, mounted into the app.
//!
//! ```text
//! saves/            root 0711   walked through, not listed
//!   usr_.../        root 0711
//!     freedoom/     app  0700   the app's own; nothing in it is ever followed or changed by us
//! ```
//!
//! **Invariant.** The agent opens no path below an app's directory and never changes an owner
//! there: a symlink that an app leaves is the app's business alone. The directories above belong to
//! the agent, so an app cannot swap them.

use crate::process::User;
use nearlight_protocol::id::{AppId, UserId};
use nix::unistd::{Gid, Uid};
use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The directory of a player's saves of an app, made if it is not there.
pub(crate) fn directory(
    data: &Path,
    user: &UserId,
    app: &AppId,
    owner: Option<&User>,
) -> io::Result<PathBuf> {
    let mut path = data.join("saves");
    walkable(&path)?;
    path.push(user.as_str());
    walkable(&path)?;
    path.push(app.as_str());
    match DirBuilder::new().mode(0o700).create(&path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    // By descriptor, and never through a link: if a crash left the directory with the wrong owner
    // this puts it right.
    let directory = OpenOptions::new()
        .read(true)
        .custom_flags((nix::fcntl::OFlag::O_DIRECTORY | nix::fcntl::OFlag::O_NOFOLLOW).bits())
        .open(&path)?;
    if let Some(owner) = owner {
        nix::unistd::fchown(
            &directory,
            Some(Uid::from_raw(owner.uid)),
            Some(Gid::from_raw(owner.gid)),
        )?;
    }
    Ok(path)
}

fn walkable(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o711).create(path) {
        // The mode at creation is cut by the umask.
        Ok(()) => std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o711)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use std::os::unix::fs::{MetadataExt, symlink};

    fn ids() -> (UserId, AppId) {
        (nearlight_kit::ids::user(), "freedoom".parse().unwrap())
    }

    fn app_user() -> Option<User> {
        nix::unistd::geteuid().is_root().then(|| User {
            uid: 1000,
            gid: 1000,
            groups: Vec::new(),
        })
    }

    #[test]
    fn saves_persist_and_belong_to_the_app() {
        let data = tempfile::tempdir().unwrap();
        let (user, app) = ids();
        let owner = app_user();
        let first = directory(data.path(), &user, &app, owner.as_ref()).unwrap();
        std::fs::write(first.join("slot1"), b"level 9").unwrap();
        let again = directory(data.path(), &user, &app, owner.as_ref()).unwrap();
        assert_eq!(std::fs::read(again.join("slot1")).unwrap(), b"level 9");
        let meta = std::fs::metadata(&again).unwrap();
        assert_eq!(meta.mode() & 0o7777, 0o700);
        if let Some(owner) = owner {
            assert_eq!((meta.uid(), meta.gid()), (owner.uid, owner.gid));
        }
    }

    #[test]
    fn links_of_an_app_are_not_followed() {
        let data = tempfile::tempdir().unwrap();
        let (user, app) = ids();
        let victim = data.path().join("victim");
        std::fs::write(&victim, b"").unwrap();
        let before = std::fs::metadata(&victim).unwrap();
        let path = directory(data.path(), &user, &app, app_user().as_ref()).unwrap();
        symlink(&victim, path.join("link")).unwrap();
        directory(data.path(), &user, &app, app_user().as_ref()).unwrap();
        assert_eq!(std::fs::metadata(&victim).unwrap().uid(), before.uid());

        // Even a link in the place of the directory itself, which no app can make, is refused.
        std::fs::remove_dir_all(&path).unwrap();
        symlink(data.path(), &path).unwrap();
        directory(data.path(), &user, &app, app_user().as_ref()).unwrap_err();
    }
}
