//! What can be typed: clap types and their help, no logic. Commands turn these into their own settings; nothing below
//! `commands` knows that there is a command line.
//!
//! The help is written for an operator at 3 am: what a command does in order, what it leaves alone, how it ends.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::ValueParser;
use clap::{ArgAction, Args, Parser, Subcommand};

use crate::ui::{ColorChoice, OutputFormat};

/// Grouped by what one wants. A test holds the list to the subcommands.
const TOP_LEVEL: &str = "\
{about}

{usage-heading} {usage}

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
{options}{after-help}";

/// What a command does stands before its options, and the same for `-h` as for `--help`: clap's long form would
/// spread the options over two screens.
const ONE_COMMAND: &str = "\
{about}

{before-help}{usage-heading} {usage}

{all-args}{after-help}";

/// A test holds the list to `ExitCode`.
const EXIT_CODES: &str = "\
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
  viatique-deploy help rollback         read more about one command";

/// Take a Django stack on Docker Compose from one release to the next, and back.
#[derive(Debug, Clone, PartialEq, Eq, Parser)]
#[command(
    name = "viatique-deploy",
    version,
    help_template = TOP_LEVEL,
    after_help = EXIT_CODES,
    max_term_width = 100,
    arg_required_else_help = true
)]
pub struct Cli {
    #[command(flatten)]
    pub global: GlobalOptions,
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command, before or after its name.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(next_help_heading = "Global options")]
pub struct GlobalOptions {
    /// Read this file [default: deploy.yml here, else in the directories above, up to the git root]
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,

    /// Name the release, as its images are tagged [default: as deploy.yml says]
    #[arg(long, value_name = "TAG", global = true, value_parser = ValueParser::new(docker_tag))]
    pub tag: Option<String>,

    /// Wait this long for another run to give the lock back, as in 10m [default: not at all]
    #[arg(long, value_name = "TIME", global = true, value_parser = ValueParser::new(duration))]
    pub lock_wait: Option<Duration>,

    /// Show what would be done, and change nothing
    #[arg(long, global = true)]
    pub dry_run: bool,

    /// Ask nothing
    #[arg(short, long, global = true)]
    pub yes: bool,

    /// Write for people (human, on stderr), for programs (json, one object per line on stdout) or for GitHub Actions
    /// (github, on stdout)
    #[arg(
        long,
        value_name = "FORMAT",
        global = true,
        value_enum,
        default_value_t,
        hide_possible_values = true
    )]
    pub output: OutputFormat,

    /// Show every line that processes write; twice: this program's diagnostics too
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,

    /// Show only errors and how it ended
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,

    /// Colour the output: auto, always or never
    #[arg(
        long,
        value_name = "WHEN",
        global = true,
        value_enum,
        default_value_t,
        hide_possible_values = true
    )]
    pub color: ColorChoice,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Find what would make a deploy fail, before it starts
    #[command(
        help_template = ONE_COMMAND,
        before_help = "\
First reads deploy.yml, the Compose files and the environment, and says what is
invalid, by file and path. Then makes its checks, side by side:
  the engine and the host    what would break a deploy here, or lose requests
                             or tasks although it works
  production configuration   what the environment and the Compose files say
  code and scanners          what the project's own tools say
  the site                   what a visitor is answered
  Django                     asked in a container of the release's image, which
                             is removed again; its migrations, too
  backups                    whether one could be gone back to
`check --list` has all of them, and says which there is nothing to look at for.

A check that fails stops a deploy, or only warns. One that could not be made is
not verified, and never counted as passed. Under checks.waivers in deploy.yml
somebody answers for a problem until a day.

Leaves alone: the running containers, the database, the files, the recorded
releases.",
        after_help = "\
Exit codes: 0 nothing stands in the way of a deploy; 1 failed, or the file of
--junit could not be written; 3 configuration invalid, or the host is not ready
for it; 5 a check failed or could not be made.

