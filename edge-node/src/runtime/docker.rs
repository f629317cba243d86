//! Containers through the Docker API.
//!
//! A container is named `nearlight-<session>` and labelled with node, session and epoch, so a start
//! that is repeated meets its own name, and a restarted agent finds what is its own.
//!
//! **What it does not know:** why it starts or stops anything.

mod pull;
mod request;

use super::{AppExit, AppPlan, AppRef, Pulled, Runtime, RuntimeError, last_words};
use crate::limits::{DETAIL_BYTES_MAX, ENGINE_DEADLINE, ENGINE_PROBE_DEADLINE, ENGINE_RETRY};
use bollard::errors::Error;
use bollard::models::ImageSummary;
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, KillContainerOptionsBuilder, ListContainersOptionsBuilder,
    ListImagesOptions, LogsOptionsBuilder, RemoveContainerOptionsBuilder, RemoveImageOptions,
    WaitContainerOptionsBuilder,
};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use nearlight_protocol::id::{NodeId, SessionId};
use nearlight_protocol::job::ImageRef;
use nearlight_protocol::work::PullLogin;
use request::DeviceDriver;
use std::collections::HashMap;
use std::future::Future;
use std::path::PathBuf;

pub(crate) const LABEL_SESSION: &str = "nearlight.session";
pub(crate) const LABEL_EPOCH: &str = "nearlight.epoch";
pub(crate) const LABEL_NODE: &str = "nearlight.node";
/// What an engine says of itself that leaves images to containerd (the default from Docker 29 on), and where they are
/// then; the engine does not say that.
const CONTAINERD_STORE: &str = "io.containerd.snapshotter.v1";
const CONTAINERD_ROOT: &str = "/var/lib/containerd";

/// What jobs have beside; an app's container has none.
pub(crate) const LABEL_KIND: &str = "nearlight.kind";
/// See [`LABEL_KIND`].
pub(crate) const KIND_JOB: &str = "job";

/// A Docker engine, and the node whose containers in it are ours.
#[derive(Debug)]
pub struct Docker {
    engine: bollard::Docker,
    node: NodeId,
}

impl Docker {
    /// Finds the engine.
    pub async fn open(node: &NodeId) -> Result<Self, RuntimeError> {
        let engine = connect().await?;
        let version = engine.client_version();
        tracing::info!(
            api = %format_args!("{}.{}", version.major_version, version.minor_version),
            "the container engine answers"
        );
        Ok(Self {
            engine,
            node: node.clone(),
        })
    }

    async fn create(
        &self,
        plan: &AppPlan,
        driver: Option<DeviceDriver>,
    ) -> Result<String, RuntimeError> {
        let name = container_name(&plan.session);
        let body = request::container(plan, &self.node, driver);
        let create = || {
            let options = CreateContainerOptionsBuilder::new().name(&name).build();
            self.engine.create_container(Some(options), body.clone())
        };
        let created = match bounded("create the container", create()).await {
            Err(error) if status_of(&error) == Some(409) => {
                // Ours, of an attempt whose answer was lost: it never got as far as a record.
                self.remove_by_name(&name).await?;
                bounded("create the container", create()).await
            }
            other => other,
        };
        Ok(created?.id)
    }

    async fn create_and_start(
        &self,
        plan: &AppPlan,
        driver: Option<DeviceDriver>,
    ) -> Result<AppRef, RuntimeError> {
        let id = self.create(plan, driver).await?;
        let start = self.engine.start_container(&id, None);
        match bounded("start the container", start).await {
            Ok(()) => Ok(AppRef::Docker { id }),
            Err(error) => {
                if let Err(leak) = self.remove_by_name(&id).await {
                    tracing::warn!(container = %id, error = %leak, "a container that did not start stays until the next start of this node");
                }
                Err(error)
            }
        }
    }

