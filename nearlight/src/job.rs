//! `nearlight session start -f job.toml`: a job from its file, its secrets from where they are, and a [`wait`]
//! until it is ready. A file that ends in `.yaml` or `.yml` is a compose file ([`crate::compose`]).
//!
//! **What it does not know:** what is right in a spec beyond what [`JobSpec::fault`] says; the broker has
//! the last word.

use crate::cli::{AskEndpoint, Broker, SecretArg, SecretFrom, Start};
use crate::client::Client;
use crate::command::{CommandError, show};
use crate::compose::{self, Finding, SecretSource};
use crate::recipe;
use crate::terminal;
use interrupt::{Asked, Interrupts};
use nearlight_protocol::api::{CreateSession, SavesWish, Session};
use nearlight_protocol::endpoint::{CreateEndpoint, Endpoint};
use nearlight_protocol::job::{JobFault, JobSpec};
use nearlight_protocol::unit::rfc3339;
use nearlight_protocol::work::Secrets;
use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};

mod interrupt;
mod wait;

const SESSIONS: &str = "/v1/sessions";
/// Largest file of a job or of a secret, bytes: several times what a broker takes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Why a job is not started.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is no job: not TOML, or with a key that jobs do not have.
    #[error("{}: {problem}", path.display())]
    NoJob {
        /// Which.
        path: PathBuf,
        /// What is wrong, with its line.
        problem: String,
    },
    /// A job that cannot work.
    #[error("{}: {fault}", path.display())]
    Fault {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        fault: JobFault,
    },
    /// A compose file that is no job.
    #[error("{} is no job:\n{refused}", path.display())]
    NoCompose {
        /// Which.
        path: PathBuf,
        /// All that stands in the way.
        refused: compose::Refused,
    },
    /// A secret without a value.
    #[error("the secret {name} has no value: {problem}")]
    Secret {
        /// Which.
        name: String,
        /// Why.
        problem: String,
    },
}

/// Starts the job of a file.
///
/// # Errors
/// [`CommandError`].
pub(crate) fn start(start: &Start, file: &Path, broker: &Broker) -> Result<(), CommandError> {
    let JobFile {
        spec,
        secrets: declared,
        notes,
    } = read(file)?;
    say(file, &notes);
    let secrets = secrets(&spec, &with_declared(&start.secrets, declared))?;
    let client = Client::new(broker)?;
    launch(start, (spec, secrets), &client, broker)
}

/// Starts a job that the broker has ready.
///
/// # Errors
/// [`CommandError`].
pub(crate) fn start_recipe(
    start: &Start,
    recipe: &str,
    broker: &Broker,
) -> Result<(), CommandError> {
    let client = Client::new(broker)?;
    let spec = recipe::found(&client, recipe)?.job;
    let secrets = secrets(&spec, &start.secrets)?;
    launch(start, (spec, secrets), &client, broker)
}

fn launch(
    start: &Start,
    (spec, secrets): (JobSpec, Secrets),
    client: &Client,
    broker: &Broker,
) -> Result<(), CommandError> {
    let request = CreateSession {
        app: None,
        job: Some(Box::new(spec)),
        secrets,
        display: None,
        keyboard_layout: None,
        region: None,
        rtt: Vec::new(),
        saves: SavesWish::default(),
        budget_micro: start.budget_micro,
        price_max: None,
    };
    if start.detach {
        let created: Session = client.post_once(SESSIONS, &request)?;
        show(broker, &created, || format!("{}\n", created.id));
        return Ok(());
    }
    let asked = Asked::new(request);
    let interrupts = Interrupts::watch(broker, &asked)?;
    let created = client.post_once_as(&asked.key, SESSIONS, &asked.request);
    let waited = created.map_err(CommandError::from).and_then(|created| {
        interrupts.are_for(&created);
        wait::until_ready(client, &created, broker)
    });
    interrupts.are_over();
    waited
}

/// Prints the `job.toml` of a compose file.
///
/// # Errors
/// [`CommandError`] with all that stands in the way.
pub(crate) fn convert(file: &Path) -> Result<(), CommandError> {
    let JobFile {
        spec,
        secrets,
        notes,
    } = read(file)?;
    say(file, &notes);
    for SecretArg { name, from } in secrets {
        let from = match from {
            SecretFrom::File(path) => format!("@{}", path.display()),
            SecretFrom::Env(variable) => format!("env:{variable}"),
            SecretFrom::Stdin => "-".to_owned(),
        };
        terminal::note(format_args!("give its secret with --secret {name}={from}"));
    }
    let text = compose::job_toml(&spec).map_err(|error| JobError::NoJob {
        path: file.to_owned(),
        problem: error.to_string(),
    })?;
    terminal::text(&text);
    Ok(())
}

