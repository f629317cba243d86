//! Image references, in the grammar of the OCI distribution specification and with Docker's rule for
//! what is a registry: `[registry/]repository[:tag][@sha256:digest]`.

use std::fmt;
use std::str::FromStr;

/// Longest repository with its registry, bytes: what registries and engines take.
const NAME_BYTES_MAX: usize = 255;
/// Longest tag, bytes (OCI distribution specification).
const TAG_BYTES_MAX: usize = 128;

/// A reference to an image.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageRef {
    registry: Option<String>,
    repository: String,
    tag: Option<String>,
    digest: Option<String>,
}

/// Why a string refers to no image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no image reference: {why}")]
pub struct ImageRefError {
    text: String,
    why: &'static str,
}

impl ImageRef {
    /// Host and port of the registry; `None` if it names none, and is built on the node.
    pub fn registry(&self) -> Option<&str> {
        self.registry.as_deref()
    }

    /// Path in the registry, such as `team/server`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Tag, such as `latest`.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// `sha256:` and 64 hexadecimal digits.
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// What a node's engine is asked for: the reference, but of a pinned image that nodes built the id
    /// alone, for an engine finds digests only of what a registry gave it.
    pub fn for_engine(&self) -> String {
        match (&self.registry, &self.digest) {
            (None, Some(id)) => id.clone(),
            (Some(_), _) | (None, None) => self.to_string(),
        }
    }

    /// The same image by this digest, without its tag: nobody can put another one in its place.
    ///
    /// # Errors
    /// The digest is none.
    pub fn pinned(&self, digest: &str) -> Result<Self, ImageRefError> {
        check_digest(digest).map_err(|why| ImageRefError {
            text: digest.to_owned(),
            why,
        })?;
        Ok(Self {
            tag: None,
            digest: Some(digest.to_owned()),
            ..self.clone()
        })
    }
}

impl FromStr for ImageRef {
    type Err = ImageRefError;

    fn from_str(text: &str) -> Result<Self, ImageRefError> {
        parse(text).map_err(|why| ImageRefError {
            text: text.chars().take(NAME_BYTES_MAX).collect(),
            why,
        })
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(registry) = &self.registry {
            write!(f, "{registry}/")?;
        }
        f.write_str(&self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

fn parse(text: &str) -> Result<ImageRef, &'static str> {
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (text, None),
    };
    if let Some(digest) = digest {
        check_digest(digest)?;
    }
    let (registry, path) = match rest.split_once('/') {
        Some((first, path)) if is_registry(first) => (Some(first), path),
        _ => (None, rest),
    };
    if let Some(registry) = registry {
        check_registry(registry)?;
    }
    let (repository, tag) = match path.rsplit_once(':') {
        Some((repository, tag)) => (repository, Some(tag)),
        None => (path, None),
    };
    check_repository(repository)?;
    if let Some(tag) = tag {
        check_tag(tag)?;
    }
    if rest.len() > NAME_BYTES_MAX + TAG_BYTES_MAX {
        return Err("its name is too long");
    }
    Ok(ImageRef {
        registry: registry.map(str::to_owned),
        repository: repository.to_owned(),
        tag: tag.map(str::to_owned),
        digest: digest.map(str::to_owned),
    })
}

/// Docker's rule: the first part names a registry if a host name cannot be mistaken for a folder.
fn is_registry(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost"
}

fn check_registry(registry: &str) -> Result<(), &'static str> {
    let (host, port) = match registry.rsplit_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (registry, None),
    };
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    // One name for one registry: credentials and policies are looked up by it.
    if host.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err("its registry is not in lower case");
    }
    if !host.split('.').all(is_label) {
        return Err("its registry is no host name");
    }
    match port.map(super::check::number) {
        None | Some(Some(1..)) => Ok(()),
        Some(Some(0) | None) => Err("its registry's port is none"),
    }
}