Examples:
  viatique-deploy check
  viatique-deploy check --list          which checks there are
  viatique-deploy check --explain hsts  what one is for, and what to do
  viatique-deploy check --skip tests
  viatique-deploy check --output github --junit checks.xml   in a CI job"
    )]
    Check(CheckArgs),

    /// Save the database and the media, and read the copy back
    #[command(
        help_template = ONE_COMMAND,
        before_help = "\
In order:
  1. dumps the database, while it serves; PostgreSQL's own pg_restore reads the
     dump to its end as it is written
  2. saves the server's roles
  3. saves the media volume: what no backup has yet
  4. reads everything back from the disk, and only then counts it as a backup

Leaves alone: the running containers, and the data itself.",
        after_help = "\
Exit codes: 0 done; 1 failed, older backups are still there; 3 configuration
invalid, or no such backup; 4 locked; 5 a backup is not verified.

Examples:
  viatique-deploy backup                the same as: backup create
  viatique-deploy backup list
  viatique-deploy backup verify         read the newest one to its last byte"
    )]
    Backup {
        #[command(subcommand)]
        what: Option<BackupCommand>,
    },

    /// Build the release's images
    #[command(
        help_template = ONE_COMMAND,
        before_help = "\
Builds the services that have a build section in the Compose files, several at
once and equal ones once, and tags the images with the release.

Leaves alone: the running containers, the database, the files. A half-built
release is not deployed by anything.",
        after_help = "\
Exit codes: 0 built; 1 failed; 3 configuration invalid; 4 locked.

Examples:
  viatique-deploy build --tag v42
  viatique-deploy build -v              with everything the build writes
  viatique-deploy build --pull          on newer base images"
    )]
    Build(BuildArgs),

    /// Try the new release's migrations on a copy of the data
    #[command(
        help_template = ONE_COMMAND,
        before_help = "\
In order:
  1. asks Django which migrations are not applied, and judges them
  2. restores the newest backup into a scratch PostgreSQL of the same image,
     which has no network
  3. migrates there, with the new release's code: how long does each migration
     take, and which tables does it lock meanwhile?
  4. has Django check what came of it
  5. takes the migrations back again: is the schema the one before?
  6. removes it all

What it found is kept beside the backup, and in the release's record. `run`
does not try the same migrations of the same image again while that is younger
than backup.max_age. With django.rehearse: true, `run` does all of this itself.

Leaves alone: the running containers, the database, the files.",
        after_help = "\
Exit codes: 0 they can be applied, or none is pending; 1 failed; 3 configuration
invalid, or no such backup; 4 locked; 5 they fail on the data, or the running
release would fail on the new schema.

Examples:
  viatique-deploy build --tag v42
  viatique-deploy rehearse --tag v42"
    )]
    Rehearse(RehearseArgs),

    /// Migrate the database with the new release's code
    #[command(
        help_template = ONE_COMMAND,
        before_help = "\
In order:
  1. asks Django which migrations are not applied
  2. judges them: would the release that serves now fail on the new schema?
     Then nothing is applied
  3. applies them, in a container of the new release. Each waits two seconds at
     most for a lock, since everybody waits behind it, and is tried five times

Leaves alone: the running containers; the release that serves now goes on, on
the new schema.
Migrations are not taken back by a rollback.",
        after_help = "\
Exit codes: 0 migrated, or nothing to apply; 1 failed; 3 configuration invalid;
4 locked; 5 the running release would fail on the new schema.

Examples:
  viatique-deploy migrate --dry-run     what is pending, and what each means
  viatique-deploy migrate --tag v42"
    )]
    Migrate(MigrateArgs),

    /// Put the new release's static files in place
    #[command(
        help_template = ONE_COMMAND,
        before_help = "\
Runs Django's collectstatic in a container of the new release.

Leaves alone: the running containers, and the files that the release serving
now still refers to.",
        after_help = "\
Exit codes: 0 done; 1 failed; 3 configuration invalid; 4 locked.

