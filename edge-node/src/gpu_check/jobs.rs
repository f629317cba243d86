//! GPUs as jobs have them: what nodes say of them is what nvidia-smi says, a container sees its own and no other, and what
//! a job does on one is metered.
//!
//! It takes some seconds for each GPU and slice in turn, twice where there are both ways of asking (eight GPUs in sevenths:
//! minutes), and half a minute for a job.

mod inventory;
mod metering;
mod own;
mod site;
mod smi;

use super::report::Check;
use crate::config::Config;
use crate::gpu;
use tokio_util::sync::CancellationToken;

const TOOLKIT: &str = "Install the NVIDIA Container Toolkit and let it describe the GPUs: nvidia-ctk cdi generate \
    --output=/etc/cdi/nvidia.yaml; `nearlight doctor` says what is stale.";

/// Says why a test has nothing to test here.
#[cfg(test)]
#[expect(clippy::print_stderr, reason = "a test that tests nothing says why")]
fn skipped(why: &str) {
    eprintln!("skipped: {why}");
}

/// Looks at all of it, until `stop` is cancelled.
pub(super) async fn checks(config: &Config, stop: &CancellationToken) -> Vec<Check> {
    let gpus = gpu::all_as_for_jobs();
    let uuids: Vec<String> = gpus.iter().map(|gpu| gpu.uuid.clone()).collect();
    let offered = uuids.clone();
    let compared = move || inventory::check("jobs-inventory", &offered);
    let compared = tokio::task::spawn_blocking(compared).await;
    let mut all = vec![compared.unwrap_or_else(|error| {
        let fix = "This is a bug, please report it.";
        Check::fail("jobs-inventory", error.to_string(), fix)
    })];
    if gpus.is_empty() {
        return all;
    }
    all.push(own::check(&uuids, stop).await);
    all.extend(Box::pin(metering::checks(config, &gpus, stop)).await);
    all
}
