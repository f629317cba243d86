//! Who one is, and who else may come in: `login`, `logout`, `whoami`, `tenant`, `key`, `admin`.

use crate::cli::{AdminCommand, Broker, ChangeTenant, KeyCommand, Login, Logout, TenantCommand};
use crate::client::{Client, ClientError};
use crate::command::{CommandError, show, wire_name};
use crate::profile::{Profile, Profiles};
use crate::target::plain_key;
use crate::{device, table, terminal};
use nearlight_protocol::api::WhoAmI;
use nearlight_protocol::identity::{
    ApiKey, AuditEntry, AuditPage, CreateKey, KeyList, NewKey, RotateKey, Scope, Tenant,
    TenantChange, TenantList, TenantSettings,
};
use nearlight_protocol::limits::PAGE_ENTRIES_MAX;
use std::io::{BufRead, IsTerminal};
use std::process::{Command, Stdio};

/// What an API key begins with; the secret of a player's login does not.
const KEY_PREFIX: &str = "nlk_";

/// Asks for a key, or for a player in a browser, shows the broker what came, and remembers both.
///
/// # Errors
/// [`CommandError`]: the key does not come, the broker does not take it, or it cannot be written down.
pub fn login(login: &Login) -> Result<(), CommandError> {
    let url = login.url.trim_end_matches('/');
    let host = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"))
        .ok_or_else(|| ClientError::BadUrl(url.to_owned()))?;
    let key = match &login.key_file {
        Some(file) => std::fs::read_to_string(file).map_err(CommandError::NoKey)?,
        None if login.device => device::log_in(url)?,
        None => asked_for(url)?,
    };
    let key = plain_key(&key)?;
    if key.is_empty() {
        return Err(CommandError::EmptyKey);
    }
    let profile = Profile {
        url: url.to_owned(),
        key: key.to_owned(),
    };
    let who: WhoAmI = Client::with_key(&profile.url, &profile.key).get("/v1/whoami")?;
    let name = login.profile.as_deref().unwrap_or(host);
    let mut profiles = Profiles::load()?;
    profiles.put(name, profile);
    profiles.save()?;
    terminal::note(format_args!(
        "logged in to {url} as {} ({}); the profile is `{name}`",
        who.name,
        who.role.name()
    ));
    Ok(())
}

/// A line of stdin.
fn asked_for(url: &str) -> Result<String, CommandError> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        terminal::note(format_args!("Paste an API key of {url}, then press Enter:"));
    }
    let mut line = String::new();
    let read = stdin.lock().read_line(&mut line);
    match read.map_err(CommandError::NoKey)? {
        0 => Err(CommandError::NoKey(
            std::io::ErrorKind::UnexpectedEof.into(),
        )),
        _ => Ok(line),
    }
}

/// Forgets a profile with its key. The key itself goes on; `nearlight key revoke` voids it. The login of a
/// player ends.
///
/// # Errors
/// [`CommandError`] if the profiles cannot be read or written.
pub fn logout(logout: &Logout) -> Result<(), CommandError> {
    let mut profiles = Profiles::load()?;
    if let Some(name) = &logout.profile {
        profiles.named(name)?;
    }
    let gone = match &logout.profile {
        Some(name) => profiles.profiles.get(name),
        None => profiles.current(),
    };
    let gone = gone.cloned();
    match profiles.remove(logout.profile.as_deref()) {
        Some(name) => {
            profiles.save()?;
            let login = gone.filter(|profile| !profile.key.starts_with(KEY_PREFIX));
            let ended = login.map(|of| Client::with_key(&of.url, &of.key).order("/v1/logout"));
            if let Some(Err(error)) = ended {
                terminal::note(format_args!("the login itself goes on for now: {error}"));
            }
            terminal::note(format_args!(
                "the profile `{name}` and its key are forgotten"
            ));
        }
        None => terminal::note("nobody is logged in"),
    }
    Ok(())
}

/// Says who the broker takes this user for.
///
/// # Errors
/// [`CommandError`].
pub fn whoami(broker: &Broker) -> Result<(), CommandError> {
    let client = Client::new(broker)?;
    let who: WhoAmI = client.get("/v1/whoami")?;
    show(broker, &who, || {
        let or_dash = |id: Option<String>| id.unwrap_or_else(|| "-".to_owned());
        let row = [
            who.name.clone(),
            who.role.name().to_owned(),
            or_dash(who.tenant.as_ref().map(ToString::to_string)),
            or_dash(who.key.as_ref().map(ToString::to_string)),
            scopes(&who.scopes),
            client.url(""),
        ];
        table::lay_out(
            ["NAME", "ROLE", "TENANT", "KEY", "SCOPES", "BROKER"],
            &[row],
        )
    });
    Ok(())
}