Examples:
  viatique-deploy collectstatic --tag v42"
    )]
    Collectstatic,

    /// Replace the running containers, one service at a time
    #[command(
        help_template = ONE_COMMAND,
        before_help = "\
For each service, in the order in which they depend on each other:
  1. starts the new container beside the old one, where the service allows it
  2. waits until it is healthy
  3. lets requests and tasks go to the new one, and lets the old one finish
     what it has
  4. removes the old one

Where a new container fails, its last lines are shown and everything replaced
so far is put back.

Leaves alone: services that have not changed, volumes, the database schema.
Builds nothing, migrates nothing: `run` does.",
        after_help = "\
Exit codes: 0 deployed; 1 failed before anything was replaced; 3 configuration
invalid; 4 locked; 6 failed, and the release before serves again; 7 stuck.

Examples:
  viatique-deploy deploy --dry-run      see what would be replaced, and how
  viatique-deploy deploy --tag v42
  viatique-deploy deploy --replace db   the database's container, too"
    )]
    Deploy(DeployArgs),

    /// Ask the deployed app whether it is well
    #[command(
        help_template = ONE_COMMAND,
        before_help = "\
Looks at every container, and asks the way a visitor would: through the proxy,
at the address in deploy.yml. Waits for what is still starting; what is broken
fails at once.

Leaves alone: everything; it only asks.",
        after_help = "\
Exit codes: 0 well; 3 configuration invalid; 5 not well, or no answer.

Examples:
  viatique-deploy health
  viatique-deploy health -q || page-someone"
    )]
    Health,

    /// Play the scenarios of deploy.yml through the site
    #[command(
        help_template = ONE_COMMAND,
        before_help = "\
In order:
  1. runs the commands under smoke.before, in their containers
  2. plays the scenarios under smoke, one after the other, through the proxy, as
     their users would; one that fails does not stop the others
  3. runs the commands under smoke.after, whatever happened

What a scenario makes, its clean-up and smoke.after remove. `run` and `rollback`
play them at their end.

Leaves alone: everything else. Nothing is deployed, and nothing is taken back.",
        after_help = "\
Exit codes: 0 all of them passed; 3 configuration invalid, or no section smoke;
4 locked; 5 one did not pass, or was not cleaned up; 130 interrupted, and
cleaned up.

Examples:
  viatique-deploy smoke --dry-run       what would be asked
  viatique-deploy smoke
  viatique-deploy smoke --only 'a pupil logs in'"
    )]
    Smoke(SmokeArgs),

    /// Show what the services write
    #[command(
        help_template = ONE_COMMAND,
        before_help = "\
Shows the last lines of the services' containers, in the order in which they
were written. With --follow it goes on with what is written, also by containers
that a deploy brings, until it is stopped.

Leaves alone: everything; it only reads.",
        after_help = "\
Exit codes: 0 shown; 1 failed; 2 no such service, or no pattern.

Examples:
  viatique-deploy logs backend celery_worker
  viatique-deploy logs --follow --grep '(?i)error'
  viatique-deploy logs --since 1h --tail 10000 --output json nginx | jq .line"
    )]
    Logs(LogsArgs),

    /// Watch whether a deployed release settles
    #[command(
        help_template = ONE_COMMAND,
        before_help = "\
Watches a release that stands, and holds it against the hour before its deploy:
requests and how long answers take (from nginx's access log), errors in the
logs, containers and their memory, Celery's queues, the database's connections,
and the probes of deploy.yml. Ends as soon as the release is found bad, and says
by what; found good, it has been watched for all of the time. With next to no
traffic the probes decide; without any it is inconclusive, which is not good.

Without --release: the one that a run under way has deployed, else the one that
serves. `run` does this itself where deploy.yml has the section monitor, and
takes a bad release back.

On a terminal it is a dashboard: requests, services, errors, the database,
Redis, queues and disks; ? helps, q ends it. Elsewhere, and with --plain, it is
a block of lines every ten seconds; with --output json, every look whole.

Leaves alone: everything; it only looks. It may be stopped and begun again.",
        after_help = "\
Exit codes: 0 good, or inconclusive: the output says which; 1 failed; 3
configuration invalid; 5 bad.

Examples:
  viatique-deploy monitor
  viatique-deploy monitor --release v42 --for 30m || page-someone
  viatique-deploy monitor --output json | jq -r 'select(.verdict).verdict'"
    )]
    Monitor(MonitorArgs),

    /// Put an earlier release back
    #[command(
        help_template = ONE_COMMAND,
        before_help = "\
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
media. Removes no data.",
        after_help = "\
Exit codes: 0 the earlier release serves; 1 failed, production is as it was;
3 no such release or backup, or configuration invalid; 4 locked; 5 data would
go and nobody agreed, or the migrations cannot be taken back; 6 the earlier
release failed too, and the one before the rollback serves again; 7 stuck.

