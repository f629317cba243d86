use super::*;
use crate::job::network::Pool;

struct Given {
    session: SessionId,
    node: NodeId,
    spec: JobSpec,
    who: Who,
    places: Vec<Writable>,
    kept: Vec<Kept>,
    resolvers: Vec<IpAddr>,
    gpus: Vec<String>,
}

impl Given {
    fn new() -> Self {
        let mut spec = JobSpec::of_image("registry.example/team/server:2");
        spec.command = vec!["serve".to_owned(), "--port=8000".to_owned()];
        spec.env = [("MODE".to_owned(), "fast".to_owned())].into();
        spec.secrets = vec!["TOKEN".to_owned()];
        let who = Who {
            uid: 1000,
            gid: 1000,
            home: None,
        };
        Self {
            session: nearlight_kit::ids::session(),
            node: nearlight_kit::ids::node(),
            places: space::writable(&home(&spec, &who), &["/data".to_owned()]).unwrap(),
            spec,
            who,
            kept: Vec::new(),
            resolvers: Vec::new(),
            gpus: Vec::new(),
        }
    }

    fn subnet(&self) -> Subnet {
        let pool: Pool = "10.231.0.0/26".parse().unwrap();
        pool.subnet(&self.session, 0)
    }

    fn body(&self) -> ContainerCreateBody {
        container(&Plan {
            session: &self.session,
            epoch: U64(7),
            node: &self.node,
            spec: &self.spec,
            who: &self.who,
            places: &self.places,
            kept: &self.kept,
            dir: Path::new("/run/n/ses"),
            subnet: self.subnet(),
            oci: "runc",
            has_secrets: true,
            resolvers: &self.resolvers,
            image_env: &["NVIDIA_VISIBLE_DEVICES=all".to_owned()],
            replica: None,
            gpus: devices::request(&self.gpus, None, &[]),
            gpu_uuids: &self.gpus,
        })
    }
}

#[test]
fn every_lock_is_on() {
    let given = Given::new();
    let body = given.body();
    assert_eq!(body.user.as_deref(), Some("1000:1000"));
    assert_eq!(body.cmd.unwrap(), ["serve", "--port=8000"]);
    assert_eq!(body.entrypoint, None, "the image's own");
    assert!(body.entrypoint.is_none(), "the image's own");
    let labels = body.labels.unwrap();
    assert_eq!(labels["nearlight.session"], given.session.as_str());
    assert_eq!(labels["nearlight.node"], given.node.as_str());
    assert_eq!(labels["nearlight.epoch"], "7");
    assert_eq!(labels["nearlight.kind"], "job");
    let host = body.host_config.unwrap();
    assert_eq!(host.cap_drop.unwrap(), ["ALL"]);
    // The default profile of seccomp holds: nothing names another one.
    assert_eq!(host.security_opt.unwrap(), ["no-new-privileges"]);
    assert_eq!(host.readonly_rootfs, Some(true));
    assert_eq!(host.privileged, Some(false));
    assert_eq!(host.memory, Some(1024 * MIB));
    assert_eq!(host.memory, host.memory_swap);
    assert_eq!(host.nano_cpus, Some(1_000_000_000));
    assert_eq!(host.pids_limit, Some(512));
    assert_eq!(host.shm_size, Some(64 * MIB));
    assert_eq!(host.runtime.as_deref(), Some("runc"));
    assert_eq!(host.ipc_mode.as_deref(), Some("private"));
    assert_eq!(
        host.cgroupns_mode,
        Some(HostConfigCgroupnsModeEnum::PRIVATE)
    );
    assert!(host.pid_mode.is_none() && host.uts_mode.is_none() && host.userns_mode.is_none());
    assert!(host.binds.is_none() && host.cap_add.is_none() && host.devices.is_none());
    assert!(host.device_requests.is_none() && host.port_bindings.is_none());
    assert!(
        host.restart_policy.is_none(),
        "the agent starts it again, not the engine"
    );
    let log = host.log_config.unwrap().config.unwrap();
    assert_eq!(
        (log["max-size"].as_str(), log["max-file"].as_str()),
        ("4m", "2")
    );
    let limits: Vec<_> = host
        .ulimits
        .unwrap()
        .into_iter()
        .map(|l| (l.name.unwrap(), l.hard.unwrap()))
        .collect();
    assert_eq!(
        limits,
        [("core".to_owned(), 0), ("nofile".to_owned(), 16_384)]
    );
}

