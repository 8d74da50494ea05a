//! The binary: hands the command line to the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    cac_lsphp::cli::main(std::env::args_os()).into()
}
