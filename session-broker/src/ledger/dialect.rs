//! One SQL for two engines.
//!
//! Every statement is written once, on a *set* of rows: the rows travel as one JSON array, so that a
//! statement has one parameter and one text however many rows it works on, is planned once, and costs
//! one round trip. The engines name the way from JSON to rows differently; [`Engine::render`] writes
//! it where a statement says `{rows name type, …}`:
//!
//! ```text
//! UPDATE slot SET epoch = r.epoch FROM {rows slot_id text, epoch bigint} WHERE slot.slot_id = r.slot_id
//!   SQLite:      FROM (SELECT value ->> 'slot_id' AS slot_id, … FROM jsonb_each($1)) AS r
//!   PostgreSQL:  FROM json_to_recordset($1::json) AS r(slot_id text, epoch bigint)
//! ```
//!
//! SQLite's `jsonb_each`, and not `json_each`: a row is asked for once a column, and the latter writes the whole
//! of it out as text each time, to be parsed again.
//!
//! `{still CONDITION}` is a condition on the row that was found by its key. PostgreSQL must not plan with
//! it: of a table that it has not counted yet it takes `IS NULL` or `= 'queued'` to hold for one row in
//! two hundred, and then walks all of them instead of looking up each key.
//!
//! What is used beside that is what both have: `ON CONFLICT`, `RETURNING`, `UPDATE … FROM`, partial
//! unique indexes, row values. Not used: LISTEN/NOTIFY, advisory locks, SKIP LOCKED, triggers.

use serde::{Serialize, Serializer};
use std::fmt::Write;

/// What keeps the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// A file.
    Sqlite,
    /// What speaks PostgreSQL's protocol.
    Postgres,
}

const ROWS: &str = "{rows ";
const STILL: &str = "{still ";
const ROOMY: &str = "{roomy}";
const IDENTITY: &str = "{identity}";

impl Engine {
    /// `statement` as this engine reads it.
    pub(super) fn render(self, statement: &str) -> String {
        let text = statement.replace(IDENTITY, self.identity());
        let text = text.replace(ROOMY, self.roomy());
        let text = replaced(text, ROWS, |columns| self.rows(columns));
        replaced(text, STILL, |condition| self.still(condition))
    }

    const fn identity(self) -> &'static str {
        match self {
            Self::Sqlite => "INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT",
            Self::Postgres => "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
        }
    }

    /// Of a table whose rows change often.
    const fn roomy(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => " WITH (fillfactor = 50)",
        }
    }

    fn rows(self, columns: &str) -> String {
        match self {
            Self::Postgres => format!("json_to_recordset($1::json) AS r({columns})"),
            Self::Sqlite => {
                let mut select = String::new();
                for column in columns.split(',') {
                    let name = column.split_whitespace().next().unwrap_or_default();
                    let comma = if select.is_empty() { "" } else { ", " };
                    // A String takes whatever is written to it.
                    let _ = write!(select, "{comma}value ->> '{name}' AS {name}");
                }
                format!("(SELECT {select} FROM jsonb_each($1)) AS r")
            }
        }
    }

    fn still(self, condition: &str) -> String {
        match self {
            // What is in a CASE no planner looks at.
            Self::Postgres => format!("CASE WHEN {condition} THEN TRUE ELSE FALSE END"),
            Self::Sqlite => format!("({condition})"),
        }
    }

    /// How a transaction begins that is going to write.
    pub(super) const fn begin(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN IMMEDIATE",
            Self::Postgres => "BEGIN",
        }
    }

    /// How a transaction begins all of whose reads are of one moment.
    pub(super) const fn begin_snapshot(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN DEFERRED",
            Self::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        }
    }
}

/// `text` with every `{word …}` written as `as_written` says; `opening` is `{word `.
fn replaced(mut text: String, opening: &str, as_written: impl Fn(&str) -> String) -> String {
    while let Some(start) = text.find(opening) {
        let length = text[start..].find('}').unwrap_or(text.len() - start);
        let written = as_written(&text[start + opening.len()..start + length]);
        text.replace_range(start..=start + length, &written);
    }
    text
}

/// Text that somebody else wrote. PostgreSQL takes no NUL in a text; here it becomes U+FFFD, or one
/// hostile name would fail everyone's transaction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Foreign<'a>(pub(super) &'a str);

impl Serialize for Foreign<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.contains('\0') {
            serializer.serialize_str(&self.0.replace('\0', "\u{fffd}"))
        } else {
            serializer.serialize_str(self.0)
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn rows_are_read_from_the_one_parameter_in_each_engines_way() {
        let statement = "UPDATE a SET n = r.n FROM {rows id text, n bigint} WHERE a.id = r.id";
        assert_eq!(
            Engine::Postgres.render(statement),
            "UPDATE a SET n = r.n FROM json_to_recordset($1::json) AS r(id text, n bigint) \
             WHERE a.id = r.id"
        );
        assert_eq!(
            Engine::Sqlite.render(statement),
            "UPDATE a SET n = r.n FROM (SELECT value ->> 'id' AS id, value ->> 'n' AS n \
             FROM jsonb_each($1)) AS r WHERE a.id = r.id"
        );
    }

    #[test]
    fn a_condition_on_what_was_found_is_not_planned_with() {
        let statement = "UPDATE a SET n = 1 WHERE a.id = 2 AND {still a.n IS NULL}";
        assert_eq!(
            Engine::Postgres.render(statement),
            "UPDATE a SET n = 1 WHERE a.id = 2 AND CASE WHEN a.n IS NULL THEN TRUE ELSE FALSE END"
        );
        assert_eq!(
            Engine::Sqlite.render(statement),
            "UPDATE a SET n = 1 WHERE a.id = 2 AND (a.n IS NULL)"
        );
    }

    #[test]
    fn a_nul_reaches_no_engine() {
        let written = serde_json::to_string(&Foreign("a\0b")).unwrap();
        assert_eq!(written, "\"a\u{fffd}b\"");
    }
}