/// What a file holds.
#[derive(Debug)]
struct JobFile {
    spec: JobSpec,
    /// Where it says that the values of secrets are.
    secrets: Vec<SecretArg>,
    notes: Vec<Finding>,
}

fn say(file: &Path, notes: &[Finding]) {
    for note in notes {
        terminal::note(format_args!("{}: {note}", file.display()));
    }
}

/// What the command line says goes before what the file says.
fn with_declared(given: &[SecretArg], declared: Vec<SecretArg>) -> Vec<SecretArg> {
    let is_given = |one: &SecretArg| given.iter().any(|arg| arg.name == one.name);
    let rest = declared.into_iter().filter(|one| !is_given(one));
    given.iter().cloned().chain(rest).collect()
}

/// The job in a file.
fn read(file: &Path) -> Result<JobFile, JobError> {
    let path = file.to_owned();
    let text = text_of(file).map_err(|source| JobError::Read {
        path: path.clone(),
        source,
    })?;
    let extension = file.extension().and_then(|extension| extension.to_str());
    if let Some("yaml" | "yml") = extension {
        return read_compose(path, &text);
    }
    let spec: JobSpec = toml::from_str(&text).map_err(|error| JobError::NoJob {
        path: path.clone(),
        problem: error.to_string().trim().to_owned(),
    })?;
    match spec.fault() {
        Some(fault) => Err(JobError::Fault { path, fault }),
        None => Ok(JobFile {
            spec,
            secrets: Vec::new(),
            notes: Vec::new(),
        }),
    }
}

/// All of a file; what is larger is none that was meant.
fn text_of(file: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let mut bounded = std::fs::File::open(file)?.take(FILE_BYTES_MAX + 1);
    bounded.read_to_string(&mut text)?;
    match text.len() as u64 <= FILE_BYTES_MAX {
        true => Ok(text),
        false => Err(std::io::Error::other("it is larger than 1 MiB")),
    }
}

fn read_compose(path: PathBuf, text: &str) -> Result<JobFile, JobError> {
    let composed = match compose::convert(text) {
        Ok(composed) => composed,
        Err(refused) => return Err(JobError::NoCompose { path, refused }),
    };
    let dir = path.parent().unwrap_or(Path::new(""));
    let secret = |secret: compose::ComposeSecret| SecretArg {
        name: secret.name,
        from: match secret.from {
            SecretSource::File(file) => SecretFrom::File(dir.join(file)),
            SecretSource::Env(variable) => SecretFrom::Env(variable),
        },
    };
    Ok(JobFile {
        spec: composed.spec,
        secrets: composed.secrets.into_iter().map(secret).collect(),
        notes: composed.notes,
    })
}

/// The values of the job's secrets: of each that it names, and of no other.
fn secrets(spec: &JobSpec, given: &[SecretArg]) -> Result<Secrets, JobError> {
    let mut secrets = Secrets::default();
    for arg in given {
        let wrong = |problem: String| JobError::Secret {
            name: arg.name.clone(),
            problem,
        };
        if !spec.secrets.contains(&arg.name) {
            return Err(wrong("the job's `secrets` do not name it".to_owned()));
        }
        let value = value(&arg.from).map_err(wrong)?;
        if secrets.0.insert(arg.name.clone(), value).is_some() {
            return Err(wrong("it is given twice".to_owned()));
        }
    }
    match spec
        .secrets
        .iter()
        .find(|name| !secrets.0.contains_key(*name))
    {
        Some(name) => Err(JobError::Secret {
            name: name.clone(),
            problem: format!("give it with --secret {name}=@FILE"),
        }),
        None => Ok(secrets),
    }
}

fn value(from: &SecretFrom) -> Result<String, String> {
    match from {
        SecretFrom::File(path) => {
            text_of(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))
        }
        SecretFrom::Env(variable) => std::env::var(variable)
            .map_err(|_| format!("there is no variable {variable}, or it is no text")),
        SecretFrom::Stdin => {
            let mut line = String::new();
            let read = std::io::stdin().lock().read_line(&mut line);
            match read {
                Ok(1..) => Ok(line.trim_end_matches(['\r', '\n']).to_owned()),
                Ok(0) => Err("there is no line on stdin".to_owned()),
                Err(error) => Err(format!("stdin cannot be read: {error}")),
            }
        }
    }
}