/// Makes, lists and changes tenants.
///
/// # Errors
/// [`CommandError`].
pub fn tenant(command: &TenantCommand, broker: &Broker) -> Result<(), CommandError> {
    let client = Client::new(broker)?;
    match command {
        TenantCommand::Create {
            name,
            limits,
            priority,
            budget_micro_per_month,
        } => {
            let settings = TenantSettings {
                name: name.clone(),
                sessions_max: limits.sessions_max,
                gpus_max: limits.gpus_max,
                cpu_milli_max: limits.cpu_milli_max,
                mem_mib_max: limits.mem_mib_max,
                suspended: false,
                priority: *priority,
                budget_micro_per_month: *budget_micro_per_month,
            };
            let tenant: Tenant = client.post("/v1/tenants", &settings)?;
            show(broker, &tenant, || format!("{}\n", tenant.id));
        }
        TenantCommand::List => {
            let list: TenantList = client.get("/v1/tenants")?;
            let rows: Vec<_> = list.tenants.iter().map(tenant_row).collect();
            show(broker, &list, || table::lay_out(TENANT_HEAD, &rows));
        }
        TenantCommand::Set { tenant, change } => {
            let change = changes(change);
            let changed: Tenant = client.patch(&format!("/v1/tenants/{tenant}"), &change)?;
            show(broker, &changed, || {
                table::lay_out(TENANT_HEAD, &[tenant_row(&changed)])
            });
        }
    }
    Ok(())
}

fn changes(of: &ChangeTenant) -> TenantChange {
    TenantChange {
        name: of.name.clone(),
        sessions_max: of.sessions_max.map(|limit| limit.0),
        gpus_max: of.gpus_max.map(|limit| limit.0),
        cpu_milli_max: of.cpu_milli_max.map(|limit| limit.0),
        mem_mib_max: of.mem_mib_max.map(|limit| limit.0),
        suspended: of.suspended,
        priority: of.priority,
        budget_micro_per_month: of.budget_micro_per_month.map(|limit| limit.0),
    }
}

const TENANT_HEAD: [&str; 8] = [
    "TENANT", "NAME", "SESSIONS", "GPUS", "CORES", "MIB", "BUDGET", "STATE",
];

fn tenant_row(tenant: &Tenant) -> [String; 8] {
    let budget = tenant.budget_micro_per_month.map(crate::usage::amount);
    let count = |n: u32| n.to_string();
    let cores = |milli: u32| format!("{}.{}", milli / 1000, milli % 1000 / 100);
    let state = match tenant.suspended {
        true => "suspended",
        false => "active",
    };
    [
        tenant.id.to_string(),
        tenant.name.clone(),
        of_most(tenant.sessions_used, tenant.sessions_max, count),
        of_most(tenant.gpus_used, tenant.gpus_max, count),
        of_most(tenant.cpu_milli_used, tenant.cpu_milli_max, cores),
        of_most(tenant.mem_mib_used, tenant.mem_mib_max, count),
        budget.unwrap_or_else(|| "-".to_owned()),
        state.to_owned(),
    ]
}

/// `2/8`; `2` where there is no limit.
fn of_most(used: u32, max: Option<u32>, text: impl Fn(u32) -> String) -> String {
    match max {
        Some(max) => format!("{}/{}", text(used), text(max)),
        None => text(used),
    }
}

/// Makes, lists, rotates and revokes keys.
///
/// # Errors
/// [`CommandError`].
pub fn key(command: &KeyCommand, broker: &Broker) -> Result<(), CommandError> {
    let client = Client::new(broker)?;
    match command {
        KeyCommand::Create(create) => {
            let create = CreateKey {
                name: create.name.clone(),
                role: create.role,
                tenant: create.tenant.clone(),
                scopes: create.scopes.clone(),
                expires_s: create.expires_s,
                sessions_max: create.sessions_max,
            };
            tell_once(broker, &client.post("/v1/keys", &create)?);
        }
        KeyCommand::List => {
            let keys = all_keys(&client)?;
            let rows: Vec<_> = keys.keys.iter().map(key_row).collect();
            let head = [
                "KEY",
                "NAME",
                "ROLE",
                "TENANT",
                "SCOPES",
                "PREFIX",
                "LAST USED",
                "STATE",
            ];
            show(broker, &keys, || table::lay_out(head, &rows));
        }
        KeyCommand::Rotate { key, overlap_s } => {
            let rotate = RotateKey {
                overlap_s: *overlap_s,
            };
            let path = format!("/v1/keys/{key}/rotate");
            tell_once(broker, &client.post(&path, &rotate)?);
        }
        KeyCommand::Revoke { key } => {
            client.delete(&format!("/v1/keys/{key}"))?;
            if !broker.json {
                terminal::result(format_args!("{key} is void"));
            }
        }
    }
    Ok(())
}

fn tell_once(broker: &Broker, new: &NewKey) {
    if !broker.json {
        terminal::note(format_args!(
            "{} ({}): keep the secret, it is not shown again",
            new.key.id, new.key.name
        ));
    }
    show(broker, new, || format!("{}\n", new.secret));
}

