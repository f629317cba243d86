//! Who may do what: the one table of roles and permissions, and what a key's scopes leave of it.
//!
//! | permission | guest | player | tenant | operator | admin | scope |
//! |---|---|---|---|---|---|---|
//! | see apps | x | x | x | x | x | any |
//! | see versions, add and roll out | | | | x | x | apps:write |
//! | see nodes, check lines | x | x | x | x | x | nodes:read |
//! | change nodes | | | | x | x | nodes:write |
//! | probe nodes, as a checker | | | | x | x | nodes:probe |
//! | see metrics | | | | x | x | nodes:read |
//! | see sessions | own | own | its tenant's | own | all | sessions:read |
//! | change sessions | own | own | its tenant's | own | all | sessions:write |
//! | call jobs | own | own | its tenant's | own | all | endpoint, sessions:write |
//! | start jobs | | | its tenant's | own | all | sessions:write |
//! | enter jobs: commands, files | | | its tenant's | own | own | sessions:enter |
//! | see volumes | | | its tenant's | own | all | sessions:read |
//! | delete volumes | | | its tenant's | own | all | sessions:write |
//! | see keys | | | its tenant's | | all | keys:read |
//! | change keys | | | its tenant's | | all | keys:write |
//! | see tenants | | | its own | | all | keys:read |
//! | change tenants, see the audit log, move stakes | | | | | x | admin |
//! | let checkers in, give licences | | | | | x | admin |
//! | see usage | | | its tenant's | all | all | usage:read |
//!
//! Keys stand for all that a tenant lets in or gives out: its credentials for registries and its webhook
//! are seen and changed with them.
//!
//! **Invariants.** A key allows what its role allows *and* one of its scopes names. Nobody makes a key
//! that may more than they may themselves. What is out of reach is answered like what does not exist.
//!
//! **What it does not know:** how a caller shows who they are (`http::caller`), rates, quotas.

use nearlight_protocol::api::Role;
use nearlight_protocol::identity::Scope;

/// Something that a request needs to be allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Permission {
    /// List the catalogue.
    SeeApps,
    /// See the versions of apps, add some and roll them out.
    ChangeApps,
    /// List nodes, and check the line to one.
    SeeNodes,
    /// Drain, revoke and let in nodes.
    ChangeNodes,
    /// Have nodes prove what they can do.
    ProbeNodes,
    /// Read the broker's metrics.
    SeeMetrics,
    /// See sessions within reach.
    SeeSessions,
    /// Start, attach to, share and end sessions within reach.
    ChangeSessions,
    /// Talk to jobs within reach, and make tickets for that.
    CallJobs,
    /// Start jobs.
    StartJobs,
    /// Run commands in jobs, and copy files out of them and into them: within the tenant that a job is of, whatever
    /// the reach.
    EnterJobs,
    /// See volumes within reach.
    SeeVolumes,
    /// Delete volumes within reach.
    DeleteVolumes,
    /// See keys within reach.
    SeeKeys,
    /// Make, rotate and revoke keys within reach.
    ChangeKeys,
    /// See tenants within reach.
    SeeTenants,
    /// Make and change tenants.
    ChangeTenants,
    /// Read the audit log.
    SeeAudit,
    /// See usage, and what it costs.
    SeeUsage,
    /// Let checkers in, give licences, and take both back.
    ChangeCheckers,
    /// Deposit and withdraw stakes.
    ChangeStakes,
}

impl Permission {
    /// Every permission.
    pub const ALL: [Self; 21] = [
        Self::SeeApps,
        Self::ChangeApps,
        Self::SeeNodes,
        Self::ChangeNodes,
        Self::ProbeNodes,
        Self::SeeMetrics,
        Self::SeeSessions,
        Self::ChangeSessions,
        Self::CallJobs,
        Self::StartJobs,
        Self::EnterJobs,
        Self::SeeVolumes,
        Self::DeleteVolumes,
        Self::SeeKeys,
        Self::ChangeKeys,
        Self::SeeTenants,
        Self::ChangeTenants,
        Self::SeeAudit,
        Self::SeeUsage,
        Self::ChangeCheckers,
        Self::ChangeStakes,
    ];

