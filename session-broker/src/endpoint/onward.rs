//! What of a request's head goes to the node.

use crate::tunnels::Place;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use nearlight_kit::endpoint::head::onward;
use nearlight_kit::endpoint::right::Shown;
use nearlight_kit::endpoint::site::Target;
use nearlight_protocol::tunnel::{EPOCH, PORT, SESSION};

/// The headers of a request as they travel on the tunnel.
pub(super) fn to_node(
    mut headers: HeaderMap,
    shown: &Shown,
    (target, place): (&Target, &Place),
    scheme: &'static str,
) -> HeaderMap {
    onward(&mut headers, shown, scheme);
    let ours = [
        (SESSION, target.session.to_string()),
        (PORT, target.port.clone()),
        (EPOCH, place.epoch.0.to_string()),
    ];
    for (name, value) in ours {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    headers
}

#[cfg(test)]
mod test {
    use super::*;
    use axum::http::{Request, request};
    use nearlight_protocol::id::{NodeId, SessionId};
    use nearlight_session::Epoch;

    fn head(uri: &str, lines: &[(&str, &str)]) -> request::Parts {
        let mut request = Request::builder().uri(uri);
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn the_node_is_told_where_and_no_container_who() {
        let session = SessionId::from_parts(1, [0; 10]);
        let target = Target {
            session: session.clone(),
            port: "api".to_owned(),
        };
        let place = Place {
            session: session.clone(),
            node: NodeId::from_parts(1, [0; 10]),
            epoch: Epoch(7),
            ended: false,
        };
        let head = head(
            "/",
            &[
                ("host", "a.example"),
                ("authorization", "Bearer ours"),
                ("x-forwarded-for", "192.0.2.1"),
                ("x-nearlight-session", "ses_forged"),
                ("x-nearlight-epoch", "1"),
                ("connection", "x-hop"),
                ("x-hop", "1"),
                ("accept", "text/event-stream"),
            ],
        );
        let shown = Shown::Ticket(String::new());
        let headers = to_node(head.headers, &shown, (&target, &place), "https");
        let mut lines: Vec<(&str, &str)> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        lines.sort_unstable();
        let expected = [
            ("accept", "text/event-stream"),
            ("x-forwarded-proto", "https"),
            ("x-nearlight-epoch", "7"),
            ("x-nearlight-port", "api"),
            ("x-nearlight-session", session.as_str()),
        ];
        assert_eq!(lines, expected);
    }
}
