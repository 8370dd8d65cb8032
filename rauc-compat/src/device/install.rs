//! `rauc install`

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use slotmgr::dbus::Remote;
use slotmgr::service::{
    InstallRequest, Local, Origin, Service as _, Step, Steps, Stop, ask_to_stop, until_asked,
    was_stopped,
};

use super::face::{Face, Own};
use super::{DeviceEnvironment, exit};
use crate::arguments::InstallArguments;
use crate::report::Output;

pub(super) fn run(
    arguments: &InstallArguments,
    around: &DeviceEnvironment,
    output: &Output,
) -> Result<ExitCode> {
    let request = request(arguments);
    let own = Own {
        booted: arguments.override_boot_slot.as_deref(),
        handler_args: arguments.handler_args.as_deref(),
    };
    let source = &arguments.bundle;
    // Before there are other threads.
    let until = until_asked()?;
    match Face::open(&arguments.global, own, around)? {
        Face::Service(remote) => {
            std::thread::spawn(move || {
                until();
                // As RAUC's client: whoever asked the service has to ask it to stop, too.
                let text = "Interrupted: the client ends, the installation in the service goes on";
                // Who reads no more need not be told.
                let _ = writeln!(std::io::stdout(), "{text}");
                std::process::exit(exit::INTERRUPTED.into());
            });
            Ok(through(&remote, &request, source, output))
        }
        Face::Here(local) => here(&local, request, source, output),
    }
}

fn request(arguments: &InstallArguments) -> InstallRequest {
    // A service runs in another directory.
    let is_address = arguments.bundle.contains("://");
    let absolute = std::path::absolute(&arguments.bundle).ok();
    let path = absolute.and_then(|path| path.to_str().map(ToOwned::to_owned));
    let source = match path {
        Some(path) if !is_address => path,
        _ => arguments.bundle.clone(),
    };
    InstallRequest {
        job: String::new(),
        origin: Origin {
            source,
            tls_cert: arguments.tls_cert.clone(),
            tls_key: arguments.tls_key.clone(),
            tls_ca: arguments.tls_ca.clone(),
            tls_no_verify: arguments.tls_no_verify,
            headers: arguments.http_header.clone(),
        },
        ignore_compatible: arguments.ignore_compatible,
        ignore_version_limit: arguments.ignore_version_limit,
        transaction: arguments.transaction_id.clone(),
        manifest_hash: arguments.require_manifest_hash.clone(),
        try_again: false,
    }
}

fn show(output: &Output, (percent, text, _): &Step) {
    output.line(&format!("{percent:3}% {text}"));
}

fn through(remote: &Remote, request: &InstallRequest, source: &str, output: &Output) -> ExitCode {
    output.line("installing");
    match remote.install(request, &mut |step| show(output, &step)) {
        Ok(result) => ended(result, source, output),
        Err(error) => {
            eprintln!("Failed {error}");
            eprintln!("D-Bus error while installing `{source}`");
            ExitCode::from(exit::NO_SERVICE)
        }
    }
}

fn here(
    local: &Local,
    mut request: InstallRequest,
    source: &str,
    output: &Output,
) -> Result<ExitCode> {
    let stop = Stop::default();
    ask_to_stop(&stop)?;
    request.job = local.new_job()?;
    output.line("installing");
    let mut steps = Steps::new(|step| show(output, &step));
    steps.begin();
    let result = local.install(&request, &stop, &mut steps);
    steps.end(result.is_ok());
    if let Err(error) = &result
        && was_stopped(error)
    {
        eprintln!("{error:#}");
        return Ok(ExitCode::from(exit::INTERRUPTED));
    }
    let result = result.map(drop).map_err(|error| format!("{error:#}"));
    Ok(ended(result, source, output))
}

fn ended(result: Result<(), String>, source: &str, output: &Output) -> ExitCode {
    match result {
        Ok(()) => {
            output.line(&format!("Installing `{source}` succeeded"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            output.line(&format!("LastError: {error}"));
            eprintln!("Installing `{source}` failed");
            ExitCode::FAILURE
        }
    }
}
