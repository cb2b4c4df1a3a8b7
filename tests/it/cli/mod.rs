//! What can be typed, and the help.

use std::collections::BTreeSet;

use clap::{CommandFactory, Parser};
use viatique_deploy::cli::{
    BuildArgs, Cli, Command, MigrateArgs, ReplaceArgs, ReportingArgs, RollbackArgs, RunArgs,
};
use viatique_deploy::exit_code::ExitCode;
use viatique_deploy::ui::{ColorChoice, OutputFormat};

fn parse(arguments: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(arguments.split_whitespace())
}

fn help(arguments: &str) -> String {
    match Cli::command()
        .term_width(80)
        .try_get_matches_from(arguments.split_whitespace())
    {
        Ok(_) => String::new(),
        Err(help) => help.to_string(),
    }
}

#[test]
fn the_types_are_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn global_options_stand_before_or_after_the_command() {
    let before = parse("viatique-deploy --tag v42 --output json --dry-run -y -vv --color never run").unwrap();
    let after = parse("viatique-deploy run --tag v42 --output json --dry-run -y -vv --color never").unwrap();
    assert_eq!(before, after);
    assert_eq!(before.command, Command::Run(RunArgs::default()));
    assert_eq!(before.global.tag.as_deref(), Some("v42"));
    assert_eq!(before.global.output, OutputFormat::Json);
    assert_eq!(before.global.color, ColorChoice::Never);
    assert_eq!(before.global.verbose, 2);
    assert!(before.global.dry_run && before.global.yes && !before.global.quiet);
}

#[test]
fn rollback_names_a_release_or_none() {
    let to = |arguments| {
        let command = parse(arguments).unwrap().command;
        let Command::Rollback(RollbackArgs { to, restore_db, .. }) = command else {
            panic!("{command:?}")
        };
        (to, restore_db)
    };
    assert_eq!(to("viatique-deploy rollback"), (None, None));
    let (v41, any) = (Some("v41".to_owned()), Some(String::new()));
    assert_eq!(to("viatique-deploy rollback --to v41"), (v41.clone(), None));
    assert_eq!(to("viatique-deploy rollback --restore-db --to v41"), (v41, any));
    assert_eq!(
        to("viatique-deploy rollback --restore-db=2026"),
        (None, Some("2026".to_owned()))
    );
    assert!(parse("viatique-deploy rollback --accept-loss").is_err());
}

#[test]
fn services_to_be_replaced_are_named_one_by_one() {
    for command in ["run", "deploy"] {
        let typed = format!("viatique-deploy {command} --replace db --replace redis");
        let command = parse(&typed).unwrap().command;
        let arguments = if let Command::Run(arguments) = &command {
            &arguments.replace
        } else if let Command::Deploy(arguments) = &command {
            &arguments.replace
        } else {
            panic!("{command:?}")
        };
        assert_eq!(arguments.replace, ["db", "redis"]);
    }
    assert!(parse("viatique-deploy build --replace db").is_err());
}

#[test]
fn what_builds_takes_the_options_of_a_build() {
    for (arguments, no_cache, pull) in [
        ("", false, false),
        ("--no-cache", true, false),
        ("--pull", false, true),
        ("--pull --no-cache", true, true),
    ] {
        let flags = BuildArgs { no_cache, pull };
        let parsed = |command| {
            parse(&format!("viatique-deploy {command} {arguments}"))
                .unwrap()
                .command
        };
        assert_eq!(parsed("build"), Command::Build(flags));
        let run = RunArgs {
            build: flags,
            migrate: MigrateArgs::default(),
            replace: ReplaceArgs::default(),
            maintenance: false,
            skip_rehearsal: false,
            skip_smoke: false,
            assume_manual: false,
            skip_check: Vec::new(),
            report: ReportingArgs::default(),
        };
        assert_eq!(parsed("run"), Command::Run(run));
    }
    assert!(
        parse("viatique-deploy deploy --pull").is_err(),
        "it builds nothing"
    );
}

#[test]
fn a_tag_is_what_docker_accepts() {
    let longest = "x".repeat(128);
    for tag in ["v42", "_a.b-c", "2026.03.01", longest.as_str()] {
        assert!(
            parse(&format!("viatique-deploy run --tag {tag}")).is_ok(),
            "{tag}"
        );
    }
    let too_long = "x".repeat(129);
    for tag in [".v42", "v/42", "v:42", "é", too_long.as_str()] {
        let error = parse(&format!("viatique-deploy run --tag={tag}")).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{tag}");
    }
    let empty = Cli::try_parse_from(["viatique-deploy", "run", "--tag", ""]).unwrap_err();
    assert_eq!(empty.exit_code(), 2);
}

