//! Recipes: jobs that tenants find ready to start. Those of `jobs.recipes`, or the built-in ones, whose images are made by
//! hand on each node.
//!
//! A directory of recipes has `recipes.toml`, which says what each is, and a job of each in `ID/job.toml`.
//!
//! **Invariants.** Every recipe is a job that a broker takes: a file that is none is an error that names it and what is
//! wrong, never a recipe that is silently missing. Their order is that of their ids.
//!
//! **What it does not know:** whether a node has the image. Placement says so when one is started.

use nearlight_protocol::api::{Recipe, RecipeList};
use nearlight_protocol::job::{JobFault, JobSpec};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The list in a directory of recipes.
pub(crate) const LIST: &str = "recipes.toml";

const BUILT_IN_LIST: &str = include_str!("../../configs/jobs/recipes.toml");
const BUILT_IN: [(&str, &str); 6] = [
    (
        "embeddings",
        include_str!("../../configs/jobs/embeddings/job.toml"),
    ),
    (
        "jupyter",
        include_str!("../../configs/jobs/jupyter/job.toml"),
    ),
    ("llama", include_str!("../../configs/jobs/llama/job.toml")),
    ("ray", include_str!("../../configs/jobs/ray/job.toml")),
    (
        "torchrun",
        include_str!("../../configs/jobs/torchrun/job.toml"),
    ),
    ("vllm", include_str!("../../configs/jobs/vllm/job.toml")),
];

/// Why recipes cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecipeError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is not what it should be: no TOML, or with a key that it does not have.
    #[error("{}: {problem}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What is wrong, with its line.
        problem: String,
    },
    /// A name that no recipe can have.
    #[error("{}: `{id}` is no name of a recipe: take a to z, 0 to 9 and -", path.display())]
    Name {
        /// In which list.
        path: PathBuf,
        /// The name.
        id: String,
    },
    /// A job that cannot work.
    #[error("{}: {fault}", path.display())]
    Fault {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        fault: JobFault,
    },
}

/// What a list says of one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct About {
    title: String,
    summary: String,
}

/// The recipes of `dir`, or the built-in ones: who has recipes of their own offers those and no others.
///
/// # Errors
/// [`RecipeError`] for the first file that is not right.
pub fn load(dir: Option<&Path>) -> Result<RecipeList, RecipeError> {
    let mut all = BTreeMap::new();
    if let Some(dir) = dir {
        let job = |id: &str| text_of(&job_of(dir, id));
        add(&mut all, dir, &text_of(&dir.join(LIST))?, &job)?;
    } else {
        let job = |id: &str| {
            let found = BUILT_IN.iter().find(|(of, _)| *of == id);
            Ok(found.map_or_else(String::new, |(_, text)| (*text).to_owned()))
        };
        add(&mut all, Path::new("configs/jobs"), BUILT_IN_LIST, &job)?;
    }
    let recipes = all.into_values().collect();
    Ok(RecipeList { recipes })
}

fn add(
    all: &mut BTreeMap<String, Recipe>,
    dir: &Path,
    list: &str,
    job: &dyn Fn(&str) -> Result<String, RecipeError>,
) -> Result<(), RecipeError> {
    let at = dir.join(LIST);
    let listed: BTreeMap<String, About> = parsed(&at, list)?;
    for (id, About { title, summary }) in listed {
        if !is_name(&id) {
            return Err(RecipeError::Name { path: at, id });
        }
        let path = job_of(dir, &id);
        let job: JobSpec = parsed(&path, &job(&id)?)?;
        if let Some(fault) = job.fault() {
            return Err(RecipeError::Fault { path, fault });
        }
        let recipe = Recipe {
            id: id.clone(),
            title,
            summary,
            job,
        };
        all.insert(id, recipe);
    }
    Ok(())
}

/// Where a directory has the job of a recipe.
pub(crate) fn job_of(dir: &Path, id: &str) -> PathBuf {
    dir.join(id).join("job.toml")
}

/// A directory's name, and nothing that leads elsewhere.
pub(crate) fn is_name(id: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=64).contains(&id.len()) && id.bytes().all(is_part)
}

fn text_of(path: &Path) -> Result<String, RecipeError> {
    std::fs::read_to_string(path).map_err(|source| RecipeError::Read {
        path: path.to_owned(),
        source,
    })
}

fn parsed<T: for<'de> Deserialize<'de>>(path: &Path, text: &str) -> Result<T, RecipeError> {
    toml::from_str(text).map_err(|error| RecipeError::Unreadable {
        path: path.to_owned(),
        problem: error.to_string().trim().to_owned(),
    })
}

#[cfg(test)]
mod test {
    use super::*;

    fn dir(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        dir
    }

    #[test]
    fn every_recipe_of_the_checkout_is_built_in_with_its_job() {
        let built_in = load(None).unwrap();
        let ids: Vec<_> = built_in
            .recipes
            .iter()
            .map(|recipe| recipe.id.as_str())
            .collect();
        let folders = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/jobs");
        let mut there = Vec::new();
        for entry in std::fs::read_dir(folders).unwrap() {
            let entry = entry.unwrap();
            if entry.path().join("job.toml").exists() {
                there.push(entry.file_name().into_string().unwrap());
            }
        }
        there.sort();
        assert_eq!(ids, there);
        for recipe in &built_in.recipes {
            let image = format!("nearlight/job-{}:1", recipe.id);
            assert_eq!(recipe.job.image, image);
        }
    }

    #[test]
    fn an_operators_recipes_take_the_place_of_the_built_in_ones() {
        let about = "title = \"T\"\nsummary = \"S\"";
        let list = format!("[whisper]\n{about}\n[ray]\n{about}");
        let dir = dir(&[
            (LIST, &list),
            ("whisper/job.toml", "image = \"r.example/whisper:3\""),
            ("ray/job.toml", "image = \"r.example/ray:3\""),
        ]);
        let all = load(Some(dir.path())).unwrap().recipes;
        assert_eq!(all.len(), 2);
        let of = |id: &str| all.iter().find(|recipe| recipe.id == id).unwrap();
        assert_eq!(of("ray").job.image, "r.example/ray:3");
        assert_eq!(of("whisper").summary, "S");
        assert!(all.is_sorted_by_key(|recipe| recipe.id.as_str()));
    }

    #[test]
    fn what_is_no_recipe_is_an_error_that_names_its_file() {
        let about = "title = \"T\"\nsummary = \"S\"";
        for (list, job, expected) in [
            ("[a]\ntitle = \"T\"".to_owned(), "", "recipes.toml: "),
            (
                format!("[\"../a\"]\n{about}"),
                "",
                "`../a` is no name of a recipe",
            ),
            (format!("[b]\n{about}"), "", "cannot read"),
            (format!("[a]\n{about}"), "imagee = \"x\"", "a/job.toml: "),
            (format!("[a]\n{about}"), "image = \"\"", "a/job.toml: "),
        ] {
            let dir = dir(&[(LIST, &list), ("a/job.toml", job)]);
            let error = load(Some(dir.path())).unwrap_err().to_string();
            assert!(error.contains(expected), "{list} {job}: {error}");
        }
    }
}