fn check_repository(repository: &str) -> Result<(), &'static str> {
    if repository.len() > NAME_BYTES_MAX {
        return Err("its name is too long");
    }
    let is_alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let is_part = |part: &str| {
        let bytes = part.as_bytes();
        let ends = [bytes.first(), bytes.last()];
        ends.iter()
            .all(|end| end.is_some_and(|b| is_alphanumeric(*b)))
            && bytes
                .iter()
                .all(|b| is_alphanumeric(*b) || matches!(b, b'.' | b'_' | b'-'))
            && ["..", "._", "_.", ".-", "-.", "___", "-_", "_-"]
                .iter()
                .all(|no| !part.contains(no))
    };
    if repository.is_empty() {
        return Err("it has no name");
    }
    if repository.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err("its name is not in lower case");
    }
    if repository.split('/').all(is_part) {
        Ok(())
    } else {
        Err("its name has a character or an order of them that no registry takes")
    }
}

fn check_tag(tag: &str) -> Result<(), &'static str> {
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let mut bytes = tag.bytes();
    let first = bytes.next().is_some_and(is_word);
    let rest = bytes.all(|b| is_word(b) || matches!(b, b'.' | b'-'));
    (first && rest && tag.len() <= TAG_BYTES_MAX)
        .then_some(())
        .ok_or("its tag is none")
}

/// `sha256:` and 64 hexadecimal digits in lower case; other algorithms no registry uses.
fn check_digest(digest: &str) -> Result<(), &'static str> {
    let hex = digest.strip_prefix("sha256:").unwrap_or("");
    let is_hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    (hex.len() == 64 && hex.bytes().all(is_hex))
        .then_some(())
        .ok_or("its digest is not sha256: and 64 hexadecimal digits in lower case")
}

#[cfg(test)]
mod test {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parts_are_told_apart_as_an_engine_does() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        let pinned = format!("ghcr.io/team/server:2@{digest}");
        for (text, registry, repository, tag) in [
            ("freedoom", None, "freedoom", None),
            (
                "nearlight/freedoom:1",
                None,
                "nearlight/freedoom",
                Some("1"),
            ),
            ("localhost/x", Some("localhost"), "x", None),
            (
                "localhost:5000/a/b:v1.2-x",
                Some("localhost:5000"),
                "a/b",
                Some("v1.2-x"),
            ),
            (pinned.as_str(), Some("ghcr.io"), "team/server", Some("2")),
        ] {
            let image: ImageRef = text.parse().unwrap();
            assert_eq!(image.registry(), registry, "{text}");
            assert_eq!(image.repository(), repository, "{text}");
            assert_eq!(image.tag(), tag, "{text}");
            assert_eq!(image.to_string(), text);
        }
        let image: ImageRef = "ghcr.io/team/server:2".parse().unwrap();
        let pinned = image.pinned(&digest).unwrap();
        assert_eq!(pinned.to_string(), format!("ghcr.io/team/server@{digest}"));
        assert!(image.pinned("sha256:12").is_err());
    }

    #[test]
    fn what_no_registry_takes_is_refused() {
        let upper = format!("x@sha256:{}", "AB".repeat(32));
        let long = "a".repeat(300);
        for text in [
            "",
            ":1",
            "/x",
            "x/",
            "a//b",
            "X",
            "a/../b",
            "-x",
            "x-",
            "x:",
            "x:-1",
            "x y",
            "x\n",
            "a@sha256:12",
            "a@md5:12",
            "ho_st.io/x",
            "host:0/x",
            "host:99999/x",
            "host:+5000/x",
            "Registry.example/x",
            "host:05000/x",
            "http://x/y",
            "[::1]:5000/x",
            &upper,
            &long,
        ] {
            let error = text.parse::<ImageRef>();
            assert!(error.is_err(), "{text:?} is {error:?}");
        }
    }

    #[test]
    fn an_engine_is_asked_for_a_built_image_by_its_id() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        let asked = |text: &str| text.parse::<ImageRef>().unwrap().for_engine();
        assert_eq!(asked(&format!("tools:1@{digest}")), digest);
        assert_eq!(asked("tools:1"), "tools:1");
        let pulled = format!("registry.example/tools@{digest}");
        assert_eq!(asked(&pulled), pulled);
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_written_the_same(text in "[a-z0-9./:@_-]{0,60}") {
            if let Ok(image) = text.parse::<ImageRef>() {
                prop_assert_eq!(image.to_string(), text);
            }
        }
    }
}