    async fn start_app(&self, plan: &AppPlan) -> Result<AppRef, RuntimeError> {
        // One that is not NVIDIA's is a device file, which is named in any case.
        if plan.gpus.iter().all(|gpu| gpu.uuid.is_none()) {
            return self.create_and_start(plan, None).await;
        }
        // CDI is what engines have from 25 on; before that NVIDIA's own driver is asked for.
        match self.create_and_start(plan, Some(DeviceDriver::Cdi)).await {
            Err(error @ RuntimeError::Engine { .. }) => {
                tracing::info!(%error, "no GPU through CDI; asking the nvidia driver");
                self.create_and_start(plan, Some(DeviceDriver::Nvidia))
                    .await
            }
            other => other,
        }
    }

    /// Waits as long as the container runs, through restarts of the engine.
    async fn wait_for(&self, id: &str) -> AppExit {
        loop {
            let options = WaitContainerOptionsBuilder::new()
                .condition("not-running")
                .build();
            let mut waiting = Box::pin(self.engine.wait_container(id, Some(options)));
            match waiting.next().await {
                // A status other than 0 is an "error" of the client library; all the same it ended.
                Some(Ok(_) | Err(Error::DockerContainerWaitError { .. })) => {}
                Some(Err(error)) if status_of_engine(&error) == Some(404) => {
                    return AppExit::default();
                }
                Some(Err(_)) | None => tokio::time::sleep(ENGINE_RETRY).await,
            }
            match self.outcome(id).await {
                Ok(Some(exit)) => return exit,
                Ok(None) => {}
                Err(error) if status_of(&error) == Some(404) => return AppExit::default(),
                Err(error) => {
                    tracing::warn!(container = id, %error, "cannot look at a container; trying again");
                    tokio::time::sleep(ENGINE_RETRY).await;
                }
            }
        }
    }

    /// How the container ended; `None` while it runs.
    async fn outcome(&self, id: &str) -> Result<Option<AppExit>, RuntimeError> {
        let look = self.engine.inspect_container(id, None);
        let state = bounded("inspect the container", look)
            .await?
            .state
            .unwrap_or_default();
        if state.running == Some(true) {
            return Ok(None);
        }
        Ok(Some(AppExit {
            status: state.exit_code,
            out_of_memory: state.oom_killed == Some(true),
            detail: self.last_output(id).await,
        }))
    }

    async fn last_output(&self, id: &str) -> String {
        let options = LogsOptionsBuilder::new()
            .stdout(true)
            .stderr(true)
            .tail("40")
            .build();
        let mut lines = Box::pin(self.engine.logs(id, Some(options)));
        let mut tail = Vec::new();
        let read = async {
            while let Some(Ok(line)) = lines.next().await {
                tail.extend_from_slice(&line.into_bytes());
                let surplus = tail.len().saturating_sub(DETAIL_BYTES_MAX);
                tail.drain(..surplus);
            }
        };
        // What has come by the deadline is still the best detail there is.
        let _ = tokio::time::timeout(ENGINE_DEADLINE, read).await;
        last_words(&tail)
    }

    async fn remove_by_name(&self, name: &str) -> Result<(), RuntimeError> {
        let options = RemoveContainerOptionsBuilder::new()
            .force(true)
            .v(true)
            .build();
        let remove = self.engine.remove_container(name, Some(options));
        match bounded("remove the container", remove).await {
            // While somebody else is removing it (409), it is there.
            Err(error) if status_of(&error) == Some(404) => Ok(()),
            other => other,
        }
    }

    async fn list(&self) -> Result<Vec<(SessionId, AppRef)>, RuntimeError> {
        let filters = HashMap::from([("label", vec![format!("{LABEL_NODE}={}", self.node)])]);
        let options = ListContainersOptionsBuilder::new()
            .all(true)
            .filters(&filters)
            .build();
        let list = self.engine.list_containers(Some(options));
        let containers = bounded("list the containers", list).await?;
        Ok(containers
            .into_iter()
            .filter_map(|container| {
                let labels = container.labels?;
                // A job has an owner of its own.
                if labels.contains_key(LABEL_KIND) {
                    return None;
                }
                let session = labels.get(LABEL_SESSION)?.parse().ok()?;
                Some((session, AppRef::Docker { id: container.id? }))
            })
            .collect())
    }
}

