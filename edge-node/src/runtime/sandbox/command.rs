//! The arguments of `bwrap`: every lock on the sandbox is here.

use crate::runtime::plan::{AppPlan, HOME, SOCKETS};
use std::ffi::OsString;
use std::os::fd::RawFd;
use std::path::Path;

/// Runs nothing, in namespaces like an app's.
pub(super) fn trial() -> Vec<OsString> {
    let mut args = Args::default();
    args.add(["--unshare-all", "--unshare-user", "--disable-userns"]);
    args.add(["--new-session", "--cap-drop", "ALL"]);
    args.add(["--ro-bind", "/", "/", "--proc", "/proc", "/bin/true"]);
    args.0
}

pub(super) fn app(
    plan: &AppPlan,
    root: &Path,
    saves: Option<&Path>,
    status_fd: RawFd,
) -> Vec<OsString> {
    let size = (u64::from(plan.tmp_mib.max(1)) * 1024 * 1024).to_string();
    let mut args = Args::default();
    args.add(["--unshare-all", "--unshare-user", "--disable-userns"]);
    if plan.network {
        args.add(["--share-net"]);
    }
    args.add(["--new-session", "--cap-drop", "ALL"]);
    args.add(["--hostname", "nearlight"]);
    args.add(["--json-status-fd", &status_fd.to_string()]);

    args.add(["--ro-bind"]).path(root).add(["/"]);
    args.add(["--proc", "/proc", "--dev", "/dev"]);
    for node in plan.render_nodes() {
        args.add(["--dev-bind"]).path(&node.path).path(&node.path);
    }
    args.add(["--perms", "1777", "--size", &size, "--tmpfs", "/dev/shm"]);
    args.add(["--perms", "0755", "--size", &size, "--tmpfs", "/run"]);
    args.add(["--perms", "0755", "--size", &size, "--tmpfs", "/home"]);
    for tmpfs in plan.tmpfs() {
        let mode = format!("{:04o}", tmpfs.mode);
        // Of these the parent is a temporary file system already, and belongs to the app's user.
        if tmpfs.path.starts_with("/home/") || tmpfs.path.starts_with("/run/") {
            args.add(["--perms", &mode, "--dir", &tmpfs.path]);
        } else {
            args.add(["--perms", &mode, "--size", &size, "--tmpfs", &tmpfs.path]);
        }
    }
    args.add(["--ro-bind"]).path(&plan.sockets).add([SOCKETS]);
    if let (Some(host), Some((_, app))) = (saves, &plan.saves) {
        args.add(["--bind"]).path(host).add([app.as_str()]);
    }
    args.add(["--remount-ro", "/dev", "--chdir", HOME, "--"]);
    args.0.extend(plan.command.iter().map(OsString::from));
    args.0
}

#[derive(Default)]
struct Args(Vec<OsString>);

impl Args {
    fn add<const N: usize>(&mut self, args: [&str; N]) -> &mut Self {
        self.0.extend(args.map(OsString::from));
        self
    }

    fn path(&mut self, path: &Path) -> &mut Self {
        self.0.push(path.into());
        self
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use nearlight_protocol::unit::U64;

    fn line(network: bool) -> String {
        line_with(network, Vec::new())
    }

    fn line_with(network: bool, gpus: Vec<crate::runtime::plan::AppGpu>) -> String {
        let spec = crate::runtime::plan::test::spec(&["/usr/bin/app", "--flag"]);
        let session = nearlight_kit::ids::session();
        let mut plan = AppPlan::new(session, U64(7), &spec, Path::new("/run/n/ses"), true);
        plan.network = network;
        plan.gpus = gpus;
        plan.saves = Some(("/d/saves".into(), "/home/player/.local/x".to_owned()));
        let args = app(&plan, Path::new("/r"), Some(Path::new("/d/saves")), 9);
        let args: Vec<_> = args.iter().filter_map(|arg| arg.to_str()).collect();
        args.join(" ")
    }

    #[test]
    fn every_lock_is_on() {
        let line = line(false);
        for part in [
            "--unshare-all",
            "--disable-userns",
            "--new-session",
            "--cap-drop ALL",
            "--ro-bind /r /",
            "--ro-bind /run/n/ses/desk/app /run/nearlight",
            "--perms 0700 --dir /home/player/.local",
            "--bind /d/saves /home/player/.local/x",
        ] {
            assert!(line.contains(part), "{part:?} is not in {line:?}");
        }
        assert!(line.ends_with("-- /usr/bin/app --flag"), "{line}");
        assert!(!line.contains("--share-net"));
    }

    #[test]
    fn of_the_hosts_devices_only_the_render_node_is_shown() {
        let line = line_with(false, vec![crate::runtime::plan::test::gpu(105)]);
        assert!(line.contains("--dev /dev --dev-bind /dev/dri/renderD128 /dev/dri/renderD128"));
        assert_eq!(line.matches("--dev-bind").count(), 1);
        assert!(!self::line(false).contains("--dev-bind"));
    }

    #[test]
    fn a_network_is_given_to_who_declares_it() {
        assert!(line(true).contains("--share-net"));
    }
}