#[test]
fn what_can_be_written_is_on_its_disk_or_in_its_memory() {
    let mut given = Given::new();
    let mounts = |given: &Given| given.body().host_config.unwrap().mounts.unwrap();
    let shown = mounts(&given);
    let targets: Vec<_> = shown.iter().map(|m| m.target.clone().unwrap()).collect();
    let expected = [
        "/tmp",
        "/var/tmp",
        "/data",
        "/home/job",
        "/etc/hosts",
        "/run/nearlight",
        "/run/secrets",
    ];
    assert_eq!(targets, expected);
    for (place, mount) in shown[..4].iter().enumerate() {
        assert_eq!(mount.typ, Some(MountType::VOLUME));
        assert!(
            mount.source.is_none(),
            "without a name it goes with its container"
        );
        let options = mount.volume_options.clone().unwrap();
        let labels = options.labels.unwrap();
        assert!(labels.contains_key(LABEL_SESSION) && labels.contains_key(LABEL_NODE));
        let driver = options.driver_config.unwrap();
        assert_eq!(
            driver.options.unwrap()["device"],
            format!("/run/n/ses/disk/{place}")
        );
    }
    assert!(
        shown[4..]
            .iter()
            .all(|m| m.read_only == Some(true) && m.typ == Some(MountType::BIND))
    );
    given.spec.resources.disk_mib = 0;
    let shown = mounts(&given);
    assert_eq!(shown[0].target.as_deref(), Some("/data"));
    assert_eq!(shown[0].typ, Some(MountType::TMPFS));
    let size = shown[0].tmpfs_options.clone().unwrap().size_bytes;
    assert_eq!(size, Some(512 * MIB));
    let tmpfs = given.body().host_config.unwrap().tmpfs.unwrap();
    for place in ["/tmp", "/var/tmp", "/home/job"] {
        let options = &tmpfs[place];
        assert!(
            options.contains("size=512m") && options.contains("uid=1000"),
            "{options}"
        );
    }
}

#[test]
fn the_environment_has_no_secret_and_a_home() {
    let mut given = Given::new();
    let env = given.body().env.unwrap();
    let session = format!("NEARLIGHT_SESSION={}", given.session);
    let expected = [
        "MODE=fast",
        "HOME=/home/job",
        &session,
        "NEARLIGHT_REPLICA=0",
        "NVIDIA_VISIBLE_DEVICES=void",
    ];
    assert_eq!(env, expected);
    given.who.home = Some("/home/jovyan".to_owned());
    assert!(
        given
            .body()
            .env
            .unwrap()
            .contains(&"HOME=/home/jovyan".to_owned())
    );
    given.spec.env.insert("HOME".to_owned(), "/srv".to_owned());
    let env = given.body().env.unwrap();
    let homes: Vec<_> = env.iter().filter(|v| v.starts_with("HOME=")).collect();
    assert_eq!(homes, ["HOME=/srv"]);
}

#[test]
fn a_network_is_its_own_and_closed_unless_it_reaches_something() {
    let mut given = Given::new();
    for internal in [true, false] {
        let request = network(&given.session, &given.node, given.subnet(), internal);
        assert_eq!(request.internal, Some(internal));
        assert_eq!(request.enable_ipv6, Some(false));
        assert_eq!(request.name, format!("nearlight-{}", given.session));
    }
    let body = given.body();
    let name = network::name(&given.session);
    let endpoint = &body.networking_config.unwrap().endpoints_config.unwrap()[&name];
    let address = endpoint.ipam_config.clone().unwrap().ipv4_address.unwrap();
    assert_eq!(address, given.subnet().container().to_string());
    let host = body.host_config.unwrap();
    assert_eq!(host.network_mode, Some(name));
    assert_eq!(host.dns.unwrap(), ["127.0.0.1"], "no resolver is reached");
    given.resolvers = vec![IpAddr::from([9, 9, 9, 9])];
    assert_eq!(given.body().host_config.unwrap().dns.unwrap(), ["9.9.9.9"]);
}

#[test]
fn volumes_are_written_and_assets_are_not() {
    let mut given = Given::new();
    given.kept = [
        ("/run/n/ses/volume-0/data", "/cache", true),
        ("/data/assets/ab", "/models/w", false),
    ]
    .map(|(source, target, is_writable)| Kept {
        source: source.into(),
        target: target.to_owned(),
        is_writable,
    })
    .into();
    let host = given.body().host_config.unwrap();
    let mounts = host.mounts.unwrap();
    let of = |target: &str| {
        let mount = mounts
            .iter()
            .find(|m| m.target.as_deref() == Some(target))
            .unwrap();
        (mount.typ, mount.read_only, mount.source.clone().unwrap())
    };
    let bind = Some(MountType::BIND);
    assert_eq!(
        of("/cache"),
        (bind, Some(false), "/run/n/ses/volume-0/data".to_owned())
    );
    assert_eq!(
        of("/models/w"),
        (bind, Some(true), "/data/assets/ab".to_owned())
    );
}

#[test]
fn a_job_gets_the_gpus_that_it_has_claimed_whatever_it_says_itself() {
    let mut given = Given::new();
    given.gpus = vec!["GPU-1".to_owned(), "MIG-2".to_owned()];
    let all = [("NVIDIA_VISIBLE_DEVICES".to_owned(), "all".to_owned())];
    given.spec.env.extend(all);
    let body = given.body();
    let asked = body.host_config.unwrap().device_requests.unwrap();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].driver.as_deref(), Some("nvidia"));
    assert_eq!(asked[0].device_ids.as_ref().unwrap(), &given.gpus);
    let env = body.env.unwrap();
    let visible = env.iter().filter(|v| v.starts_with("NVIDIA_VISIBLE"));
    assert_eq!(
        visible.collect::<Vec<_>>(),
        ["NVIDIA_VISIBLE_DEVICES=GPU-1,MIG-2"]
    );
    given.gpus.clear();
    let none = given.body().host_config.unwrap();
    assert_eq!((none.device_requests, none.devices), (None, None));
}
