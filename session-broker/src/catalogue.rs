//! The catalogue of files: built-in apps, and those of `--apps DIR` over them. It is where the ledger's
//! apps come from at the start; what can be started is in [`crate::apps`].
//!
//! **Invariants.** Every entry is named after its file and fits the limits of the wire; a file that
//! does not is an error that names the file and all that is wrong, never an app that is silently missing.

use nearlight_kit::manifest::{self, Fault};
use nearlight_protocol::app::AppSpec;
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
    /// A file is no app.
    #[error("{file}: {}", listed(faults))]
    NoApp {
        /// Which.
        file: String,
        /// What is wrong with it.
        faults: Vec<Fault>,
    },
}

fn listed(faults: &[Fault]) -> String {
    let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
    faults.join("; ")
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

    /// All apps, by id.
    pub fn apps(&self) -> impl Iterator<Item = &Arc<AppSpec>> {
        self.apps.values()
    }

    fn add(&mut self, file: &str, stem: &str, text: &str) -> Result<(), CatalogueError> {
        let app = manifest::read(stem, text).map_err(|faults| CatalogueError::NoApp {
            file: file.to_owned(),
            faults,
        })?;
        self.apps.insert(app.id.clone(), Arc::new(app));
        Ok(())
    }
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
            assert!(
                catalogue.apps.contains_key(&stem.parse().unwrap()),
                "{stem}"
            );
        }
    }

    #[test]
    fn a_directory_adds_and_overrides() {
        let catalogue = load("demo.toml", APP).unwrap();
        assert_eq!(catalogue.apps().count(), BUILT_IN.len() + 1);
        let doom = APP.replace("\"demo\"", "\"freedoom\"");
        let catalogue = load("freedoom.toml", &doom).unwrap();
        let freedoom = &catalogue.apps[&"freedoom".parse().unwrap()];
        assert_eq!(freedoom.title, "Demo");
    }

    #[test]
    fn a_bad_file_is_named_with_its_line_and_field() {
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
