//! What is asked of the engine for one app: every lock on the container is here.

use super::{LABEL_EPOCH, LABEL_NODE, LABEL_SESSION};
use crate::limits::{APP_FILES_MAX, APP_PIDS_MAX};
use crate::runtime::plan::{AppGpu, AppPlan, RenderNode, SOCKETS, Tmpfs};
use bollard::models::{
    ContainerCreateBody, DeviceMapping, DeviceRequest, HostConfig, HostConfigLogConfig, Mount,
    MountBindOptions, MountBindOptionsPropagationEnum, MountType, ResourcesUlimits,
};
use nearlight_protocol::id::NodeId;
use std::collections::HashMap;

const MIB: i64 = 1024 * 1024;

/// How the engine is asked for GPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DeviceDriver {
    /// The Container Device Interface.
    Cdi,
    /// NVIDIA's own hook.
    Nvidia,
}

pub(super) fn container(
    plan: &AppPlan,
    node: &NodeId,
    driver: Option<DeviceDriver>,
) -> ContainerCreateBody {
    let labels = [
        (LABEL_SESSION, plan.session.to_string()),
        (LABEL_EPOCH, plan.epoch.0.to_string()),
        (LABEL_NODE, node.to_string()),
    ];
    ContainerCreateBody {
        image: Some(plan.image.clone()),
        hostname: Some("nearlight".to_owned()),
        user: Some(format!("{}:{}", plan.uid, plan.gid)),
        // The catalogue's command is the whole command, whatever entry point the image has.
        entrypoint: Some(plan.command.iter().take(1).cloned().collect()),
        cmd: Some(plan.command.iter().skip(1).cloned().collect()),
        env: Some(plan.env.iter().map(|(k, v)| format!("{k}={v}")).collect()),
        working_dir: Some(crate::runtime::plan::HOME.to_owned()),
        labels: Some(labels.map(|(k, v)| (k.to_owned(), v)).into()),
        network_disabled: Some(!plan.network),
        host_config: Some(host_config(plan, driver)),
        ..ContainerCreateBody::default()
    }
}

fn host_config(plan: &AppPlan, driver: Option<DeviceDriver>) -> HostConfig {
    let memory = i64::from(plan.mem_mib) * MIB;
    let network = if plan.network { "bridge" } else { "none" };
    HostConfig {
        init: Some(true),
        readonly_rootfs: Some(true),
        cap_drop: Some(vec!["ALL".to_owned()]),
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        network_mode: Some(network.to_owned()),
        ipc_mode: Some("private".to_owned()),
        memory: Some(memory),
        // The sum of memory and swap: equal means no swap.
        memory_swap: Some(memory),
        nano_cpus: Some(i64::from(plan.cpu_milli) * 1_000_000),
        pids_limit: Some(APP_PIDS_MAX),
        shm_size: Some(i64::from(plan.tmp_mib.max(1)) * MIB),
        ulimits: Some(vec![ulimit("core", 0), ulimit("nofile", APP_FILES_MAX)]),
        tmpfs: Some(plan.tmpfs().iter().map(|t| tmpfs(plan, t)).collect()),
        mounts: Some(mounts(plan)),
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(
                [("max-size", "1m"), ("max-file", "2")]
                    .map(|(k, v)| (k.to_owned(), v.to_owned()))
                    .into(),
            ),
        }),
        devices: (!plan.gpus.is_empty()).then(|| plan.render_nodes().map(device).collect()),
        group_add: (!plan.gpus.is_empty())
            .then(|| plan.render_groups().iter().map(u32::to_string).collect()),
        device_requests: driver.map(|driver| vec![devices(&plan.gpus, driver)]),
        ..HostConfig::default()
    }
}

fn ulimit(name: &str, value: u64) -> ResourcesUlimits {
    let value = i64::try_from(value).unwrap_or(i64::MAX);
    ResourcesUlimits {
        name: Some(name.to_owned()),
        soft: Some(value),
        hard: Some(value),
    }
}

fn tmpfs(plan: &AppPlan, tmpfs: &Tmpfs) -> (String, String) {
    let owner = if tmpfs.owned {
        format!(",uid={},gid={}", plan.uid, plan.gid)
    } else {
        String::new()
    };
    let options = format!(
        "rw,nosuid,nodev,size={}m,mode={:o}{owner}",
        plan.tmp_mib.max(1),
        tmpfs.mode
    );
    (tmpfs.path.clone(), options)
}

fn mounts(plan: &AppPlan) -> Vec<Mount> {
    let bind = |source: &std::path::Path, target: &str, read_only| Mount {
        typ: Some(MountType::BIND),
        source: Some(source.display().to_string()),
        target: Some(target.to_owned()),
        read_only: Some(read_only),
        bind_options: Some(MountBindOptions {
            propagation: Some(MountBindOptionsPropagationEnum::RPRIVATE),
            ..MountBindOptions::default()
        }),
        ..Mount::default()
    };
    let mut mounts = vec![bind(&plan.sockets, SOCKETS, true)];
    if let Some((host, app)) = &plan.saves {
        mounts.push(bind(host, app, false));
    }
    mounts
}

/// Named beside the request for the GPU: NVIDIA's older driver brings no render node by itself.
fn device(node: &RenderNode) -> DeviceMapping {
    let path = node.path.display().to_string();
    DeviceMapping {
        path_on_host: Some(path.clone()),
        path_in_container: Some(path),
        cgroup_permissions: Some("rw".to_owned()),
    }
}

