//! The command line, as people type it.

use super::inside::long_seconds;
use super::*;
use clap::CommandFactory;

#[test]
fn the_command_line_is_well_formed() {
    Cli::command().debug_assert();
}

/// Two arguments of one name are one to clap: what is typed for either is given to both.
#[test]
fn no_command_has_an_argument_of_the_name_of_one_that_all_have() {
    fn check(command: &clap::Command, outer: &[String]) {
        let ids = |is_global: bool| {
            let found = command.get_arguments();
            let found = found.filter(move |of| of.is_global_set() == is_global);
            found.map(|of| of.get_id().to_string())
        };
        for id in ids(false) {
            let path = command.get_name();
            assert!(!outer.contains(&id), "`{path}` has a second `{id}`");
        }
        let all: Vec<String> = outer.iter().cloned().chain(ids(true)).collect();
        for inner in command.get_subcommands() {
            check(inner, &all);
        }
    }
    check(&Cli::command(), &[]);
}

#[test]
fn an_endpoint_of_webhooks_is_not_the_broker() {
    let line = ["nearlight", "webhook", "set", "https://hooks.example/x"];
    let Command::Webhook { command, broker } = Cli::parse_from(line).command else {
        panic!("another command");
    };
    assert!(matches!(command, WebhookCommand::Set { endpoint } if endpoint.ends_with("/x")));
    assert_ne!(broker.url.as_deref(), Some("https://hooks.example/x"));
}

#[test]
fn times_have_units_and_bounds() {
    for (text, expected) in [("90s", 90), ("15m", 900), ("1h", 3600), ("60", 60)] {
        assert_eq!(seconds(text), Ok(expected), "{text}");
    }
    for text in ["", "s", "0", "61m", "2h", "-1m", "1d", "4294967295h"] {
        assert!(seconds(text).is_err(), "{text}");
    }
}

#[test]
fn a_join_token_is_given_as_every_token_is() {
    let line = [
        "nearlight",
        "node",
        "join",
        "--token",
        "nlj1_x",
        "--data",
        "d",
    ];
    let Command::Node { command, broker } = Cli::parse_from(line).command else {
        panic!("another command");
    };
    assert!(matches!(command, NodeCommand::Join { force: false }));
    assert_eq!(broker.token.as_deref(), Some("nlj1_x"));
    assert_eq!(broker.data, Some(PathBuf::from("d")));
}

#[test]
fn a_jobs_secret_never_stands_on_the_command_line() {
    let parse = |text: &str| text.parse::<SecretArg>();
    let arg = |from| {
        Ok(SecretArg {
            name: "TOKEN".to_owned(),
            from,
        })
    };
    assert_eq!(parse("TOKEN=@a=b"), arg(SecretFrom::File("a=b".into())));
    assert_eq!(parse("TOKEN=env:X"), arg(SecretFrom::Env("X".to_owned())));
    assert_eq!(parse("TOKEN=-"), arg(SecretFrom::Stdin));
    for wrong in [
        "TOKEN",
        "TOKEN=hunter2",
        "TOKEN=@",
        "TOKEN=env:",
        "=@a",
        "TOKEN=",
    ] {
        assert!(parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn what_is_started_is_an_app_or_a_job() {
    let parse = |rest: &[&str]| {
        let line = ["nearlight", "session", "start"];
        Cli::try_parse_from(line.iter().chain(rest))
    };
    assert!(parse(&["freedoom"]).is_ok());
    assert!(parse(&["-f", "job.toml", "--secret", "A=-", "--detach"]).is_ok());
    for wrong in [
        [].as_slice(),
        &["freedoom", "-f", "job.toml"],
        &["freedoom", "--detach"],
        &["freedoom", "--secret", "A=-"],
    ] {
        assert!(parse(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn the_inside_of_a_job_is_asked_for_as_elsewhere() {
    let parse = |rest: &[&str]| {
        let line = ["nearlight", "session"];
        Cli::try_parse_from(line.iter().chain(rest))
    };
    let id = "ses_01kb3x9ktv7q2m5d8r4w6y0zab";
    assert!(parse(&["logs", "-f", "--since", "10m", "--tail", "5", id]).is_ok());
    assert!(parse(&["exec", "-it", id, "--", "sh", "-c", "ls -l"]).is_ok());
    assert!(parse(&["cp", &format!("{id}:/tmp"), "-"]).is_ok());
    for wrong in [
        &["exec", id][..],
        &["exec", id, "sh"],
        &["logs"],
        &["cp", id],
    ] {
        assert!(parse(wrong).is_err(), "{wrong:?}");
    }
    for (text, expected) in [
        ("90s", 90),
        ("10m", 600),
        ("2h", 7200),
        ("1d", 86_400),
        ("5", 5),
    ] {
        assert_eq!(long_seconds(text), Ok(expected), "{text}");
    }
    for text in ["", "m", "-1m", "1w", "4294967296"] {
        assert!(long_seconds(text).is_err(), "{text}");
    }
}
