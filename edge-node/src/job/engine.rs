//! The container engine, for jobs: networks and containers, made, started, found again and removed.
//!
//! Everything is labelled with node, session and kind, so that a restarted agent finds what is its own; names
//! are made of the session, so that a step that is repeated meets what it made before. What apps and jobs ask of
//! an engine alike (images, waiting for an end) is [`crate::runtime::Runtime`].
//!
//! **What it does not know:** why it starts or stops anything.

mod look;
mod volumes;

pub(crate) use look::Image;

use super::mesh::{self, Mesh};
use super::meter::Sample;
use super::network::Subnet;
use super::peak::peak_bytes;
use super::request::{self, LABEL_CLUSTER};
use crate::limits::ENGINE_DEADLINE;
use crate::runtime::RuntimeError;
use crate::runtime::docker::{
    KIND_JOB, LABEL_KIND, LABEL_NODE, LABEL_SESSION, bounded, connect, status_of,
};
use bollard::models::{ContainerCreateBody, ContainerSummary};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, KillContainerOptionsBuilder, ListContainersOptionsBuilder,
    ListNetworksOptionsBuilder, RemoveContainerOptionsBuilder, StatsOptionsBuilder,
};
use futures_util::StreamExt;
use nearlight_protocol::id::{NodeId, SessionId};
use nearlight_protocol::job::ContainerRuntime;
use nearlight_protocol::work::Replica;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// A Docker engine on this host, and the node whose jobs in it are ours.
#[derive(Clone, Debug)]
pub(crate) struct Engine {
    client: bollard::Docker,
    node: NodeId,
}

/// What an engine is like.
#[derive(Debug)]
pub(crate) struct About {
    /// Whether it runs on this host: what it mounts are our directories, its bridges are our interfaces.
    pub(crate) is_here: bool,
    /// What it calls itself: nodes with one engine say the same.
    pub(crate) id: String,
    /// Its OCI runtimes, with its own names of them.
    pub(crate) runtimes: Vec<(ContainerRuntime, String)>,
    /// Where it looks for CDI specs; none from one that does not do CDI.
    pub(crate) cdi_dirs: Vec<PathBuf>,
}

/// What a list at the engine is narrowed by.
type Filters = HashMap<&'static str, Vec<String>>;

impl Engine {
    /// Finds the engine.
    pub(crate) async fn open(node: &NodeId) -> Result<Self, RuntimeError> {
        let client = connect().await?;
        Ok(Self {
            client,
            node: node.clone(),
        })
    }

    /// What it is like.
    pub(crate) async fn about(&self) -> Result<About, RuntimeError> {
        let info = bounded("say what it is", self.client.info()).await?;
        let root = info.docker_root_dir.unwrap_or_default();
        let names: Vec<String> = info.runtimes.unwrap_or_default().into_keys().collect();
        Ok(About {
            is_here: Path::new(&root).is_dir(),
            id: info.id.unwrap_or_default(),
            runtimes: runtimes(names),
            // From API 1.44 on; empty where the feature is off.
            cdi_dirs: info
                .cdi_spec_dirs
                .unwrap_or_default()
                .into_iter()
                .map(PathBuf::from)
                .collect(),
        })
    }

    /// For what streams.
    pub(super) fn client(&self) -> &bollard::Docker {
        &self.client
    }

    /// What a container has used since it was started; nothing of one that is started again meanwhile.
    pub(super) async fn sample(&self, id: &str) -> Result<Sample, RuntimeError> {
        let run = self.running_pid(id).await?;
        let options = StatsOptionsBuilder::new().stream(false).one_shot(true);
        let stats = self.client.stats(id, Some(options.build()));
        let first = async { std::pin::pin!(stats).next().await.transpose() };
        let stats = bounded("say what a container uses", first).await?;
        let peak = run.and_then(peak_bytes);
        if self.running_pid(id).await? != run {
            return Ok(Sample::default());
        }
        let of = |stats| Sample::of(stats, run, peak);
        Ok(stats.as_ref().map(of).unwrap_or_default())
    }