    /// Whether a caller of this role may, as far as its reach goes.
    pub const fn is_of(self, role: Role) -> bool {
        match self {
            Self::SeeApps
            | Self::SeeNodes
            | Self::SeeSessions
            | Self::ChangeSessions
            | Self::CallJobs => match role {
                Role::Guest | Role::Player | Role::Tenant | Role::Operator | Role::Admin => true,
            },
            Self::StartJobs | Self::EnterJobs | Self::SeeVolumes | Self::DeleteVolumes => {
                match role {
                    Role::Tenant | Role::Operator | Role::Admin => true,
                    Role::Guest | Role::Player => false,
                }
            }
            Self::ChangeApps | Self::ChangeNodes | Self::ProbeNodes | Self::SeeMetrics => {
                match role {
                    Role::Operator | Role::Admin => true,
                    Role::Guest | Role::Player | Role::Tenant => false,
                }
            }
            Self::SeeKeys | Self::ChangeKeys | Self::SeeTenants => match role {
                Role::Tenant | Role::Admin => true,
                Role::Guest | Role::Player | Role::Operator => false,
            },
            Self::SeeUsage => match role {
                Role::Tenant | Role::Operator | Role::Admin => true,
                Role::Guest | Role::Player => false,
            },
            Self::ChangeTenants | Self::SeeAudit | Self::ChangeCheckers | Self::ChangeStakes => {
                match role {
                    Role::Admin => true,
                    Role::Guest | Role::Player | Role::Tenant | Role::Operator => false,
                }
            }
        }
    }

    /// The scope that a key needs for it; `None` where any will do.
    pub const fn scope(self) -> Option<Scope> {
        match self {
            Self::SeeApps => None,
            Self::ChangeApps => Some(Scope::AppsWrite),
            Self::SeeNodes | Self::SeeMetrics => Some(Scope::NodesRead),
            Self::ChangeNodes => Some(Scope::NodesWrite),
            Self::ProbeNodes => Some(Scope::NodesProbe),
            Self::SeeSessions | Self::SeeVolumes => Some(Scope::SessionsRead),
            Self::ChangeSessions | Self::StartJobs | Self::DeleteVolumes => {
                Some(Scope::SessionsWrite)
            }
            Self::CallJobs => Some(Scope::Endpoint),
            Self::EnterJobs => Some(Scope::SessionsEnter),
            Self::SeeKeys | Self::SeeTenants => Some(Scope::KeysRead),
            Self::ChangeKeys => Some(Scope::KeysWrite),
            Self::ChangeTenants | Self::SeeAudit | Self::ChangeCheckers | Self::ChangeStakes => {
                Some(Scope::Admin)
            }
            Self::SeeUsage => Some(Scope::UsageRead),
        }
    }

    /// Whether a key with this scope, and no other, has it.
    fn is_in(self, scope: Scope) -> bool {
        // Whoever may end a job, or change who reaches it, may talk to it.
        let implied = self == Self::CallJobs && scope == Scope::SessionsWrite;
        implied || self.scope().is_none_or(|of| of == scope)
    }

    const fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// How far a caller's permissions go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// What is the caller's own.
    Own,
    /// What is its tenant's.
    Tenant,
    /// Everything.
    All,
}

impl Reach {
    /// That of a role.
    pub const fn of(role: Role) -> Self {
        match role {
            Role::Guest | Role::Player | Role::Operator => Self::Own,
            Role::Tenant => Self::Tenant,
            Role::Admin => Self::All,
        }
    }
}

/// What a caller may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permissions(u32);

impl Permissions {
    /// What `role` allows, as far as `scopes` name it; all of it where there are none to name it.
    pub fn of(role: Role, scopes: Option<&[Scope]>) -> Self {
        let allowed = |permission: &Permission| {
            let is_free = permission.scope().is_none();
            let named = |scopes: &[Scope]| scopes.iter().any(|scope| permission.is_in(*scope));
            permission.is_of(role) && (is_free || scopes.is_none_or(named))
        };
        let bits = Permission::ALL.into_iter().filter(allowed);
        Self(bits.fold(0, |all, permission| all | permission.bit()))
    }