/// The references of an image. Of a name without a registry nobody but this node knows which image it
/// stands for: with its id behind it, it can be asked for by that.
fn names(image: ImageSummary) -> Vec<String> {
    let ImageSummary {
        id,
        repo_tags: tags,
        repo_digests: digests,
        ..
    } = image;
    let is_built = |tag: &&String| {
        let parsed = tag.parse::<ImageRef>();
        parsed.is_ok_and(|image| image.registry().is_none())
    };
    let built = tags.iter().filter(is_built);
    let built: Vec<String> = built.map(|tag| format!("{tag}@{id}")).collect();
    [tags, digests, built].concat()
}

impl Runtime for Docker {
    fn name(&self) -> &'static str {
        super::DOCKER
    }

    fn answers(&self) -> BoxFuture<'_, Result<(), RuntimeError>> {
        async {
            let action = "answer";
            let asked = tokio::time::timeout(ENGINE_PROBE_DEADLINE, self.engine.ping()).await;
            let answered = asked.map_err(|_| RuntimeError::Deadline { action })?;
            answered.map(drop).map_err(refused(action))
        }
        .boxed()
    }

    fn images(&self) -> BoxFuture<'_, Result<Vec<String>, RuntimeError>> {
        async {
            let list = self.engine.list_images(None::<ListImagesOptions>);
            let images = bounded("list the images", list).await?;
            let mut tags: Vec<_> = images.into_iter().flat_map(names).collect();
            tags.sort();
            tags.dedup();
            Ok(tags)
        }
        .boxed()
    }

    fn image_store(&self) -> BoxFuture<'_, Option<PathBuf>> {
        async {
            let info = bounded("say where it keeps images", self.engine.info()).await;
            let info = info.ok()?;
            let is_containerds = (info.driver_status.iter().flatten().flatten())
                .any(|word| word == CONTAINERD_STORE);
            let root = PathBuf::from(match is_containerds {
                true => CONTAINERD_ROOT.to_owned(),
                false => info.docker_root_dir?,
            });
            // Of an engine elsewhere it is no directory here.
            root.is_dir().then_some(root)
        }
        .boxed()
    }

    fn image_bytes<'a>(
        &'a self,
        image: &'a str,
    ) -> BoxFuture<'a, Result<Option<u64>, RuntimeError>> {
        async move {
            let look = self.engine.inspect_image(image);
            match bounded("look for the image", look).await {
                Ok(found) => Ok(found.size.and_then(|size| u64::try_from(size).ok())),
                // What is no name to this engine (400) it does not have either, and one of many names stops no look.
                Err(error) if matches!(status_of(&error), Some(400 | 404)) => Ok(None),
                Err(error) => Err(error),
            }
        }
        .boxed()
    }

    fn remove_image<'a>(&'a self, image: &'a str) -> BoxFuture<'a, Result<bool, RuntimeError>> {
        async move {
            let remove = self
                .engine
                .remove_image(image, None::<RemoveImageOptions>, None);
            match bounded("remove the image", remove).await {
                Ok(_) => Ok(true),
                Err(error) if status_of(&error) == Some(404) => Ok(true),
                // A container has it, running or not.
                Err(error) if status_of(&error) == Some(409) => Ok(false),
                Err(error) => Err(error),
            }
        }
        .boxed()
    }

    fn fetch<'a>(
        &'a self,
        image: &'a str,
        login: Option<&'a PullLogin>,
        pulled: &'a (dyn Fn(Pulled) + Send + Sync),
    ) -> BoxFuture<'a, Result<(), RuntimeError>> {
        pull::fetch(&self.engine, image, login, pulled).boxed()
    }

    fn start<'a>(&'a self, plan: &'a AppPlan) -> BoxFuture<'a, Result<AppRef, RuntimeError>> {
        self.start_app(plan).boxed()
    }

    fn pid<'a>(&'a self, app: &'a AppRef) -> BoxFuture<'a, Option<i32>> {
        async move {
            let AppRef::Docker { id } = app else {
                return None;
            };
            let look = self.engine.inspect_container(id, None);
            let found = bounded("inspect the container", look).await.ok()?;
            let pid = i32::try_from(found.state?.pid?).ok()?;
            (pid > 0).then_some(pid)
        }
        .boxed()
    }

    fn wait<'a>(&'a self, app: &'a AppRef) -> BoxFuture<'a, AppExit> {
        async move {
            match app {
                AppRef::Docker { id } => self.wait_for(id).await,
                // Of the other runtime, before the operator changed it: not ours to wait for.
                AppRef::Sandbox { .. } => AppExit::default(),
            }
        }
        .boxed()
    }

    fn ask_to_end<'a>(&'a self, app: &'a AppRef) -> BoxFuture<'a, ()> {
        async move {
            let AppRef::Docker { id } = app else { return };
            let options = KillContainerOptionsBuilder::new().signal("SIGTERM").build();
            let kill = self.engine.kill_container(id, Some(options));
            match bounded("signal the container", kill).await {
                Ok(()) => {}
                Err(error) if matches!(status_of(&error), Some(404 | 409)) => {}
                Err(error) => tracing::warn!(container = %id, %error, "it will be killed instead"),
            }
        }
        .boxed()
    }

    fn remove<'a>(&'a self, app: &'a AppRef) -> BoxFuture<'a, Result<(), RuntimeError>> {
        async move {
            match app {
                AppRef::Docker { id } => self.remove_by_name(id).await,
                AppRef::Sandbox { .. } => Ok(()),
            }
        }
        .boxed()
    }

    fn running(&self) -> BoxFuture<'_, Result<Vec<(SessionId, AppRef)>, RuntimeError>> {
        self.list().boxed()
    }
}

