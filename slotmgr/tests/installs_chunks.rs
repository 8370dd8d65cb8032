//! Images that come as chunks: of what a device has already, and what it fetches for the rest.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

mod support;

use std::fmt::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use support::chunks::{IMAGE, Releases, SLOT, damage, lab, lab_of};
use support::loops::{Loop, run};
use support::noise;
use support::rig::{Rig, stderr, stdout};
use support::server::{Fault, Request, Server};

#[test]
fn what_runs_is_the_seed_and_only_new_chunks_are_fetched() {
    let lab = support::chunks::lab();
    assert!(lab.rig.path("data").read_dir().unwrap().any(|entry| {
        let name = entry.unwrap().file_name();
        name.to_str().unwrap() == "slot.rootfs.1"
    }));
    let server = lab.serve(|_| Fault::None);
    let chunks = lab.fetched(&server);
    assert!(chunks < 900_000, "{chunks} bytes of chunks");

    // A pack: the same by few requests. A delta: less.
    let lab = support::chunks::lab();
    let pack = lab.releases.pack(&lab.second);
    let server = lab.serve(|_| Fault::None);
    let packed = lab.fetched(&server);
    assert!(packed < chunks + 100_000, "{packed} bytes of a pack");
    assert!(server.requests() < 40, "{} requests", server.requests());
    assert_eq!(server.sent_of(".cacnk"), 0);

    let lab = support::chunks::lab();
    lab.releases.pack(&lab.second);
    lab.releases.delta(&lab.first, &lab.second);
    let server = lab.serve(|_| Fault::None);
    let delta = lab.fetched(&server);
    assert!(delta < 130_000, "{delta} bytes of a delta");
    assert_eq!(server.sent_of(".cacnk"), 0);
    drop(pack);
}

#[test]
fn the_index_that_was_kept_is_a_hint_that_is_made_anew() {
    for spoil in ["lost", "damaged", "another"] {
        let lab = lab();
        let directory = lab.rig.path("data/slot.rootfs.1");
        let hash = directory.read_dir().unwrap().next().unwrap().unwrap();
        let index = hash.path().join("index.caibx");
        match spoil {
            "lost" => fs_err::remove_file(&index).unwrap(),
            "damaged" => damage(&index),
            _ => {
                let mut bytes = Vec::new();
                lab.second.index.write_to(&mut bytes).unwrap();
                fs_err::write(&index, bytes).unwrap();
            }
        }
        let server = lab.serve(|_| Fault::None);
        let fetched = lab.fetched(&server);
        // What is wrong in a single place may make a chunk fall through.
        assert!(fetched < 1_200_000, "{spoil}: {fetched}");
    }
}

#[test]
fn a_damaged_seed_falls_through_chunk_by_chunk() {
    let lab = lab();
    let mut slot = fs_err::read(lab.rig.path("slot-b")).unwrap();
    slot[6 << 20] ^= 1;
    fs_err::write(lab.rig.path("slot-b"), slot).unwrap();
    let server = lab.serve(|_| Fault::None);
    let fetched = lab.fetched(&server);
    assert!(fetched < 1_300_000, "{fetched}");
}

#[test]
fn what_the_target_holds_is_used_and_not_written_again() {
    let lab = lab();
    // The update is in A already but for one block, and B cannot help.
    let mut slot = lab.second.image.clone();
    slot[4_000_000] ^= 1;
    slot.resize(SLOT, 0);
    fs_err::write(lab.rig.path("slot-a"), slot).unwrap();
    let server = lab.serve(|_| Fault::None);
    let output = lab.update(&server, &["--dry-run", "--json"]);
    let text = stdout(&output);
    let last = text.lines().last().unwrap_or_default();
    assert!(output.status.success(), "{text}{}", stderr(&output));
    let estimate: serde_json::Value = serde_json::from_str(last).unwrap();
    assert!(estimate["write"].as_u64().unwrap() < 300_000, "{text}");
    assert_eq!(
        estimate["fetch"].as_u64().unwrap(),
        0,
        "B has the chunk: {text}"
    );
    let output = lab.update(&server, &[]);
    lab.done(&output, &lab.second, "slot-a");
    let said = stderr(&output);
    assert!(said.contains("4096 written"), "{said}");
}

