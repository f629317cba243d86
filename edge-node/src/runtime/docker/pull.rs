//! Images: here, or pulled from their registry with progress, or missing.

use super::{bounded, refused, status_of};
use crate::limits::PULL_REPORT_EVERY;
use crate::runtime::{Pulled, RuntimeError};
use bollard::models::CreateImageInfo;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::StreamExt;
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

/// A registry that sends nothing for so long has gone away.
const PULL_SILENCE_MAX: Duration = Duration::from_secs(60);

pub(super) async fn fetch(
    engine: &bollard::Docker,
    image: &str,
    pulled: &(dyn Fn(Pulled) + Send + Sync),
) -> Result<(), RuntimeError> {
    let look = engine.inspect_image(image);
    match bounded("look for the image", look).await {
        Ok(_) => return Ok(()),
        Err(error) if status_of(&error) == Some(404) => {}
        Err(error) => return Err(error),
    }
    let missing = |detail: String| RuntimeError::ImageMissing {
        image: image.to_owned(),
        detail,
    };
    if !has_registry(image) {
        return Err(missing(
            "it is built on the node, not pulled; run `make play` or build it from configs/images/"
                .to_owned(),
        ));
    }
    let options = CreateImageOptionsBuilder::new().from_image(image).build();
    let mut stream = Box::pin(engine.create_image(Some(options), None, None));
    let mut progress = Progress::default();
    let mut reported = Instant::now();
    pulled(Pulled::default());
    loop {
        let step = tokio::time::timeout(PULL_SILENCE_MAX, stream.next())
            .await
            .map_err(|_| RuntimeError::Deadline {
                action: "pull the image",
            })?;
        match step {
            Some(Ok(step)) => {
                if let Some(error) = step.error_detail.as_ref().and_then(|e| e.message.clone()) {
                    return Err(missing(error));
                }
                progress.add(step);
                if reported.elapsed() >= PULL_REPORT_EVERY {
                    reported = Instant::now();
                    pulled(progress.sum());
                }
            }
            Some(Err(error)) => return Err(missing(refused("pull the image")(error).to_string())),
            None => return Ok(()),
        }
    }
}

/// Whether the reference names a registry: Docker's own rule for its first part.
fn has_registry(image: &str) -> bool {
    image
        .split_once('/')
        .is_some_and(|(first, _)| first.contains(['.', ':']) || first == "localhost")
}

/// The layers of a pull, by id.
#[derive(Debug, Default)]
struct Progress {
    layers: HashMap<String, (u64, u64)>,
}

impl Progress {
    /// Counts downloads alone: unpacking says bytes too, of another size.
    fn add(&mut self, step: CreateImageInfo) {
        let (Some(id), Some(status)) = (step.id, step.status) else {
            return;
        };
        let layer = self.layers.entry(id).or_default();
        match status.as_str() {
            "Downloading" => {
                let detail = step.progress_detail.unwrap_or_default();
                let bytes = |value: Option<i64>| value.and_then(|v| u64::try_from(v).ok());
                layer.0 = bytes(detail.current).unwrap_or(layer.0);
                layer.1 = bytes(detail.total).unwrap_or(layer.1);
            }
            "Download complete" | "Pull complete" => layer.0 = layer.1,
            _ => {}
        }
    }

    fn sum(&self) -> Pulled {
        let add = |sum: Pulled, (done, total): &(u64, u64)| Pulled {
            done_bytes: sum.done_bytes + done,
            total_bytes: sum.total_bytes + total,
        };
        self.layers.values().fold(Pulled::default(), add)
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use bollard::models::ProgressDetail;

    #[test]
    fn only_a_reference_with_a_registry_is_pulled() {
        for (image, expected) in [
            ("nearlight/freedoom:1", false),
            ("freedoom", false),
            ("registry.example/nearlight/freedoom:1", true),
            ("localhost/x", true),
            ("localhost:5000/x", true),
        ] {
            assert_eq!(has_registry(image), expected, "{image}");
        }
    }

    #[test]
    fn layers_add_up() {
        let mut progress = Progress::default();
        let mut step = |id: &str, status: &str, current, total| {
            progress.add(CreateImageInfo {
                id: Some(id.to_owned()),
                status: Some(status.to_owned()),
                progress_detail: Some(ProgressDetail {
                    current: Some(current),
                    total: Some(total),
                }),
                ..CreateImageInfo::default()
            });
        };
        step("a", "Downloading", 5, 10);
        step("b", "Downloading", 1, 20);
        step("a", "Download complete", 0, 0);
        step("a", "Extracting", 3, 99);
        step("b", "Downloading", -1, -1);
        let expected = Pulled {
            done_bytes: 11,
            total_bytes: 30,
        };
        assert_eq!(progress.sum(), expected);
    }
}
