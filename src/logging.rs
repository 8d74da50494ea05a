//! Log lines on stderr, for people or for machines.

use std::io::{self, IsTerminal};

use tracing_subscriber::fmt::format::debug_fn;

use crate::settings::LogSettings;

/// Sets up the log for the rest of the process. A stderr that is closed loses lines, nothing else.
pub fn init(settings: LogSettings) {
    let builder = tracing_subscriber::fmt()
        .with_max_level(settings.level)
        .with_target(false)
        .with_writer(io::stderr)
        .log_internal_errors(false);
    if settings.json {
        let _ = builder.json().flatten_event(true).try_init();
    } else {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        // The line says all that the fields do.
        let only_message = debug_fn(|writer, field, value| match field.name() {
            "message" => write!(writer, "{value:?}"),
            _ => Ok(()),
        });
        let builder = builder.fmt_fields(only_message).without_time();
        let _ = builder.with_ansi(io::stderr().is_terminal() && !no_color).try_init();
    }
}
