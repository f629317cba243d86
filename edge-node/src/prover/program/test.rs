//! Programs that are none, that say no, that end in the middle and that hang.

use super::*;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tempfile::TempDir;

const SIZES: Sizes = Sizes {
    rows: 1,
    blocks: 1,
    lanes: 1,
    reads: 1,
    frames: 1,
    tiles: 1,
    steps: 96,
};

fn script(dir: &TempDir, text: &str) -> PathBuf {
    let path = dir.path().join("program");
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn program(path: &Path) -> Program {
    Program {
        path: path.to_owned(),
        device: "adapter-0".to_owned(),
        user: None,
    }
}

/// A probe that is proved by a program, on a thread of its own as always.
struct Proving {
    roots: watch::Receiver<Roots>,
    orders: SyncSender<Order>,
    cancel: CancellationToken,
    thread: std::thread::JoinHandle<Option<()>>,
}

fn prove_by(path: &Path) -> Proving {
    let (told, roots) = watch::channel(Roots::default());
    let (orders, ordered) = sync_channel(1);
    let cancel = CancellationToken::new();
    let (program, runtime, stop) = (program(path), Handle::current(), cancel.clone());
    let thread =
        std::thread::spawn(move || prove((&program, &runtime), (&SIZES, &stop), &told, &ordered));
    Proving {
        roots,
        orders,
        cancel,
        thread,
    }
}

impl Proving {
    /// Why it ends.
    async fn failed(mut self) -> String {
        let failed = self.roots.wait_for(|of| of.failed.is_some()).await;
        let why = failed.unwrap().failed.clone().unwrap();
        assert_eq!(joined(self.thread).await, None);
        why
    }
}

async fn joined(thread: std::thread::JoinHandle<Option<()>>) -> Option<()> {
    let joined = tokio::task::spawn_blocking(|| thread.join());
    joined.await.unwrap().unwrap()
}

#[tokio::test]
async fn whatever_is_wrong_with_a_program_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let none = prove_by(&dir.path().join("none")).failed().await;
    assert!(none.contains("install it beside edge-node"), "{none}");
    let ends = script(&dir, "exit 1");
    assert_eq!(prove_by(&ends).failed().await, ENDED);
    let refuses = script(
        &dir,
        r#"echo '{"said":"failed","why":"no memory is left"}'"#,
    );
    assert_eq!(prove_by(&refuses).failed().await, "no memory is left");
    let babbles = script(&dir, "yes");
    assert_eq!(
        prove_by(&babbles).failed().await,
        ENDED,
        "no end of a line is waited for"
    );
    let large = script(&dir, r#"echo '{"said":"opening","bytes":99999999999}'"#);
    assert_eq!(prove_by(&large).failed().await, ENDED);
}

/// Its roots would be others than a checker asks for, and the node would fail for them.
#[tokio::test]
async fn a_program_of_another_edition_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let old = script(&dir, r#"echo '{"said":"ready"}'; read line"#);
    let why = prove_by(&old).failed().await;
    assert!(
        why.contains("does not say of which edition") && why.contains("install both"),
        "{why}"
    );
    let new = script(&dir, r#"echo '{"said":"ready","edition":3}'; read line"#);
    let why = prove_by(&new).failed().await;
    assert!(
        why.contains("is of edition 3") && why.contains("of edition 2;"),
        "{why}"
    );
}

#[tokio::test]
async fn one_that_ends_in_the_middle_ends_its_probe_and_the_next_one_runs() {
    let dir = tempfile::tempdir().unwrap();
    let path = script(
        &dir,
        r#"echo '{"said":"ready","edition":2}'; read line; exit 0"#,
    );
    for _ in 0..2 {
        let mut proving = prove_by(&path);
        proving.roots.wait_for(|of| of.ready).await.unwrap();
        proving.orders.send(Order::Start([1; 32])).unwrap();
        assert_eq!(proving.failed().await, ENDED);
    }
}

#[tokio::test]
async fn one_that_hangs_is_killed_with_its_probe() {
    let dir = tempfile::tempdir().unwrap();
    let pid = dir.path().join("pid");
    let hangs = format!(
        r#"echo $$ > {}; echo '{{"said":"ready","edition":2}}'; exec sleep 100000"#,
        pid.display()
    );
    let mut proving = prove_by(&script(&dir, &hangs));
    proving.roots.wait_for(|of| of.ready).await.unwrap();
    let pid: i32 = std::fs::read_to_string(pid)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let id = crate::process::ProcessId::of(pid).unwrap();
    proving.cancel.cancel();
    assert_eq!(joined(proving.thread).await, None);
    assert!(!id.is_alive());
    assert_eq!(proving.roots.borrow().failed, None, "nothing was wrong");
}
