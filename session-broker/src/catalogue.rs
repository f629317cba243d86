//! The catalogue: which apps can be started. Built-in entries, and those of `--apps DIR` over them.
//!
//! **Invariants.** Every entry is named after its file and fits the limits of the wire; a file that
//! does not is an error that names the file and the field, never an app that is silently missing.

use nearlight_protocol::app::{AppSpec, Shelf};
use nearlight_protocol::id::AppId;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const BUILT_IN: [(&str, &str); 3] = [
    (
        "calibrate",
        include_str!("../../configs/apps/calibrate.toml"),
    ),
    ("freedoom", include_str!("../../configs/apps/freedoom.toml")),
    (
        "neverball",
        include_str!("../../configs/apps/neverball.toml"),
    ),
];

/// An app's time limits may not exceed a week.
const TIME_S_MAX: u32 = 7 * 24 * 3600;

/// Why the catalogue cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// The directory or a file of it cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file is not an app.
    #[error("{file}: {source}")]
    Syntax {
        /// Which.
        file: String,
        /// The field, and what is wrong with it.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A field has a value that cannot work.
    #[error("{file}: `{field}` {problem}")]
    Field {
        /// Which file.
        file: String,
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

/// The apps by id.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    apps: BTreeMap<AppId, Arc<AppSpec>>,
}

impl Catalogue {
    /// The built-in apps, and those of `dir` over them.
    ///
    /// # Errors
    /// [`CatalogueError`] for the first file that is no app.
    pub fn load(dir: Option<&Path>) -> Result<Self, CatalogueError> {
        let mut catalogue = Self::default();
        for (stem, text) in BUILT_IN {
            catalogue.add(&format!("configs/apps/{stem}.toml"), stem, text)?;
        }
        for path in dir.map(files).transpose()?.unwrap_or_default() {
            let read = |source| CatalogueError::Read {
                path: path.clone(),
                source,
            };
            let text = std::fs::read_to_string(&path).map_err(read)?;
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            catalogue.add(&path.display().to_string(), &stem, &text)?;
        }
        Ok(catalogue)
    }

    /// One app.
    pub fn app(&self, id: &AppId) -> Option<&Arc<AppSpec>> {
        self.apps.get(id)
    }

    /// All apps, by title.
    pub fn by_title(&self) -> Vec<&Arc<AppSpec>> {
        let mut apps: Vec<_> = self.apps.values().collect();
        let shelf = |app: &AppSpec| match app.shelf {
            Shelf::Game => 0,
            Shelf::Tool => 1,
        };
        apps.sort_by(|a, b| (shelf(a), &a.title).cmp(&(shelf(b), &b.title)));
        apps
    }

    fn add(&mut self, file: &str, stem: &str, text: &str) -> Result<(), CatalogueError> {
        let app = read(file, stem, text)?;
        self.apps.insert(app.id.clone(), Arc::new(app));
        Ok(())
    }
}

/// The app that `text` describes, the content of `file` with the name `stem`.
///
/// # Errors
/// [`CatalogueError`] if it is none, or cannot work.
pub fn read(file: &str, stem: &str, text: &str) -> Result<AppSpec, CatalogueError> {
    let app: AppSpec = toml::from_str(text).map_err(|source| CatalogueError::Syntax {
        file: file.to_owned(),
        source: Box::new(source),
    })?;
    if let Some((field, problem)) = fault(&app, stem) {
        return Err(CatalogueError::Field {
            file: file.to_owned(),
            field,
            problem,
        });
    }
    Ok(app)
}

fn files(dir: &Path) -> Result<Vec<PathBuf>, CatalogueError> {
    let read = |source| CatalogueError::Read {
        path: dir.to_owned(),
        source,
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(read)? {
        let path = entry.map_err(read)?.path();
        if path.extension().is_some_and(|e| e == "toml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The first field that cannot work, and why.
fn fault(app: &AppSpec, stem: &str) -> Option<(&'static str, String)> {
    let time = |s: u32| !(1..=TIME_S_MAX).contains(&s);
    let checks: [(bool, &'static str, String); 10] = [
        (
            app.id.as_str() != stem,
            "id",
            format!("is `{}`, but the file is named `{stem}.toml`", app.id),
        ),
        (app.title.is_empty(), "title", "is empty".to_owned()),
        (
            app.launch.image.is_empty(),
            "launch.image",
            "is empty".to_owned(),
        ),
        (
            app.launch.command.is_empty(),
            "launch.command",
            "is empty".to_owned(),
        ),
        (
            !app.needs.display.is_valid(),
            "needs.display",
            "needs even sides of 64 to 4096 and a rate of 1 to 240 Hz".to_owned(),
        ),
        (
            app.needs.cpu_milli == 0,
            "needs.cpu_milli",
            "is zero".to_owned(),
        ),
        (
            app.needs.mem_mib == 0,
            "needs.mem_mib",
            "is zero".to_owned(),
        ),
        (
            time(app.time.idle_s),
            "time.idle_s",
            "is not 1 second to 7 days".to_owned(),
        ),
        (
            time(app.time.max_s),
            "time.max_s",
            "is not 1 second to 7 days".to_owned(),
        ),
        (
            time(app.time.grace_s),
            "time.grace_s",
            "is not 1 second to 7 days".to_owned(),
        ),
    ];
    if let Some(saves) = &app.saves
        && (!saves.starts_with('/') || saves.split('/').any(|part| part == ".."))
    {
        return Some(("saves", "is not an absolute path without `..`".to_owned()));
    }
    checks
        .into_iter()
        .find(|(wrong, _, _)| *wrong)
        .map(|(_, field, problem)| (field, problem))
}

#[cfg(test)]
mod test {
    use super::*;

    const APP: &str = r#"
        id = "demo"
        title = "Demo"
        summary = "A demo."
        picture = "/apps/demo.webp"
        shelf = "tool"
        launch = { image = "demo:1", command = ["/demo"] }
    "#;

    fn load(name: &str, text: &str) -> Result<Catalogue, CatalogueError> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(name), text).unwrap();
        Catalogue::load(Some(dir.path()))
    }

    fn check(name: &str, text: &str, says: &[&str]) {
        let error = load(name, text).unwrap_err().to_string();
        for word in says {
            assert!(error.contains(word), "`{error}` does not say `{word}`");
        }
    }

    #[test]
    fn the_built_in_apps_are_there() {
        let catalogue = Catalogue::load(None).unwrap();
        for (stem, _) in BUILT_IN {
            assert!(catalogue.app(&stem.parse().unwrap()).is_some(), "{stem}");
        }
    }

    #[test]
    fn a_directory_adds_and_overrides() {
        let catalogue = load("demo.toml", APP).unwrap();
        assert_eq!(catalogue.by_title().len(), BUILT_IN.len() + 1);
        let doom = APP.replace("\"demo\"", "\"freedoom\"");
        let catalogue = load("freedoom.toml", &doom).unwrap();
        let freedoom = catalogue.app(&"freedoom".parse().unwrap()).unwrap();
        assert_eq!(freedoom.title, "Demo");
    }

    #[test]
    fn a_bad_file_is_named_with_its_field() {
        check("other.toml", APP, &["other.toml", "`id`"]);
        check("demo.toml", "id = 5", &["demo.toml", "id"]);
        let unknown = format!("{APP}\ncolour = \"red\"");
        check("demo.toml", &unknown, &["demo.toml", "colour"]);
        let odd = format!("{APP}\nneeds = {{ display = {{ width = 65, height = 64, hz = 60 }} }}");
        check("demo.toml", &odd, &["demo.toml", "needs.display"]);
        let relative = APP.replace("shelf", "saves = \"../etc\"\nshelf");
        check("demo.toml", &relative, &["demo.toml", "saves"]);
    }
}
