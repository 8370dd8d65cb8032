//! `uboot-env print` and `fw_printenv`.

use super::args::{Bytes, EndianArg, FwPrintenv, PrintArgs, ViewArg};
use super::session::{Purpose, Session, require_valid, warn_about};
use super::{Console, JSON_SCHEMA};
use crate::env::{Env, View};
use anyhow::{Result, bail};
use serde_json::{Value, json};
use std::os::unix::ffi::OsStrExt;

pub(super) fn print(args: &PrintArgs, console: &mut Console<'_>) -> Result<u8> {
    let endian = args.bytes.endian.into();
    let mut session = Session::open(&args.place, endian, Purpose::Read, console)?;
    let txn = session.load();
    warn_about(txn.snapshot(), console);
    require_valid(txn.snapshot())?;
    let view = View::from(args.bytes.view);
    let (chosen, missing) = choose(txn.env(), args);
    if args.json {
        let variables: Vec<Value> = chosen
            .iter()
            .map(|(n, v)| as_json(n, &view.decode(v)))
            .collect();
        writeln!(
            console.stdout,
            "{}",
            json!({ "schema": JSON_SCHEMA, "variables": variables })
        )?;
    } else {
        for (name, value) in &chosen {
            if !args.no_header {
                console.stdout.write_all(name)?;
                console.stdout.write_all(b"=")?;
            }
            console.stdout.write_all(&view.decode(value))?;
            console.stdout.write_all(b"\n")?;
        }
    }
    for name in &missing {
        writeln!(
            console.stderr,
            "error: {:?} is not defined",
            String::from_utf8_lossy(name)
        )?;
    }
    Ok(u8::from(!missing.is_empty()))
}

/// U-Boot's rule for missing names (an error). `-n` needs a name; several are printed line by line,
/// as libubootenv does.
pub(super) fn fw_printenv(args: &FwPrintenv, console: &mut Console<'_>) -> Result<u8> {
    if args.no_header && args.names.is_empty() {
        bail!("-n needs the name of a variable");
    }
    let args = PrintArgs {
        place: args.place.clone(),
        bytes: Bytes {
            endian: EndianArg::Native,
            view: ViewArg::Raw,
        },
        no_header: args.no_header,
        json: false,
        names: args.names.clone(),
    };
    print(&args, console)
}

type Pairs<'a> = Vec<(&'a [u8], &'a [u8])>;

/// The variables asked for, and the names that are not there.
fn choose<'a>(env: &'a Env, args: &'a PrintArgs) -> (Pairs<'a>, Vec<&'a [u8]>) {
    if args.names.is_empty() {
        return (env.iter().collect(), Vec::new());
    }
    let (mut chosen, mut missing) = (Vec::new(), Vec::new());
    for name in args.names.iter().map(|n| n.as_bytes()) {
        match env.get(name) {
            Some(value) => chosen.push((name, value)),
            None => missing.push(name),
        }
    }
    (chosen, missing)
}

/// JSON knows text only; other bytes come as hexadecimal, too.
fn as_json(name: &[u8], value: &[u8]) -> Value {
    let name = String::from_utf8_lossy(name);
    match std::str::from_utf8(value) {
        Ok(text) => json!({ "name": name, "value": text }),
        Err(_) => {
            let hex: String = value.iter().map(|b| format!("{b:02x}")).collect();
            json!({ "name": name, "value": String::from_utf8_lossy(value), "hex": hex })
        }
    }
}