#[test]
fn a_store_that_misbehaves_leaves_the_old_system_and_the_next_run_goes_on() {
    let cases: [(&str, Fault, &str); 6] = [
        ("lies", Fault::Lie, "no store has chunk"),
        ("short", Fault::Endless, "more than"),
        ("gone", Fault::Status(404), "not in the store"),
        ("refuses", Fault::Status(403), "answers 403"),
        ("other status", Fault::Status(410), "not in the store"),
        ("web page", Fault::Status(200), "no store has chunk"),
    ];
    for (name, fault, expected) in cases {
        let lab = lab();
        let server = lab.serve(move |request| {
            match request.path.contains(".cacnk") && request.number % 3 == 2 {
                true => fault,
                false => Fault::None,
            }
        });
        let output = lab.update(&server, &[]);
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{name}: {message}");
        assert!(message.contains(expected), "{name}: {message}");
        assert!(message.contains(&server.url), "{name}: {message}");
        assert_eq!(lab.rig.start(), "B", "{name}");
        let first = server.sent_of(".cacnk");
        let server = lab.serve(|_| Fault::None);
        let rest = lab.fetched(&server);
        if fault == Fault::Status(404) {
            assert!(first + rest < 900_000, "{name}: {first} and {rest}");
        }
    }
}

#[test]
fn sidecars_that_are_damaged_or_lie_cost_something_and_change_nothing() {
    for which in ["pack", "delta", "a delta for another base"] {
        let lab = lab();
        let pack = lab.releases.pack(&lab.second);
        let delta = lab.releases.delta(&lab.first, &lab.second);
        match which {
            "pack" => {
                damage(&pack);
                fs_err::remove_file(&delta).unwrap();
            }
            "delta" => damage(&delta),
            _ => {
                let third = lab.releases.publish(&noise(55, IMAGE), "3");
                let other = lab.releases.delta(&third, &lab.second);
                fs_err::rename(other, &delta).unwrap();
            }
        }
        let server = lab.serve(|_| Fault::None);
        let fetched = lab.fetched(&server);
        assert!(fetched < 2_500_000, "{which}: {fetched}");
    }
}

/// And somebody wrote to the running slot without us: what is known of it is not true.
#[test]
fn what_the_target_held_is_used_at_any_offset_when_nothing_else_has_it() {
    let second = |lab: &support::chunks::Lab| lab.second.image.clone();
    let half = IMAGE / 2;
    for (name, place) in [("behind", 0), ("before", 1), ("halves change places", 2)] {
        let lab = lab();
        let image = second(&lab);
        let mut slot = match place {
            0 => [&noise(9, 12_345)[..], &image].concat(),
            1 => [&image[70_001..], &noise(9, 70_001)].concat(),
            _ => [&image[half..], &image[..half]].concat(),
        };
        slot.resize(SLOT, 1);
        fs_err::write(lab.rig.path("slot-a"), slot).unwrap();
        fs_err::write(lab.rig.path("slot-b"), vec![3; SLOT]).unwrap();
        let server = lab.serve(|_| Fault::None);
        let fetched = lab.fetched(&server);
        // What is cut at the seams and what the slot lacks; where everything waits for everything, also
        // what there was no memory for.
        let most = if place == 2 {
            IMAGE as u64 / 3
        } else {
            700_000
        };
        assert!(fetched < most, "{name}: {fetched}");
    }
}

