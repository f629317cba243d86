//! `nearlight recipe`: jobs that the broker has ready to start.

use crate::cli::{Broker, RecipeCommand};
use crate::client::Client;
use crate::command::{CommandError, show};
use crate::{compose, table};
use nearlight_protocol::api::{Recipe, RecipeList};

/// Lists recipes, or shows the job of one.
///
/// # Errors
/// [`CommandError`].
pub fn recipe(command: &RecipeCommand, broker: &Broker) -> Result<(), CommandError> {
    let client = Client::new(broker)?;
    match command {
        RecipeCommand::List => {
            let list: RecipeList = client.get("/v1/recipes")?;
            show(broker, &list, || listed(&list.recipes));
        }
        RecipeCommand::Show { recipe } => {
            let found = found(&client, recipe)?;
            let text = compose::job_toml(&found.job).map_err(CommandError::Recipe)?;
            show(broker, &found, || text);
        }
    }
    Ok(())
}

/// The recipe of this id.
///
/// # Errors
/// [`CommandError::NoRecipe`] with those that there are.
pub(crate) fn found(client: &Client, id: &str) -> Result<Recipe, CommandError> {
    let list: RecipeList = client.get("/v1/recipes")?;
    let ids = || list.recipes.iter().map(|recipe| recipe.id.as_str());
    let there = ids().collect::<Vec<_>>().join(", ");
    let mut recipes = list.recipes.into_iter();
    let found = recipes.find(|recipe| recipe.id == id);
    found.ok_or_else(|| CommandError::NoRecipe {
        id: id.to_owned(),
        there,
    })
}

fn listed(recipes: &[Recipe]) -> String {
    let rows: Vec<_> = recipes
        .iter()
        .map(|recipe| [recipe.id.clone(), needs(recipe), recipe.summary.clone()])
        .collect();
    table::lay_out(["RECIPE", "NEEDS", "WHAT"], &rows)
}

/// What each of its containers takes, as `3 times, 1 CPU, 2048 MiB`.
fn needs(recipe: &Recipe) -> String {
    let need = &recipe.job.resources;
    let cores = f64::from(need.cpu_milli) / 1000.0;
    let mut parts = Vec::new();
    if let Some(cluster) = &recipe.job.cluster {
        parts.push(format!("{} times", cluster.replicas));
    }
    if let Some(gpu) = &need.gpu {
        parts.push(format!("{} GPU", gpu.count));
    }
    parts.push(format!("{cores} CPU"));
    parts.push(format!("{} MiB", need.mem_mib));
    parts.join(", ")
}
