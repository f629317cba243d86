//! Signatures of images as cosign makes them from version 3 on: Sigstore bundles that refer to the image.
//!
//! A manifest whose `subject` is the image has a layer that is a bundle (JSON). Its DSSE envelope holds an in-toto
//! statement (v1) with cosign's predicate of a signature, whose subject is the image's digest; it is signed with
//! ECDSA P-256. Those manifests are listed by the registry's referrers (OCI distribution specification 1.1), or, where
//! it has none, by an index with the tag `sha256-HEX`. Sources: cosign's `BUNDLE_SPEC.md`, sigstore's protobuf-specs.
//!
//! **Invariants.** What is verified is what was fetched. An attestation (another predicate) is no signature, though
//! the same key has signed it: whoever attests what an image is made of does not say that it may run.
//!
//! **What it does not know:** registries, transparency logs, identities.

use super::signature::ImageKey;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nearlight_proof::receipt::envelope::pae;
use serde::Deserialize;

/// What a bundle is, of whatever version.
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle";
const STATEMENT: &str = "application/vnd.in-toto+json";
const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// The predicate of what signs an image; others say something about it.
const SIGNS: &str = "https://sigstore.dev/cosign/sign/v1";
/// Referrers of one image that are looked at, and bundles of each.
const REFERRERS_MAX: usize = 16;
const BUNDLES_MAX: usize = 4;

#[derive(Deserialize)]
struct Index {
    #[serde(default)]
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Manifest {
    #[serde(default)]
    layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    #[serde(rename = "mediaType", default)]
    kind: String,
    digest: String,
}

#[derive(Deserialize)]
struct Bundle {
    #[serde(rename = "mediaType", default)]
    kind: String,
    #[serde(rename = "dsseEnvelope")]
    envelope: Envelope,
}

#[derive(Deserialize)]
struct Envelope {
    payload: String,
    #[serde(rename = "payloadType")]
    payload_type: String,
    signatures: Vec<Signature>,
}

#[derive(Deserialize)]
struct Signature {
    sig: String,
}

#[derive(Deserialize)]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    #[serde(rename = "predicateType")]
    predicate: String,
    subject: Vec<Subject>,
}

#[derive(Deserialize)]
struct Subject {
    digest: Digests,
}

#[derive(Deserialize)]
struct Digests {
    #[serde(default)]
    sha256: String,
}

/// Where a registry without referrers keeps their index.
pub(super) fn tag_of(digest: &str) -> String {
    digest.replace(':', "-")
}

/// The manifests that an index lists. What kind each is some clients write down wrongly, so that is not asked.
pub(super) fn referrers(index: &[u8]) -> Vec<String> {
    let index: Result<Index, _> = serde_json::from_slice(index);
    let manifests = index.map(|index| index.manifests).unwrap_or_default();
    let digests = manifests.into_iter().map(|manifest| manifest.digest);
    digests.take(REFERRERS_MAX).collect()
}

/// The bundles of a manifest.
pub(super) fn bundles(manifest: &[u8]) -> Vec<String> {
    let manifest: Result<Manifest, _> = serde_json::from_slice(manifest);
    let layers = manifest.map(|manifest| manifest.layers).unwrap_or_default();
    let bundles = layers
        .into_iter()
        .filter(|layer| layer.kind.starts_with(BUNDLE));
    bundles
        .map(|bundle| bundle.digest)
        .take(BUNDLES_MAX)
        .collect()
}

/// Whether a bundle is this key's signature of the image with this digest.
pub(super) fn signs(bundle: &[u8], digest: &str, key: &ImageKey) -> bool {
    let Ok(bundle) = serde_json::from_slice::<Bundle>(bundle) else {
        return false;
    };
    let Envelope {
        payload,
        payload_type,
        signatures,
    } = bundle.envelope;
    let Ok(payload) = STANDARD.decode(payload) else {
        return false;
    };
    let signed = pae(&payload_type, &payload);
    let is_ours = |signature: &Signature| {
        let bytes = STANDARD.decode(&signature.sig);
        bytes.is_ok_and(|bytes| key.verifies(&signed, &bytes))
    };
    bundle.kind.starts_with(BUNDLE)
        && payload_type == STATEMENT
        && signatures.iter().take(BUNDLES_MAX).any(is_ours)
        && speaks_of(&payload, digest)
}

