//! Changes as statements on sets of rows: one file for each group of tables.

pub(super) mod access;
pub(super) mod apps;
pub(super) mod checks;
pub(super) mod claims;
pub(super) mod clusters;
pub(super) mod enrolment;
pub(super) mod gpus;
pub(super) mod identity;
pub(super) mod jobs;
pub(super) mod nodes;
pub(super) mod orders;
pub(super) mod outside;
pub(super) mod prune;
pub(super) mod quotas;
pub(super) mod readmit;
pub(super) mod receipts;
pub(super) mod saves;
pub(super) mod sessions;
pub(super) mod stakes;
mod tenants;
pub(super) mod upkeep;
pub(super) mod usage;
pub(super) mod verdicts;
pub(super) mod volumes;
pub(super) mod webhooks;
pub(super) mod work;
