//! Room on the disk while an image comes: how large it is only its registry knows, and a tenant names that.
//!
//! **What it does not know:** who fetches it, and what is done about it.

use super::Limits;
use crate::runtime::Runtime;
use nix::sys::statvfs::statvfs;
use std::time::Duration;

/// Between two looks: at a gigabyte a second less than half of what stays free by default.
const LOOK_EVERY: Duration = Duration::from_millis(500);
const MIB: u64 = 1024 * 1024;

/// Returns once the disk gets so full that an image that comes has to be given up, and says so.
pub(crate) async fn runs_out(runtime: &dyn Runtime, limits: Limits) -> String {
    let Some(store) = runtime.image_store().await else {
        return std::future::pending().await;
    };
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let free = statvfs(&store).ok();
        let free = free.map(|stat| stat.blocks_available() * stat.fragment_size() / MIB);
        if let Some(why) = free.and_then(|mib| lacks(mib, limits)) {
            return why;
        }
    }
}

/// What a job waits for may take half of what is kept from what is only fetched ahead.
fn lacks(free_mib: u64, limits: Limits) -> Option<String> {
    let least_mib = limits.free_mib / 2;
    (free_mib < least_mib).then(|| {
        format!(
            "it is too large for this node: the disk has {free_mib} MiB free, and {least_mib} are to \
             stay (half of images.free_mib)"
        )
    })
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn an_image_never_takes_the_last_of_the_disk() {
        let limits = Limits {
            pulls_max: 1,
            disk_mib: 50,
            free_mib: 4096,
        };
        assert_eq!(lacks(2048, limits), None);
        assert!(lacks(2047, limits).is_some_and(|why| why.contains("too large")));
        let none = Limits {
            free_mib: 0,
            ..limits
        };
        assert_eq!(lacks(0, none), None, "the operator wants it so");
    }
}
