//! What is read of one GPU, or of a MIG slice, at one moment. Every value is optional by itself: a slice has no
//! utilisation, a card for games no ECC, and a GPU that has fallen off the bus answers nothing.

/// One look at a GPU.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reading {
    /// The driver says that the GPU is gone.
    pub(crate) lost: bool,
    /// Memory that is allocated, without what the driver keeps for itself, MiB.
    pub(crate) used_mib: Option<u64>,
    /// Memory in all, MiB.
    pub(crate) total_mib: Option<u64>,
    /// Processes that compute on it.
    pub(crate) processes: Option<Vec<Process>>,
    /// Share of the last moments in which a kernel ran, per cent.
    pub(crate) busy_percent: Option<u32>,
    /// Whether ECC is on.
    pub(crate) ecc_on: Option<bool>,
    /// Errors that ECC could not correct since the driver was loaded.
    pub(crate) ecc_volatile: Option<u64>,
    /// The same since the GPU was made.
    pub(crate) ecc_aggregate: Option<u64>,
    /// Whether pages wait for a reboot to be retired.
    pub(crate) pages_pending: Option<bool>,
    /// Whether rows wait for a reset to be remapped.
    pub(crate) rows_pending: Option<bool>,
    /// Whether a row could not be remapped.
    pub(crate) rows_failed: Option<bool>,
    /// Degrees Celsius.
    pub(crate) temperature_c: Option<u32>,
    /// Milliwatts.
    pub(crate) power_mw: Option<u32>,
    /// Why its clocks are held down, if anything worth a word does.
    pub(crate) throttled: Option<Vec<&'static str>>,
}

/// A process that computes on a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    /// As the host numbers it.
    pub(crate) pid: u32,
    /// Memory that it has there, MiB.
    pub(crate) used_mib: Option<u64>,
}

impl Reading {
    /// With what is only known of the whole GPU, for a slice of it.
    pub(crate) fn with_parent(self, parent: &Self) -> Self {
        Self {
            lost: self.lost || parent.lost,
            ecc_on: self.ecc_on.or(parent.ecc_on),
            ecc_volatile: self.ecc_volatile.or(parent.ecc_volatile),
            ecc_aggregate: self.ecc_aggregate.or(parent.ecc_aggregate),
            pages_pending: self.pages_pending.or(parent.pages_pending),
            rows_pending: self.rows_pending.or(parent.rows_pending),
            rows_failed: self.rows_failed.or(parent.rows_failed),
            temperature_c: self.temperature_c.or(parent.temperature_c),
            power_mw: self.power_mw.or(parent.power_mw),
            throttled: self.throttled.or_else(|| parent.throttled.clone()),
            ..self
        }
    }
}
