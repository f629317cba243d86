//! Volumes without a name, of a job's disk. Each goes with its container; an engine that is killed as it makes the
//! container may have made them, and knows of no container that they are of.

use super::{Engine, Filters};
use crate::runtime::RuntimeError;
use crate::runtime::docker::{LABEL_SESSION, bounded, status_of};
use bollard::query_parameters::{ListVolumesOptionsBuilder, RemoveVolumeOptions};
use nearlight_protocol::id::SessionId;

impl Engine {
    /// Sessions that have a volume of this node's jobs.
    pub(crate) async fn volumes(&self) -> Result<Vec<SessionId>, RuntimeError> {
        let found = self.volumes_with(&self.filters()).await?;
        Ok(found.into_iter().map(|(session, _)| session).collect())
    }

    async fn volumes_with(
        &self,
        filters: &Filters,
    ) -> Result<Vec<(SessionId, String)>, RuntimeError> {
        let options = ListVolumesOptionsBuilder::new().filters(filters).build();
        let list = self.client.list_volumes(Some(options));
        let found = bounded("list the volumes", list).await?;
        let found = found.volumes.into_iter().flatten().filter_map(|volume| {
            let session = volume.labels.get(LABEL_SESSION)?.parse().ok()?;
            Some((session, volume.name))
        });
        Ok(found.collect())
    }

    /// Removes those of a job whose containers are gone.
    pub(super) async fn remove_volumes(&self, session: &SessionId) -> Result<(), RuntimeError> {
        for (_, name) in self.volumes_with(&self.filters_of(session)).await? {
            let none = None::<RemoveVolumeOptions>;
            let remove = self.client.remove_volume(&name, none);
            match bounded("remove the volume", remove).await {
                Err(error) if status_of(&error) == Some(404) => {}
                other => other?,
            }
        }
        Ok(())
    }
}