fn devices(gpus: &[AppGpu], driver: DeviceDriver) -> DeviceRequest {
    let uuids = gpus.iter().filter_map(|gpu| gpu.uuid.as_ref());
    match driver {
        DeviceDriver::Cdi => DeviceRequest {
            driver: Some("cdi".to_owned()),
            device_ids: Some(uuids.map(|uuid| format!("nvidia.com/gpu={uuid}")).collect()),
            ..DeviceRequest::default()
        },
        DeviceDriver::Nvidia => DeviceRequest {
            driver: Some("nvidia".to_owned()),
            device_ids: Some(uuids.cloned().collect()),
            capabilities: Some(vec![vec!["gpu".to_owned()]]),
            options: Some(HashMap::new()),
            ..DeviceRequest::default()
        },
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use nearlight_protocol::unit::U64;
    use std::path::Path;

    fn plan() -> AppPlan {
        let spec = crate::runtime::plan::test::spec(&["/usr/bin/app", "--flag"]);
        let session = nearlight_kit::ids::session();
        AppPlan::new(session, U64(7), &spec, Path::new("/run/n/ses"), true)
    }

    #[test]
    fn every_lock_is_on() {
        let plan = plan();
        let node = nearlight_kit::ids::node();
        let body = container(&plan, &node, None);
        assert_eq!(body.user.as_deref(), Some("1000:1000"));
        assert_eq!(body.entrypoint.unwrap(), ["/usr/bin/app"]);
        assert_eq!(body.cmd.unwrap(), ["--flag"]);
        let labels = body.labels.unwrap();
        assert_eq!(labels["nearlight.session"], plan.session.as_str());
        assert_eq!(labels["nearlight.epoch"], "7");
        assert_eq!(labels["nearlight.node"], node.as_str());
        let host = body.host_config.unwrap();
        assert_eq!(host.cap_drop.unwrap(), ["ALL"]);
        assert_eq!(host.security_opt.unwrap(), ["no-new-privileges"]);
        assert_eq!(host.readonly_rootfs, Some(true));
        assert_eq!(host.init, Some(true));
        assert_eq!(host.network_mode.as_deref(), Some("none"));
        assert_eq!(host.memory, host.memory_swap);
        assert_eq!(host.nano_cpus, Some(1_000_000_000));
        assert!(host.privileged.is_none() && host.device_requests.is_none());
        assert!(host.binds.is_none() && host.cap_add.is_none());
        assert!(host.devices.is_none() && host.group_add.is_none());
        let mounts = host.mounts.unwrap();
        assert_eq!(mounts.len(), 1);
        assert_eq!(mounts[0].read_only, Some(true));
        let home = &host.tmpfs.unwrap()["/home/player"];
        assert!(
            home.contains("uid=1000") && home.contains("mode=700"),
            "{home}"
        );
    }

    #[test]
    fn a_network_is_given_to_who_declares_it() {
        let mut plan = plan();
        plan.network = true;
        let body = container(&plan, &nearlight_kit::ids::node(), None);
        assert_eq!(body.network_disabled, Some(false));
        assert_eq!(
            body.host_config.unwrap().network_mode.as_deref(),
            Some("bridge")
        );
    }

    #[test]
    fn gpus_are_asked_for_by_uuid() {
        let mut plan = plan();
        plan.gpus = vec![AppGpu {
            uuid: Some("GPU-1".to_owned()),
            render_node: None,
        }];
        let request = |driver| {
            let body = container(&plan, &nearlight_kit::ids::node(), Some(driver));
            body.host_config.unwrap().device_requests.unwrap().remove(0)
        };
        let cdi = request(DeviceDriver::Cdi);
        assert_eq!(cdi.driver.as_deref(), Some("cdi"));
        assert_eq!(cdi.device_ids.unwrap(), ["nvidia.com/gpu=GPU-1"]);
        let nvidia = request(DeviceDriver::Nvidia);
        assert_eq!(nvidia.driver.as_deref(), Some("nvidia"));
        assert_eq!(nvidia.device_ids.unwrap(), ["GPU-1"]);
        assert_eq!(nvidia.capabilities.unwrap(), [["gpu"]]);
    }

    #[test]
    fn the_render_node_comes_with_its_group_and_nothing_else_of_the_host() {
        let mut plan = plan();
        plan.gpus = vec![crate::runtime::plan::test::gpu(105)];
        let body = container(&plan, &nearlight_kit::ids::node(), Some(DeviceDriver::Cdi));
        let host = body.host_config.unwrap();
        let devices = host.devices.unwrap();
        assert_eq!(devices.len(), 1);
        let node = Some("/dev/dri/renderD128".to_owned());
        assert_eq!(devices[0].path_on_host, node);
        assert_eq!(devices[0].path_in_container, node);
        assert_eq!(devices[0].cgroup_permissions.as_deref(), Some("rw"));
        assert_eq!(host.group_add.unwrap(), ["105"]);
        assert_eq!(host.cap_drop.unwrap(), ["ALL"]);
        // One of another maker's is its device file alone.
        plan.gpus[0].uuid = None;
        let body = container(&plan, &nearlight_kit::ids::node(), None);
        let host = body.host_config.unwrap();
        assert!(host.device_requests.is_none());
        assert_eq!(host.devices.unwrap().len(), 1);
        // A file of root's: rather no rendering than root's group.
        plan.gpus = vec![crate::runtime::plan::test::gpu(0)];
        let body = container(&plan, &nearlight_kit::ids::node(), Some(DeviceDriver::Cdi));
        assert_eq!(body.host_config.unwrap().group_add.unwrap(), [""; 0]);
    }
}