Examples:
  viatique-deploy releases              see where one can go back to
  viatique-deploy rollback --dry-run
  viatique-deploy rollback --to v41
  viatique-deploy rollback --to v41 --reverse-migrations
  viatique-deploy rollback --to v41 --restore-db"
    )]
    Rollback(RollbackArgs),

    /// Finish a run that stopped half-way
    #[command(
        help_template = ONE_COMMAND,
        before_help = "\
A run whose process was killed, whose machine died, or whose way back failed
leaves a stack between two releases. Nothing else is deployed until it is
finished: forward with this, or back with `rollback`.

Runs the same command again, for the same release (or for the one that --tag
names), from the files as they are now. Every step brings what stands to what should stand, so it does not matter
where the run stopped. Where no run has stopped half-way, it does nothing.

`status` shows what stands where.",
        after_help = "\
Exit codes: as those of the command that is finished; 0 also where there was
nothing to finish.

Examples:
  viatique-deploy status                see what stands where
  viatique-deploy resume --dry-run
  viatique-deploy resume
  viatique-deploy resume --tag v43      with a release in which it is mended"
    )]
    Resume,

    /// Take the lock away from a run that is dead
    #[command(
        help_template = ONE_COMMAND,
        before_help = "\
One run at a time works on a project. It says every ten seconds that it is
alive; one that has been silent for a minute, or whose process on this machine
is gone, is dead, and what is left of it is its lock.

Takes the lock away from such a run. One that lives keeps it, unless --force is
given: it then stops where it stands, within ten seconds.

Leaves alone: what the run has left half-way. `resume` or `rollback` finishes
that.",
        after_help = "\
Exit codes: 0 the lock is free; 3 configuration invalid; 4 its holder lives.

Examples:
  viatique-deploy unlock
  viatique-deploy rollback"
    )]
    Unlock(UnlockArgs),

    /// Do all of it, in order: check to health
    #[command(
        help_template = ONE_COMMAND,
        before_help = "\
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
--maintenance: then the backup is restored), and so do backups.",
        after_help = "\
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
  viatique-deploy run --yes --output json > deploy.ndjson   in a CI job"
    )]
    Run(RunArgs),

    /// Show what is running, from which release
    #[command(
        help_template = ONE_COMMAND,
        before_help = "\
Shows each service with its release and health, and whether a run is under way
or was left unfinished.

Leaves alone: everything; it only looks.",
        after_help = "\
Exit codes: 0 shown; 3 configuration invalid, or the engine cannot be reached.

Examples:
  viatique-deploy status
  viatique-deploy status --output json | jq ."
    )]
    Status,

    /// Show what is verified of a release, and answer the rest
    #[command(
        help_template = ONE_COMMAND,
        before_help = "\
Shows the checklist that a run has made of the release that serves, or of another
one: each line with what the run has seen of it, or who has answered it. On a
terminal it asks what nobody has answered yet; Enter leaves a line open.

Leaves alone: everything but the answers. A line that is not well takes nothing
back: `rollback` does.",
        after_help = "\
Exit codes: 0 every line is well; 1 failed; 3 configuration invalid, no such
release or line; 5 a line is not well, or not verified, or no checklist is kept.