#[test]
fn a_killed_update_goes_on_with_what_is_in_the_target() {
    const LARGE: usize = 96 << 20;
    for (by_pack, end) in [(true, ".pack"), (false, ".cacnk")] {
        let releases = Releases::new();
        let first = releases.publish(&noise(5, 1 << 20), "1");
        // Nothing of it is here.
        let second = releases.publish(&noise(55, LARGE), "2");
        if by_pack {
            releases.pack(&second);
        }
        let rig = Rig::with_slots(LARGE, &first.image, &first.keyring);
        let server = Server::of(releases.dir.path(), |_| Fault::None);
        let url = format!("{}/update-2.raucb", server.url);
        rig.add(&format!("[casync]\nstorepath={}/store.castr", server.url));
        let mut command = rig.command("A", &["install", &url]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        while server.sent() < (LARGE / 2) as u64 {
            assert!(child.try_wait().unwrap().is_none(), "it ended early");
            std::thread::sleep(Duration::from_millis(2));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let output = rig.run(&["install", &url]);
        assert!(output.status.success(), "{}", stderr(&output));
        assert!(rig.snapshot().b == second.image);
        let twice = server.sent_of(end).saturating_sub(LARGE as u64);
        assert!(twice < (LARGE / 100) as u64, "{end}: {twice} bytes twice");
    }
}

#[test]
fn raucs_block_hash_index_is_used_as_a_device_uses_it() {
    use bundle_format::Digest;
    use bundle_format::block_hash_index::BlockHashIndex;

    let lab = lab();
    let mut image = lab.first.image.clone();
    image[100 * 4096..101 * 4096].fill(1);
    let block = noise(44, 4096);
    image.splice(500 * 4096..500 * 4096, block);
    image.truncate(IMAGE);
    let blocks = BlockHashIndex::build(&image).unwrap().to_bytes();
    let manifest = format!(
        "[update]\ncompatible=board\nversion=4\n[bundle]\nformat=verity\n[image.rootfs]\n\
         filename=rootfs.img\nadaptive=block-hash-index\nsize={IMAGE}\nsha256={}\n",
        Digest::of(&image)
    );
    let files = [
        ("rootfs.img", &image[..]),
        ("rootfs.img.block-hash-index", &blocks),
    ];
    let dir = lab.releases.dir.path();
    let (bundle, _) = support::bundle_with(dir, &manifest, &files);
    fs_err::rename(bundle, dir.join("update-2.raucb")).unwrap();
    let server = lab.serve(|_| Fault::None);
    let output = lab.update(&server, &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(
        fs_err::read(lab.rig.path("slot-a"))
            .unwrap()
            .starts_with(&image)
    );
    // The index has 64 KiB; a block comes with the 128 KiB that it is packed with.
    assert!(server.sent() < 700_000, "{} bytes", server.sent());
}

/// A squashfs of some texts; those of a newer version differ in a line each.
fn squashfs(dir: &Path, version: u64) -> Vec<u8> {
    let tree = dir.join(format!("tree-{version}"));
    fs_err::create_dir(&tree).unwrap();
    for file in 0..40_u64 {
        let mut text = format!("version {version}\n");
        for (line, bytes) in noise(file, 60_000).chunks(10).enumerate() {
            let _ = writeln!(text, "line {line} of the file is {bytes:02x?}");
        }
        fs_err::write(tree.join(format!("file-{file:02}")), text).unwrap();
    }
    let image = dir.join(format!("{version}.img"));
    let words = [
        "-comp",
        "zstd",
        "-Xcompression-level",
        // Versions of zstd agree about this one more than about most.
        "12",
        "-all-root",
        "-noappend",
        "-quiet",
        "-no-progress",
        "-all-time",
        "1767225600",
        "-mkfs-time",
        "1767225600",
    ];
    let paths = [tree.to_str().unwrap(), image.to_str().unwrap()];
    run("mksquashfs", &[&paths[..], &words].concat());
    fs_err::read(image).unwrap()
}

#[test]
fn blocks_of_a_squashfs_are_made_of_their_old_contents_on_a_block_device() {
    let dir = tempfile::tempdir().unwrap();
    let [old, new] = [1, 2].map(|version| squashfs(dir.path(), version));
    let lab = lab_of(&old, &new);
    let (path, totals) = lab
        .releases
        .built(&lab.first.image, &lab.first, &lab.second);
    assert!(totals.frames.0 > 20, "{totals:?}");
    let slots = ["slot-a", "slot-b"].map(|name| (name, Loop::over(&lab.rig.path(name))));
    let conf = lab.rig.path("system.conf");
    let mut text = fs_err::read_to_string(&conf).unwrap();
    for (name, device) in &slots {
        text = text.replace(
            &format!("device={name}"),
            &format!("device={}", device.text()),
        );
    }
    fs_err::write(&conf, text).unwrap();
    let server = lab.serve(|_| Fault::None);
    let fetched = lab.fetched(&server);
    let delta = fs_err::metadata(path).unwrap().len();
    assert_eq!(server.sent_of(".cacnk"), 0);
    assert!(fetched < delta + 1000, "{fetched} of {delta}");
    assert!(delta < totals.missing_bytes / 10, "{delta}: {totals:?}");
    slots[0].1.mounted(|at| {
        let text = fs_err::read_to_string(at.join("file-07")).unwrap();
        assert!(text.starts_with("version 2\n"));
    });
}

#[test]
fn blocks_are_compressed_again_as_long_as_the_configured_time_lasts() {
    let dir = tempfile::tempdir().unwrap();
    let [old, new] = [1, 2].map(|version| squashfs(dir.path(), version));
    for (seconds, by_delta) in [(300, true), (0, false)] {
        let lab = lab_of(&old, &new);
        lab.rig
            .configure(&format!("[download]\ndelta-cpu-seconds = {seconds}\n"));
        lab.releases.pack(&lab.second);
        let (delta, _) = lab
            .releases
            .built(&lab.first.image, &lab.first, &lab.second);
        let delta = fs_err::metadata(delta).unwrap().len();
        let server = lab.serve(|_| Fault::None);
        let output = lab.update(&server, &["--dry-run", "--json"]);
        let text = stdout(&output);
        let last = text.lines().last().unwrap_or_default();
        let estimate: serde_json::Value = serde_json::from_str(last).unwrap();
        let said = stderr(&output);
        assert_eq!(said.contains("delta-cpu-seconds"), !by_delta, "{said}");

        let server = lab.serve(|_| Fault::None);
        let fetched = lab.fetched(&server);
        let of_delta = server.sent_of(".delta");
        // Of a delta that is left, its directory was read, and of a pack that is, its table.
        match by_delta {
            true => assert!(fetched < delta + 20_000, "{fetched} of {delta}"),
            false => assert!(
                server.sent_of(".pack") > 10 * delta,
                "{fetched}: {of_delta} of {delta}"
            ),
        }
        let estimate = estimate["fetch"].as_u64().unwrap();
        let off = estimate.abs_diff(fetched);
        // Small things come in pages.
        assert!(off < 40_000 + fetched / 20, "{estimate} and then {fetched}");
    }
}

#[test]
fn a_store_on_this_machine_is_asked_before_the_server() {
    let lab = lab();
    // A stick with some of the chunks; another one is not plugged in.
    let stick = lab.rig.path("stick.castr");
    let directories = fs_err::read_dir(lab.releases.store()).unwrap();
    for (kept, directory) in directories.enumerate() {
        let directory = directory.unwrap();
        let there = stick.join(directory.file_name());
        for (number, file) in fs_err::read_dir(directory.path()).unwrap().enumerate() {
            let file = file.unwrap();
            if (kept + number) % 4 > 0 {
                fs_err::create_dir_all(&there).unwrap();
                fs_err::copy(file.path(), there.join(file.file_name())).unwrap();
            }
        }
    }
    lab.rig.configure(&format!(
        "[download]\nstores = [\"/nowhere\", \"{}\"]\n",
        stick.display()
    ));
    let server = lab.serve(|_| Fault::None);
    let some = lab.fetched(&server);
    let all = support::chunks::lab();
    let all = all.fetched(&all.serve(|_| Fault::None));
    assert!(0 < some && some < all / 2, "{some} of {all}");
}

#[test]
fn a_store_on_another_server_is_told_no_secret() {
    let lab = lab();
    let other = lab.serve(|_| Fault::None);
    let first = lab.serve(|_| Fault::None);
    lab.store(&format!("{}/store.castr", other.url));
    let url = format!("{}/update-2.raucb", first.url).replace("http://", "http://me:geheim@");
    let arguments = ["install", &url, "-v", "-H", "X-Token: geheim"];
    let output = lab.rig.run_on("B", &arguments);
    lab.done(&output, &lab.second, "slot-a");
    let said = format!("{}{}", stdout(&output), stderr(&output));
    assert!(!said.contains("geheim"), "{said}");
    let told = |server: &Server| {
        let log = server.log();
        let told = |request: &&Request| request.headers.contains("x-token: geheim");
        (log.iter().filter(told).count(), log.len())
    };
    let (secrets, requests) = told(&first);
    assert_eq!(secrets, requests);
    let (secrets, requests) = told(&other);
    assert!(secrets == 0 && requests > 0, "{secrets} of {requests}");
    let authorized = |request: &Request| request.headers.contains("authorization");
    assert!(!other.log().iter().any(authorized));
}