    /// Whether this is among them.
    pub const fn has(self, permission: Permission) -> bool {
        self.0 & permission.bit() != 0
    }

    /// Whether all of `others` are among them.
    pub const fn cover(self, others: Self) -> bool {
        others.0 & !self.0 == 0
    }

    /// The scopes that stand for them.
    pub fn scopes(self) -> Vec<Scope> {
        let stands = |scope: &Scope| {
            let mut all = Permission::ALL.into_iter();
            all.any(|permission| permission.scope() == Some(*scope) && self.has(permission))
        };
        Scope::ALL.into_iter().filter(stands).collect()
    }
}

#[cfg(test)]
mod test {
    use super::*;

    /// The table, as the module's documentation has it.
    #[test]
    fn each_role_may_what_the_table_says_and_nothing_else() {
        let of = |role| {
            let permissions = Permissions::of(role, None);
            let has = |permission: &Permission| permissions.has(*permission);
            Permission::ALL.into_iter().filter(has).collect::<Vec<_>>()
        };
        use Permission::*;
        let players = [SeeApps, SeeNodes, SeeSessions, ChangeSessions, CallJobs];
        assert_eq!(of(Role::Guest), players);
        assert_eq!(of(Role::Player), players);
        let operators = [
            SeeApps,
            ChangeApps,
            SeeNodes,
            ChangeNodes,
            ProbeNodes,
            SeeMetrics,
            SeeSessions,
            ChangeSessions,
            CallJobs,
            StartJobs,
            EnterJobs,
            SeeVolumes,
            DeleteVolumes,
            SeeUsage,
        ];
        assert_eq!(of(Role::Operator), operators);
        let tenants = [
            SeeApps,
            SeeNodes,
            SeeSessions,
            ChangeSessions,
            CallJobs,
            StartJobs,
            EnterJobs,
            SeeVolumes,
            DeleteVolumes,
            SeeKeys,
            ChangeKeys,
            SeeTenants,
            SeeUsage,
        ];
        assert_eq!(of(Role::Tenant), tenants);
        assert_eq!(of(Role::Admin), Permission::ALL);
        let reach = Role::ALL.map(Reach::of);
        let expected = [
            Reach::Own,
            Reach::Own,
            Reach::Tenant,
            Reach::Own,
            Reach::All,
        ];
        assert_eq!(reach, expected);
    }

    #[test]
    fn a_scope_takes_away_and_never_adds() {
        for role in Role::ALL {
            let whole = Permissions::of(role, None);
            for scope in Scope::ALL {
                let part = Permissions::of(role, Some(&[scope]));
                assert!(whole.cover(part), "{role:?} {scope:?}");
                let other = Permission::ALL
                    .into_iter()
                    .find(|permission| part.has(*permission) && !permission.is_in(scope));
                assert_eq!(other, None, "{role:?} {scope:?}");
            }
            assert_eq!(Permissions::of(role, Some(&Scope::ALL)), whole);
        }
    }

    #[test]
    fn a_key_for_endpoints_calls_jobs_and_changes_no_session() {
        let calls = Permissions::of(Role::Tenant, Some(&[Scope::Endpoint]));
        assert!(calls.has(Permission::CallJobs));
        for other in [
            Permission::SeeSessions,
            Permission::ChangeSessions,
            Permission::StartJobs,
            Permission::EnterJobs,
        ] {
            assert!(!calls.has(other), "{other:?}");
        }
        let writes = Permissions::of(Role::Tenant, Some(&[Scope::SessionsWrite]));
        assert!(writes.cover(calls), "who may end a job may call it");
    }

    #[test]
    fn who_has_all_of_a_scope_is_said_to_have_it() {
        let nothing = Permissions::of(Role::Admin, Some(&[]));
        assert_eq!(nothing.scopes(), [], "of a key whose scopes nobody knows");
        let tenant = Permissions::of(Role::Tenant, Some(&[Scope::SessionsRead, Scope::Admin]));
        assert_eq!(tenant.scopes(), [Scope::SessionsRead]);
        assert!(!tenant.cover(Permissions::of(Role::Tenant, None)));
    }
}