Examples:
  viatique-deploy checklist
  viatique-deploy checklist v42 --answer smoke=yes --answer backup=no
  viatique-deploy checklist --output json | jq .checklist.verdict"
    )]
    Checklist(ChecklistArgs),

    /// Try whether those who are told of deploys can be reached
    #[command(
        help_template = ONE_COMMAND,
        before_help = "\
Sends a notice that says it is a test to every target under `notify` in
deploy.yml, whatever it is told of otherwise, or to one of them, and says who
got it: only an answer of 2xx counts. Every secret is read as for a deploy.

Sentry is only asked whether its releases may be read, a Pushgateway gets a job
of its own that is removed again, healthchecks.io a line in its log.

Leaves alone: everything; the engine is not even asked.",
        after_help = "\
Exit codes: 0 all have got it; 2 nobody is called so; 3 configuration invalid;
5 somebody has not got it.

Examples:
  viatique-deploy notify --test
  viatique-deploy notify --test slack"
    )]
    Notify(NotifyArgs),

    /// List the releases that can be gone back to
    #[command(
        help_template = ONE_COMMAND,
        before_help = "\
Lists recorded releases, newest first: when they were deployed, whether they
serve now, and whether their images are still there.

With `show`, one of them: its images, migrations and backup, and what it changed.
With `diff`, what differs between two: images, configuration, environment. Of
the environment only the names are shown, never a value.

Leaves alone: everything; it only looks.",
        after_help = "\
Exit codes: 0 listed; 3 configuration invalid, no such release, or the engine
cannot be reached.

Examples:
  viatique-deploy releases
  viatique-deploy releases show v41
  viatique-deploy releases diff v41 v42"
    )]
    Releases {
        #[command(subcommand)]
        what: Option<ReleasesCommand>,
    },

    /// Write all that is known of a release on one page
    #[command(
        help_template = ONE_COMMAND,
        before_help = "\
Writes one HTML file that needs no network and can be printed: what was deployed
by whom, what changed, every check with its evidence, the steps over time, how
long answers took and which failed around the switch, migrations, backup,
scenarios. What is not known is said in its place.

It is about the run that made the release serve; without a tag, what serves now.
A release that never served is shown by the last run that tried. `run`, `deploy`
and `rollback` write one themselves when they have ended, well or not.

Leaves alone: everything; it only reads. A file that is no report is not written
over.",
        after_help = "\
Exit codes: 0 written; 1 it could not be; 3 configuration invalid, no such
release or run, or the engine cannot be reached.

Examples:
  viatique-deploy report
  viatique-deploy report v42 --file /var/www/reports/
  viatique-deploy report --run 20261129T2208    a run that failed"
    )]
    Report(ReportArgs),
}

/// What `notify` takes.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct NotifyArgs {
    /// Send a test notice to everybody, or to this one of them
    #[arg(long, value_name = "TARGET", num_args = 0..=1, default_missing_value = "", required = true)]
    pub test: String,
}

/// What `checklist` takes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Args)]
pub struct ChecklistArgs {
    /// Of this release: the latest deployment of it [default: of the one that serves]
    #[arg(value_name = "TAG", value_parser = ValueParser::new(docker_tag))]
    pub release: Option<String>,

    /// Answer this line, which is kept with who has said it; can be given several times
    #[arg(long, value_name = "ID=yes|no", value_parser = ValueParser::new(line_answer))]
    pub answer: Vec<(String, bool)>,
}