/// `session endpoint`: where a job is reached, and a ticket for it.
pub(crate) fn endpoint(args: &AskEndpoint, broker: &Broker) -> Result<(), CommandError> {
    let expires_s = args.expires.map(u32::try_from).transpose();
    let wanted = CreateEndpoint {
        port: args.port.clone(),
        expires_s: expires_s.unwrap_or(Some(u32::MAX)),
        methods: (!args.methods.is_empty()).then(|| args.methods.clone()),
        path: args.path.clone(),
    };
    let path = format!("/v1/sessions/{}/endpoint", args.session);
    let found: Endpoint = Client::new(broker)?.post(&path, &wanted)?;
    show(broker, &found, || in_lines(&found));
    Ok(())
}

fn in_lines(found: &Endpoint) -> String {
    let direct = found.direct_url.as_ref().map_or_else(String::new, |url| {
        let until = found.direct_expires_at.map(rfc3339).unwrap_or_default();
        let ticket = found.direct_ticket.as_ref();
        let ticket = ticket.map_or_else(String::new, |ticket| format!("with ticket {ticket}\n"));
        format!("at its node {url} until {until}\n{ticket}")
    });
    format!(
        "address     {}\nticket      {}\nworks until {}\nin browsers {} (once)\n{direct}",
        found.url,
        found.ticket,
        rfc3339(found.expires_at),
        found.open_url
    )
}