fn container_name(session: &SessionId) -> String {
    format!("nearlight-{session}")
}

/// Finds the engine (`DOCKER_HOST`, else the usual socket) and settles on a version of its API.
pub(crate) async fn connect() -> Result<bollard::Docker, RuntimeError> {
    let action = "answer";
    let engine = bollard::Docker::connect_with_local_defaults().map_err(refused(action))?;
    tokio::time::timeout(ENGINE_PROBE_DEADLINE, engine.negotiate_version())
        .await
        .map_err(|_| RuntimeError::Deadline { action })?
        .map_err(refused(action))
}

/// A request to the engine, with its deadline.
pub(crate) async fn bounded<T>(
    action: &'static str,
    request: impl Future<Output = Result<T, Error>>,
) -> Result<T, RuntimeError> {
    tokio::time::timeout(ENGINE_DEADLINE, request)
        .await
        .map_err(|_| RuntimeError::Deadline { action })?
        .map_err(refused(action))
}

fn refused(action: &'static str) -> impl FnOnce(Error) -> RuntimeError {
    move |source| RuntimeError::Engine {
        action,
        source: Box::new(source),
    }
}

/// The engine's status of an answer that is no success.
pub(crate) fn status_of(error: &RuntimeError) -> Option<u16> {
    match error {
        RuntimeError::Engine { source, .. } => status_of_engine(source),
        RuntimeError::ImageMissing { .. }
        | RuntimeError::Deadline { .. }
        | RuntimeError::Sandbox { .. } => None,
    }
}

/// Whether the engine says that it has no such container, or none that it answers about any more.
pub(crate) fn is_gone(error: &Error) -> bool {
    matches!(status_of_engine(error), Some(404 | 409))
}

fn status_of_engine(error: &Error) -> Option<u16> {
    match error {
        Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn an_image_without_a_registry_is_listed_with_its_id_too() {
        let listed = |tag: &str| {
            names(ImageSummary {
                id: format!("sha256:{}", "0a".repeat(32)),
                repo_tags: vec![tag.to_owned()],
                ..ImageSummary::default()
            })
        };
        let id = format!("tools:1@sha256:{}", "0a".repeat(32));
        assert_eq!(listed("tools:1"), ["tools:1", &id]);
        assert_eq!(
            listed("registry.example/tools:1"),
            ["registry.example/tools:1"]
        );
    }
}
