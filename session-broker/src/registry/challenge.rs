//! What a registry that refuses wants to hear (RFC 9110 section 11.6.1, the distribution project's token specification).

/// What a registry wants to hear.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// The login.
    Basic,
    /// A token.
    Bearer(TokenAt),
}

/// Where a token is to be had.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TokenAt {
    pub(super) realm: String,
    pub(super) service: Option<String>,
    pub(super) scope: Option<String>,
}

impl Challenge {
    /// `Bearer realm="...",service="...",scope="..."`, or `Basic realm="..."`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (scheme, mut rest) = text.split_once(' ')?;
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let (mut realm, mut service, mut scope) = (None, None, None);
        while let Some((name, after)) = rest.split_once("=\"") {
            let (value, after) = after.split_once('"')?;
            let value = Some(value.to_owned());
            match name.trim_matches([' ', ',']) {
                "realm" => realm = value,
                "service" => service = value,
                "scope" => scope = value,
                _ => {}
            }
            rest = after;
        }
        Some(Self::Bearer(TokenAt {
            realm: realm?,
            service,
            scope,
        }))
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_challenge_says_what_is_wanted() {
        let text = "Bearer realm=\"https://auth.example/token\",service=\"registry.example\",\
                    scope=\"repository:a/b:pull\"";
        let expected = Challenge::Bearer(TokenAt {
            realm: "https://auth.example/token".to_owned(),
            service: Some("registry.example".to_owned()),
            scope: Some("repository:a/b:pull".to_owned()),
        });
        assert_eq!(Challenge::parse(text), Some(expected));
        let basic = Challenge::parse("Basic realm=\"x\"");
        assert_eq!(basic, Some(Challenge::Basic));
        for none in ["Digest realm=\"x\"", "Bearer", "Bearer service=\"x\""] {
            assert_eq!(Challenge::parse(none), None, "{none}");
        }
        assert_eq!(Challenge::parse("Bearer realm=\"x"), None);
    }
}
