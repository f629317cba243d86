//! Downloads from a real server on loopback, which misbehaves as its paths say.

use super::*;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

const SIZE: usize = 3 * 1024 * 1024 / 2;

/// A server with a certificate of its own.
struct Server {
    port: u16,
    roots: tempfile::NamedTempFile,
    seen: Arc<Mutex<Vec<String>>>,
}

fn body() -> Vec<u8> {
    (0..SIZE).map(|n| u8::try_from(n % 251).unwrap()).collect()
}

fn digest_of(body: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    format!("sha256:{:x}", Sha256::digest(body))
}

impl Server {
    fn start() -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let key =
            rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let config = Arc::new(config);
        let mut roots = tempfile::NamedTempFile::new().unwrap();
        roots.write_all(made.cert.pem().as_bytes()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let requests = seen.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (config, requests) = (config.clone(), requests.clone());
                std::thread::spawn(move || serve(stream, config, port, &requests));
            }
        });
        Self { port, roots, seen }
    }

    fn asset(&self, path: &str) -> Asset {
        Asset {
            url: format!("https://localhost:{}{path}", self.port),
            digest: digest_of(&body()),
            size_mib: 2,
            path: "/m".to_owned(),
        }
    }

    fn assets(&self, dir: &Path, limit_mib: u64) -> Arc<Assets> {
        let loopback = ["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
        let fetcher = Fetcher::new(&loopback, Some(self.roots.path())).unwrap();
        Assets::open(dir, limit_mib, fetcher).unwrap()
    }

    fn requests(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

fn serve(tcp: TcpStream, config: Arc<rustls::ServerConfig>, port: u16, seen: &Mutex<Vec<String>>) {
    let connection = rustls::ServerConnection::new(config).unwrap();
    let mut stream = rustls::StreamOwned::new(connection, tcp);
    // One request a connection; whoever hangs up meanwhile is none the worse.
    let _ = answer(&mut stream, port, seen);
}

fn answer<S: Read + Write>(stream: &mut S, port: u16, seen: &Mutex<Vec<String>>) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let (mut line, mut from) = (String::new(), 0_usize);
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    loop {
        let mut field = String::new();
        if reader.read_line(&mut field)? == 0 || field == "\r\n" {
            break;
        }
        if let Some(range) = field.to_ascii_lowercase().strip_prefix("range: bytes=") {
            from = range.trim().trim_end_matches('-').parse().unwrap();
        }
    }
    let stream = reader.into_inner();
    let times = {
        let mut seen = seen.lock().unwrap();
        seen.push(format!("{path} {from}"));
        seen.iter().filter(|one| one.starts_with(&path)).count()
    };
    let whole = body();
    let head =
        |status: &str, more: &str| format!("HTTP/1.1 {status}\r\nConnection: close\r\n{more}\r\n");
    let plain = format!("Content-Length: {}\r\n", whole.len());
    if let Some(to) = elsewhere(&path, port) {
        let to = format!("Location: {to}\r\nContent-Length: 0\r\n");
        stream.write_all(head("302 Found", &to).as_bytes())?;
        return stream.flush();
    }
    match path.as_str() {
        "/breaks" | "/breaks-and-begins-again" => {
            let from = if path == "/breaks" { from } else { 0 };
            stream.write_all(&broken_off(&whole, from, times > 3))?;
        }
        // A piece, and then nothing before somebody has asked for another one.
        "/stuck" => {
            stream.write_all(head("200 OK", &plain).as_bytes())?;
            stream.write_all(&whole[..1000])?;
            stream.flush()?;
            let is_whole = |one: &String| one.starts_with("/whole");
            while !seen.lock().unwrap().iter().any(is_whole) {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        // A piece, and then so little that it takes hours.
        "/trickle" => {
            stream.write_all(head("200 OK", &plain).as_bytes())?;
            stream.write_all(&whole[..1000])?;
            for byte in whole[1000..].chunks(1) {
                stream.write_all(byte)?;
                stream.flush()?;
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        "/endless" => {
            stream.write_all(head("200 OK", "").as_bytes())?;
            loop {
                stream.write_all(&whole)?;
            }
        }
        "/large" => stream.write_all(head("200 OK", "Content-Length: 99999999\r\n").as_bytes())?,
        "/wrong" => {
            stream.write_all(head("200 OK", "Content-Length: 5\r\n").as_bytes())?;
            stream.write_all(b"wrong")?;
        }
        "/none" => stream.write_all(head("404 Not Found", "Content-Length: 0\r\n").as_bytes())?,
        _ => {
            stream.write_all(head("200 OK", &plain).as_bytes())?;
            stream.write_all(&whole)?;
        }
    }
    stream.flush()
}

/// An answer from `from` on: a third of the file and then the line is cut, or all that is asked for.
fn broken_off(whole: &[u8], from: usize, is_whole: bool) -> Vec<u8> {
    let (rest, length, last) = (&whole[from..], whole.len(), whole.len() - 1);
    let head = match from {
        0 => format!("200 OK\r\nContent-Length: {length}"),
        _ => format!(
            "206 Partial Content\r\nContent-Length: {}\r\nContent-Range: bytes {from}-{last}/{length}",
            rest.len()
        ),
    };
    let most = if is_whole { length } else { length / 3 };
    let mut answer = format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n").into_bytes();
    answer.extend_from_slice(&rest[..most.min(rest.len())]);
    answer
}

/// Where a path leads.
fn elsewhere(path: &str, port: u16) -> Option<String> {
    match path {
        "/moved" => Some(format!("https://localhost:{port}/whole")),
        "/to-http" => Some(format!("http://localhost:{port}/whole")),
        "/to-metadata" => Some("https://169.254.169.254/latest".to_owned()),
        "/circle" => Some("/circle".to_owned()),
        _ => None,
    }
}

async fn fetched(assets: &Arc<Assets>, owner: &str, asset: &Asset) -> Result<(), String> {
    let wanted = [asset.clone()];
    let _held = assets.used(&wanted);
    let fetch = assets.fetch(owner, &wanted);
    let fetched = tokio::time::timeout(Duration::from_secs(60), fetch)
        .await
        .unwrap();
    fetched.map_err(|error| error.to_string())
}

fn files(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir.join("assets")).unwrap().flatten();
    let mut names: Vec<_> = entries
        .map(|entry| entry.file_name().into_string().unwrap())
        .filter(|name| name != "shelf.json")
        .collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn what_breaks_off_goes_on_and_what_is_whole_is_read_only_and_stays() {
    let server = Server::start();
    let dir = tempfile::tempdir().unwrap();
    let assets = server.assets(dir.path(), 64);
    let asset = server.asset("/breaks");
    fetched(&assets, "a", &asset).await.unwrap();
    let third = SIZE / 3;
    assert_eq!(
        server.requests(),
        [
            "/breaks 0".to_owned(),
            format!("/breaks {third}"),
            format!("/breaks {}", 2 * third)
        ]
    );
    let path = assets.path(&asset.digest);
    assert_eq!(fs::read(&path).unwrap(), body());
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o444
    );
    assert_eq!(
        assets.progress("a", std::slice::from_ref(&asset)),
        (SIZE as u64, SIZE as u64, 1)
    );
    // The next agent has it, too.
    drop(assets);
    let assets = server.assets(dir.path(), 64);
    fetched(&assets, "a", &asset).await.unwrap();
    assert_eq!(server.requests().len(), 3);
    assert_eq!(assets.listed(), [format!("a/{}", asset.digest)]);
    // One that was cut off on the disk has not.
    drop(assets);
    fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(7)
        .unwrap();
    let assets = server.assets(dir.path(), 64);
    assert!(assets.listed().is_empty() && files(dir.path()).is_empty());
}

#[tokio::test]
async fn a_server_that_does_not_go_on_begins_again() {
    let server = Server::start();
    let dir = tempfile::tempdir().unwrap();
    let assets = server.assets(dir.path(), 64);
    let asset = server.asset("/breaks-and-begins-again");
    fetched(&assets, "a", &asset).await.unwrap();
    assert_eq!(fs::read(assets.path(&asset.digest)).unwrap(), body());
}

#[tokio::test]
async fn what_an_agent_left_half_fetched_is_gone_on_with() {
    let server = Server::start();
    let dir = tempfile::tempdir().unwrap();
    let assets = server.assets(dir.path(), 64);
    let asset = server.asset("/breaks");
    fs::write(
        dir.path()
            .join("assets")
            .join(part_name("a", &asset.digest)),
        &body()[..1000],
    )
    .unwrap();
    fetched(&assets, "a", &asset).await.unwrap();
    assert_eq!(server.requests()[0], "/breaks 1000");
    assert_eq!(fs::read(assets.path(&asset.digest)).unwrap(), body());
}

#[tokio::test]
async fn what_is_not_right_is_not_kept_and_says_why() {
    let server = Server::start();
    let dir = tempfile::tempdir().unwrap();
    let assets = server.assets(dir.path(), 64);
    for (path, words) in [
        ("/wrong", "not what its digest says"),
        ("/endless", "larger than its size_mib"),
        ("/large", "larger than its size_mib"),
        ("/none", "404"),
        ("/to-http", "https"),
        ("/to-metadata", "not public"),
        ("/circle", "a few times"),
    ] {
        let error = fetched(&assets, "a", &server.asset(path))
            .await
            .unwrap_err();
        assert!(error.contains(words), "{path}: {error}");
        assert!(files(dir.path()).is_empty(), "{path}");
    }
    fetched(&assets, "a", &server.asset("/moved"))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_private_address_is_not_asked() {
    let server = Server::start();
    let dir = tempfile::tempdir().unwrap();
    let fetcher = Fetcher::new(&[], Some(server.roots.path())).unwrap();
    let assets = Assets::open(dir.path(), 64, fetcher).unwrap();
    let error = fetched(&assets, "a", &server.asset("/whole"))
        .await
        .unwrap_err();
    assert!(error.contains("not public"), "{error}");
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn jobs_that_ask_at_once_share_one_download() {
    let server = Server::start();
    let dir = tempfile::tempdir().unwrap();
    let assets = server.assets(dir.path(), 64);
    let asset = server.asset("/whole");
    let (one, two) = tokio::join!(fetched(&assets, "a", &asset), fetched(&assets, "a", &asset));
    assert!(one.is_ok() && two.is_ok());
    assert_eq!(server.requests(), ["/whole 0"]);
}

#[tokio::test]
async fn a_slow_server_of_one_owner_holds_up_no_other() {
    let server = Server::start();
    let dir = tempfile::tempdir().unwrap();
    let assets = server.assets(dir.path(), 64);
    let (stuck, whole) = (server.asset("/stuck"), server.asset("/whole"));
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..2 * FETCHES_MAX {
        let asset = Asset {
            digest: match n {
                0 => stuck.digest.clone(),
                n => digest_of(&[u8::try_from(n).unwrap()]),
            },
            ..stuck.clone()
        };
        let assets = assets.clone();
        tasks.spawn(async move { fetched(&assets, "a", &asset).await });
    }
    while server.requests().len() < FETCHES_OF_ONE_MAX {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    fetched(&assets, "b", &whole).await.unwrap();
    assert_eq!(files(dir.path()).len(), 1 + FETCHES_OF_ONE_MAX);
    tasks.shutdown().await;
}

#[tokio::test]
async fn who_knows_a_digest_and_cannot_fetch_it_gets_nothing() {
    let server = Server::start();
    let dir = tempfile::tempdir().unwrap();
    let assets = server.assets(dir.path(), 64);
    let theirs = server.asset("/whole");
    fetched(&assets, "a", &theirs).await.unwrap();
    for path in ["/none", "/wrong"] {
        fetched(&assets, "b", &server.asset(path))
            .await
            .unwrap_err();
    }
    assert_eq!(assets.listed(), [format!("a/{}", theirs.digest)]);
    // What another owner left on its way is no right either.
    let left = tempfile::tempdir().unwrap();
    let other = server.assets(left.path(), 64);
    let whole = (left.path().join("assets")).join(part_name("a", &theirs.digest));
    fs::write(whole, body()).unwrap();
    fetched(&other, "b", &server.asset("/none"))
        .await
        .unwrap_err();
    assert!(other.listed().is_empty());
    fetched(&other, "a", &server.asset("/none")).await.unwrap();
    // Who can has it, and it is kept once.
    fetched(&assets, "b", &server.asset("/breaks"))
        .await
        .unwrap();
    assert_eq!(assets.listed().len(), 2);
    assert_eq!(files(dir.path()).len(), 1);
    assert_eq!(fs::read(assets.path(&theirs.digest)).unwrap(), body());
}

#[tokio::test]
async fn what_is_fetched_for_everybody_is_anybodys_by_its_digest() {
    use nearlight_protocol::volume::EVERYBODY;
    let server = Server::start();
    let dir = tempfile::tempdir().unwrap();
    let assets = server.assets(dir.path(), 64);
    fetched(&assets, EVERYBODY, &server.asset("/whole"))
        .await
        .unwrap();
    fetched(&assets, "a", &server.asset("/none")).await.unwrap();
    assert_eq!(server.requests(), ["/whole 0"]);
    let digest = digest_of(&body());
    assert_eq!(assets.listed(), [format!("everybody/{digest}")]);
}

#[tokio::test]
async fn a_job_that_goes_ends_its_download() {
    let server = Server::start();
    let dir = tempfile::tempdir().unwrap();
    let assets = server.assets(dir.path(), 64 * 1024);
    let mut endless = server.asset("/endless");
    endless.size_mib = 16 * 1024;
    let wanted = [endless.clone()];
    let held = assets.used(&wanted);
    let task = {
        let (assets, wanted) = (assets.clone(), wanted.clone());
        async move { assets.fetch("a", &wanted).await }
    };
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(task);
    while assets.progress("a", &wanted).0 == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tasks.shutdown().await;
    drop(held);
    // Its thread lets go: the next one gets its turn.
    let mut right = server.asset("/wrong");
    right.digest = endless.digest;
    let error = fetched(&assets, "a", &right).await.unwrap_err();
    assert!(error.contains("not what its digest says"), "{error}");
}

#[tokio::test]
async fn the_least_used_goes_and_what_a_job_uses_stays() {
    let server = Server::start();
    let dir = tempfile::tempdir().unwrap();
    let assets = server.assets(dir.path(), 4);
    let small = |text: &[u8], path: &str| Asset {
        digest: digest_of(text),
        size_mib: 2,
        ..server.asset(path)
    };
    let (one, two) = (server.asset("/whole"), small(b"wrong", "/wrong"));
    fetched(&assets, "a", &one).await.unwrap();
    let held = assets.used(std::slice::from_ref(&one));
    fetched(&assets, "a", &two).await.unwrap();
    assert_eq!(files(dir.path()).len(), 2);
    // 1.5 MiB are held; 3 more do not fit beside them, whatever else goes.
    let large = Asset {
        size_mib: 3,
        ..small(b"x", "/none")
    };
    let error = fetched(&assets, "a", &large).await.unwrap_err();
    assert!(error.contains("do not fit"), "{error}");
    assert_eq!(files(dir.path()).len(), 2, "nothing went for nothing");
    drop(held);
    let error = fetched(&assets, "a", &large).await.unwrap_err();
    assert!(error.contains("404"), "{error}");
    assert_eq!(
        files(dir.path()).len(),
        2,
        "who has nothing to send empties no shelf"
    );
    // What comes takes the room of what was used longest ago, as far as it needs it.
    let _held_two = assets.used(std::slice::from_ref(&two));
    let endless = Asset {
        size_mib: 4,
        ..small(b"y", "/endless")
    };
    let error = fetched(&assets, "a", &endless).await.unwrap_err();
    assert!(
        error.contains("do not fit"),
        "beside `two`, which is held: {error}"
    );
    let endless = Asset {
        size_mib: 3,
        ..endless
    };
    let error = fetched(&assets, "a", &endless).await.unwrap_err();
    assert!(error.contains("larger than its size_mib"), "{error}");
    assert_eq!(
        files(dir.path()),
        [two.digest.trim_start_matches("sha256:")]
    );
}

#[tokio::test]
async fn what_a_download_leaves_is_gone_on_with_and_is_the_first_to_go() {
    let server = Server::start();
    let dir = tempfile::tempdir().unwrap();
    let assets = server.assets(dir.path(), 3);
    let wanted = [server.asset("/trickle")];
    let left = part_name("a", &wanted[0].digest);
    let held = assets.used(&wanted);
    let (fetching, of) = (assets.clone(), wanted.clone());
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move { fetching.fetch("a", &of).await });
    while assets.progress("a", &wanted).0 < 1000 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tasks.shutdown().await;
    drop(held);
    // Whoever comes next asks for the rest alone.
    let whole = server.asset("/whole");
    fetched(&assets, "a", &whole).await.unwrap();
    let requests = server.requests();
    let [first, second] = &requests[..] else {
        panic!("{requests:?}")
    };
    let from = second.strip_prefix("/whole ").unwrap();
    assert!(
        first == "/trickle 0" && from.parse::<usize>().unwrap() >= 1000,
        "{requests:?}"
    );
    assert_eq!(fs::read(assets.path(&whole.digest)).unwrap(), body());

    // Beside one that is half here there is room for another one only if it goes.
    assets.shelf().broke_off(&left, 2 * MIB, 0);
    fs::write(
        dir.path().join("assets").join(&left),
        vec![0; 2 * MIB as usize],
    )
    .unwrap();
    let other = Asset {
        digest: digest_of(b"wrong"),
        size_mib: 1,
        ..server.asset("/wrong")
    };
    fetched(&assets, "b", &other).await.unwrap();
    assert!(!files(dir.path()).contains(&left));
    assert!(assets.shelf().has(&whole.digest), "what is whole stays");
}
