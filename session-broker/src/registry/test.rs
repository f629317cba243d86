use super::*;

#[test]
fn a_login_goes_over_tls_or_to_a_registry_of_ours_on_this_machine() {
    let registries = Registries::new(&["127.0.0.1:5000".to_owned(), "10.0.0.1".to_owned()]);
    let login = PullLogin {
        username: "ci".to_owned(),
        password: "hunter2".to_owned(),
    };
    let image = "registry.example/a/b:1".parse().unwrap();
    let visit = registries.visit(&image, Some(login)).unwrap();
    for url in ["https://registry.example/v2", "http://127.0.0.1:5000/token"] {
        assert_eq!(
            visit.basic(url),
            Ok(Some("Basic Y2k6aHVudGVyMg==".to_owned())),
            "{url}"
        );
    }
    for url in [
        "http://registry.example/",
        "http://127.0.0.1:5001/",
        "http://10.0.0.1/",
    ] {
        assert_eq!(visit.basic(url), Err(RegistryError::Clear), "{url}");
    }
    let nobody = registries.visit(&image, None).unwrap();
    assert_eq!(nobody.basic("http://registry.example/"), Ok(None));
}

#[test]
fn one_owner_never_has_all_questions() {
    let registries = Registries::new(&[]);
    let owner = || OwnerId::of(None, &nearlight_kit::ids::user());
    let (one, other) = (owner(), owner());
    let held: Vec<_> = (0..QUESTIONS_OF_ONE_MAX)
        .map(|_| registries.turn(&one).unwrap())
        .collect();
    assert_eq!(registries.turn(&one).unwrap_err(), RegistryError::Busy);
    let others = registries.turn(&other);
    assert!(others.is_ok());
    drop((held, others));
    assert!(registries.turn(&one).is_ok());
    assert_eq!(registries.of_owners.lock().unwrap().len(), 1);
}

#[test]
fn a_few_owners_do_not_have_all_questions_either() {
    let registries = Registries::new(&[]);
    let owner = || OwnerId::of(None, &nearlight_kit::ids::user());
    let all =
        |owner: &OwnerId| -> Vec<_> { (0..9).map_while(|_| registries.turn(owner).ok()).collect() };
    let held: Vec<_> = (0..4).map(|_| all(&owner())).collect();
    let counts: Vec<_> = held.iter().map(Vec::len).collect();
    assert_eq!(counts, [4, 4, 2, 2]);
    assert_eq!(all(&owner()).len(), 2, "there is room for another");
}

#[test]
fn a_question_whose_time_is_over_asks_nothing_more() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    let registries = Registries::new(&[at.to_string()]);
    let image: ImageRef = format!("{at}/team/server:1").parse().unwrap();
    let mut visit = registries.visit(&image, None).unwrap();
    visit.until = Instant::now();
    let error = visit.manifest("1").unwrap_err();
    assert!(matches!(error, RegistryError::Silent(_)), "{error}");
    assert!(listener.accept().is_err(), "nobody dialled");
}

#[tokio::test]
async fn a_registry_at_a_private_address_is_not_asked_unless_it_is_named() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    let image: ImageRef = format!("{at}/team/server:1").parse().unwrap();
    let owner = OwnerId::of(None, &nearlight_kit::ids::user());
    let asked = Registries::new(&[]).digest(&owner, &image, None).await;
    let error = asked.unwrap_err();
    assert!(matches!(error, RegistryError::Silent(_)), "{error}");
    let asked = listener.accept().is_ok();
    assert!(!asked, "nobody dialled");
}
