//! The API's own description.

use super::routes;
use utoipa::openapi::OpenApi;

/// Every path of the API with its methods: what a change adds, it adds here, knowingly.
const PATHS: [(&str, &[&str]); 89] = [
    ("/.well-known/jwks.json", &["get"]),
    ("/healthz", &["get"]),
    ("/log/checkpoint", &["get"]),
    ("/log/tile/{place}", &["get"]),
    ("/metrics", &["get"]),
    ("/openapi.json", &["get"]),
    ("/readyz", &["get"]),
    ("/v1/apps", &["get", "post"]),
    ("/v1/apps/{app}/rollout", &["delete", "put"]),
    ("/v1/apps/{app}/versions", &["get"]),
    ("/v1/assignments", &["get"]),
    ("/v1/audit", &["get"]),
    ("/v1/beacon", &["get"]),
    ("/v1/beacon/{round}", &["get"]),
    ("/v1/checker-tokens", &["post"]),
    ("/v1/checkers", &["get", "post"]),
    ("/v1/checkers/me", &["get"]),
    ("/v1/checkers/me/account", &["get"]),
    ("/v1/checkers/me/assignments", &["get"]),
    ("/v1/checkers/me/certificate", &["post"]),
    ("/v1/checkers/me/instance", &["delete"]),
    ("/v1/checkers/me/reports", &["post"]),
    ("/v1/checkers/{checker}", &["delete"]),
    ("/v1/directory", &["get"]),
    ("/v1/directory/keys/{key}", &["delete", "put"]),
    ("/v1/disputes", &["post"]),
    ("/v1/disputes/{index}", &["get"]),
    ("/v1/evidence/{sha256}", &["get", "put"]),
    ("/v1/image-policy", &["get", "put"]),
    ("/v1/join-tokens", &["post"]),
    ("/v1/keys", &["get", "post"]),
    ("/v1/keys/{id}", &["delete"]),
    ("/v1/keys/{id}/rotate", &["post"]),
    ("/v1/licences", &["get", "post"]),
    ("/v1/licences/{licence}", &["delete"]),
    ("/v1/log/candidate", &["get"]),
    ("/v1/log/cosignatures", &["post"]),
    ("/v1/login", &["get"]),
    ("/v1/login/callback", &["get"]),
    ("/v1/login/device", &["post"]),
    ("/v1/login/device/poll", &["post"]),
    ("/v1/login/options", &["get"]),
    ("/v1/logout", &["post"]),
    ("/v1/nodes", &["get"]),
    ("/v1/nodes/{node}", &["delete", "get"]),
    ("/v1/nodes/{node}/alive", &["post"]),
    ("/v1/nodes/{node}/drain", &["delete", "post"]),
    ("/v1/nodes/{node}/probe", &["post"]),
    ("/v1/nodes/{node}/standing", &["get"]),
    ("/v1/nodes/{node}/vet", &["delete", "post"]),
    ("/v1/probes", &["post"]),
    ("/v1/probes/{probe}", &["delete"]),
    ("/v1/probes/{probe}/{step}", &["post"]),
    ("/v1/receipts", &["get", "post"]),
    ("/v1/receipts/{index}", &["get"]),
    ("/v1/recipes", &["get"]),
    ("/v1/regions", &["get"]),
    ("/v1/registries", &["get"]),
    ("/v1/registries/{registry}", &["delete", "put"]),
    ("/v1/revocations", &["post"]),
    ("/v1/sessions", &["get", "post"]),
    ("/v1/sessions/{id}", &["delete", "get"]),
    ("/v1/sessions/{id}/endpoint", &["post"]),
    ("/v1/sessions/{id}/events", &["get"]),
    ("/v1/sessions/{id}/exec", &["get", "post"]),
    ("/v1/sessions/{id}/files", &["get", "put"]),
    ("/v1/sessions/{id}/logs", &["get"]),
    ("/v1/sessions/{id}/placement", &["get"]),
    ("/v1/sessions/{id}/quality", &["post"]),
    ("/v1/sessions/{id}/receipt", &["get"]),
    ("/v1/sessions/{id}/tickets", &["post"]),
    ("/v1/sessions/{id}/watch-links", &["get", "post"]),
    ("/v1/sessions/{id}/watch-links/{link}", &["delete"]),
    ("/v1/sessions/{id}/whep", &["options", "post"]),
    ("/v1/sessions/{id}/whep/{attachment}", &["delete", "patch"]),
    ("/v1/stakes", &["get", "post"]),
    ("/v1/tenants", &["get", "post"]),
    ("/v1/tenants/{id}", &["patch"]),
    ("/v1/usage", &["get"]),
    ("/v1/volumes", &["get"]),
    ("/v1/volumes/{id}", &["delete", "get"]),
    ("/v1/watch/{token}", &["get"]),
    ("/v1/watch/{token}/whep", &["options", "post"]),
    ("/v1/watch/{token}/whep/{attachment}", &["delete", "patch"]),
    ("/v1/webhook", &["delete", "get", "put"]),
    ("/v1/webhook/deliveries", &["get"]),
    ("/v1/webhook/rotate", &["post"]),
    ("/v1/webhook/test", &["post"]),
    ("/v1/whoami", &["get"]),
];

fn described() -> serde_json::Value {
    let (_, described): (_, OpenApi) = routes();
    serde_json::to_value(described).unwrap()
}

#[test]
fn every_route_is_in_the_document() {
    let document = described();
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().unwrap();
    let found: Vec<(&str, Vec<&str>)> = paths
        .iter()
        .map(|(path, item)| {
            let mut methods: Vec<&str> = item
                .as_object()
                .unwrap()
                .keys()
                .map(String::as_str)
                .collect();
            methods.sort_unstable();
            (path.as_str(), methods)
        })
        .collect();
    let expected: Vec<(&str, Vec<&str>)> = PATHS
        .iter()
        .map(|(path, methods)| (*path, methods.to_vec()))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn every_reference_of_the_document_leads_somewhere() {
    let document = described();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let text = document.to_string();
    let prefix = "\"#/components/schemas/";
    for reference in text.split(prefix).skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(schemas.contains_key(name), "no schema `{name}`");
    }
    for name in ["Session", "CreateSession", "Ticket", "Problem", "EndReason"] {
        assert!(schemas.contains_key(name), "no schema `{name}`");
    }
}
