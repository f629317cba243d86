//! The apps that can be started, in memory: which version is live, and which one is staged in which
//! metros. What the ledger has is looked at every two seconds, for other brokers change it, too.
//!
//! **Invariants.** What is here was in the ledger. A reading that is older than the last one changes
//! nothing.
//!
//! **What it does not know:** nodes, sessions, who may change apps.

use crate::ahead::Ahead;
use crate::catalogue::Catalogue;
use crate::ledger::{AppChange, AppRow, Ledger, Op, StoreError};
use crate::time::Clock;
use nearlight_protocol::app::{AppSpec, GpuClass, Shelf};
use nearlight_protocol::control::{ImagesWanted, WarmWanted};
use nearlight_protocol::id::AppId;
use nearlight_protocol::limits::{IMAGES_WANTED_MAX, WARM_PER_APP_MAX, WARM_WANTED_MAX};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Between two looks at what others have changed.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// An app that can be started.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LiveApp {
    /// The version for everywhere else.
    pub(crate) live: Arc<AppSpec>,
    /// Metros with another version.
    pub(crate) staged: BTreeMap<String, Arc<AppSpec>>,
    /// The newest one, which may be live anywhere next.
    pub(crate) newest: Option<Arc<AppSpec>>,
    /// The one that was live before, for a way back.
    pub(crate) former: Option<Arc<AppSpec>>,
}

/// What is to be started, and where.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Variant {
    /// The version.
    pub(crate) app: Arc<AppSpec>,
    /// In which metros.
    pub(crate) metros: Metros,
}

/// Some metros, or all but some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Metros {
    /// These.
    Only(Vec<String>),
    /// All others.
    Except(Vec<String>),
}

impl LiveApp {
    fn of(row: &AppRow) -> Option<Self> {
        if row.withdrawn {
            return None;
        }
        let staged = row.staged.iter().filter_map(|(metro, version)| {
            let app = row.version(*version)?.app.clone();
            (*version != row.live).then(|| (metro.clone(), app))
        });
        Some(Self {
            live: row.version(row.live)?.app.clone(),
            staged: staged.collect(),
            newest: row.versions.last().map(|newest| newest.app.clone()),
            former: row.former.and_then(|n| Some(row.version(n)?.app.clone())),
        })
    }

    /// An app that is not in the catalogue any more, as a session has it that waits.
    pub(crate) fn alone(app: &AppSpec) -> Self {
        Self {
            live: Arc::new(app.clone()),
            staged: BTreeMap::new(),
            newest: None,
            former: None,
        }
    }

    /// Each version with its metros, the live one last.
    pub(crate) fn variants(&self) -> Vec<Variant> {
        let mut variants: Vec<Variant> = Vec::new();
        for (metro, app) in &self.staged {
            let same = variants.iter_mut().find(|v| Arc::ptr_eq(&v.app, app));
            match same.map(|variant| &mut variant.metros) {
                Some(Metros::Only(metros) | Metros::Except(metros)) => metros.push(metro.clone()),
                None => variants.push(Variant {
                    app: app.clone(),
                    metros: Metros::Only(vec![metro.clone()]),
                }),
            }
        }
        variants.push(Variant {
            app: self.live.clone(),
            metros: Metros::Except(self.staged.keys().cloned().collect()),
        });
        variants
    }

    /// What a session gets in a metro.
    pub(crate) fn in_metro(&self, metro: &str) -> &Arc<AppSpec> {
        self.staged.get(metro).unwrap_or(&self.live)
    }
}

/// Every app that can be started.
#[derive(Debug, Default)]
pub(crate) struct Apps {
    /// Held for a look-up, never across an await.
    known: RwLock<Known>,
    /// What jobs want beside.
    ahead: Ahead,
}

/// Which of the ledger's states apps were read from, later ones being more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AppsRevision {
    /// How often the ledger had gone back: it counts changes anew from there.
    setbacks: u64,
    /// How often apps were changed.
    changes: u64,
}