/// What can be done with backups.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum BackupCommand {
    /// Save the database and the media [what `backup` alone does]
    Create,
    /// List the backups, the newest first
    List,
    /// Show one: what is in it, and of what
    Show {
        /// Its id, or the beginning of it [default: the newest]
        #[arg(value_name = "ID")]
        id: Option<String>,
    },
    /// Read one to its last byte: digests, the dump with pg_restore, every media file
    Verify {
        /// Its id, or the beginning of it [default: the newest]
        #[arg(value_name = "ID")]
        id: Option<String>,
    },
    /// Restore one into a scratch PostgreSQL that nothing else reaches, count its rows, and remove it again
    Drill {
        /// Its id, or the beginning of it [default: the newest]
        #[arg(value_name = "ID")]
        id: Option<String>,
    },
    /// Copy the backups to backup.copies, as far as they are not there yet
    Copy,
    /// Remove the backups that backup.keep does not keep, and replaced databases that are kept no longer
    Prune,
    /// Put the database and the media back as a backup has them
    #[command(
        help_template = ONE_COMMAND,
        before_help = "\
In order:
  1. shows which tables would lose rows, and asks
  2. makes a backup of what is there now
  3. restores the dump into a new database beside the one that serves, and
     counts its rows
  4. puts missing and changed media files in place; what gives way is set aside
     in the volume
  5. swaps the two databases, in one transaction; sessions are ended, and new
     ones wait, for well under a second
  6. asks the app whether it is well; if not, swaps back

Leaves alone: the running containers. Removes nothing: the database that served
is kept beside the restored one for backup.keep_replaced, a week by default.",
        after_help = "\
Exit codes: 0 restored; 1 failed, the database is as it was; 3 configuration
invalid, or no such backup; 4 locked; 5 the running release would fail on the
restored database, or rows would go and nobody agreed; 6 restored, then taken
back by itself; 7 stuck.

Examples:
  viatique-deploy backup list
  viatique-deploy backup restore --dry-run          what would go
  viatique-deploy backup restore 20261126T0200
  viatique-deploy backup restore --from-copy        on a new machine
  viatique-deploy backup restore --undo             the state before is back"
    )]
    Restore(RestoreArgs),
}

/// What `backup restore` takes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct RestoreArgs {
    /// Its id, or the beginning of it [default: the newest]
    #[arg(value_name = "ID")]
    pub id: Option<String>,

    /// Restore only this: database or media
    #[arg(long, value_name = "PART", value_enum, hide_possible_values = true)]
    pub only: Option<RestorePart>,

    /// Fetch it first, from where backup.copies copies to; or from this place, as written there
    #[arg(long, value_name = "PLACE", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub from_copy: Option<String>,

    /// Take the last restore back: what it replaced serves again
    #[arg(long, conflicts_with_all = ["id", "only", "from_copy", "skip_backup", "allow_breaking"])]
    pub undo: bool,

    /// With --yes: also where rows would go
    #[arg(long)]
    pub accept_loss: bool,

    /// Make no backup of what is there now, because none can be made; it is kept beside what is restored all the same
    #[arg(long)]
    pub skip_backup: bool,

    /// Restore although the running release would fail on the restored database
    #[arg(long)]
    pub allow_breaking: bool,
}

/// A part of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum RestorePart {
    Database,
    Media,
}

/// What `logs` takes.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct LogsArgs {
    /// Of these services [default: all]
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,

    /// Go on with what is written from now on
    #[arg(short, long)]
    pub follow: bool,

    /// How many lines of each container
    #[arg(long, value_name = "LINES", default_value_t = 100)]
    pub tail: u32,

    /// Not what was written longer ago, as in 15m
    #[arg(long, value_name = "TIME", value_parser = ValueParser::new(duration))]
    pub since: Option<Duration>,

    /// Only lines in which this regular expression is found
    #[arg(long, value_name = "PATTERN")]
    pub grep: Option<String>,

    /// With the moment of each, in UTC
    #[arg(short, long)]
    pub timestamps: bool,
}

/// What `monitor` takes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct MonitorArgs {
    /// Watch this release
    #[arg(long, value_name = "TAG", value_parser = ValueParser::new(docker_tag))]
    pub release: Option<String>,

    /// Watch for this long, as in 30m [default: as deploy.yml says, else 10m]
    #[arg(long, value_name = "TIME", value_parser = ValueParser::new(duration))]
    pub r#for: Option<Duration>,

    /// Write lines, on a terminal too, where a dashboard is shown otherwise
    #[arg(long)]
    pub plain: bool,
}

