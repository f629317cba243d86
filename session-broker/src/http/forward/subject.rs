//! What a request is about, by its path alone: what tells which broker is asked.

use axum::http::{Method, Uri};
use nearlight_protocol::id::{NodeId, SessionId};

/// What a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    Session(SessionId),
    WatchLink(String),
    Node(NodeId),
    /// A node that a checker asks: what is between brokers is not the node's fault.
    Checked(NodeId),
}

pub(super) fn subject(method: &Method, uri: &Uri) -> Option<Subject> {
    let path = uri.path();
    if path == "/v1/probes" || path.starts_with("/v1/probes/") {
        let mut named = uri.query().unwrap_or_default().split('&');
        let node = named.find_map(|of| of.strip_prefix("node="))?;
        return node.parse().ok().map(Subject::Checked);
    }
    let mut parts = path.strip_prefix("/v1/")?.split('/');
    match (parts.next()?, parts.next()?, parts.next()) {
        ("sessions", id, _) => id.parse().ok().map(Subject::Session),
        ("watch", token, _) => Some(Subject::WatchLink(token.to_owned())),
        ("nodes", id, Some("probe")) if *method == Method::POST => {
            id.parse().ok().map(Subject::Node)
        }
        ("nodes", id, Some("alive")) => id.parse().ok().map(Subject::Checked),
        _ => None,
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_request_is_about_what_its_path_names() {
        let subject = |method: &Method, path: &str| subject(method, &path.parse().unwrap());
        let id = SessionId::from_parts(1, [0; 10]);
        let node = NodeId::from_parts(1, [0; 10]);
        let session = Some(Subject::Session(id.clone()));
        for tail in ["", "/events", "/whep/att_x", "/"] {
            assert_eq!(
                subject(&Method::GET, &format!("/v1/sessions/{id}{tail}")),
                session
            );
        }
        let watch = subject(&Method::POST, "/v1/watch/secret/whep");
        assert_eq!(watch, Some(Subject::WatchLink("secret".to_owned())));
        let probe = format!("/v1/nodes/{node}/probe");
        assert_eq!(
            subject(&Method::POST, &probe),
            Some(Subject::Node(node.clone()))
        );
        for path in [
            format!("/v1/nodes/{node}/alive"),
            format!("/v1/probes?node={node}"),
            format!("/v1/probes/{id}/fill?a=1&node={node}"),
        ] {
            let checked = Some(Subject::Checked(node.clone()));
            assert_eq!(subject(&Method::POST, &path), checked, "{path}");
        }
        for other in [
            "/v1/sessions",
            "/v1/sessions/x",
            "/v1/apps",
            "/",
            "/play/x",
            "/v1/nodes/x",
            "/v1/probes",
            "/v1/probes/x?node=y",
        ] {
            assert_eq!(subject(&Method::GET, other), None, "{other}");
        }
    }
}