#[derive(Debug, Default)]
struct Known {
    /// What this was read from; `None` before the first reading.
    revision: Option<AppsRevision>,
    apps: Arc<BTreeMap<AppId, LiveApp>>,
}

impl Apps {
    /// Brings what the files have into the ledger, and reads what it has then.
    ///
    /// # Errors
    /// [`StoreError`] if the ledger fails.
    pub(crate) async fn open(
        catalogue: &Catalogue,
        ahead: Ahead,
        ledger: &Arc<dyn Ledger>,
        clock: Clock,
    ) -> Result<Self, StoreError> {
        let seed = AppChange::Seed {
            apps: catalogue.apps().cloned().collect(),
            at: clock.now(),
        };
        let op = Op::App {
            change: seed,
            audit: None,
        };
        ledger.write(vec![op]).await?;
        let apps = Self {
            ahead,
            ..Self::default()
        };
        apps.look(ledger.as_ref()).await?;
        Ok(apps)
    }

    /// Reads the ledger, if apps have changed since the last time.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read; what was known stays.
    pub(crate) async fn look(&self, ledger: &dyn Ledger) -> Result<(), StoreError> {
        let revision = AppsRevision {
            setbacks: ledger.setbacks(),
            changes: ledger.app_changes().await?,
        };
        if self.revision() == Some(revision) {
            return Ok(());
        }
        let rows = ledger.apps().await?;
        let apps = rows
            .iter()
            .filter_map(|row| Some((row.id.clone(), LiveApp::of(row)?)));
        self.learn(revision, apps.collect());
        Ok(())
    }

    fn learn(&self, revision: AppsRevision, apps: BTreeMap<AppId, LiveApp>) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.revision.is_none_or(|former| former < revision) {
            *known = Known {
                revision: Some(revision),
                apps: Arc::new(apps),
            };
        }
    }

    /// Looks until the shutdown.
    pub(crate) async fn keep(self: Arc<Self>, ledger: Arc<dyn Ledger>, stop: CancellationToken) {
        let mut beat = tokio::time::interval(LOOK_EVERY);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = beat.tick() => {}
                () = stop.cancelled() => return,
            }
            if let Err(error) = self.look(ledger.as_ref()).await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "cannot read which apps there are; those that were known go on"
                );
            }
        }
    }

    /// What they were read from.
    pub(crate) fn revision(&self) -> Option<AppsRevision> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.revision
    }

    /// All of them.
    pub(crate) fn all(&self) -> Arc<BTreeMap<AppId, LiveApp>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.apps.clone()
    }

    /// One app.
    pub(crate) fn app(&self, id: &AppId) -> Option<LiveApp> {
        self.all().get(id).cloned()
    }

    /// What is fetched for jobs before they come.
    pub(crate) fn ahead(&self) -> &Ahead {
        &self.ahead
    }

    /// What a node of this metro and with this GPU is to have; last what jobs want, if it takes any.
    pub(crate) fn images_for(&self, metro: &str, gpu: GpuClass, takes_jobs: bool) -> ImagesWanted {
        let mut wanted = images_for(self.all().values(), metro, gpu);
        if takes_jobs {
            let ahead = self.ahead.images.iter().cloned();
            wanted.pull.extend(ahead);
            wanted.pull.truncate(IMAGES_WANTED_MAX);
            wanted.assets.clone_from(&self.ahead.assets);
        }
        wanted
    }

    /// All apps as they are live, games first, each shelf by title.
    pub(crate) fn by_title(&self) -> Vec<LiveApp> {
        let mut apps: Vec<LiveApp> = self.all().values().cloned().collect();
        let shelf = |app: &LiveApp| match app.live.shelf {
            Shelf::Game => 0,
            Shelf::Tool => 1,
        };
        apps.sort_by(|a, b| (shelf(a), &a.live.title).cmp(&(shelf(b), &b.live.title)));
        apps
    }
}

