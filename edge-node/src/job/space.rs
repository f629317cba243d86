//! What a job can write, and its secrets: `<run>/<session>/`.
//!
//! ```text
//! <run>/<session>/  root 0700
//!   hosts           root 0644   the container's /etc/hosts, written again when names move
//!   notice/         root 0755   /run/nearlight: what its program is told of its end (notice)
//!   disk/           ext4 of `resources.disk_mib`, if that is not 0 (mounts)
//!     0/ 1/ ...     job  0700   one for each place of the container that can be written
//!   volume-0/ ...   root       a volume (volumes); its `data/` is what the container has
//!   secrets/        job  0500   ramfs: /run/secrets
//!     NAME          job  0400
//! ```
//!
//! A container's root is read-only. What it can write are /tmp, /var/tmp, its home, and what its image declares
//! as volumes: on the disk, or without one in memory, which counts as the job's.
//!
//! **Invariants.** Nothing that a job writes is outside of its disk or its memory. Values of secrets are in no
//! file but those of `secrets/`.

use super::mounts;
use super::who::{HOME, Who};
use nearlight_protocol::work::Secrets;
use nix::unistd::{Gid, Uid};
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Volumes that an image may declare; an engine would put each on a disk without bounds.
const IMAGE_VOLUMES_MAX: usize = 32;
/// Where nothing of an image's may be mounted: an engine needs these, or we do.
const TAKEN: [&str; 6] = ["/proc", "/sys", "/dev", "/etc", "/run", "/var/run"];

/// A place in the container that its program can write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Writable {
    /// Where the container has it.
    pub(crate) path: String,
    /// Whether it begins with what the image has there.
    pub(crate) is_filled: bool,
    /// Whether the image declares it as a volume.
    pub(crate) is_volume: bool,
}

/// The backing of a job's disk while it is made.
pub(crate) fn disks(data: &Path) -> PathBuf {
    data.join("disks")
}

pub(crate) fn hosts(dir: &Path) -> PathBuf {
    dir.join("hosts")
}

/// What its program is told.
pub(crate) fn notice(dir: &Path) -> PathBuf {
    dir.join("notice")
}

pub(crate) fn secrets(dir: &Path) -> PathBuf {
    dir.join("secrets")
}

/// Where a volume is mounted.
pub(crate) fn volume(dir: &Path, n: usize) -> PathBuf {
    dir.join(format!("volume-{n}"))
}

fn disk(dir: &Path) -> PathBuf {
    dir.join("disk")
}

/// Where on the disk a place of the container is.
pub(crate) fn on_disk(dir: &Path, place: usize) -> PathBuf {
    disk(dir).join(place.to_string())
}

/// Whether something may be mounted there, as far as its name goes.
pub(crate) fn is_mountable(path: &str) -> bool {
    let is_part = |part: &str| !part.is_empty() && part != "." && part != "..";
    let is_path = path
        .strip_prefix('/')
        .is_some_and(|rest| rest.split('/').all(is_part));
    let is_below = |taken: &str| {
        path.strip_prefix(taken)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    is_path
        && path.len() <= 512
        && !path.contains(['\0', ':', ','])
        && !TAKEN.iter().any(|taken| is_below(taken))
}

/// What a container can write, from its user's home and its image's volumes. `Err` says what the image has
/// to change.
pub(crate) fn writable(home: &str, volumes: &[String]) -> Result<Vec<Writable>, String> {
    if volumes.len() > IMAGE_VOLUMES_MAX {
        return Err(format!(
            "the image declares more than {IMAGE_VOLUMES_MAX} volumes"
        ));
    }
    let declared = |path: &str| volumes.iter().any(|v| v.trim_end_matches('/') == path);
    let place = |path: &str, is_filled| Writable {
        path: path.to_owned(),
        is_filled,
        is_volume: declared(path),
    };
    let mut all = vec![place("/tmp", false), place("/var/tmp", false)];
    for path in volumes.iter().map(String::as_str).chain([home]) {
        let path = path.trim_end_matches('/');
        if !is_mountable(path) {
            return Err(format!(
                "the image wants to write `{path}`, which no job may; declare its VOLUMEs elsewhere"
            ));
        }
        if all.iter().all(|place| place.path != path) {
            all.push(place(path, path != HOME));
        }
    }
    Ok(all)
}

/// What is to be made.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) dir: &'a Path,
    pub(crate) data: &'a Path,
    pub(crate) disk_mib: u32,
    pub(crate) places: usize,
    pub(crate) volumes: usize,
    pub(crate) who: &'a Who,
    pub(crate) secrets: &'a Secrets,
}

