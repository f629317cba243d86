//! Images: here, or pulled from their registry with progress, or missing.

use super::{bounded, refused, status_of};
use crate::limits::PULL_REPORT_EVERY;
use crate::runtime::{Pulled, RuntimeError};
use bollard::auth::DockerCredentials;
use bollard::models::CreateImageInfo;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::StreamExt;
use nearlight_protocol::work::PullLogin;
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

/// A registry that sends nothing for so long has gone away.
const PULL_SILENCE_MAX: Duration = Duration::from_secs(60);

pub(super) async fn fetch(
    engine: &bollard::Docker,
    image: &str,
    login: Option<&PullLogin>,
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
            "it is built on the node, not pulled; run `make play`, or `scripts/images.sh jobs` for those of configs/jobs/"
                .to_owned(),
        ));
    }
    let options = CreateImageOptionsBuilder::new().from_image(image).build();
    let mut stream = Box::pin(engine.create_image(Some(options), None, login.map(credentials)));
    let mut progress = Progress::default();
    let (mut reported, mut heard) = (Instant::now(), Instant::now());
    let mut told = Pulled::default();
    pulled(told);
    loop {
        let step = tokio::time::timeout_at(reported + PULL_REPORT_EVERY, stream.next()).await;
        match step {
            Ok(Some(Ok(step))) => {
                if let Some(error) = step.error_detail.as_ref().and_then(|e| e.message.clone()) {
                    return Err(missing(error));
                }
                heard = Instant::now();
                progress.add(step);
            }
            Ok(Some(Err(error))) => {
                return Err(missing(refused("pull the image")(error).to_string()));
            }
            Ok(None) => return Ok(()),
            Err(_) if heard.elapsed() >= PULL_SILENCE_MAX => {
                return Err(RuntimeError::Deadline {
                    action: "pull the image",
                });
            }
            Err(_time_to_report) => {}
        }
        // The line may stand still at any byte: how far it got is said all the same.
        if reported.elapsed() >= PULL_REPORT_EVERY {
            reported = Instant::now();
            let now = progress.sum();
            if now != told {
                told = now;
                pulled(now);
            }
        }
    }
}

/// For this one request: the engine keeps none of it.
fn credentials(login: &PullLogin) -> DockerCredentials {
    DockerCredentials {
        username: Some(login.username.clone()),
        password: Some(login.password.clone()),
        ..DockerCredentials::default()
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
    layers: HashMap<String, Layer>,
}

#[derive(Debug, Default)]
struct Layer {
    done_bytes: u64,
    total_bytes: u64,
    /// Whether it is here, unpacked or not.
    is_here: bool,
}

impl Progress {
    /// Counts downloads alone: unpacking says bytes too, of another size.
    fn add(&mut self, step: CreateImageInfo) {
        let (Some(id), Some(status)) = (step.id, step.status) else {
            return;
        };
        match status.as_str() {
            "Pulling fs layer" | "Waiting" => {
                self.layers.entry(id).or_default();
            }
            "Downloading" => {
                let layer = self.layers.entry(id).or_default();
                let detail = step.progress_detail.unwrap_or_default();
                let bytes = |value: Option<i64>| value.and_then(|v| u64::try_from(v).ok());
                layer.done_bytes = bytes(detail.current).unwrap_or(layer.done_bytes);
                layer.total_bytes = bytes(detail.total).unwrap_or(layer.total_bytes);
            }
            "Download complete" | "Pull complete" | "Already exists" => {
                let layer = self.layers.entry(id).or_default();
                layer.done_bytes = layer.total_bytes;
                layer.is_here = true;
            }
            _ => {}
        }
    }

    fn sum(&self) -> Pulled {
        let add = |sum: Pulled, layer: &Layer| Pulled {
            done_bytes: sum.done_bytes + layer.done_bytes,
            total_bytes: sum.total_bytes + layer.total_bytes,
            layers_done: sum.layers_done + u32::from(layer.is_here),
            layers: sum.layers + 1,
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
        step("c", "Already exists", 0, 0);
        step("1.2", "Pulling from demo", 0, 0);
        let expected = Pulled {
            done_bytes: 11,
            total_bytes: 30,
            layers_done: 2,
            layers: 3,
        };
        assert_eq!(progress.sum(), expected);
    }
}
