//! What the sessions of a tenant have together, beside their number: GPUs, CPU and memory, as they ask for them.
//!
//! A session counts from its creation to its end, whether it waits or runs, and a cluster with all its replicas. So
//! a tenant knows when it asks, and not hours later in the queue, that it may not have what it asks for.
//!
//! **Invariant.** What a tenant has is the sum over the rows of its live sessions, and is kept nowhere else: it
//! cannot drift from them, whichever broker, of whichever version, makes or ends a session.

use nearlight_protocol::work::Work;
use std::fmt;

/// One value of each resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amounts<T> {
    /// GPUs, slices of one as much as whole ones.
    pub gpus: T,
    /// CPU, thousandths of a core.
    pub cpu_milli: T,
    /// Memory, MiB.
    pub mem_mib: T,
}

/// What can be limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// GPUs.
    Gpus,
    /// CPU.
    Cpu,
    /// Memory.
    Memory,
}

/// What a session asks for beyond what its tenant may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beyond {
    /// Of what.
    pub resource: Resource,
    /// What the tenant may have.
    pub max: u64,
    /// What it has.
    pub used: u64,
    /// What the session asks for.
    pub asked: u64,
}

impl fmt::Display for Beyond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (max, used, asked) = (self.max, self.used, self.asked);
        let what = match self.resource {
            Resource::Gpus => "GPUs",
            Resource::Cpu => "thousandths of a core",
            Resource::Memory => "MiB of memory",
        };
        write!(
            f,
            "Your tenant may have {max} {what} at once, waiting sessions counted, and has {used}; this asks for {asked}"
        )
    }
}

/// What a session asks for, of a cluster all replicas together.
pub(super) fn asked(work: &Work) -> Amounts<u64> {
    match work {
        Work::App(work) => Amounts {
            gpus: 0,
            cpu_milli: work.app.needs.cpu_milli.into(),
            mem_mib: work.app.needs.mem_mib.into(),
        },
        Work::Job(spec) => {
            let of_all = |one: u32| u64::from(one) * u64::from(spec.replicas());
            let need = &spec.resources;
            Amounts {
                gpus: of_all(need.gpu.as_ref().map_or(0, |gpu| gpu.count)),
                cpu_milli: of_all(need.cpu_milli),
                mem_mib: of_all(need.mem_mib),
            }
        }
    }
}

impl Amounts<Option<u32>> {
    /// The first of these limits that is in the way, if one is. Who asks for nothing of a resource is not kept out by
    /// a limit that was lowered below what is in use.
    pub(super) fn beyond(&self, used: &Amounts<u64>, asked: &Amounts<u64>) -> Option<Beyond> {
        let limits = [
            (Resource::Gpus, self.gpus, used.gpus, asked.gpus),
            (
                Resource::Cpu,
                self.cpu_milli,
                used.cpu_milli,
                asked.cpu_milli,
            ),
            (Resource::Memory, self.mem_mib, used.mem_mib, asked.mem_mib),
        ];
        let mut beyond = limits
            .into_iter()
            .filter_map(|(resource, max, used, asked)| {
                let max = u64::from(max?);
                let is_beyond = asked > 0 && used.saturating_add(asked) > max;
                is_beyond.then_some(Beyond {
                    resource,
                    max,
                    used,
                    asked,
                })
            });
        beyond.next()
    }
}

impl Amounts<u64> {
    /// These and those.
    pub(super) fn and(&self, more: &Self) -> Self {
        Self {
            gpus: self.gpus.saturating_add(more.gpus),
            cpu_milli: self.cpu_milli.saturating_add(more.cpu_milli),
            mem_mib: self.mem_mib.saturating_add(more.mem_mib),
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn of(gpus: u64, cpu_milli: u64, mem_mib: u64) -> Amounts<u64> {
        Amounts {
            gpus,
            cpu_milli,
            mem_mib,
        }
    }

    #[test]
    fn the_limit_in_the_way_is_named_with_what_is_used() {
        let limits = Amounts {
            gpus: Some(8),
            cpu_milli: None,
            mem_mib: Some(1024),
        };
        let check = |used, asked| {
            limits
                .beyond(&used, &asked)
                .map(|beyond| beyond.to_string())
        };
        assert_eq!(check(of(6, 0, 0), of(2, 900_000, 1024)), None);
        let gpus = "Your tenant may have 8 GPUs at once, waiting sessions counted, and has 6; this asks for 3";
        assert_eq!(check(of(6, 0, 0), of(3, 0, 2048)), Some(gpus.to_owned()));
        let memory = "Your tenant may have 1024 MiB of memory at once, waiting sessions counted, and has 1; this asks for 1024";
        assert_eq!(check(of(8, 0, 1), of(0, 0, 1024)), Some(memory.to_owned()));
        // A limit below what is in use keeps nobody out who asks for none of it.
        assert_eq!(check(of(9, 0, 0), of(0, 1, 1)), None);
        assert!(check(of(u64::MAX, 0, 0), of(1, 0, 0)).is_some());
    }
}
