//! Signatures of images as cosign made them with a key before version 3: simple signing, read and verified.
//!
//! Beside an image with the digest `sha256:HEX` its repository has a tag `sha256-HEX.sig`, a manifest whose
//! layers are payloads; a layer's annotation is the signature of its payload: base64 of an ECDSA P-256
//! signature (ASN.1) over its SHA-256. A payload names the digest that it speaks of.
//!
//! **Invariants.** What is verified is what was fetched: a payload has the digest that its layer names,
//! the signature is over its bytes, and the digest in it is the image's. Anything else is no signature.
//!
//! **What it does not know:** registries, transparency logs, identities.

use super::digest_of;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use serde::Deserialize;
use std::collections::BTreeMap;

/// What a layer with a payload is.
const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const ANNOTATION: &str = "dev.cosignproject.cosign/signature";
const TYPE: &str = "cosign container image signature";
/// Signatures of one image that are looked at.
const SIGNATURES_MAX: usize = 8;
/// `SubjectPublicKeyInfo` of a point on P-256 begins so (RFC 5480); the point follows, uncompressed.
const SPKI: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
const POINT_BYTES: usize = 65;

/// A text is no key that images are signed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no PEM of an ECDSA P-256 public key, such as cosign.pub")]
pub(crate) struct NotAKey;

/// A key that images are signed with: a point on P-256.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ImageKey(Vec<u8>);

impl ImageKey {
    /// From PEM.
    pub(crate) fn parse(pem: &str) -> Result<Self, NotAKey> {
        let body = pem.trim().strip_prefix("-----BEGIN PUBLIC KEY-----");
        let body = body.and_then(|body| body.strip_suffix("-----END PUBLIC KEY-----"));
        let body: String = body.ok_or(NotAKey)?.split_whitespace().collect();
        let der = STANDARD.decode(body).map_err(|_| NotAKey)?;
        let point = der.strip_prefix(&SPKI).ok_or(NotAKey)?;
        (point.len() == POINT_BYTES && point[0] == 4)
            .then(|| Self(point.to_vec()))
            .ok_or(NotAKey)
    }

    pub(super) fn verifies(&self, payload: &[u8], signature: &[u8]) -> bool {
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.0);
        key.verify(payload, signature).is_ok()
    }
}

/// Where the signatures of an image are.
pub(super) fn tag_of(digest: &str) -> String {
    format!("{}.sig", digest.replace(':', "-"))
}

#[derive(Deserialize)]
struct Manifest {
    #[serde(default)]
    layers: Vec<Layer>,
}

