//! What is signed for whom, and that no crash loses an identity.

use super::*;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, SanType};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

const DAY_S: i64 = 24 * 3600;
const NONCE: &str = "nonce";

struct Site {
    dir: tempfile::TempDir,
    clock: WallClock,
    ca: Ca,
    node: Identity,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = WallClock::system();
        let ca = Ca::ensure(dir.path(), clock.clone()).unwrap();
        let node = Identity::node(&crate::ids::node());
        ca.issue(dir.path(), "node", node.clone()).unwrap();
        Self {
            dir,
            clock,
            ca,
            node,
        }
    }

    fn credentials(&self) -> Credentials {
        Credentials::load(self.dir.path(), "node").unwrap()
    }

    fn late(&self, request: &str, signer: &Credentials) -> Result<String, RequestError> {
        let proof = signer.sign(&renewal_proof(NONCE, request)).unwrap();
        let shown = self.credentials().certificate_pem();
        let message = renewal_proof(NONCE, request);
        self.ca.recognise_late(&shown, &message, &proof)
    }
}

#[test]
fn a_request_for_more_gets_only_what_the_ca_chooses() {
    let site = Site::new();
    let greedy = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.subject_alt_names = vec![
        SanType::URI("spiffe://nearlight/broker".try_into().unwrap()),
        SanType::DnsName("nearlight-broker".try_into().unwrap()),
    ];
    let request = params.serialize_request(&greedy).unwrap().pem().unwrap();
    let request = SigningRequest::parse(&request).unwrap();
    let issued = site.ca.certify(&request, site.node.clone()).unwrap();
    let issued = CertificateDer::from_pem_slice(issued.as_bytes()).unwrap();
    assert_eq!(spiffe_of(&issued), Some(site.node.spiffe.clone()));
    let (_, parsed) = x509_parser::parse_x509_certificate(&issued).unwrap();
    assert!(!parsed.is_ca());
    let names = parsed.subject_alternative_name().unwrap().unwrap();
    assert_eq!(names.value.general_names.len(), 1);
    assert_eq!(
        Validity::of(&issued).unwrap().life(),
        LEAF_LIFETIME + Duration::from_secs(3600)
    );
}

#[test]
fn garbage_is_no_request_nor_a_certificate() {
    let site = Site::new();
    let good = PendingKey::generate().unwrap().request().unwrap();
    let ed25519 = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let ed25519 = CertificateParams::default()
        .serialize_request(&ed25519)
        .unwrap();
    let mut forged = good.clone().into_bytes();
    let middle = forged.len() / 2;
    forged[middle] = if forged[middle] == b'A' { b'B' } else { b'A' };
    for bad in [
        String::new(),
        "x".to_owned(),
        good[..good.len() / 2].to_owned(),
        String::from_utf8(forged).unwrap(),
        ed25519.pem().unwrap(),
        site.credentials().certificate_pem(),
        good.clone() + &"x".repeat(REQUEST_BYTES_MAX),
    ] {
        assert!(SigningRequest::parse(&bad).is_err(), "{bad}");
    }
    SigningRequest::parse(&good).unwrap();
    for bad in ["", "x", good.as_str(), &"x".repeat(CHAIN_BYTES_MAX + 1)] {
        assert!(site.ca.recognise_late(bad, b"", b"").is_err(), "{bad}");
    }
}

#[test]
fn a_certificate_that_is_over_is_renewed_for_ninety_days_with_proof_of_its_key() {
    let site = Site::new();
    let own = site.credentials();
    for (days, taken) in [(0, true), (3, true), (90, true), (92, false)] {
        site.clock.set_ahead(days * DAY_S);
        let renewed = site.late("request", &own);
        assert_eq!(renewed.is_ok(), taken, "after {days} days: {renewed:?}");
    }
    site.clock.set_ahead(3 * DAY_S);
    assert_eq!(site.late("request", &own).unwrap(), site.node.spiffe);

    site.clock.set_ahead(-30 * DAY_S);
    let early = site.late("request", &own);
    assert!(matches!(early, Err(RequestError::Early)), "{early:?}");
    site.clock.set_ahead(3 * DAY_S);

    let thief = Site::new().credentials();
    let without_the_key = site.late("request", &thief);
    assert!(matches!(without_the_key, Err(RequestError::Proof(_))));

    // A proof for one nonce and request is none for another.
    let proof = own.sign(&renewal_proof("other", "request")).unwrap();
    let message = renewal_proof(NONCE, "request");
    let replayed = site
        .ca
        .recognise_late(&own.certificate_pem(), &message, &proof);
    assert!(matches!(replayed, Err(RequestError::Proof(_))));

    let proof = thief.sign(&message).unwrap();
    let foreign = site
        .ca
        .recognise_late(&thief.certificate_pem(), &message, &proof);
    assert!(matches!(foreign, Err(RequestError::Foreign(_))));
}