#[test]
fn what_cannot_be_understood_exits_with_the_usage_code() {
    for arguments in [
        "viatique-deploy",
        "viatique-deploy depoly",
        "viatique-deploy run v42",
        "viatique-deploy rollback --to",
        "viatique-deploy run --output xml",
        "viatique-deploy run -v -q",
    ] {
        let error = parse(arguments).unwrap_err();
        assert_eq!(
            error.exit_code(),
            i32::from(u8::from(ExitCode::Usage)),
            "{arguments}"
        );
    }
    for arguments in [
        "viatique-deploy --help",
        "viatique-deploy --version",
        "viatique-deploy rollback --help",
    ] {
        assert_eq!(parse(arguments).unwrap_err().exit_code(), 0, "{arguments}");
    }
}

#[test]
fn the_top_level_help_lists_every_command_with_its_own_words() {
    let text = help("viatique-deploy --help");
    let listed: BTreeSet<(String, String)> = text
        .lines()
        .skip_while(|line| *line != "Deploy:")
        .take_while(|line| *line != "Options:")
        .filter_map(|line| line.strip_prefix("  ")?.split_once(' '))
        .map(|(name, about)| (name.to_owned(), about.trim().to_owned()))
        .collect();
    let commands: BTreeSet<(String, String)> = Cli::command()
        .get_subcommands()
        .map(|command| {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            (command.get_name().to_owned(), about)
        })
        .collect();
    assert_eq!(listed, commands);
}

#[test]
fn the_top_level_help_lists_every_exit_code() {
    let text = help("viatique-deploy --help");
    let listed: Vec<u8> = text
        .lines()
        .skip_while(|line| *line != "Exit codes:")
        .take_while(|line| *line != "Examples:")
        .filter_map(|line| line.split_whitespace().next()?.parse().ok())
        .collect();
    let source = include_str!("../../../src/exit_code.rs");
    let codes: Vec<u8> = source
        .lines()
        .filter_map(|line| line.strip_suffix(',')?.split_once(" = ")?.1.parse().ok())
        .collect();
    assert_eq!(codes.len(), 10, "{codes:?}");
    assert_eq!(listed, codes);
}

#[test]
fn no_line_of_help_is_wider_than_eighty_columns() {
    let commands = Cli::command();
    let names = commands
        .get_subcommands()
        .map(|command| format!("viatique-deploy {} --help", command.get_name()));
    for arguments in names.chain([
        "viatique-deploy --help".to_owned(),
        "viatique-deploy -h".to_owned(),
    ]) {
        for line in help(&arguments).lines() {
            assert!(line.chars().count() <= 80, "{arguments}: {line}");
        }
    }
}