#[derive(Deserialize)]
struct Layer {
    #[serde(rename = "mediaType", default)]
    kind: String,
    digest: String,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Payload {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    image: Image,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Image {
    #[serde(rename = "docker-manifest-digest")]
    digest: String,
}

/// Whether one of the signatures in `manifest` is of `digest` and of this key. `fetch` gets a blob by its
/// digest; one that does not come is no signature.
pub(super) fn is_signed(
    manifest: &[u8],
    digest: &str,
    key: &ImageKey,
    mut fetch: impl FnMut(&str) -> Option<Vec<u8>>,
) -> bool {
    let Ok(manifest) = serde_json::from_slice::<Manifest>(manifest) else {
        return false;
    };
    let payloads = manifest
        .layers
        .into_iter()
        .filter(|layer| layer.kind == PAYLOAD);
    payloads.take(SIGNATURES_MAX).any(|layer| {
        let signature = layer.annotations.get(ANNOTATION);
        let Some(signature) = signature.and_then(|text| STANDARD.decode(text).ok()) else {
            return false;
        };
        let fetched = fetch(&layer.digest).filter(|blob| digest_of(blob) == layer.digest);
        fetched.is_some_and(|payload| {
            key.verifies(&payload, &signature) && speaks_of(&payload, digest)
        })
    })
}

fn speaks_of(payload: &[u8], digest: &str) -> bool {
    let payload: Result<Payload, _> = serde_json::from_slice(payload);
    payload.is_ok_and(|of| of.critical.kind == TYPE && of.critical.image.digest == digest)
}

/// A new key: what signs with it, and its public half.
#[cfg(test)]
pub(super) fn pair() -> (impl Fn(&[u8]) -> Vec<u8>, ImageKey) {
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
    let (rng, with) = (SystemRandom::new(), &ECDSA_P256_SHA256_ASN1_SIGNING);
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(with, &rng).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(with, pkcs8.as_ref(), &rng).unwrap();
    let key = ImageKey(pair.public_key().as_ref().to_vec());
    let sign = move |bytes: &[u8]| pair.sign(&rng, bytes).unwrap().as_ref().to_vec();
    (sign, key)
}

#[cfg(test)]
mod test {
    use super::*;
    use serde_json::json;

    fn payload(digest: &str, kind: &str) -> Vec<u8> {
        let payload = json!({
            "critical": {
                "identity": { "docker-reference": "registry.example/a" },
                "image": { "docker-manifest-digest": digest },
                "type": kind,
            },
            "optional": null,
        });
        payload.to_string().into_bytes()
    }

    fn manifest(payload: &[u8], signature: &[u8]) -> Vec<u8> {
        let manifest = json!({ "layers": [
            { "mediaType": "application/octet-stream", "digest": "sha256:00" },
            {
                "mediaType": PAYLOAD,
                "digest": digest_of(payload),
                "annotations": { ANNOTATION: STANDARD.encode(signature) },
            },
        ]});
        manifest.to_string().into_bytes()
    }

    #[test]
    fn what_is_signed_is_these_bytes_about_this_image_with_this_key() {
        let ((sign, key), (_, other)) = (pair(), pair());
        let digest = digest_of(b"image");
        let good = payload(&digest, TYPE);
        let signature = sign(&good);
        let signed = |manifest: &[u8], digest: &str, key: &ImageKey, blob: &[u8]| {
            is_signed(manifest, digest, key, |_| Some(blob.to_vec()))
        };
        let of_good = manifest(&good, &signature);
        assert!(signed(&of_good, &digest, &key, &good));
        assert!(!signed(&of_good, &digest, &other, &good), "another key");
        assert!(
            !signed(&of_good, &digest_of(b"x"), &key, &good),
            "another image"
        );
        assert!(!signed(&of_good, &digest, &key, b"{}"), "another blob");
        assert!(!is_signed(&of_good, &digest, &key, |_| None), "no blob");
        for wrong in [
            payload(&digest, "x"),
            b"{}".to_vec(),
            payload("sha256:0", TYPE),
        ] {
            let manifest = manifest(&wrong, &sign(&wrong));
            assert!(!signed(&manifest, &digest, &key, &wrong));
        }
        for manifest in [&b"{}"[..], b"[]", b"", br#"{"layers":[{"digest":"x"}]}"#] {
            assert!(!signed(manifest, &digest, &key, &good));
        }
    }

    #[test]
    fn a_key_is_a_pem_of_a_point_on_p256() {
        let (_, key) = pair();
        let der = [&SPKI[..], &key.0].concat();
        let pem = |der: &[u8]| {
            let body = STANDARD.encode(der);
            format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n")
        };
        assert_eq!(ImageKey::parse(&pem(&der)), Ok(key));
        assert_eq!(ImageKey::parse(&pem(&der[..90])), Err(NotAKey));
        assert_eq!(ImageKey::parse(&pem(b"")), Err(NotAKey));
        assert_eq!(ImageKey::parse("-----BEGIN PUBLIC KEY-----"), Err(NotAKey));
        assert_eq!(ImageKey::parse(""), Err(NotAKey));
        assert_eq!(tag_of("sha256:0a"), "sha256-0a.sig");
    }
}
