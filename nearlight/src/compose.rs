//! A compose file as a job: the part of the compose specification that a job can be.
//!
//! What maps becomes the job; what means something else here is a note; everything else is refused by its
//! name and line, with what to write in its place. Nothing is dropped in silence, and nothing is read
//! beside the text: no variable of the shell, no other file.
//!
//! `x-nearlight` is a place for what compose has no word for, with the keys of `job.toml`: under the
//! service, under a port in the long form, and under a volume for its `size_mib`.
//!
//! **Invariants.** The same text gives the same job. A job that comes out has no [`JobSpec::fault`].
//!
//! **What it does not know:** files, the broker, the values of secrets.

mod deploy;
mod place;
mod ports;
mod service;
mod storage;
#[cfg(test)]
mod test;
mod yaml;

pub use place::Finding;

use nearlight_protocol::job::{JobFault, JobSpec, OnFailure, RestartPolicy};
use place::Place;
use std::collections::BTreeMap;
use std::fmt;

/// What a compose file says.
#[derive(Clone, Debug, PartialEq)]
pub struct Composed {
    /// The job.
    pub spec: JobSpec,
    /// Where the values of its secrets are.
    pub secrets: Vec<ComposeSecret>,
    /// What is otherwise than compose has it.
    pub notes: Vec<Finding>,
}

/// A secret of the job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComposeSecret {
    /// Its name in the job.
    pub name: String,
    /// Where its value is.
    pub from: SecretSource,
}

/// Where the value of a secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// In a file; a relative path is from the compose file's directory.
    File(String),
    /// In a variable of the environment.
    Env(String),
}

/// Everything for which a file is no job.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Refused(pub Vec<Finding>);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

/// The job of a compose file.
///
/// # Errors
/// [`Refused`] with all that stands in the way.
pub fn convert(text: &str) -> Result<Composed, Refused> {
    let root = yaml::read(text).map_err(|fault| {
        let finding = Finding {
            line: fault.line,
            key: "yaml".to_owned(),
            why: fault.why,
        };
        Refused(vec![finding])
    })?;
    let mut reading = Reading::default();
    if let Err(finding) = reading.file(&Place::root(&root)) {
        reading.refusals.push(finding);
    }
    reading.refusals.sort_by_key(|finding| finding.line);
    reading.notes.sort_by_key(|finding| finding.line);
    match reading.refusals.is_empty() {
        true => Ok(Composed {
            spec: reading.spec,
            secrets: reading.secrets,
            notes: reading.notes,
        }),
        false => Err(Refused(reading.refusals)),
    }
}

/// What was read so far.
struct Reading<'a> {
    spec: JobSpec,
    secrets: Vec<ComposeSecret>,
    notes: Vec<Finding>,
    refusals: Vec<Finding>,
    /// Where the keys of the job come from.
    origins: Vec<(&'static str, Finding)>,
    /// The volumes and secrets of the file that no service has used yet.
    volumes: BTreeMap<&'a str, Place<'a>>,
    file_secrets: BTreeMap<&'a str, Place<'a>>,
    /// Keys of `job.toml`.
    own: Option<Place<'a>>,
    /// Figures that compose has several keys for.
    figures: BTreeMap<&'static str, u32>,
    replicas: u32,
    /// Whether the file says that it reaches nothing.
    is_offline: bool,
}

impl Default for Reading<'_> {
    fn default() -> Self {
        Self {
            spec: JobSpec::of_image(""),
            secrets: Vec::new(),
            notes: Vec::new(),
            refusals: Vec::new(),
            origins: Vec::new(),
            volumes: BTreeMap::new(),
            file_secrets: BTreeMap::new(),
            own: None,
            figures: BTreeMap::new(),
            replicas: 1,
            is_offline: false,
        }
    }
}

impl<'a> Reading<'a> {
    fn file(&mut self, root: &Place<'a>) -> Result<(), Finding> {
        let mut services = None;
        for (name, place) in root.entries()? {
            match name {
                "services" => services = Some(place),
                "volumes" => self.volumes = place.entries()?.into_iter().collect(),
                "secrets" => self.file_secrets = place.entries()?.into_iter().collect(),
                "name" | "version" => {
                    let why = "means nothing here: a session has an id, and its job an image";
                    self.notes.push(place.says(why));
                }
                _ if name.starts_with("x-") => {}
                _ => self.refusals.push(place.says(service::instead(name))),
            }
        }
        let services = services.ok_or_else(|| root.says("there are no `services`"))?;
        let mut all = services.entries()?.into_iter();
        let (Some((_, service)), None) = (all.next(), all.next()) else {
            return Err(services.says(
                "a job is one container: leave one service in this file, and start the others as jobs \
                 of their own, or `deploy.replicas` of it",
            ));
        };
        service::service(self, &service)?;
        for place in self.volumes.values().chain(self.file_secrets.values()) {
            self.notes.push(place.says("no service uses it"));
        }
        self.finish(&service)
    }

    /// Remembers where a key of the job comes from.
    fn came_from(&mut self, key: &'static str, place: &Place<'_>) {
        self.origins.push((key, place.says("")));
    }