#[test]
fn top_level_help() {
    insta::assert_snapshot!(help("viatique-deploy --help"), @"
    Take a Django stack on Docker Compose from one release to the next, and back

    Usage: viatique-deploy [OPTIONS] <COMMAND>

    Deploy:
      run            Do all of it, in order: check to health
      check          Find what would make a deploy fail, before it starts
      backup         Save the database and the media, and read the copy back
      build          Build the release's images
      rehearse       Try the new release's migrations on a copy of the data
      migrate        Migrate the database with the new release's code
      collectstatic  Put the new release's static files in place
      deploy         Replace the running containers, one service at a time

    Look:
      health         Ask the deployed app whether it is well
      smoke          Play the scenarios of deploy.yml through the site
      monitor        Watch whether a deployed release settles
      logs           Show what the services write
      status         Show what is running, from which release
      releases       List the releases that can be gone back to
      checklist      Show what is verified of a release, and answer the rest
      report         Write all that is known of a release on one page
      notify         Try whether those who are told of deploys can be reached

    Take back:
      rollback       Put an earlier release back
      resume         Finish a run that stopped half-way
      unlock         Take the lock away from a run that is dead

    Options:
          --config <FILE>     Read this file [default: deploy.yml here, else in the
                              directories above, up to the git root]
          --tag <TAG>         Name the release, as its images are tagged [default:
                              as deploy.yml says]
          --lock-wait <TIME>  Wait this long for another run to give the lock back,
                              as in 10m [default: not at all]
          --dry-run           Show what would be done, and change nothing
      -y, --yes               Ask nothing
          --output <FORMAT>   Write for people (human, on stderr), for programs
                              (json, one object per line on stdout) or for GitHub
                              Actions (github, on stdout) [default: human]
      -v, --verbose...        Show every line that processes write; twice: this
                              program's diagnostics too
      -q, --quiet             Show only errors and how it ended
          --color <WHEN>      Colour the output: auto, always or never [default:
                              auto]
      -h, --help              Print help
      -V, --version           Print version

    Exit codes:
        0  done, or nothing had to be done
        1  failed; production is untouched, or as it was before
        2  the command line could not be understood
        3  deploy.yml, a Compose file or the environment is invalid, or the engine
           cannot be reached; nothing was touched
        4  another run holds the lock, or one has stopped half-way
        5  a gate said no: a check failed or could not be made, the app is not well,
           a scenario did not pass, a migration would break what serves or fails on
           the data, or somebody was asked and did not agree
        6  deployed, then rolled back by itself
        7  stuck, a person is needed; the message says what stands where
       70  a bug in this program
      130  interrupted, and put back

    Examples:
      viatique-deploy run --dry-run         see what a deploy would do
      viatique-deploy run --tag v42         deploy v42
      viatique-deploy rollback              go back to the release before
      viatique-deploy help rollback         read more about one command
    ");
}

#[test]
fn run_help() {
    insta::assert_snapshot!(help("viatique-deploy run --help"), @"
    Do all of it, in order: check to health

    In order:
      1. check          finds what would make the rest fail
      2. backup         saves the database and the media
      3. build          builds the images
      4. gate           looks once more, at the new images too, and asks once, where
                        somebody sits at a terminal and has not said --yes
      5. migrate        migrates the database, with the new code; with
                        django.rehearse: true, tried on a copy before 4
      6. collectstatic  puts the static files in place
      7. deploy         replaces the containers, one service at a time
      8. health         asks the app whether it is well
      9. smoke          plays the scenarios of deploy.yml, where it has any
      10. monitor       where deploy.yml asks for it: watches whether it settles
    2 and 3 run side by side, and so do 5 and 6. With --maintenance the site is
    closed before the backup, and opened at the end of the deploy.

    Stops at the first step that fails. A failed deploy, health, smoke or monitor
    puts the previous release back by itself.

    Once the release serves, its checklist is answered by what was seen, and the
    rest is asked: see `checklist`. A no takes nothing back.

    Leaves alone: services that have not changed. Applied migrations stay (not with
    --maintenance: then the backup is restored), and so do backups.

    Usage: viatique-deploy run [OPTIONS]

    Options:
          --no-cache           Build every step anew, whatever is in the builder's
                               cache
          --pull               Ask the registry for newer base images
          --allow-breaking     Migrate although the running release would fail on
                               the new schema until it is replaced
          --replace <SERVICE>  Replace this service too, with a gap, where it has
                               changed; may be repeated. For what a deploy leaves
                               alone or reloads: databases, brokers, nginx
          --report <PATH>      Write the report of the run to this file or folder
                               [default: as deploy.yml says]
          --maintenance        Close the site while the migrations are applied that
                               the running release would fail on: visitors get a
                               page (503), workers stop, and nothing is written
          --skip-rehearsal     Do not try the migrations on a copy first, although
                               deploy.yml says django.rehearse
          --skip-smoke         Do not play the scenarios of deploy.yml, neither
                               before the switch nor at the end
          --assume-manual      Ask nobody about the checklist: what only a person
                               can tell is recorded as not verified
          --skip-check <ID>    Leave this check out, which is recorded; can be given
                               several times
      -h, --help               Print help

    Global options:
          --config <FILE>     Read this file [default: deploy.yml here, else in the
                              directories above, up to the git root]
          --tag <TAG>         Name the release, as its images are tagged [default:
                              as deploy.yml says]
          --lock-wait <TIME>  Wait this long for another run to give the lock back,
                              as in 10m [default: not at all]
          --dry-run           Show what would be done, and change nothing
      -y, --yes               Ask nothing
          --output <FORMAT>   Write for people (human, on stderr), for programs
                              (json, one object per line on stdout) or for GitHub
                              Actions (github, on stdout) [default: human]
      -v, --verbose...        Show every line that processes write; twice: this
                              program's diagnostics too
      -q, --quiet             Show only errors and how it ended
          --color <WHEN>      Colour the output: auto, always or never [default:
                              auto]

    Exit codes: 0 deployed; 1 failed, production is as it was; 3 configuration
    invalid, or the host is not ready for it; 4 locked; 5 a check failed or could
    not be made, the question was not answered with yes, the running release would
    fail on the migrations, or health or smoke said no and nothing had been
    replaced; 6 deployed, then rolled back by itself; 7 stuck, a person is needed;
    130 interrupted, and put back.

    Examples:
      viatique-deploy run --dry-run         see what would be done
      viatique-deploy run --tag v42
      viatique-deploy run --replace db      the database's container, too
      viatique-deploy run --maintenance     with a migration that breaks what serves
      viatique-deploy run --yes --output json > deploy.ndjson   in a CI job
    ");
}

#[test]
fn rollback_help() {
    insta::assert_snapshot!(help("viatique-deploy rollback --help"), @"
    Put an earlier release back

    A rollback is a deploy of a recorded release, with its own images and settings;
    the checks that keep a new release out are not made. Without --to, it goes back
    to the release that served before this one; where a run has stopped half-way, to
    the one that served when it began.

    In order:
      1. finds the release; images that are not on the engine any more are pulled
         from their registry
      2. says which migrations were applied since; the schema is NOT taken back
         With --restore-db, it is: it says which rows would go, asks for the
         project's name, makes a backup of now, and restores beside what serves.
         With --reverse-migrations, the migrations are taken back, and the rest of
         the data stays: it says which columns and tables would go, asks for the
         project's name, makes a backup, and holds what stands against the record.
         Code that fits the newer schema goes back first, the schema after it
      3. collects its static files again: its pages find their own
      4. replaces the services: web, workers, scheduler
      5. asks the app whether it is well, and plays the scenarios of deploy.yml

    Leaves alone, without --restore-db and --reverse-migrations: the database, the
    media. Removes no data.

    Usage: viatique-deploy rollback [OPTIONS]

    Options:
          --to <TAG>            Go back to this release [default: the one that
                                served before]
          --restore-db[=<ID>]   Restore the database and the media too, from the
                                backup taken before the release after it; or from
                                this backup
          --reverse-migrations  Take the migrations back that were applied since,
                                exactly those, with the newer release's code
          --with <TAG>          With --reverse-migrations: the release whose code
                                takes them back, where its run failed [default: the
                                last one that applied any]
          --accept-loss         With --yes: also where rows, or columns with values
                                in them, would go
          --allow-breaking      With --reverse-migrations: also where neither
                                release can serve in between
          --skip-smoke          Do not play the scenarios of deploy.yml: they may be
                                of what the newer release can do
          --assume-manual       Ask nobody about the checklist: what only a person
                                can tell is recorded as not verified
          --report <PATH>       Write the report of the run to this file or folder
                                [default: as deploy.yml says]
      -h, --help                Print help

    Global options:
          --config <FILE>     Read this file [default: deploy.yml here, else in the
                              directories above, up to the git root]
          --tag <TAG>         Name the release, as its images are tagged [default:
                              as deploy.yml says]
          --lock-wait <TIME>  Wait this long for another run to give the lock back,
                              as in 10m [default: not at all]
          --dry-run           Show what would be done, and change nothing
      -y, --yes               Ask nothing
          --output <FORMAT>   Write for people (human, on stderr), for programs
                              (json, one object per line on stdout) or for GitHub
                              Actions (github, on stdout) [default: human]
      -v, --verbose...        Show every line that processes write; twice: this
                              program's diagnostics too
      -q, --quiet             Show only errors and how it ended
          --color <WHEN>      Colour the output: auto, always or never [default:
                              auto]

    Exit codes: 0 the earlier release serves; 1 failed, production is as it was;
    3 no such release or backup, or configuration invalid; 4 locked; 5 data would
    go and nobody agreed, or the migrations cannot be taken back; 6 the earlier
    release failed too, and the one before the rollback serves again; 7 stuck.

    Examples:
      viatique-deploy releases              see where one can go back to
      viatique-deploy rollback --dry-run
      viatique-deploy rollback --to v41
      viatique-deploy rollback --to v41 --reverse-migrations
      viatique-deploy rollback --to v41 --restore-db
    ");
}
