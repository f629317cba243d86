//! The checker's program.

use checker::cli::{Cli, Command, JoinArgs, ReceiptCommand, RunCommand, VerifyArgs, WitnessArgs};
use checker::failure::Failure;
use checker::{
    beacon, broker, certificate, doctor, keys, member, play, probe, revoke, run, status, table,
    traffic, witness,
};
use clap::Parser;
use nearlight_protocol::problem::ProblemType;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

fn main() -> ExitCode {
    match carry_out(Cli::parse()) {
        Ok(code) => code,
        Err(failure) => {
            note(format_args!("checker: {failure}"));
            let mut cause = std::error::Error::source(&failure);
            while let Some(error) = cause {
                note(format_args!("  because: {error}"));
                cause = error.source();
            }
            ExitCode::from(failure.exit_status())
        }
    }
}

fn carry_out(cli: Cli) -> Result<ExitCode, Failure> {
    let data = &cli.data;
    match cli.command {
        Command::Init => {
            let (public, words) = keys::init(data)?;
            say(format_args!("key {}", public.id()));
            say(format_args!("public {}", keys::hex_of(&public)));
            say(format_args!("words {words}"));
            note(format_args!(
                "Write the 24 words on paper, and keep them where nobody else reads them: they are the key. They are \
                 shown this once; `checker restore` asks for them."
            ));
        }
        Command::Restore => {
            note(format_args!("The 24 words, on one line:"));
            let mut words = String::new();
            std::io::stdin()
                .read_line(&mut words)
                .map_err(Failure::Stdin)?;
            let public = keys::restore(data, &words)?;
            say(format_args!("key {}", public.id()));
            say(format_args!("public {}", keys::hex_of(&public)));
        }
        Command::Key => {
            let public = keys::load(data)?.public();
            say(format_args!("key {}", public.id()));
            say(format_args!("public {}", keys::hex_of(&public)));
        }
        Command::Table(args) => {
            let bytes = table::sign(&args.classes, args.serial, &keys::load(data)?)?;
            std::fs::write(&args.out, bytes).map_err(|source| Failure::File {
                path: args.out.clone(),
                source,
            })?;
        }
        Command::Doctor(args) => {
            let found = doctor::look(data, &args);
            for line in &found {
                say(format_args!("{line}"));
            }
            return Ok(match found.iter().all(|line| line.is_fit) {
                true => ExitCode::SUCCESS,
                false => ExitCode::FAILURE,
            });
        }
        Command::Join(args) => join(data, &args)?,
        Command::Delegate(args) => {
            let text = member::delegate(data, &args.checker, args.days)?;
            say(format_args!("{text}"));
        }
        Command::Play(args) => {
            let found = play::once(data, &args, &keys::load(data)?)?;
            say(format_args!("{}", found.summary()));
            return Ok(found.exit_code());
        }
        Command::Verify(args) => return verify(&args),
        Command::Witness(args) => watch(data, &args)?,
        Command::Receipt(ReceiptCommand::Revoke(args)) => {
            let made = revoke::revoke(data, &args)?;
            say(format_args!(
                "{} is void, by receipt {}; this cannot be undone",
                made.subject, made.placed.index
            ));
        }
        Command::Status(args) => standing(data, args.at.as_deref())?,
        Command::Run(args) if !args.once => serve(data, &args)?,
        Command::Run(args) => {
            let args = args.once()?;
            let key = keys::load(data)?;
            let table = table::open(&args.table, &args.table_key)?;
            let beacon = beacon::fetch(&args.beacon)?;
            let found = probe::once(&args, &key, &table, &beacon)?;
            say(format_args!("{}", found.summary()));
            return Ok(found.exit_code());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Comes into a network.
fn join(data: &Path, args: &JoinArgs) -> Result<(), Failure> {
    let file = |path: &PathBuf| {
        std::fs::read_to_string(path).map_err(|source| Failure::File {
            path: path.clone(),
            source,
        })
    };
    let authorities = args.ca.as_ref().map(file).transpose()?;
    let to = (args.url.as_str(), args.token.as_str());
    let joined = member::join_by(authorities, data, to, args.delegation.as_deref())?;
    say(format_args!(
        "a member of {}, run by {}",
        joined.url, joined.operator
    ));
    Ok(())
}

/// Checks nodes as the broker assigns them.
fn serve(data: &Path, args: &RunCommand) -> Result<(), Failure> {
    // The program that plays knows the public authorities alone.
    let is_public = member::Network::load(data)?.authorities.is_none();
    let settings = run::Settings {
        data: data.to_owned(),
        gb_max: args.max_gb_month,
        url: args.url.clone(),
        at: args.at.clone(),
        plays: is_public && !args.no_decoder && play::beside().is_ok(),
        bind: args.bind,
        beacon: args.works_by,
    };
    let table = table::open(&args.table, &args.table_key)?;
    // Without a log it runs all the same.
    let _ = nearlight_kit::telemetry::init("checker");
    let ready = serde_json::json!({ "ready": { "data": data } });
    run::run(&settings, table, move || say(format_args!("{ready}")))
}

/// What a receipt comes to, offline.
fn verify(args: &VerifyArgs) -> Result<ExitCode, Failure> {
    let report = nearlight_verifier::report(&args.ask).map_err(Failure::Verify)?;
    let text = match args.json {
        true => serde_json::to_string_pretty(&report).unwrap_or_default(),
        false => nearlight_verifier::text(&report),
    };
    say(format_args!("{}", text.trim_end()));
    Ok(ExitCode::from(report.outcome.exit_code()))
}

/// Witnesses, and nothing else; or says under which key.
fn watch(data: &Path, args: &WitnessArgs) -> Result<(), Failure> {
    if args.key {
        let key = witness::key_in(data)?;
        say(format_args!("{key}"));
        note(format_args!("public {}", keys::hex_of(key.key())));
        return Ok(());
    }
    // Without a log it runs all the same.
    let _ = nearlight_kit::telemetry::init("checker");
    let ready = serde_json::json!({ "ready": { "data": data } });
    witness::run(data, args, move || say(format_args!("{ready}")))
}

fn standing(data: &Path, at: Option<&str>) -> Result<(), Failure> {
    let network = member::Network::load(data)?;
    let told = certificate::told(&certificate::load(data)?, SystemTime::now());
    say(format_args!("{}", told.unwrap_or_else(|why| why)));
    let broker = network.broker(data, at)?;
    let refused = |error: broker::Refused| Failure::Broker(error.to_string());
    let standing = broker.standing().map_err(refused)?;
    let account = match broker.account() {
        Ok(account) => Some(account),
        // An older broker has no such answer.
        Err(broker::Refused::Said(ProblemType::NotFound, _)) => None,
        Err(error) => return Err(refused(error)),
    };
    let bytes = traffic::Traffic::open(data, None)?.bytes();
    let mut text = status::lines(&standing, bytes);
    if let Some(account) = account {
        text += &status::account(&account);
    }
    text += &witness::standing(data).unwrap_or_default();
    say(format_args!("{}", text.trim_end()));
    Ok(())
}

/// The program's interface. Whoever closed the pipe does not want the line.
fn say(line: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

fn note(line: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