/// Page by page.
fn all_keys(client: &Client) -> Result<KeyList, ClientError> {
    let mut all: KeyList = client.get(&format!("/v1/keys?limit={PAGE_ENTRIES_MAX}"))?;
    while let Some(next) = all.next.take() {
        let path = format!("/v1/keys?limit={PAGE_ENTRIES_MAX}&after={next}");
        let more: KeyList = client.get(&path)?;
        all.keys.extend(more.keys);
        all.next = more.next;
    }
    Ok(all)
}

fn key_row(key: &ApiKey) -> [String; 8] {
    let now_ms = nearlight_kit::clock::unix_ms();
    let state = match (key.revoked_unix_ms, key.expires_unix_ms) {
        (Some(_), _) => "revoked".to_owned(),
        (None, Some(end_ms)) if end_ms <= now_ms => "expired".to_owned(),
        (None, Some(end_ms)) => format!("for {} h", (end_ms - now_ms).div_ceil(3_600_000)),
        (None, None) => "valid".to_owned(),
    };
    let used = key.last_used_unix_ms.map(ago);
    [
        key.id.to_string(),
        key.name.clone(),
        key.role.name().to_owned(),
        key.tenant
            .as_ref()
            .map_or_else(|| "-".to_owned(), ToString::to_string),
        scopes(&key.scopes),
        format!("{}…", key.prefix),
        used.unwrap_or_else(|| "never".to_owned()),
        state,
    ]
}

/// How long ago a time was, in words.
fn ago(at_ms: u64) -> String {
    let seconds = nearlight_kit::clock::unix_ms().saturating_sub(at_ms) / 1000;
    match seconds {
        0..=119 => format!("{seconds} s ago"),
        120..=7199 => format!("{} min ago", seconds / 60),
        7200..=172_799 => format!("{} h ago", seconds / 3600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}

fn scopes(scopes: &[Scope]) -> String {
    let names: Vec<&str> = scopes.iter().map(|scope| scope.name()).collect();
    names.join(" ")
}

/// What administrators do.
///
/// # Errors
/// [`CommandError`].
pub fn admin(command: &AdminCommand) -> Result<(), CommandError> {
    match command {
        AdminCommand::Bootstrap {
            config,
            data,
            ledger,
            force,
            json,
        } => {
            let mut run = Command::new(beside("session-broker"));
            run.arg("--bootstrap-admin");
            for (flag, value) in [("--config", config), ("--data", data)] {
                if let Some(value) = value {
                    run.arg(flag).arg(value);
                }
            }
            if let Some(ledger) = ledger {
                run.arg("--ledger").arg(ledger);
            }
            if *force {
                run.arg("--force");
            }
            let done = run.stderr(Stdio::inherit()).output();
            let done = done.map_err(CommandError::NoBroker)?;
            if !done.status.success() {
                return Err(CommandError::NotBootstrapped);
            }
            let new: NewKey =
                serde_json::from_slice(&done.stdout).map_err(|_| CommandError::NotBootstrapped)?;
            if *json {
                terminal::json(&new);
            } else {
                terminal::note(format_args!(
                    "{}: keep the secret, it is not shown again; log in with `nearlight login URL`",
                    new.key.id
                ));
                terminal::result(&new.secret);
            }
        }
        AdminCommand::Audit { limit, broker } => audit(*limit, broker)?,
    }
    Ok(())
}

/// A program of ours, which stands beside this one.
pub(crate) fn beside(program: &str) -> std::path::PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    own.with_file_name(program)
}

fn audit(limit: u32, broker: &Broker) -> Result<(), CommandError> {
    let client = Client::new(broker)?;
    let mut page = AuditPage {
        entries: Vec::new(),
        next: None,
    };
    loop {
        let left = limit.saturating_sub(u32::try_from(page.entries.len()).unwrap_or(limit));
        let mut path = format!("/v1/audit?limit={}", left.clamp(1, PAGE_ENTRIES_MAX));
        if let Some(next) = page.next {
            path = format!("{path}&before={}", next.0);
        }
        let more: AuditPage = client.get(&path)?;
        page.entries.extend(more.entries);
        page.next = more.next;
        if page.next.is_none() || page.entries.len() >= limit as usize {
            break;
        }
    }
    let rows: Vec<_> = page.entries.iter().map(audit_row).collect();
    let head = ["WHEN", "WHO", "FROM", "WHAT", "ON", "OUTCOME", "DETAIL"];
    show(broker, &page, || table::lay_out(head, &rows));
    Ok(())
}

fn audit_row(entry: &AuditEntry) -> [String; 7] {
    let key = entry.key.as_ref().map(ToString::to_string);
    let user = entry.user.as_ref().map(ToString::to_string);
    let who = key
        .or(user)
        .unwrap_or_else(|| "the broker's machine".to_owned());
    [
        ago(entry.at_unix_ms),
        who,
        entry.address.clone().unwrap_or_else(|| "-".to_owned()),
        wire_name(&entry.action),
        entry.subject.clone(),
        wire_name(&entry.outcome),
        entry.detail.clone(),
    ]
}
