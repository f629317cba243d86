//! The command line, as people type it.

use super::*;
use clap::CommandFactory;

#[test]
fn the_command_line_is_well_formed() {
    Cli::command().debug_assert();
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