/// Makes a job's directory afresh, but for the addresses in it ([`name_hosts`]).
pub(crate) async fn make(wanted: &Wanted<'_>) -> io::Result<()> {
    let dir = wanted.dir;
    remove(dir)?;
    DirBuilder::new().mode(0o700).create(dir)?;
    DirBuilder::new().mode(0o755).create(notice(dir))?;
    fs::set_permissions(notice(dir), Permissions::from_mode(0o755))?;
    if wanted.disk_mib > 0 {
        make_disk(wanted).await?;
    }
    for n in 0..wanted.volumes {
        DirBuilder::new().mode(0o700).create(volume(dir, n))?;
    }
    if !wanted.secrets.is_empty() {
        write_secrets(&secrets(dir), wanted.secrets, wanted.who)?;
    }
    Ok(())
}

/// Writes what the container has as its /etc/hosts.
pub(crate) fn name_hosts(dir: &Path, text: &str) -> io::Result<()> {
    fs::write(hosts(dir), text)?;
    fs::set_permissions(hosts(dir), Permissions::from_mode(0o644))
}

/// Removes disks that an earlier agent was making: one that is mounted has no file any more.
pub(crate) fn sweep_disks(disks: &Path) {
    for entry in fs::read_dir(disks).into_iter().flatten().flatten() {
        tracing::warn!(file = %entry.path().display(), "removing a disk that was never mounted");
        if let Err(error) = fs::remove_file(entry.path()) {
            tracing::error!(file = %entry.path().display(), %error, "it stays");
        }
    }
}

async fn make_disk(wanted: &Wanted<'_>) -> io::Result<()> {
    let disks = disks(wanted.data);
    fs::create_dir_all(&disks)?;
    let name = wanted.dir.file_name().unwrap_or_default();
    let (file, at) = (disks.join(name), disk(wanted.dir));
    match fs::remove_file(&file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    DirBuilder::new().mode(0o700).create(&at)?;
    mounts::disk(&file, wanted.disk_mib, &at).await?;
    for place in 0..wanted.places {
        DirBuilder::new()
            .mode(0o700)
            .create(on_disk(wanted.dir, place))?;
    }
    Ok(())
}

/// Makes what can be written the job's own. After the engine has filled it with what the image has there,
/// whose owner may be root; before the job runs.
pub(crate) fn own(dir: &Path, places: usize, who: &Who) -> io::Result<()> {
    for place in 0..places {
        chown(&on_disk(dir, place), who)?;
    }
    Ok(())
}

fn write_secrets(at: &Path, secrets: &Secrets, who: &Who) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(at)?;
    mounts::memory(at)?;
    for (name, value) in &secrets.0 {
        let path = at.join(name);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o400)
            .open(&path)?;
        file.write_all(value.as_bytes())?;
        chown(&path, who)?;
    }
    fs::set_permissions(at, Permissions::from_mode(0o500))?;
    chown(at, who)
}

pub(super) fn chown(path: &Path, who: &Who) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(who.uid), Gid::from_raw(who.gid));
    Ok(nix::unistd::chown(path, Some(uid), Some(gid))?)
}

/// Whether everything is still mounted that the job had; not after a restart of the host.
pub(crate) fn is_whole(dir: &Path, disk_mib: u32, volumes: usize, has_secrets: bool) -> bool {
    // Of a job that has nothing mounted, its directory went with a restart of the host all the same.
    hosts(dir).exists()
        && (0..volumes).all(|n| mounts::is_mounted(&volume(dir, n)))
        && (disk_mib == 0 || mounts::is_mounted(&disk(dir)))
        && (!has_secrets || mounts::is_mounted(&secrets(dir)))
}