    /// Makes a job's network. `Ok(false)`: its addresses are taken.
    pub(crate) async fn create_network(
        &self,
        session: &SessionId,
        subnet: Subnet,
        internal: bool,
    ) -> Result<bool, RuntimeError> {
        let request = request::network(session, &self.node, subnet, internal);
        let create = self.client.create_network(request);
        match bounded("create the network", create).await {
            Ok(_) => Ok(true),
            Err(error) if is_taken(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes this node's network of a job, if it is there.
    pub(crate) async fn remove_network(&self, session: &SessionId) -> Result<(), RuntimeError> {
        self.remove_networks(&self.filters_of(session)).await
    }

    async fn remove_networks(&self, filters: &Filters) -> Result<(), RuntimeError> {
        let options = ListNetworksOptionsBuilder::new().filters(filters).build();
        let list = self.client.list_networks(Some(options));
        for found in bounded("list the networks", list).await? {
            let id = found.id.unwrap_or_default();
            match bounded("remove the network", self.client.remove_network(&id)).await {
                Err(error) if status_of(&error) == Some(404) => {}
                other => other?,
            }
        }
        Ok(())
    }

    /// The network of a cluster's run, if some replica has made it.
    pub(crate) async fn mesh(&self, replica: &Replica) -> Result<Option<Mesh>, RuntimeError> {
        let name = mesh::network(replica);
        let look = self.client.inspect_network(&name, None);
        let found = match bounded("look for the cluster's network", look).await {
            Err(error) if status_of(&error) == Some(404) => return Ok(None),
            other => other?,
        };
        let configs = found.ipam.and_then(|ipam| ipam.config);
        let subnet = configs.and_then(|all| all.into_iter().next()?.subnet);
        Ok(subnet.as_deref().and_then(Mesh::parse))
    }

    /// Makes the network of a cluster's run. `Ok(false)`: its addresses are taken, or it is there.
    pub(crate) async fn create_mesh(
        &self,
        replica: &Replica,
        mesh: Mesh,
    ) -> Result<bool, RuntimeError> {
        let request = request::mesh(replica, &self.node, mesh);
        let create = self.client.create_network(request);
        match bounded("create the cluster's network", create).await {
            Ok(_) => Ok(true),
            Err(error) if is_taken(&error) || status_of(&error) == Some(409) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Connects a container that does not run yet with its cluster's network.
    pub(crate) async fn join_mesh(
        &self,
        container: &str,
        replica: &Replica,
        mesh: Mesh,
    ) -> Result<(), RuntimeError> {
        let name = mesh::network(replica);
        let request = request::joined(container, mesh.address(replica.rank));
        let connect = self.client.connect_network(&name, request);
        bounded("connect the replica with its cluster", connect).await
    }

    /// Removes a cluster's network, if it is there and no replica that runs is on it.
    pub(crate) async fn leave_mesh(&self, name: &str) -> Result<(), RuntimeError> {
        match bounded("remove the network", self.client.remove_network(name)).await {
            Err(error) if matches!(status_of(&error), Some(403 | 404)) => Ok(()),
            other => other,
        }
    }

    /// How many replicas of a cluster's run have a container, on whichever node of this engine.
    pub(crate) async fn made_of(&self, replica: &Replica) -> Result<u32, RuntimeError> {
        let label = format!("{LABEL_CLUSTER}={}", mesh::network(replica));
        let filters = HashMap::from([("label", vec![label])]);
        let found = self.listed(&filters).await?;
        Ok(u32::try_from(found.len()).unwrap_or(u32::MAX))
    }

    /// Networks of clusters that this node has made.
    pub(crate) async fn meshes(&self) -> Result<Vec<String>, RuntimeError> {
        let mut filters = self.filters();
        if let Some(labels) = filters.get_mut("label") {
            labels.push(LABEL_CLUSTER.to_owned());
        }
        let options = ListNetworksOptionsBuilder::new().filters(&filters).build();
        let list = self.client.list_networks(Some(options));
        let found = bounded("list the networks", list).await?;
        Ok(found
            .into_iter()
            .filter_map(|network| network.name)
            .collect())
    }

    /// Makes a container, in place of one of that name.
    pub(crate) async fn create(
        &self,
        name: &str,
        body: &ContainerCreateBody,
    ) -> Result<String, RuntimeError> {
        let create = || {
            let options = CreateContainerOptionsBuilder::new().name(name).build();
            self.client.create_container(Some(options), body.clone())
        };
        let created = match bounded("create the container", create()).await {
            Err(error) if status_of(&error) == Some(409) => {
                self.remove(name).await?;
                bounded("create the container", create()).await
            }
            other => other,
        };
        Ok(created?.id)
    }

    /// What a container says that ends soon; nothing of it is left.
    pub(crate) async fn output_of(
        &self,
        name: &str,
        body: &ContainerCreateBody,
    ) -> Result<String, RuntimeError> {
        let id = self.create(name, body).await?;
        let ran = async {
            self.start(&id).await?;
            let mut waiting = Box::pin(self.client.wait_container(&id, None));
            // Whatever its status is: what it said is looked at.
            let _ = waiting.next().await;
            Ok(super::log::last_words(self, &id).await)
        };
        let said = tokio::time::timeout(ENGINE_DEADLINE, ran).await;
        self.remove(&id).await?;
        said.map_err(|_elapsed| RuntimeError::Deadline {
            action: "run the container",
        })?
    }

    /// Starts a container, for the first time or again.
    pub(crate) async fn start(&self, id: &str) -> Result<(), RuntimeError> {
        bounded("start the container", self.client.start_container(id, None)).await
    }

    /// The pid on this host of a container's first process, if it runs.
    pub(crate) async fn running_pid(&self, id: &str) -> Result<Option<i32>, RuntimeError> {
        let look = self.client.inspect_container(id, None);
        let found = bounded("look at the container", look).await?;
        let state = found.state.unwrap_or_default();
        let pid = state.pid.and_then(|pid| i32::try_from(pid).ok());
        Ok(pid.filter(|pid| *pid > 0 && state.running == Some(true)))
    }

    /// Sends a signal to a container; one that does not run hears none.
    pub(crate) async fn signal(&self, id: &str, signal: &str) -> Result<(), RuntimeError> {
        let options = KillContainerOptionsBuilder::new().signal(signal).build();
        let kill = self.client.kill_container(id, Some(options));
        match bounded("signal the container", kill).await {
            Err(error) if matches!(status_of(&error), Some(404 | 409)) => Ok(()),
            other => other,
        }
    }

    /// Kills what still runs of a container, and removes it with its volumes.
    pub(crate) async fn remove(&self, name: &str) -> Result<(), RuntimeError> {
        self.remove_known(name).await.map(drop)
    }

    /// The same; whether the container was there.
    async fn remove_known(&self, name: &str) -> Result<bool, RuntimeError> {
        let options = RemoveContainerOptionsBuilder::new()
            .force(true)
            .v(true)
            .build();
        let remove = self.client.remove_container(name, Some(options));
        match bounded("remove the container", remove).await {
            // While somebody else is removing it (409), it is there.
            Err(error) if status_of(&error) == Some(404) => Ok(false),
            other => other.map(|()| true),
        }
    }

    /// Containers of this node's jobs, running or not.
    pub(crate) async fn containers(&self) -> Result<Vec<(SessionId, String)>, RuntimeError> {
        self.containers_with(&self.filters()).await
    }

    /// Removes this node's containers of a job, and volumes that were made for one that never was.
    pub(crate) async fn remove_all(&self, session: &SessionId) -> Result<(), RuntimeError> {
        for (_, id) in self.containers_with(&self.filters_of(session)).await? {
            self.remove(&id).await?;
        }
        self.remove_volumes(session).await
    }

    /// Removes what another node's agent at this engine has of a session that is this node's now. Whether there was
    /// something.
    pub(crate) async fn take_over(&self, session: &SessionId) -> Result<bool, RuntimeError> {
        let label = format!("{LABEL_SESSION}={session}");
        let any = HashMap::from([("label", vec![label])]);
        // In one look: containers of ours come and go meanwhile.
        let mut others = self.listed(&any).await?;
        others.retain(|container| !self.is_ours(container));
        for id in others.iter().filter_map(|other| other.id.as_ref()) {
            self.remove(id).await?;
        }
        self.remove_networks(&any).await?;
        Ok(!others.is_empty())
    }

    async fn containers_with(
        &self,
        filters: &Filters,
    ) -> Result<Vec<(SessionId, String)>, RuntimeError> {
        let found = self.listed(filters).await?;
        let found = found.into_iter().filter_map(|container| {
            let session = container.labels?.get(LABEL_SESSION)?.parse().ok()?;
            Some((session, container.id?))
        });
        Ok(found.collect())
    }

    async fn listed(&self, filters: &Filters) -> Result<Vec<ContainerSummary>, RuntimeError> {
        let options = ListContainersOptionsBuilder::new()
            .all(true)
            .filters(filters)
            .build();
        bounded(
            "list the containers",
            self.client.list_containers(Some(options)),
        )
        .await
    }

    fn is_ours(&self, container: &ContainerSummary) -> bool {
        let labels = container.labels.as_ref();
        let has = |label: &str, value: &str| {
            labels
                .and_then(|l| l.get(label))
                .is_some_and(|v| v == value)
        };
        has(LABEL_NODE, self.node.as_str()) && has(LABEL_KIND, KIND_JOB)
    }

    /// Sessions that have a network of this node's jobs.
    pub(crate) async fn networks(&self) -> Result<Vec<SessionId>, RuntimeError> {
        let filters = self.filters();
        let options = ListNetworksOptionsBuilder::new().filters(&filters).build();
        let list = self.client.list_networks(Some(options));
        let found = bounded("list the networks", list).await?;
        let ours = found
            .into_iter()
            .filter_map(|network| network.labels?.get(LABEL_SESSION)?.parse().ok());
        Ok(ours.collect())
    }

    fn filters_of(&self, session: &SessionId) -> Filters {
        let mut filters = self.filters();
        let labels = filters.entry("label").or_default();
        labels.push(format!("{LABEL_SESSION}={session}"));
        filters
    }

    fn filters(&self) -> Filters {
        let labels = vec![
            format!("{LABEL_NODE}={}", self.node),
            format!("{LABEL_KIND}={KIND_JOB}"),
        ];
        HashMap::from([("label", labels)])
    }
}

/// A subnet that overlaps another one, or a bridge's name that is in use.
fn is_taken(error: &RuntimeError) -> bool {
    let said = error.to_string();
    status_of(error) == Some(403)
        || said.contains("overlaps")
        || said.contains("conflicts with network")
}

/// The runtimes that we know of those that an engine names.
fn runtimes(mut names: Vec<String>) -> Vec<(ContainerRuntime, String)> {
    names.sort_unstable();
    let kind = |name: &str| match name {
        "runc" => Some(ContainerRuntime::Runc),
        "runsc" => Some(ContainerRuntime::Runsc),
        "kata" | "kata-runtime" | "io.containerd.kata.v2" => Some(ContainerRuntime::Kata),
        _ => None,
    };
    let mut known: Vec<(ContainerRuntime, String)> = Vec::new();
    for name in names {
        if let Some(kind) = kind(&name)
            && known.iter().all(|(of, _)| *of != kind)
        {
            known.push((kind, name));
        }
    }
    known
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn runtimes_are_known_by_their_names() {
        let names = [
            "runc",
            "io.containerd.runc.v2",
            "runsc",
            "kata-runtime",
            "kata",
        ];
        let known = runtimes(names.map(str::to_owned).into());
        let expected = [
            (ContainerRuntime::Kata, "kata".to_owned()),
            (ContainerRuntime::Runc, "runc".to_owned()),
            (ContainerRuntime::Runsc, "runsc".to_owned()),
        ];
        assert_eq!(known, expected);
    }
}
