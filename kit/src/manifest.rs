//! An app's description as TOML: read, and checked as far as that goes without a node.
//!
//! **Invariants.** What [`read`] takes fits the limits of the wire and has no field that cannot work.
//! What is wrong is said with its line, all of it at once where the text can be read at all.
//!
//! **What it does not know:** files, versions, whether a node has the image.

use nearlight_protocol::app::{AppSpec, GpuClass};
use nearlight_protocol::limits::WARM_PER_APP_MAX;
use std::fmt;
use toml::de::{DeTable, DeValue};

/// An app's time limits may not exceed a week.
const TIME_S_MAX: u32 = 7 * 24 * 3600;
/// More memory than a GPU has.
const VRAM_MIB_MAX: u32 = 4 << 20;

/// Something that is wrong with a description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The line, from 1; `None` for what has no place in the text.
    pub line: Option<usize>,
    /// The field, such as `launch.image`; empty where it is the text as a whole.
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        match self.field.as_str() {
            "" => f.write_str(&self.problem),
            field => write!(f, "`{field}` {}", self.problem),
        }
    }
}

/// The app that `text` describes, the content of a file that is named `stem`.
///
/// # Errors
/// Everything that is wrong with it, in the order of the lines.
pub fn read(stem: &str, text: &str) -> Result<AppSpec, Vec<Fault>> {
    let app: AppSpec = toml::from_str(text).map_err(|error| {
        let at = error.span().map(|span| line_of(text, span.start));
        let problem = error.message().trim().replace('\n', "; ");
        vec![Fault {
            line: at,
            field: String::new(),
            problem,
        }]
    })?;
    let table = DeTable::parse(text).ok();
    let place = |field: &str| {
        let table = table.as_ref()?.get_ref();
        Some(line_of(text, place_of(table, field)?))
    };
    let mut found = faults(&app);
    if app.id.as_str() != stem {
        let problem = format!("is `{}`, but the file is named `{stem}.toml`", app.id);
        found.insert(0, ("id", problem));
    }
    let fault = |(field, problem): (&str, String)| Fault {
        line: place(field),
        field: field.to_owned(),
        problem,
    };
    let mut faults: Vec<Fault> = found.into_iter().map(fault).collect();
    faults.sort_by_key(|fault| fault.line);
    if faults.is_empty() {
        Ok(app)
    } else {
        Err(faults)
    }
}

/// The fields of an app that cannot work, and why.
pub fn faults(app: &AppSpec) -> Vec<(&'static str, String)> {
    let time = |s: u32| !(1..=TIME_S_MAX).contains(&s);
    let (no_time, empty, zero) = ("is not 1 second to 7 days", "is empty", "is zero");
    let even = "needs even sides of 64 to 4096 and a rate of 1 to 240 Hz";
    let (needs, launch) = (&app.needs, &app.launch);
    let relative = |path: &String| !path.starts_with('/') || path.split('/').any(|p| p == "..");
    let image = image_fault(&launch.image);
    let nul = |text: &String| text.contains('\0');
    let checks = [
        (app.title.is_empty(), "title", empty),
        (image.is_some(), "launch.image", image.unwrap_or_default()),
        (launch.command.is_empty(), "launch.command", empty),
        (
            launch.command.iter().any(nul),
            "launch.command",
            "has a NUL character",
        ),
        (!needs.display.is_valid(), "needs.display", even),
        (needs.cpu_milli == 0, "needs.cpu_milli", zero),
        (needs.mem_mib == 0, "needs.mem_mib", zero),
        (
            needs.vram_mib > 0 && needs.gpu == GpuClass::None,
            "needs.vram_mib",
            "needs a GPU; write `gpu = \"render\"` or `\"render-encode\"` beside it",
        ),
        (
            needs.vram_mib > VRAM_MIB_MAX,
            "needs.vram_mib",
            "is more than 4 TiB",
        ),
        (time(app.time.idle_s), "time.idle_s", no_time),
        (time(app.time.max_s), "time.max_s", no_time),
        (time(app.time.grace_s), "time.grace_s", no_time),
        (app.warm > WARM_PER_APP_MAX, "warm", "is more than 16"),
        (
            app.saves.as_ref().is_some_and(relative),
            "saves",
            "is not an absolute path without `..`",
        ),
    ];
    let wrong = checks.into_iter().filter(|(wrong, _, _)| *wrong);
    wrong
        .map(|(_, field, problem)| (field, problem.to_owned()))
        .collect()
}

