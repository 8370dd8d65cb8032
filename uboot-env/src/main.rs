//! `uboot-env`, also installed as `fw_printenv` and `fw_setenv`.

use std::process::ExitCode;
use uboot_env::cli::{self, Console};

fn main() -> ExitCode {
    let (mut stdin, mut stdout, mut stderr) =
        (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let console = Console {
        stdin: &mut stdin,
        stdout: &mut stdout,
        stderr: &mut stderr,
    };
    ExitCode::from(cli::run(std::env::args_os(), console))
}