/// What the commands that deploy take.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct ReplaceArgs {
    /// Replace this service too, with a gap, where it has changed; may be repeated. For what a deploy leaves alone or
    /// reloads: databases, brokers, nginx
    #[arg(long, value_name = "SERVICE")]
    pub replace: Vec<String>,
}

/// What `deploy` takes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct DeployArgs {
    #[command(flatten)]
    pub replace: ReplaceArgs,
    #[command(flatten)]
    pub report: ReportingArgs,

    /// Do not play the scenarios of deploy.yml before the switch
    #[arg(long)]
    pub skip_smoke: bool,
}

/// What the commands take that make a report when they have ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct ReportingArgs {
    /// Write the report of the run to this file or folder [default: as deploy.yml says]
    #[arg(long, value_name = "PATH")]
    pub report: Option<PathBuf>,
}

/// What `report` takes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct ReportArgs {
    /// As it is tagged [default: what serves]
    #[arg(value_name = "TAG", value_parser = ValueParser::new(docker_tag))]
    pub release: Option<String>,

    /// Of this run instead, by its id or the beginning of it: one that failed, too
    #[arg(long, value_name = "RUN", conflicts_with = "release")]
    pub run: Option<String>,

    /// Write to this file or folder, or with - to standard output [default: report-PROJECT-TAG.html here]
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// What `run` takes: what a build, a migration and a deploy take.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct RunArgs {
    #[command(flatten)]
    pub build: BuildArgs,
    #[command(flatten)]
    pub migrate: MigrateArgs,
    #[command(flatten)]
    pub replace: ReplaceArgs,
    #[command(flatten)]
    pub report: ReportingArgs,

    /// Close the site while the migrations are applied that the running release would fail on: visitors get a page (503),
    /// workers stop, and nothing is written
    #[arg(long)]
    pub maintenance: bool,

    /// Do not try the migrations on a copy first, although deploy.yml says django.rehearse
    #[arg(long)]
    pub skip_rehearsal: bool,

    /// Do not play the scenarios of deploy.yml, neither before the switch nor at the end
    #[arg(long)]
    pub skip_smoke: bool,

    /// Ask nobody about the checklist: what only a person can tell is recorded as not verified
    #[arg(long)]
    pub assume_manual: bool,

    /// Leave this check out, which is recorded; can be given several times
    #[arg(long, value_name = "ID")]
    pub skip_check: Vec<String>,
}

/// What `smoke` takes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Args)]
pub struct SmokeArgs {
    /// Play only this scenario, and what it needs; can be given several times
    #[arg(long, value_name = "SCENARIO")]
    pub only: Vec<String>,
}

/// What `check` takes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Args)]
pub struct CheckArgs {
    /// Make only this check; can be given several times
    #[arg(long, value_name = "ID")]
    pub only: Vec<String>,

    /// Leave this check out; can be given several times
    #[arg(long, value_name = "ID", conflicts_with = "only")]
    pub skip: Vec<String>,

    /// List the checks, and which of them apply here
    #[arg(long, conflicts_with_all = ["only", "skip", "junit"])]
    pub list: bool,

    /// Say what a check protects from, how it looks, and what to do when it fails
    #[arg(long, value_name = "ID", conflicts_with_all = ["only", "skip", "list", "junit"])]
    pub explain: Option<String>,

    /// Also write the verdicts to this file, as JUnit XML
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
}

/// What `rehearse` takes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Args)]
pub struct RehearseArgs {
    /// Restore this backup, by its id or the beginning of it [default: the newest]
    #[arg(long, value_name = "ID")]
    pub backup: Option<String>,

    #[command(flatten)]
    pub migrate: MigrateArgs,
}

