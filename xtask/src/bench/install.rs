//! Installing a bundle into a slot, beside the copying alone and beside RAUC.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::home::{Home, Of};
use super::medium::{Loop, SlowFile};
use super::race::{Contestant, Measured};
use super::service::{Bus, Service};
use super::stages::Stages;
use super::{Bench, input, word};
use crate::command::{captured, logged};

/// Of the bundles that we install. RAUC opens verity bundles by device-mapper only, which few machines for
/// building have; so it gets the plain one.
const FORMATS: [&str; 2] = ["plain", "verity"];

/// Installs the same image as often as there are rounds, each time over another content: onto a loop
/// device over a file on this machine's disk, and onto a medium that writes slowly.
///
/// # Errors
/// A program fails.
pub fn measure(bench: &Bench<'_>, place: &Path) -> Result<()> {
    let home = Home::new(bench, place)?;
    for format in FORMATS {
        make_bundle(&home, format)?;
    }
    let other = place.join("other.img");
    input::write_image(&other, bench.amount.megabytes, 3)?;
    onto_loop_device(&home, &other)?;
    onto_slow_medium(&home, &other)
}

fn onto_loop_device(home: &Home<'_>, other: &Path) -> Result<()> {
    let disk = Loop::over(&home.second)?;
    let contest = Contest {
        home,
        other,
        device: &disk.path,
        behind: &disk.path,
    };
    let bus = Bus::start()?;
    let service = home.serve(Of::Rauc, &bus, &disk.path)?;
    contest.run("a loop device", &[contest.rauc(&service, &bus)?])
}

fn onto_slow_medium(home: &Home<'_>, other: &Path) -> Result<()> {
    let slow = SlowFile::over(&home.second, &home.place.join("slow"))?;
    let contest = Contest {
        home,
        other,
        device: &slow.path,
        behind: &home.second,
    };
    // Not beside RAUC: of its writes of 8 KiB each would wait as long as one of ours does.
    contest.run("a medium that writes slowly", &[])
}

fn make_bundle(home: &Home<'_>, format: &str) -> Result<()> {
    let mut create = Command::new(home.bench.program("bundle-tool"));
    create.args(["create", "--force", "--format", format]);
    create.arg("--cert");
    create.arg(home.place.join("pki/signer.cert.pem"));
    create.arg("--key");
    create.arg(home.place.join("pki/signer.key.pem"));
    create.args(["--compatible=bench", "--version=1", "--image"]);
    let image = home.place.join("rootfs.img");
    create.arg(format!("rootfs={}", word(&image)?));
    logged(create.arg(bundle(home.place, format)), &home.bench.log())
}

fn bundle(place: &Path, format: &str) -> PathBuf {
    place.join(format!("{format}.raucb"))
}

/// Who installs what.
struct Contest<'c> {
    home: &'c Home<'c>,
    /// What the target holds before.
    other: &'c Path,
    /// The target.
    device: &'c Path,
    /// Where its content is made anew before each run.
    behind: &'c Path,
}

impl Contest<'_> {
    fn run(&self, name: &str, beside: &[Contestant]) -> Result<()> {
        let home = self.home;
        let mut contestants = vec![self.copying()?];
        contestants.extend(beside.iter().cloned());
        let mut machines = Vec::new();
        for format in FORMATS {
            let machine = home.machine(format, self.device)?;
            contestants.push(self.slotmgr(&machine, format)?);
            machines.push(machine);
        }
        let megabytes = home.bench.amount.megabytes;
        let title = format!("install {megabytes} MiB into a slot ({name})");
        let medians = home.bench.measured(&title, &contestants)?;
        let base = medians.first().context("nobody took part")?;
        for (machine, format) in machines.iter().zip(FORMATS) {
            self.tell_stages(machine, format, base)?;
        }
        Ok(())
    }

    fn rauc(&self, service: &Service, bus: &Bus) -> Result<Contestant> {
        let plain = bundle(self.home.place, FORMATS[0]);
        let asked = ["install", word(&plain)?];
        let rauc = Contestant::new("rauc install, plain", "rauc", &asked);
        Ok(self.anew(rauc.asks(service.id(), bus.environment())))
    }

    /// Each begins with the same other content in the target.
    fn anew(&self, contestant: Contestant) -> Contestant {
        contestant.begins_as(self.other, self.behind)
    }

    fn copying(&self) -> Result<Contestant> {
        let image = self.home.place.join("rootfs.img");
        let (from, to) = (word(&image)?, word(self.device)?);
        let (from, to) = (format!("if={from}"), format!("of={to}"));
        let arguments = [&from, &to, "bs=1M", "conv=fsync,notrunc"];
        let copying = Contestant::new("dd bs=1M conv=fsync", "dd", &arguments);
        Ok(self.anew(copying))
    }

    fn slotmgr(&self, machine: &Path, format: &str) -> Result<Contestant> {
        let bundle = bundle(self.home.place, format);
        let (machine, bundle) = (word(machine)?, word(&bundle)?);
        let name = format!("slotmgr install, {format}");
        let program = self.home.bench.program("slotmgr");
        let conf = ["--conf", machine, "--override-boot-slot=A"];
        let arguments = [&conf[..], &["install", bundle]].concat();
        Ok(self.anew(Contestant::new(&name, program, &arguments)))
    }

    /// Where the time went, as the journal of `machine` has it.
    fn tell_stages(&self, machine: &Path, format: &str, base: &Measured) -> Result<()> {
        let mut history = Command::new(self.home.bench.program("slotmgr"));
        history.arg("--conf").arg(machine);
        history.args(["--override-boot-slot=A", "history", "--json"]);
        let stages = Stages::median(&captured(&mut history)?)?;
        println!("  {format}: {}", stages.told(base.wall));
        Ok(())
    }
}
