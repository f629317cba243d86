//! The configuration in a back-up: a machine that has nothing gets all of it.

use super::*;
use crate::rig::parsed;

const SECRET: &str = "a secret of sixteen and more";

/// Runs the program with a configuration file and nothing else.
async fn with_file(file: &Path, ledger: &str, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_session-broker"));
    command.arg("--config").arg(file).args(args);
    command.env("NEARLIGHT_LEDGER", ledger);
    command.output().await.unwrap()
}

/// A broker's machine, with a configuration that is not the built-in one, and its file.
fn machine(root: &Path) -> PathBuf {
    // Makes the files of the apps.
    parsed(root);
    let etc = root.join("etc");
    std::fs::create_dir_all(&etc).unwrap();
    std::fs::write(etc.join("turn.secret"), SECRET).unwrap();
    let rates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/examples/rates.toml");
    std::fs::copy(rates, etc.join("rates.toml")).unwrap();
    std::fs::create_dir_all(etc.join("recipes/whisper")).unwrap();
    let about = "[whisper]\ntitle = \"W\"\nsummary = \"S\"";
    std::fs::write(etc.join("recipes/recipes.toml"), about).unwrap();
    let job = etc.join("recipes/whisper/job.toml");
    std::fs::write(job, "image = \"r.example/whisper:3\"").unwrap();
    let (root, any) = (root.display(), "127.0.0.1:0");
    let file = etc.join("broker.toml");
    let text = format!(
        r#"
            listen = "{any}"
            node_listen = "{any}"
            data = "{root}/data"
            pki = "{root}/pki"
            apps = "{root}/apps"
            dev_key_file = "{root}/dev.key"
            [limits]
            requests_burst = 1234
            [rates]
            file = "{root}/etc/rates.toml"
            [jobs]
            recipes = "{root}/etc/recipes"
            [turn]
            urls = ["turn:turn.example.org:3478"]
            secret_file = "{root}/etc/turn.secret"
        "#
    );
    std::fs::write(&file, text).unwrap();
    file
}

/// Loses a machine but for its back-up, and has it again at the same place.
async fn is_whole_again(ledgers: [&str; 2]) {
    let dir = tempfile::tempdir().unwrap();
    let (root, lost) = (dir.path().join("broker"), dir.path().join("lost"));
    std::fs::create_dir(&root).unwrap();
    let file = machine(&root);
    let broker = Program::of_file(&file, ledgers[0]).await;
    let node = Node::new(&root.join("pki"), 1);
    let edge = attach_to(&root.join("pki"), &node, &broker, Vec::new()).await;
    let session = id(&Client::guest(broker.listen).await.create("demo").await);
    let backup = dir.path().join("backup");
    let named = backup.to_str().unwrap();
    let done = with_file(&file, ledgers[0], &["--backup", named]).await;
    assert!(done.status.success(), "{}", said(&done));
    let effective = with_file(&file, "", &["--check-config"]).await;
    assert!(effective.status.success(), "{}", said(&effective));
    broker.kill().await;
    drop(edge);
    std::fs::rename(&root, &lost).unwrap();

    // What is there of another broker stays as it is, and keeps the restore away.
    std::fs::create_dir_all(root.join("etc")).unwrap();
    let secret = root.join("etc/turn.secret");
    std::fs::write(&secret, "another broker's secret").unwrap();
    let restore = ["--restore", named];
    let refused = with_file(&file, ledgers[1], &restore).await;
    assert!(
        said(&refused).contains("is not of this back-up"),
        "{}",
        said(&refused)
    );
    assert!(!file.exists() && !root.join("etc/rates.toml").exists());
    std::fs::remove_dir_all(&root).unwrap();

    let done = with_file(&file, ledgers[1], &restore).await;
    assert!(done.status.success(), "{}", said(&done));
    for name in [
        "etc/broker.toml",
        "etc/turn.secret",
        "etc/rates.toml",
        "apps/demo.toml",
    ] {
        let [before, now] = [&lost, &root].map(|at| std::fs::read(at.join(name)).unwrap());
        assert_eq!(before, now, "{name}");
        let of = std::fs::metadata(root.join(name)).unwrap().permissions();
        assert_eq!(
            std::os::unix::fs::PermissionsExt::mode(&of) & 0o777,
            0o600,
            "{name}"
        );
    }
    let again = with_file(&file, "", &["--check-config"]).await;
    assert_eq!(said_out(&again), said_out(&effective));
    let broker = Program::of_file(&file, ledgers[1]).await;
    let shown = admin(&root, broker.listen);
    let shown = shown.get(&format!("/v1/sessions/{session}")).await;
    assert_eq!(shown.status, 200, "{shown:?}");
    attach_to(&lost.join("pki"), &node, &broker, Vec::new()).await;
}

fn said_out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test]
async fn a_machine_with_nothing_gets_the_configuration_back_with_a_sqlite_ledger() {
    Box::pin(is_whole_again(["", ""])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_with_nothing_gets_the_configuration_back_with_a_postgres_ledger() {
    let (Some(old), Some(new)) = (Postgres::start(), Postgres::start()) else {
        return;
    };
    Box::pin(is_whole_again([&old.url, &new.url])).await;
}

#[tokio::test]
async fn a_configuration_that_is_there_is_the_operators() {
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = machine(old.path());
    let broker = Program::of_file(&file, "").await;
    let backup = old.path().join("backup");
    let named = backup.to_str().unwrap();
    let done = with_file(&file, "", &["--backup", named]).await;
    assert!(done.status.success(), "{}", said(&done));
    broker.kill().await;
    let other = machine(new.path());
    let before = std::fs::read(&other).unwrap();
    let done = with_file(&other, "", &["--restore", named]).await;
    assert!(done.status.success(), "{}", said(&done));
    assert_eq!(std::fs::read(&other).unwrap(), before);
    assert!(new.path().join("data/signing.key").exists());

    // One without a configuration says that it has none.
    let bare = old.path().join("bare");
    let flags = ["--backup", bare.to_str().unwrap()];
    assert!(once(old.path(), &flags).await.status.success());
    let nowhere = new.path().join("nowhere.toml");
    let refused = with_file(&nowhere, "", &["--restore", bare.to_str().unwrap()]).await;
    assert!(
        said(&refused).contains("has no configuration"),
        "{}",
        said(&refused)
    );
}
