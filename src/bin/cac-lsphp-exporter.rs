//! The host's binary: hands the command line to the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    cac_lsphp::exporter::main(std::env::args_os()).into()
}