/// Why a text cannot be the reference of an image, as far as that shows.
fn image_fault(image: &str) -> Option<&'static str> {
    if image.is_empty() {
        return Some("is empty");
    }
    if image.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Some("has a space or a control character");
    }
    let digest = image.split_once('@')?.1;
    let hex = digest.strip_prefix("sha256:");
    let whole = hex.is_some_and(|hex| {
        hex.len() == 64
            && hex
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    });
    (!whole).then_some("has an `@` that no digest follows; a digest is sha256: and 64 hex digits")
}

/// Where a field is written: its own place, or that of the nearest table around it.
fn place_of(table: &DeTable<'_>, field: &str) -> Option<usize> {
    let (name, rest) = match field.split_once('.') {
        Some((name, rest)) => (name, Some(rest)),
        None => (field, None),
    };
    let (key, value) = table.iter().find(|(key, _)| key.get_ref() == name)?;
    let within = match (rest, value.get_ref()) {
        (Some(rest), DeValue::Table(inner)) => place_of(inner, rest),
        (Some(_) | None, _) => None,
    };
    Some(within.unwrap_or(key.span().start))
}

fn line_of(text: &str, byte: usize) -> usize {
    let before = text.as_bytes().iter().take(byte);
    1 + before.filter(|b| **b == b'\n').count()
}

#[cfg(test)]
mod test {
    use super::*;

    const APP: &str = r#"id = "demo"
title = "Demo"
summary = "A demo."
picture = "/apps/demo.webp"
shelf = "tool"
[launch]
image = "demo:1"
command = ["/demo"]
[needs]
cpu_milli = 500
"#;

    fn check(text: &str, expected: &[&str]) {
        let faults = read("demo", text).unwrap_err();
        let said: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert_eq!(said.len(), expected.len(), "{said:?}");
        for (said, expected) in said.iter().zip(expected) {
            assert!(said.starts_with(expected), "`{said}` is not `{expected}`");
        }
    }

    #[test]
    fn a_whole_description_is_taken() {
        assert_eq!(read("demo", APP).unwrap().launch.image, "demo:1");
        let digest = format!("demo@sha256:{}", "0a".repeat(32));
        let pinned = APP.replace("demo:1", &digest);
        assert_eq!(read("demo", &pinned).unwrap().launch.image, digest);
    }

    #[test]
    fn everything_that_is_wrong_is_said_with_its_line() {
        let text = APP
            .replace("\"demo\"\n", "\"other\"\n")
            .replace("demo:1", "")
            .replace("500", "0");
        check(
            &text,
            &[
                "line 1: `id` is `other`",
                "line 7: `launch.image` is empty",
                "line 10: `needs.cpu_milli` is zero",
            ],
        );
        let no_gpu = APP.replace("cpu_milli = 500", "vram_mib = 4096");
        check(&no_gpu, &["line 10: `needs.vram_mib` needs a GPU"]);
        let with = no_gpu.replace("vram_mib", "gpu = \"render\"\nvram_mib");
        assert_eq!(read("demo", &with).unwrap().needs.vram_mib, 4096);
        let vast = with.replace("4096", "4194305");
        check(&vast, &["line 11: `needs.vram_mib` is more than"]);
        // What is nowhere in the text has the line of the table that it belongs to.
        let absent = APP.replace("command = [\"/demo\"]", "command = []\ndisplay = \"x11\"");
        check(&absent, &["line 8: `launch.command` is empty"]);
    }

    #[test]
    fn what_is_no_app_is_said_with_its_line() {
        check("id = \"demo\"\ntitle = 5", &["line 2: invalid type"]);
        check(&format!("{APP}colour = 1"), &["line 11: unknown field"]);
        check("id = \"demo\ntitle = 1", &["line 1: "]);
    }

    #[test]
    fn an_image_is_a_reference() {
        for bad in ["demo:1 ", "demo@sha256:12", "demo@latest", "a\\u0007b"] {
            let text = APP.replace("demo:1", bad);
            check(&text, &["line 7: `launch.image` has"]);
        }
    }
}