/// What a node of this metro and with this GPU is to have. First what may be started there now, then what
/// may be next; what was live before is only kept.
pub(crate) fn images_for<'a>(
    apps: impl Iterator<Item = &'a LiveApp>,
    metro: &str,
    gpu: GpuClass,
) -> ImagesWanted {
    let (mut now, mut next, mut keep) = (Vec::new(), Vec::new(), Vec::new());
    let mut warm = Vec::new();
    let runs = |app: &&Arc<AppSpec>| app.needs.gpu <= gpu;
    let image = |app: &Arc<AppSpec>| app.launch.image.clone();
    for app in apps {
        let here = app.in_metro(metro);
        if here.warm > 0 && runs(&here) {
            warm.push(WarmWanted {
                app: here.id.clone(),
                display: here.needs.display,
                count: here.warm.min(WARM_PER_APP_MAX),
            });
        }
        now.extend(Some(here).filter(runs).map(image));
        let others = app.staged.values().chain(&app.newest);
        next.extend(others.filter(runs).map(image));
        let before = app.former.iter().chain([&app.live]);
        keep.extend(before.filter(runs).map(image));
    }
    let mut seen = BTreeSet::new();
    let mut first = |images: Vec<String>| {
        let mut images: Vec<String> = images;
        images.retain(|image| seen.insert(image.clone()));
        images
    };
    let mut pull = first(now);
    pull.extend(first(next));
    let mut keep = first(keep);
    pull.truncate(IMAGES_WANTED_MAX);
    keep.truncate(IMAGES_WANTED_MAX);
    warm.truncate(WARM_WANTED_MAX);
    ImagesWanted {
        pull,
        keep,
        warm,
        assets: Vec::new(),
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::ledger::VersionRow;

    fn spec(image: &str) -> Arc<AppSpec> {
        let text = format!(
            "id = \"demo\"\ntitle = \"D\"\nsummary = \"\"\npicture = \"\"\nshelf = \"tool\"\n\
             launch = {{ image = \"{image}\", command = [\"/x\"] }}"
        );
        Arc::new(nearlight_kit::manifest::read("demo", &text).unwrap())
    }

    fn row(staged: &[(&str, u32)]) -> AppRow {
        let version = |version: u32| VersionRow {
            version,
            digest: version.to_string(),
            by: None,
            created_ms: 0,
            app: spec(&format!("demo:{version}")),
        };
        AppRow {
            id: "demo".parse().unwrap(),
            live: 1,
            former: None,
            withdrawn: false,
            staged: staged.iter().map(|(m, v)| ((*m).to_owned(), *v)).collect(),
            versions: vec![version(1), version(2), version(3)],
        }
    }

    #[test]
    fn each_metro_has_one_version() {
        let app = LiveApp::of(&row(&[("a", 2), ("b", 3), ("c", 2), ("d", 1)])).unwrap();
        let variants = app.variants();
        let shown: Vec<_> = variants
            .iter()
            .map(|v| (v.app.launch.image.as_str(), v.metros.clone()))
            .collect();
        let names = |all: &[&str]| all.iter().map(|m| (*m).to_owned()).collect::<Vec<_>>();
        let expected = [
            ("demo:2", Metros::Only(names(&["a", "c"]))),
            ("demo:3", Metros::Only(names(&["b"]))),
            ("demo:1", Metros::Except(names(&["a", "b", "c"]))),
        ];
        assert_eq!(shown, expected);
        assert_eq!(app.in_metro("b").launch.image, "demo:3");
        assert_eq!(app.in_metro("d").launch.image, "demo:1");
    }

    #[test]
    fn nodes_have_what_they_may_start_and_what_may_be_next_before_it_is_live() {
        let staged = AppRow {
            live: 2,
            former: Some(1),
            ..row(&[("a", 3)])
        };
        let app = LiveApp::of(&staged).unwrap();
        let of = |metro: &str, gpu| {
            let wanted = images_for([&app].into_iter(), metro, gpu);
            (wanted.pull, wanted.keep)
        };
        let names = |all: &[&str]| all.iter().map(|i| (*i).to_owned()).collect::<Vec<_>>();
        let at_a = (names(&["demo:3"]), names(&["demo:1", "demo:2"]));
        assert_eq!(of("a", GpuClass::None), at_a);
        let at_b = (names(&["demo:2", "demo:3"]), names(&["demo:1"]));
        assert_eq!(of("b", GpuClass::None), at_b);
        let mut heavy = (*app.live).clone();
        heavy.needs.gpu = GpuClass::Render;
        let heavy = LiveApp::alone(&heavy);
        let wanted = |gpu| images_for([&heavy].into_iter(), "a", gpu).pull;
        let warm = |app: &LiveApp, gpu| images_for([app].into_iter(), "a", gpu).warm;
        assert_eq!(warm(&heavy, GpuClass::Render), [], "it asks for none");
        let mut asks = (*heavy.live).clone();
        asks.warm = 2;
        let asks = LiveApp::alone(&asks);
        assert_eq!(warm(&asks, GpuClass::None), [], "it cannot run there");
        let wish = warm(&asks, GpuClass::Render);
        assert_eq!((wish.len(), wish[0].count), (1, 2));
        assert_eq!(wish[0].display, asks.live.needs.display);
        assert_eq!(wanted(GpuClass::None), Vec::<String>::new());
        assert_eq!(wanted(GpuClass::Render), ["demo:2"]);
    }

    #[test]
    fn a_withdrawn_app_is_not_started_and_an_old_reading_changes_nothing() {
        let apps = Apps::default();
        let all = |row: &AppRow| {
            let live = LiveApp::of(row).map(|app| (row.id.clone(), app));
            live.into_iter().collect()
        };
        let read = |setbacks, changes| AppsRevision { setbacks, changes };
        apps.learn(read(0, 2), all(&row(&[("a", 2)])));
        apps.learn(read(0, 1), BTreeMap::new());
        assert_eq!(apps.by_title().len(), 1);
        let gone = AppRow {
            withdrawn: true,
            ..row(&[])
        };
        apps.learn(read(0, 3), all(&gone));
        assert_eq!(apps.app(&"demo".parse().unwrap()), None);
        // The ledger went back, and the withdrawal with it.
        apps.learn(read(1, 2), all(&row(&[("a", 2)])));
        apps.learn(read(0, 4), BTreeMap::new());
        assert_eq!(apps.by_title().len(), 1);
    }

    #[test]
    fn what_jobs_want_ahead_is_fetched_last_and_where_jobs_run() {
        let asset = nearlight_protocol::job::Asset {
            url: "https://models.example/w".to_owned(),
            digest: format!("sha256:{}", "0a".repeat(32)),
            size_mib: 1,
            path: "/w".to_owned(),
        };
        let apps = Apps {
            ahead: Ahead {
                images: vec!["registry.example/server:1".to_owned()],
                assets: vec![asset.clone()],
            },
            ..Apps::default()
        };
        let live = LiveApp {
            live: spec("registry.example/app:1"),
            staged: BTreeMap::new(),
            newest: None,
            former: None,
        };
        let revision = AppsRevision {
            setbacks: 0,
            changes: 1,
        };
        apps.learn(revision, [(live.live.id.clone(), live)].into());
        let wanted = apps.images_for("a", GpuClass::None, true);
        let expected = ["registry.example/app:1", "registry.example/server:1"];
        assert_eq!(
            (&wanted.pull[..], &wanted.assets[..]),
            (&expected.map(str::to_owned)[..], &[asset][..])
        );
        let without = apps.images_for("a", GpuClass::None, false);
        assert_eq!((without.pull.len(), without.assets.len()), (1, 0));
    }
}
