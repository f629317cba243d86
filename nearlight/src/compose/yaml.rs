//! A YAML document as a tree whose every node knows its line.
//!
//! **Invariants.** The tree is bounded in depth and in size whatever the text is: an alias costs what it
//! stands for, so a document that grows by aliases of aliases is refused at the bound. A key that is
//! there twice, a tag, a second document and a key that is no text are refused, never guessed at.
//!
//! **What it does not know:** what the document is about.

use saphyr_parser::{Event, Parser, ScalarStyle, StrInput};
use std::collections::HashMap;

/// Bytes of a document.
pub(crate) const BYTES_MAX: usize = 256 * 1024;
/// What a tree may cost: a node costs [`NODE_COST`], and each byte of text one more.
const COST_MAX: usize = 2 * 1024 * 1024;
const NODE_COST: usize = 32;
const DEPTH_MAX: usize = 32;

/// A node, and where it begins.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    /// Its line, from 1.
    pub(crate) line: usize,
    /// What it is.
    pub(crate) value: Value,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// A scalar.
    Text {
        /// As it is written, without quotes.
        text: String,
        /// Whether it stands without quotes: only then it is a number or `true`.
        is_plain: bool,
    },
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order of the file.
    Map(Vec<Entry>),
}

/// One key of a mapping.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    /// The key.
    pub(crate) name: String,
    /// Its line.
    pub(crate) line: usize,
    /// What stands there.
    pub(crate) node: Node,
}

/// Why a text is no such document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub(crate) struct Fault {
    /// Where.
    pub(crate) line: usize,
    /// What is wrong, and what to do.
    pub(crate) why: String,
}

fn fault<T>(line: usize, why: impl Into<String>) -> Result<T, Fault> {
    let why = why.into();
    Err(Fault { line, why })
}

/// The one document of a text.
pub(crate) fn read(text: &str) -> Result<Node, Fault> {
    if text.len() > BYTES_MAX {
        return fault(1, format!("more than {} KiB", BYTES_MAX / 1024));
    }
    let mut reader = Reader {
        parser: Parser::new_from_str(text),
        anchors: HashMap::new(),
        cost: 0,
    };
    reader.document()
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    /// What an anchor stands for, and what that costs.
    anchors: HashMap<usize, (Node, usize)>,
    cost: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, usize), Fault> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, span.start.line())),
            Some(Err(error)) => fault(error.marker().line(), error.info()),
            None => fault(1, "the document ends too early"),
        }
    }

    fn document(&mut self) -> Result<Node, Fault> {
        loop {
            match self.next()? {
                (Event::StreamStart | Event::DocumentStart(_) | Event::Nothing, _) => {}
                (Event::StreamEnd | Event::DocumentEnd, line) => {
                    return fault(line, "there is nothing in it");
                }
                (event, line) => {
                    let node = self.node(event, line, 0)?;
                    return self.end(node);
                }
            }
        }
    }

    fn end(&mut self, node: Node) -> Result<Node, Fault> {
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => return Ok(node),
                (Event::DocumentEnd | Event::Nothing, _) => {}
                (_, line) => return fault(line, "a second document; a file has one"),
            }
        }
    }

    fn node(&mut self, event: Event<'a>, line: usize, depth: usize) -> Result<Node, Fault> {
        if depth > DEPTH_MAX {
            return fault(line, format!("nested deeper than {DEPTH_MAX} levels"));
        }
        let before = self.cost;
        let (value, anchor, tag) = match event {
            Event::Alias(anchor) => return self.alias(anchor, line),
            Event::Scalar(text, style, anchor, tag) => {
                self.pay(NODE_COST + text.len(), line)?;
                let is_plain = matches!(style, ScalarStyle::Plain);
                let is_null = is_plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let text = text.into_owned();
                let value = match is_null {
                    true => Value::Null,
                    false => Value::Text { text, is_plain },
                };
                (value, anchor, tag)
            }
            Event::SequenceStart(anchor, tag) => {
                self.pay(NODE_COST, line)?;
                (Value::List(self.list(depth)?), anchor, tag)
            }
            Event::MappingStart(anchor, tag) => {
                self.pay(NODE_COST, line)?;
                (Value::Map(self.map(depth)?), anchor, tag)
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::SequenceEnd
            | Event::MappingEnd => return fault(line, "a value is missing"),
        };
        if tag.is_some() {
            return fault(line, "tags, such as !reset, mean nothing here; take it out");
        }
        let node = Node { line, value };
        if anchor != 0 {
            let cost = self.cost - before;
            self.anchors.insert(anchor, (node.clone(), cost));
        }
        Ok(node)
    }

    fn alias(&mut self, anchor: usize, line: usize) -> Result<Node, Fault> {
        let Some((node, cost)) = self.anchors.get(&anchor).cloned() else {
            return fault(line, "an alias inside of what it stands for");
        };
        self.pay(cost, line)?;
        Ok(node)
    }

    fn pay(&mut self, cost: usize, line: usize) -> Result<(), Fault> {
        self.cost = self.cost.saturating_add(cost);
        if self.cost > COST_MAX {
            return fault(line, "too much, with what its aliases stand for");
        }
        Ok(())
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Node>, Fault> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(items),
                (event, line) => items.push(self.node(event, line, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Vec<Entry>, Fault> {
        let (mut entries, mut merged): (Vec<Entry>, _) = (Vec::new(), Vec::new());
        loop {
            let (name, line) = match self.next()? {
                (Event::MappingEnd, _) => break,
                (event, line) => match self.node(event, line, depth + 1)?.value {
                    Value::Text { text, .. } => (text, line),
                    Value::Null | Value::List(_) | Value::Map(_) => {
                        return fault(line, "a key is a text");
                    }
                },
            };
            let (event, at) = self.next()?;
            let node = self.node(event, at, depth + 1)?;
            if name == "<<" {
                merged.extend(layers(node)?);
            } else if entries.iter().any(|entry| entry.name == name) {
                return fault(line, format!("`{name}` is there twice"));
            } else {
                entries.push(Entry { name, line, node });
            }
        }
        // What stands in the mapping itself goes first, then the earlier of what is merged.
        for entry in merged {
            if !entries.iter().any(|known| known.name == entry.name) {
                entries.push(entry);
            }
        }
        Ok(entries)
    }
}

/// What a merge key brings.
fn layers(node: Node) -> Result<Vec<Entry>, Fault> {
    let line = node.line;
    match node.value {
        Value::Map(entries) => Ok(entries),
        Value::List(nodes) => {
            let layers = nodes.into_iter().map(|node| match node.value {
                Value::Map(entries) => Ok(entries),
                Value::Null | Value::Text { .. } | Value::List(_) => {
                    fault(node.line, "`<<` takes mappings")
                }
            });
            Ok(layers.collect::<Result<Vec<_>, _>>()?.concat())
        }
        Value::Null | Value::Text { .. } => fault(line, "`<<` takes a mapping"),
    }
}
