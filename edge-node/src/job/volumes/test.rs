use super::*;

fn volumes(dir: &Path) -> Volumes {
    Volumes::new(dir, 30)
}

fn put(volumes: &Volumes, volume: &VolumeId) {
    fs::create_dir_all(&volumes.dir).unwrap();
    fs::write(volumes.file(volume, "img"), vec![7; 4096]).unwrap();
}

#[test]
fn what_is_deleted_is_wiped_and_what_nobody_knows_is_kept_for_days() {
    let dir = tempfile::tempdir().unwrap();
    let volumes = volumes(dir.path());
    let [kept, deleted, unknown] = [(); 3].map(|()| nearlight_kit::ids::volume());
    for volume in [&kept, &deleted, &unknown] {
        put(&volumes, volume);
    }
    let known = VolumesKnown {
        keep: vec![kept.clone()],
        wipe: vec![deleted.clone()],
    };
    let stop = CancellationToken::new();
    assert!(volumes.tidy(&known, &stop));
    let held = |volumes: &Volumes| -> BTreeSet<VolumeId> {
        volumes.held().into_iter().map(|held| held.volume).collect()
    };
    assert_eq!(held(&volumes), [kept.clone(), unknown.clone()].into());
    assert!(!volumes.tidy(&known, &stop), "not at once");
    let mark = volumes.file(&unknown, "orphan");
    let long_ago = nearlight_kit::clock::unix_ms() - 31 * DAY_MS;
    fs::write(&mark, long_ago.to_string()).unwrap();
    let found_again = VolumesKnown {
        keep: vec![kept.clone(), unknown.clone()],
        wipe: Vec::new(),
    };
    assert!(!volumes.tidy(&found_again, &stop) && !mark.exists());
    assert!(!volumes.tidy(&known, &stop), "counted anew");
    fs::write(&mark, long_ago.to_string()).unwrap();
    assert!(volumes.tidy(&known, &stop));
    assert_eq!(held(&volumes), [kept].into());
}

#[test]
fn a_wipe_that_was_cut_off_goes_on_and_is_listed_until_it_is_done() {
    let dir = tempfile::tempdir().unwrap();
    let volumes = volumes(dir.path());
    let volume = nearlight_kit::ids::volume();
    put(&volumes, &volume);
    let known = VolumesKnown {
        keep: Vec::new(),
        wipe: vec![volume.clone()],
    };
    let stopped = CancellationToken::new();
    stopped.cancel();
    assert!(!volumes.tidy(&known, &stopped));
    assert_eq!(volumes.held().len(), 1);
    assert!(!volumes.file(&volume, "img").exists());
    assert!(volumes.tidy(&VolumesKnown::default(), &CancellationToken::new()));
    assert!(volumes.held().is_empty());
}

#[tokio::test]
async fn one_that_is_gone_is_not_replaced_by_an_empty_one() {
    let dir = tempfile::tempdir().unwrap();
    let volumes = volumes(dir.path());
    let grant = VolumeGrant {
        name: "cache".to_owned(),
        volume: nearlight_kit::ids::volume(),
        size_mib: 16,
        is_new: false,
    };
    let who = Who {
        uid: 1,
        gid: 1,
        home: None,
    };
    let lost = volumes.mount(&grant, dir.path(), &who).await.unwrap_err();
    assert!(matches!(lost, VolumeError::Lost(_)), "{lost}");
    assert!(volumes.held().is_empty());
}