/// Leaves nothing of a job's directory.
pub(crate) fn remove(dir: &Path) -> io::Result<()> {
    mounts::unmount_below(dir)?;
    remove_mount_points(dir)?;
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// What is below the place of a volume is a tenant's. Where anything is there still, nothing is removed.
fn remove_mount_points(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_name().as_bytes().starts_with(b"volume-") {
            fs::remove_dir(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_volume_that_is_still_mounted_keeps_its_jobs_directory() {
        let run = tempfile::tempdir().unwrap();
        let dir = run.path().join("ses");
        fs::create_dir_all(volume(&dir, 0)).unwrap();
        let kept = volume(&dir, 0).join("data");
        fs::write(&kept, "a tenant's").unwrap();
        remove(&dir).unwrap_err();
        assert!(kept.exists());
        fs::remove_file(&kept).unwrap();
        remove(&dir).unwrap();
        assert!(!dir.exists());
    }

    #[test]
    fn what_an_image_declares_is_bounded_and_never_ours() {
        let paths = |volumes: &[&str]| {
            let volumes: Vec<_> = volumes.iter().map(|v| (*v).to_owned()).collect();
            let all = writable(HOME, &volumes)?;
            Ok::<_, String>(all.into_iter().map(|w| w.path).collect::<Vec<_>>())
        };
        assert_eq!(paths(&[]).unwrap(), ["/tmp", "/var/tmp", HOME]);
        let seen = paths(&["/data/", "/tmp", "/data"]).unwrap();
        assert_eq!(seen, ["/tmp", "/var/tmp", "/data", HOME]);
        let declared = ["/data/", "/tmp"].map(str::to_owned);
        let mut volumes = writable(HOME, &declared).unwrap();
        volumes.retain(|place| place.is_volume);
        let volumes: Vec<_> = volumes.into_iter().map(|place| place.path).collect();
        assert_eq!(
            volumes,
            ["/tmp", "/data"],
            "what the engine would make volumes of"
        );
        for bad in [
            "/",
            "data",
            "/run/secrets",
            "/proc",
            "/etc",
            "/a/../b",
            "/x:y",
            "/dev/shm",
        ] {
            paths(&[bad]).unwrap_err();
        }
        assert!(is_mountable("/running") && is_mountable("/process/x"));
        let many: Vec<_> = (0..33).map(|n| format!("/v{n}")).collect();
        writable(HOME, &many).unwrap_err();
    }

    #[test]
    fn only_an_images_own_directories_begin_filled() {
        let all = writable("/home/jovyan", &["/data".to_owned()]).unwrap();
        let filled: Vec<_> = all.iter().map(|w| w.is_filled).collect();
        assert_eq!(filled, [false, false, true, true]);
    }

    #[tokio::test]
    async fn secrets_are_in_memory_for_their_user_alone_and_go_with_the_directory() {
        use std::os::unix::fs::MetadataExt;
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let data = tempfile::tempdir().unwrap();
        let dir = data.path().join("ses");
        let who = Who {
            uid: 4242,
            gid: 4243,
            home: None,
        };
        let values = Secrets([("TOKEN".to_owned(), "hunter2".to_owned())].into());
        let wanted = Wanted {
            dir: &dir,
            data: data.path(),
            disk_mib: 0,
            places: 3,
            volumes: 0,
            who: &who,
            secrets: &values,
        };
        make(&wanted).await.unwrap();
        assert!(!is_whole(&dir, 0, 0, true));
        name_hosts(&dir, "127.0.0.1 localhost\n").unwrap();
        assert!(is_whole(&dir, 0, 0, true) && !is_whole(&dir, 64, 0, true));
        assert!(!is_whole(&dir, 0, 1, true));
        assert!(is_whole(&dir, 0, 0, false) && !is_whole(data.path(), 0, 0, false));
        let token = fs::metadata(secrets(&dir).join("TOKEN")).unwrap();
        assert_eq!(
            (token.uid(), token.gid(), token.mode() & 0o777),
            (4242, 4243, 0o400)
        );
        assert_eq!(fs::metadata(secrets(&dir)).unwrap().mode() & 0o777, 0o500);
        make(&wanted).await.unwrap();
        remove(&dir).unwrap();
        assert!(!dir.exists() && !mounts::is_mounted(&secrets(&dir)));
    }
}
