//! `edge-node --gpu-check`: what a GPU of this machine can be used for, and what keeps it from more.
//!
//! ```text
//!   NVML, sysfs ---> facts --+--> nvml, render nodes
//!   eglinfo, vulkaninfo -----+--> EGL and Vulkan on the host
//!   one container, as a game's is asked for --> EGL and Vulkan in the container
//!   nvidia-smi, a container for each GPU, a job --> inventory, its own GPU alone, metering
//!   edge-worker --try-gpu, per node ----------> compositor, dmabuf import, encoding without a copy
//!   edge-worker --try-encoders ---------------> each encoder, and whether any of the GPU works
//! ```
//!
//! A check passes, fails with a fix, or is skipped with the reason. Judging is pure and apart from
//! looking, so that it can be tested where there is no GPU.
//!
//! **What it does not know:** sessions, brokers. It changes nothing and leaves nothing behind.

mod compositor;
mod container;
mod encoders;
mod host;
mod jobs;
mod report;

pub(crate) use host::lacks_nvenc;
pub use report::{Check, Encoder, Gpu, Report, Verdict};

use crate::config::Config;
use crate::preflight;
use std::path::Path;
use tokio_util::sync::CancellationToken;

/// Looks at everything; `None` once `stop` is cancelled. What was begun is brought to its end then, so that no container
/// stays.
pub async fn run(config: &Config, stop: &CancellationToken) -> Option<Report> {
    let facts = match host::look(Path::new("/sys"), host::ask_nvml) {
        Ok(facts) => facts,
        Err(host::NoGpu::None(why)) => return Some(Report::skipped(why)),
        Err(host::NoGpu::Hidden(check)) => {
            let mut report = Report::default();
            report.checks.push(check);
            return Some(report.judged());
        }
    };
    let mut checks = host::checks(&facts);
    checks.extend(Box::pin(jobs::checks(config, stop)).await);
    if stop.is_cancelled() {
        return None;
    }
    let mut encoders = Vec::new();
    match preflight::check(config) {
        Ok(()) => {
            checks.extend(container::checks(&facts.for_apps(), &config.run).await);
            if !stop.is_cancelled() {
                checks.extend(compositor::checks(config, &facts).await);
            }
            if !stop.is_cancelled() {
                let (tried, verdicts) = try_encoders(config, &facts).await;
                encoders = tried;
                checks.extend(verdicts);
            }
            preflight::remove_run(&config.run);
        }
        Err(error) => {
            let fix = "Build the worker beside this program (cargo build --release --locked), and \
                       give --run a directory of its own.";
            checks.push(Check::fail("programs", error.to_string(), fix));
        }
    }
    let report = Report {
        driver: facts.driver,
        cuda: facts.cuda,
        gstreamer: facts.gstreamer,
        gpus: facts.gpus,
        checks,
        encoders,
        ..Report::default()
    };
    (!stop.is_cancelled()).then(|| report.judged())
}

async fn try_encoders(config: &Config, facts: &host::Facts) -> (Vec<Encoder>, Vec<Check>) {
    let root = nix::unistd::geteuid().is_root();
    let tried = crate::encoders::output_of(config, root, &["--try-encoders".as_ref()]).await;
    let tried = tried.and_then(|said| Ok(serde_json::from_slice(&said)?));
    match tried {
        Ok(trials) => encoders::judge(trials, facts),
        Err(error) => {
            let detail = format!("the encoders' trial did not come to an end: {error}");
            let fix = "Run `edge-worker --try-encoders` by hand; its log says where it stops.";
            (Vec::new(), vec![Check::fail("encoders", detail, fix)])
        }
    }
}
