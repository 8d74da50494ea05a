//! What `--help` says beside the commands: examples, exit codes, the environment.

use crate::exit::Exit;
use crate::settings::variable::{self, Row};

const EXAMPLES: &str = "\
Examples:
  docker run -d --name SITE --memory 1g --tmpfs /run -e user=alice -e uid=61045 \\
      -e domain=example.com -v /srv/alice:/home/alice cac-lsphp:php83
  docker exec SITE cac-lsphp plan                     what was decided, and why
  docker exec SITE cac-lsphp plan --memory 2G         what would 2 GB give?
  docker exec SITE cac-lsphp healthcheck --deep       can it serve? if not, why
  docker exec SITE cac-lsphp status                   which worker does and needs what?
  docker exec SITE cac-lsphp opcache status           is the opcode cache large enough?
  docker exec SITE cac-lsphp exec -- wp cron event run --due-now
  cac-lsphp request --addr 172.17.0.2:9000 /home/alice/public_html/index.php

A first argument that is not a command is executed itself, as the site user when a site is named:
  docker run --rm cac-lsphp:php83 php -v
";

/// The text below the commands and options.
pub fn after() -> String {
    format!(
        "{EXAMPLES}\nExit codes:\n{}\nEnvironment, stronger than the site file:\n{}",
        exit_codes(),
        environment()
    )
}

fn exit_codes() -> String {
    Exit::MEANINGS.iter().map(|(exit, meaning)| format!("  {:<4}{meaning}\n", *exit as u8)).collect()
}

fn environment() -> String {
    variable::GROUPS.iter().map(|(heading, rows)| format!("\n {heading}\n{}", described(rows))).collect()
}

fn described(rows: &[Row]) -> String {
    let line = |row: &Row| {
        let names = row.names.join(", ");
        format!("  {names} [{}]\n      {}; {}\n", row.accepts.default(), row.about, row.accepts.values())
    };
    rows.iter().map(line).collect()
}