/// What commands that migrate take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Args)]
pub struct MigrateArgs {
    /// Migrate although the running release would fail on the new schema until it is replaced
    #[arg(long)]
    pub allow_breaking: bool,
}

/// What commands that build take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Args)]
pub struct BuildArgs {
    /// Build every step anew, whatever is in the builder's cache
    #[arg(long)]
    pub no_cache: bool,

    /// Ask the registry for newer base images
    #[arg(long)]
    pub pull: bool,
}

/// What can be asked of the releases.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum ReleasesCommand {
    /// Show one: its images, migrations and backup, and what it changed
    Show {
        /// As it is tagged; the latest deployment of it
        #[arg(value_name = "TAG", value_parser = ValueParser::new(docker_tag))]
        release: String,
    },
    /// Show what differs between two: images, configuration, environment
    Diff {
        /// The one before
        #[arg(value_name = "TAG", value_parser = ValueParser::new(docker_tag))]
        from: String,
        /// The one after
        #[arg(value_name = "TAG", value_parser = ValueParser::new(docker_tag))]
        to: String,
    },
}

/// What `unlock` takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Args)]
pub struct UnlockArgs {
    /// Take it away from a run that lives, too
    #[arg(long)]
    pub force: bool,
}

/// What `rollback` takes.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct RollbackArgs {
    /// Go back to this release [default: the one that served before]
    #[arg(long, value_name = "TAG", value_parser = ValueParser::new(docker_tag))]
    pub to: Option<String>,

    /// Restore the database and the media too, from the backup taken before the release after it; or from this backup
    #[arg(
        long,
        value_name = "ID",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "",
        group = "data"
    )]
    pub restore_db: Option<String>,

    /// Take the migrations back that were applied since, exactly those, with the newer release's code
    #[arg(long, group = "data")]
    pub reverse_migrations: bool,

    /// With --reverse-migrations: the release whose code takes them back, where its run failed [default: the last one that
    /// applied any]
    #[arg(long, value_name = "TAG", requires = "reverse_migrations", value_parser = ValueParser::new(docker_tag))]
    pub with: Option<String>,

    /// With --yes: also where rows, or columns with values in them, would go
    #[arg(long, requires = "data")]
    pub accept_loss: bool,

    /// With --reverse-migrations: also where neither release can serve in between
    #[arg(long, requires = "reverse_migrations")]
    pub allow_breaking: bool,

    /// Do not play the scenarios of deploy.yml: they may be of what the newer release can do
    #[arg(long)]
    pub skip_smoke: bool,

    /// Ask nobody about the checklist: what only a person can tell is recorded as not verified
    #[arg(long)]
    pub assume_manual: bool,
    #[command(flatten)]
    pub report: ReportingArgs,
}

/// As in `deploy.yml`: `10m`, `1h30m`, `90s`.
fn duration(text: &str) -> Result<Duration, String> {
    crate::compose::parse_duration(text).map_err(|error| error.to_string())
}

/// `backup=yes`.
fn line_answer(text: &str) -> Result<(String, bool), &'static str> {
    match text.rsplit_once('=') {
        Some((id, "yes")) if !id.is_empty() => Ok((id.to_owned(), true)),
        Some((id, "no")) if !id.is_empty() => Ok((id.to_owned(), false)),
        Some(_) | None => Err("an answer is the id of a line, `=`, and yes or no"),
    }
}

/// Accepts what Docker accepts as a tag: `[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}`.
fn docker_tag(text: &str) -> Result<String, &'static str> {
    const LONGEST: usize = 128;
    let starts_well = text.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '_');
    if !starts_well {
        return Err("a tag begins with a letter, a digit or an underscore");
    }
    if !text
        .chars()
        .all(|character| character.is_ascii_alphanumeric() || "_.-".contains(character))
    {
        return Err("a tag has only letters, digits, underscores, dots and dashes");
    }
    if text.len() > LONGEST {
        return Err("a tag has at most 128 characters");
    }
    Ok(text.to_owned())
}
