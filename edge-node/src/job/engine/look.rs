//! What an image is like: how it wants to be run, and who its users are.
//!
//! The engine reads a file of an image only from a container of it. That one is never started, and makes no volume: an
//! engine that is killed meanwhile knows of no container that a volume is of.

use super::Engine;
use crate::job::request;
use crate::job::space::Writable;
use crate::limits::PASSWD_BYTES_MAX;
use crate::runtime::RuntimeError;
use crate::runtime::docker::{bounded, status_of};
use bollard::errors::Error;
use bollard::models::ImageConfig;
use bollard::query_parameters::DownloadFromContainerOptionsBuilder;
use futures_util::StreamExt;
use nearlight_protocol::id::SessionId;

/// An image that is here.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    /// Its digest: one of other content has another.
    pub(crate) id: String,
    /// How it wants to be run.
    pub(crate) config: ImageConfig,
}

impl Engine {
    /// What there is under an image's name.
    pub(crate) async fn image(&self, image: &str) -> Result<Image, RuntimeError> {
        let look = self.client.inspect_image(image);
        let found = bounded("look for the image", look).await?;
        let id = found.id.ok_or_else(|| RuntimeError::ImageMissing {
            image: image.to_owned(),
            detail: "the container engine knows no digest of it".to_owned(),
        })?;
        Ok(Image {
            id,
            config: found.config.unwrap_or_default(),
        })
    }

    /// The /etc/passwd of an image; empty where it has none. `places` has the volumes that the image declares.
    pub(crate) async fn passwd(
        &self,
        image: &Image,
        places: &[Writable],
        session: &SessionId,
    ) -> Result<String, RuntimeError> {
        let name = format!("nearlight-{session}-look");
        let body = request::looked_into(&image.id, places, session, &self.node);
        let id = self.create(&name, &body).await?;
        let read = self.read_file(&id, "/etc/passwd");
        let read = bounded("read the image's /etc/passwd", read).await;
        // Whoever tidies up, as `docker container prune` does, takes this one for a container that is done.
        let was_there = self.remove_known(&id).await?;
        match read {
            Err(error) if was_there && status_of(&error) == Some(404) => Ok(String::new()),
            tar => Ok(file_of(&tar?).unwrap_or_default()),
        }
    }

    /// A file of a container as a tar archive, cut off at a bound.
    async fn read_file(&self, id: &str, path: &str) -> Result<Vec<u8>, Error> {
        let options = DownloadFromContainerOptionsBuilder::new()
            .path(path)
            .build();
        let mut parts = Box::pin(self.client.download_from_container(id, Some(options)));
        let mut tar = Vec::new();
        while let Some(part) = parts.next().await.transpose()? {
            tar.extend_from_slice(&part);
            if tar.len() > PASSWD_BYTES_MAX {
                break;
            }
        }
        Ok(tar)
    }
}

/// The first entry of a tar archive (POSIX ustar), if it is a file that is there in full.
fn file_of(tar: &[u8]) -> Option<String> {
    let header = tar.get(..512)?;
    let is_file = matches!(header[156], b'0' | 0);
    let size = std::str::from_utf8(&header[124..135]).ok()?;
    let size = usize::from_str_radix(size.trim_matches(['\0', ' ']), 8).ok()?;
    let content = tar.get(512..512_usize.checked_add(size)?)?;
    is_file.then(|| String::from_utf8_lossy(content).into_owned())
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_file_is_taken_out_of_an_archive_and_garbage_is_none() {
        let mut tar = vec![0_u8; 1024];
        tar[..10].copy_from_slice(b"etc/passwd");
        tar[124..135].copy_from_slice(b"00000000005");
        tar[156] = b'0';
        tar[512..517].copy_from_slice(b"a:b:c");
        assert_eq!(file_of(&tar).as_deref(), Some("a:b:c"));
        assert_eq!(file_of(&tar[..515]), None, "cut off");
        tar[156] = b'2';
        assert_eq!(file_of(&tar), None, "a link");
        tar[156] = b'0';
        tar[124..135].copy_from_slice(b"77777777777");
        assert_eq!(file_of(&tar), None);
        tar[124] = 0xff;
        assert_eq!(file_of(&tar), None);
        assert_eq!(file_of(b""), None);
    }
}