fn speaks_of(statement: &[u8], digest: &str) -> bool {
    let statement: Result<Statement, _> = serde_json::from_slice(statement);
    let hex = digest.strip_prefix("sha256:");
    statement.is_ok_and(|of| {
        let is_of = |subject: &Subject| Some(subject.digest.sha256.as_str()) == hex;
        of.kind == STATEMENT_TYPE && of.predicate == SIGNS && of.subject.iter().any(is_of)
    })
}

#[cfg(test)]
mod test {
    use super::super::digest_of;
    use super::super::signature::pair;
    use super::*;
    use serde_json::{Value, json};

    fn statement(digest: &str, predicate: &str) -> Value {
        json!({
            "_type": STATEMENT_TYPE,
            "subject": [{ "digest": { "sha256": digest.trim_start_matches("sha256:") }, "annotations": {} }],
            "predicateType": predicate,
            "predicate": {},
        })
    }

    fn bundle(payload: &[u8], kind: &str, signature: &[u8]) -> Vec<u8> {
        let bundle = json!({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": { "publicKey": { "hint": "x" }, "tlogEntries": [] },
            "dsseEnvelope": {
                "payload": STANDARD.encode(payload),
                "payloadType": kind,
                "signatures": [{ "sig": STANDARD.encode(signature) }],
            },
        });
        bundle.to_string().into_bytes()
    }

    #[test]
    fn a_bundle_signs_this_image_with_this_key_and_attests_nothing_else() {
        let ((sign, key), (_, other)) = (pair(), pair());
        let digest = digest_of(b"image");
        let of = |statement: &Value, kind: &str| {
            let payload = statement.to_string().into_bytes();
            let signature = sign(&pae(kind, &payload));
            bundle(&payload, kind, &signature)
        };
        let good = of(&statement(&digest, SIGNS), STATEMENT);
        assert!(signs(&good, &digest, &key));
        assert!(!signs(&good, &digest, &other), "another key");
        assert!(!signs(&good, &digest_of(b"x"), &key), "another image");
        let attests = of(
            &statement(&digest, "https://slsa.dev/provenance/v1"),
            STATEMENT,
        );
        assert!(!signs(&attests, &digest, &key), "an attestation");
        let typed = of(&statement(&digest, SIGNS), "text/plain");
        assert!(!signs(&typed, &digest, &key), "another type");
        let mut old = statement(&digest, SIGNS);
        old["_type"] = "https://in-toto.io/Statement/v0.1".into();
        assert!(!signs(&of(&old, STATEMENT), &digest, &key));
        // Signed, but not as an envelope.
        let payload = statement(&digest, SIGNS).to_string().into_bytes();
        let bare = bundle(&payload, STATEMENT, &sign(&payload));
        assert!(!signs(&bare, &digest, &key));
        for wrong in [&b""[..], b"{}", b"[]", br#"{"dsseEnvelope":{}}"#] {
            assert!(!signs(wrong, &digest, &key));
        }
    }

    #[test]
    fn what_is_listed_is_bounded() {
        let one = json!({ "mediaType": format!("{BUNDLE}.v0.3+json"), "digest": "sha256:0" });
        let many = vec![one; 100];
        let index = json!({ "manifests": many }).to_string();
        assert_eq!(referrers(index.as_bytes()).len(), REFERRERS_MAX);
        let manifest = json!({ "layers": many }).to_string();
        assert_eq!(bundles(manifest.as_bytes()).len(), BUNDLES_MAX);
        let other = br#"{"layers":[{"mediaType":"text/plain","digest":"sha256:0"}]}"#;
        assert!(bundles(other).is_empty() && referrers(b"x").is_empty());
    }
}