#[test]
fn an_answer_for_another_key_or_of_another_ca_is_not_taken() {
    let (site, other) = (Site::new(), Site::new());
    let key = PendingKey::generate().unwrap();
    let answer = |site: &Site, key: &PendingKey| {
        let request = SigningRequest::parse(&key.request().unwrap()).unwrap();
        site.ca.certify(&request, site.node.clone()).unwrap()
    };
    let clock = WallClock::system();
    let good = answer(&site, &key);
    key.accept(&good, site.ca.bundle(), &clock).unwrap();
    let others_key = answer(&site, &PendingKey::generate().unwrap());
    let refused = key.accept(&others_key, site.ca.bundle(), &clock);
    assert!(matches!(refused, Err(AnswerError::OtherKey)));
    let refused = key.accept(&good, other.ca.bundle(), &clock);
    assert!(matches!(refused, Err(AnswerError::NotValid(_))));
    let refused = key.accept(&good, site.ca.bundle(), &WallClock::ahead_by(3 * DAY_S));
    assert!(matches!(refused, Err(AnswerError::NotValid(_))));
    for bad in ["", "x", site.ca.bundle()] {
        assert!(key.accept(bad, site.ca.bundle(), &clock).is_err());
    }
    for bad in ["", "x", &site.ca.bundle().repeat(9)] {
        assert!(key.accept(&good, bad, &clock).is_err());
    }
}

fn replace(site: &Path, node: &Identity) {
    let ca = Ca::ensure(site, WallClock::system()).unwrap();
    let key = PendingKey::generate().unwrap();
    let request = SigningRequest::parse(&key.request().unwrap()).unwrap();
    let chain = ca.certify(&request, node.clone()).unwrap();
    let issued = key.accept(&chain, ca.bundle(), ca.clock()).unwrap();
    issued.save(site, "node").unwrap();
}

#[test]
fn a_replaced_identity_is_one_file_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let site = Site::new();
    let before = site.credentials().certificate_pem();
    replace(site.dir.path(), &site.node);
    assert_ne!(site.credentials().certificate_pem(), before);
    assert!(!site.dir.path().join("node.key.pem").exists());
    let file = site.dir.path().join("node.pem");
    let mode = std::fs::metadata(file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

/// Each step of a replacement, by hand: what is there after it must be usable.
#[test]
fn a_crash_between_any_two_steps_of_a_renewal_leaves_an_identity() {
    let site = Site::new();
    let dir = site.dir.path();
    let usable = |step: &str| {
        let loaded = Credentials::load(dir, "node");
        let loaded = loaded.unwrap_or_else(|error| panic!("{step}: {error}"));
        // rustls refuses a key that is not the certificate's.
        let config = loaded.client_config(&site.clock);
        config.unwrap_or_else(|error| panic!("{step}: {error}"));
        loaded.certificate_pem()
    };
    let former = usable("before");
    let former_key = std::fs::read(dir.join("node.key.pem")).unwrap();
    std::fs::write(dir.join(".node.pem.0123456789abcdef"), "half a dra").unwrap();
    assert_eq!(usable("the draft is half written"), former);
    replace(dir, &site.node);
    std::fs::write(dir.join("node.key.pem"), &former_key).unwrap();
    assert_ne!(usable("renamed, and the former key is still there"), former);
    std::fs::remove_file(dir.join("node.key.pem")).unwrap();
    assert_ne!(usable("the former key is removed"), former);
}

/// kill -9 at any moment, again and again. The child is this very test.
#[test]
fn kill_9_amid_renewals_leaves_an_identity() {
    const WHERE: &str = "NEARLIGHT_TEST_RENEW_IN";
    const ME: &str = "pki::test_renewal::kill_9_amid_renewals_leaves_an_identity";
    if let Some(dir) = std::env::var_os(WHERE) {
        let node = Identity::node(&crate::ids::node());
        loop {
            replace(Path::new(&dir), &node);
            use std::io::Write;
            // Whoever reads this has killed us by then.
            let _ = writeln!(io::stderr(), "replaced");
        }
    }
    for round in 0..12 {
        let site = Site::new();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", ME, "--nocapture"])
            .env(WHERE, site.dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let seen = lines
            .map_while(Result::ok)
            .filter(|line| line == "replaced");
        assert_eq!(seen.take(1 + round % 4).count(), 1 + round % 4);
        child.kill().unwrap();
        child.wait().unwrap();
        let left = site.credentials();
        left.client_config(&site.clock).unwrap();
    }
}