    /// A figure that compose has several keys for, and a job one: what it claims is what it may use.
    fn figure(&mut self, key: &'static str, place: &Place<'_>, value: u32) -> Result<u32, Finding> {
        self.came_from(key, place);
        match self.figures.insert(key, value) {
            Some(before) if before != value => Err(place.says(
                "a job may use what is reserved for it, no less and no more: say one figure, under \
                 deploy.resources.limits",
            )),
            Some(_) | None => Ok(value),
        }
    }

    fn finish(&mut self, service: &Place<'_>) -> Result<(), Finding> {
        if self.spec.image.is_empty() {
            let why = "there is no `image`: build one, push it to a registry, and name it here";
            return Err(service.says(why));
        }
        if self.replicas > 1 {
            self.together(service)?;
        }
        self.say_defaults(service);
        if let Some(own) = self.own.take() {
            self.spec = with_own(&self.spec, &own)?;
        }
        match self.spec.fault() {
            Some(fault) => Err(self.located(service, fault)),
            None => Ok(()),
        }
    }

    /// The replicas of a cluster start again together, or not at all.
    fn together(&mut self, service: &Place<'_>) -> Result<(), Finding> {
        let on_failure = match self.spec.restart.policy {
            RestartPolicy::Never => OnFailure::End,
            RestartPolicy::OnFailure => OnFailure::Restart,
            RestartPolicy::Always => {
                return Err(service.says(
                    "replicas start again together when one has failed: write `restart: on-failure:3`",
                ));
            }
        };
        self.spec.restart.policy = RestartPolicy::Never;
        let mut cluster: serde_json::Value = serde_json::json!({ "replicas": self.replicas });
        if on_failure == OnFailure::Restart {
            cluster["on_failure"] = "restart".into();
        }
        let cluster = serde_json::from_value(cluster);
        self.spec.cluster = Some(cluster.map_err(|error| service.says(error.to_string()))?);
        Ok(())
    }

    /// Compose has no bounds where nothing is said; a job has some.
    fn say_defaults(&mut self, service: &Place<'_>) {
        let own = self.own.as_ref().map(Place::json).unwrap_or_default();
        let says = |section: &str, key: &str| {
            let section = own.get(section);
            section.is_some_and(|section| section.get(key).is_some())
        };
        let need = &self.spec.resources;
        let mut unsaid = Vec::new();
        if !self.figures.contains_key("resources.cpu_milli") && !says("resources", "cpu_milli") {
            unsaid.push(format!("{} thousandths of a core", need.cpu_milli));
        }
        if !self.figures.contains_key("resources.mem_mib") && !says("resources", "mem_mib") {
            unsaid.push(format!("{} MiB of memory", need.mem_mib));
        }
        if !says("resources", "disk_mib") {
            unsaid.push(format!("{} MiB of disk", need.disk_mib));
        }
        if !says("time", "max_s") {
            unsaid.push(format!("{} s to run", self.spec.time.max_s));
        }
        if !self.is_offline && own.get("egress").is_none() {
            unsaid.push("nothing outside that it may reach".to_owned());
        }
        if !unsaid.is_empty() {
            self.notes.push(service.says(format!(
                "has {}; `x-nearlight` takes other bounds, with the keys of job.toml",
                unsaid.join(", ")
            )));
        }
    }

    fn located(&self, service: &Place<'_>, fault: JobFault) -> Finding {
        let origins = self.origins.iter().rev();
        let mut found = origins.filter(|(key, _)| fault.key.starts_with(key));
        let Some((_, at)) = found.next() else {
            return service.says(format!("as a job: {fault}"));
        };
        Finding {
            why: format!("as a job: {fault}"),
            ..at.clone()
        }
    }
}

/// A job with keys of `job.toml` over it.
fn with_own(spec: &JobSpec, own: &Place<'_>) -> Result<JobSpec, Finding> {
    let wrong = |error: serde_json::Error| own.says(format!("is no part of a job: {error}"));
    let mut whole = serde_json::to_value(spec).map_err(wrong)?;
    lay_over(&mut whole, own.json());
    serde_json::from_value(whole).map_err(wrong)
}

/// Tables key by key, everything else whole.
fn lay_over(below: &mut serde_json::Value, over: serde_json::Value) {
    match (below, over) {
        (serde_json::Value::Object(below), serde_json::Value::Object(over)) => {
            for (key, value) in over {
                lay_over(below.entry(key).or_insert(serde_json::Value::Null), value);
            }
        }
        (below, over) => *below = over,
    }
}

/// A job as `job.toml` has it, without what it has by default.
///
/// # Errors
/// None that a job can cause; the writer's type has one.
pub fn job_toml(spec: &JobSpec) -> Result<String, toml::ser::Error> {
    let mut whole = toml::Table::try_from(spec)?;
    let plain = toml::Table::try_from(JobSpec::of_image(""))?;
    without_defaults(&mut whole, &plain);
    toml::to_string(&whole)
}

fn without_defaults(whole: &mut toml::Table, plain: &toml::Table) {
    whole.retain(|key, value| match (value, plain.get(key)) {
        (toml::Value::Table(table), Some(toml::Value::Table(plain))) => {
            without_defaults(table, plain);
            !table.is_empty()
        }
        (value, Some(plain)) => value != plain,
        (_, None) => true,
    });
}