/// A power cut in the middle of a write, a wish for more room, a second mount.
#[tokio::test]
async fn a_volume_is_put_in_order_grows_and_is_mounted_once() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let volumes = volumes(dir.path());
    let who = Who {
        uid: 4242,
        gid: 4243,
        home: None,
    };
    let mut grant = VolumeGrant {
        name: "cache".to_owned(),
        volume: nearlight_kit::ids::volume(),
        size_mib: 24,
        is_new: true,
    };
    let at = dir.path().join("at");
    fs::create_dir(&at).unwrap();
    let Ok(root) = volumes.mount(&grant, &at, &who).await else {
        // A container without loop devices cannot.
        return;
    };
    fs::write(root.join("kept"), "words").unwrap();
    let copy = volumes.file(&nearlight_kit::ids::volume(), "img");
    fs::copy(volumes.file(&grant.volume, "img"), &copy).unwrap();
    assert!(is_attached(&volumes.file(&grant.volume, "img")));
    mounts::unmount_below(&at).unwrap();
    // What was copied while it was mounted is a power cut: its journal is played back.
    assert!(detached(&volumes.file(&grant.volume, "img")).await);
    fs::rename(&copy, volumes.file(&grant.volume, "img")).unwrap();
    let mark = volumes.file(&grant.volume, "orphan");
    fs::write(&mark, "1").unwrap();
    (grant.is_new, grant.size_mib) = (false, 40);
    let root = volumes.mount(&grant, &at, &who).await.unwrap();
    let total = nix::sys::statvfs::statvfs(&root).unwrap();
    let mib = total.blocks() * total.fragment_size() / MIB;
    assert!(mib > 28, "it has grown: {mib}");
    assert!(!mark.exists(), "whoever grants it knows it");
    assert_eq!(volumes.held()[0].size_mib, 40);
    mounts::unmount_below(&at).unwrap();
    assert!(detached(&volumes.file(&grant.volume, "img")).await);
    // Garbage is no file system.
    let file = OpenOptions::new()
        .write(true)
        .open(volumes.file(&grant.volume, "img"))
        .unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &vec![0xA5; 8 << 20], 0).unwrap();
    let damaged = volumes.mount(&grant, &at, &who).await.unwrap_err();
    assert!(matches!(damaged, VolumeError::Damaged { .. }), "{damaged}");
}

#[test]
fn what_was_being_made_takes_no_room_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let volumes = volumes(dir.path());
    let [whole, half] = [(); 2].map(|()| nearlight_kit::ids::volume());
    put(&volumes, &whole);
    fs::write(volumes.file(&half, "new"), "half").unwrap();
    volumes.sweep();
    assert!(volumes.file(&whole, "img").exists() && !volumes.file(&half, "new").exists());
    let disks = dir.path().join("disks");
    fs::create_dir(&disks).unwrap();
    fs::write(disks.join("ses"), "half").unwrap();
    super::super::space::sweep_disks(&disks);
    assert_eq!(fs::read_dir(&disks).unwrap().count(), 0);
}

/// An agent that was killed, or a job that was stopped, while the file system was looked over or grew.
#[tokio::test]
async fn a_volume_that_something_still_writes_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let volumes = volumes(dir.path());
    let volume = nearlight_kit::ids::volume();
    put(&volumes, &volume);
    let file = volumes.file(&volume, "img");
    // It ignores that nobody waits for it, says something, and has the file for itself meanwhile.
    let script = "echo begun; while [ ! -e \"$0.go\" ]; do sleep 0.02; echo on; done; echo done > \"$0.done\"";
    let args = [
        std::ffi::OsStr::new("-c"),
        script.as_ref(),
        file.as_os_str(),
    ];
    let running = mounts::unkilled("sh", args, &file, Duration::from_secs(60));
    let given_up = tokio::time::timeout(Duration::from_millis(200), running).await;
    assert!(given_up.is_err(), "it goes on");
    let wait = Duration::from_millis(200);
    let busy = mounts::unkilled_after("true", [""; 0], (&file, wait), wait * 100).await;
    assert!(busy.unwrap().is_none());
    fs::write(dir.path().join(format!("volumes/{volume}.img.go")), "").unwrap();
    let free = mounts::unkilled("true", [""; 0], &file, Duration::from_secs(60)).await;
    assert_eq!(free.unwrap().unwrap().0, Some(0));
    assert!(
        dir.path()
            .join(format!("volumes/{volume}.img.done"))
            .exists()
    );
}