#[cfg(test)]
mod test {
    use super::*;

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("job.toml");
        std::fs::write(&path, text).unwrap();
        (dir, path)
    }

    #[test]
    fn a_file_is_a_job_or_says_why_it_is_none() {
        let (_dir, path) = file(
            "image = \"registry.example/a:1\"\nsecrets = [\"TOKEN\"]\n\
             [resources]\ncpu_milli = 500\n[labels]\ncustomer = \"acme\"\n",
        );
        let spec = read(&path).unwrap().spec;
        assert_eq!((spec.resources.cpu_milli, spec.labels.len()), (500, 1));
        for (text, expected) in [
            ("image = \"a:1\"\ncolour = 1\n", "line 2"),
            ("image = \"A B\"\n", "image: "),
            ("image = \"a:1\"\n[time]\nmax_s = 0\n", "time.max_s"),
        ] {
            let (_dir, path) = file(text);
            let said = read(&path).unwrap_err().to_string();
            assert!(said.contains(expected), "{said}");
        }
    }

    #[test]
    fn a_compose_file_is_a_job_whose_secrets_lie_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("compose.yaml");
        let text = "services:\n  web:\n    image: a:1\n    secrets: [token, key]\n\
            secrets:\n  token: {file: ./token.txt}\n  key: {environment: KEY}\n";
        std::fs::write(&path, text).unwrap();
        std::fs::write(dir.path().join("token.txt"), "hunter2").unwrap();
        std::fs::write(dir.path().join("other.txt"), "hunter3").unwrap();
        let JobFile {
            spec,
            secrets: declared,
            ..
        } = read(&path).unwrap();
        let key = SecretArg {
            name: "key".to_owned(),
            from: SecretFrom::File(dir.path().join("other.txt")),
        };
        let found = secrets(&spec, &with_declared(&[key], declared)).unwrap();
        let values = [("key", "hunter3"), ("token", "hunter2")];
        assert_eq!(
            found.0,
            values.map(|(k, v)| (k.to_owned(), v.to_owned())).into()
        );
        std::fs::write(&path, "services: {a: {image: b, build: .}}\n").unwrap();
        let said = read(&path).unwrap_err().to_string();
        assert!(said.contains("line 1: services.a.build"), "{said}");
    }

    #[test]
    fn the_recipes_of_the_catalogue_are_jobs() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/jobs");
        let mut names: Vec<_> = std::fs::read_dir(&dir)
            .unwrap()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.path().is_dir())
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect();
        names.sort_unstable();
        let expected = [
            "embeddings",
            "jupyter",
            "llama",
            "ray",
            "shared",
            "torchrun",
            "vllm",
        ];
        assert_eq!(names, expected);
        // What recipes have in common is no job.
        names.retain(|name| name != "shared");
        for name in names {
            let spec = read(&dir.join(&name).join("job.toml")).unwrap().spec;
            assert_eq!(spec.image, format!("nearlight/job-{name}:1"));
            assert!(dir.join(&name).join("Dockerfile").is_file(), "{name}");
        }
    }

    fn vllm() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/jobs/vllm")
    }

    fn by_digest(model: &Path) -> std::process::Output {
        let mut script = std::process::Command::new(vllm().join("by-digest.sh"));
        let url = "https://models.example/qwen";
        script.args([model.as_os_str(), url.as_ref()]);
        script.output().unwrap()
    }

    #[test]
    fn weights_that_are_links_of_a_hubs_cache_are_assets_and_what_cannot_be_one_is_no_job() {
        let dir = tempfile::tempdir().unwrap();
        let model = dir.path().join("snapshot");
        std::fs::create_dir_all(model.join(".cache/download")).unwrap();
        std::fs::write(model.join(".cache/download/a.metadata"), "b").unwrap();
        let none = by_digest(&model);
        assert_eq!(none.status.code(), Some(1), "{none:?}");
        let link = |to: &str, name: &str| {
            std::os::unix::fs::symlink(dir.path().join(to), model.join(name)).unwrap();
        };
        std::fs::write(dir.path().join("blob"), "abc").unwrap();
        link("blob", "config.json");
        let (_dir, path) = file(&String::from_utf8(by_digest(&model).stdout).unwrap());
        let [config] = &read(&path).unwrap().spec.assets[..] else {
            panic!("{path:?}")
        };
        assert_eq!(config.path, "/models/model/config.json");
        assert!(config.digest.contains("ba7816bf"), "{config:?}");
        for (to, name) in [("gone", "weights.bin"), ("blob", "a b#.json")] {
            link(to, name);
            let made = by_digest(&model);
            assert!(!made.status.success() && made.stdout.is_empty(), "{made:?}");
            std::fs::remove_file(model.join(name)).unwrap();
        }
    }

    #[test]
    fn the_weights_of_vllm_are_assets_where_somebody_has_read_their_digests() {
        let model = tempfile::tempdir().unwrap();
        std::fs::write(model.path().join("config.json"), "abc").unwrap();
        std::fs::write(model.path().join("model.safetensors"), vec![0; 2 << 20]).unwrap();
        let made = by_digest(model.path());
        assert!(made.status.success(), "{made:?}");
        let (_dir, path) = file(&String::from_utf8(made.stdout).unwrap());
        let with_assets = read(&path).unwrap().spec;
        let of_hub = read(&vllm().join("job.toml")).unwrap().spec;
        assert_eq!(with_assets.volumes, []);
        assert!(with_assets.egress.allow.is_empty());
        assert_eq!(with_assets.resources, of_hub.resources);
        assert_eq!(with_assets.command[2], "/models/model");
        assert_eq!(with_assets.command[4], of_hub.command[2]);
        let [config, weights] = &with_assets.assets[..] else {
            panic!("{:?}", with_assets.assets)
        };
        assert_eq!(config.url, "https://models.example/qwen/config.json");
        assert_eq!(config.path, "/models/model/config.json");
        let abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!((&config.digest[..], config.size_mib), (abc, 1));
        assert!(weights.size_mib >= 2, "{weights:?}");
    }

    #[test]
    fn a_file_without_an_end_is_not_read_to_it() {
        let said = text_of(Path::new("/dev/zero")).unwrap_err().to_string();
        assert!(said.contains("1 MiB"), "{said}");
    }

    #[test]
    fn each_secret_that_a_job_names_has_a_value() {
        let (_dir, path) = file("top secret\n");
        let mut spec = JobSpec::of_image("a:1");
        spec.secrets = vec!["A".to_owned()];
        let arg = |name: &str| SecretArg {
            name: name.to_owned(),
            from: SecretFrom::File(path.clone()),
        };
        let found = secrets(&spec, &[arg("A")]).unwrap();
        assert_eq!(found.0["A"], "top secret\n", "all of the file, as it is");
        for given in [vec![], vec![arg("B")], vec![arg("A"), arg("A")]] {
            assert!(secrets(&spec, &given).is_err(), "{given:?}");
        }
        let absent = SecretArg {
            name: "A".to_owned(),
            from: SecretFrom::Env("NEARLIGHT_NO_SUCH_VARIABLE".to_owned()),
        };
        assert!(secrets(&spec, &[absent]).is_err());
    }
}
