//! Every number and every layout against the kernel's own headers, by the C compiler.
//!
//! Needs a C compiler and linux-libc-dev, both of which a Rust toolchain on Debian brings along.

use super::*;
use std::io::Write;
use std::mem::offset_of;
use std::process::Command;

use crate::{extents, mmc, mtd, partition, ubi, watchdog};

const HEADERS: &[&str] = &[
    "stddef.h",
    "stdio.h",
    "linux/fs.h",
    "linux/fiemap.h",
    "linux/blkpg.h",
    "linux/watchdog.h",
    "linux/mmc/ioctl.h",
    "mtd/mtd-abi.h",
    "mtd/ubi-user.h",
];

fn rows() -> Vec<(&'static str, u64)> {
    let mut rows: Vec<(&'static str, u64)> = Vec::new();
    macro_rules! numbers {
        ($($name:ident),*) => { $(rows.push((stringify!($name), u64::try_from($name).unwrap()));)* };
    }
    macro_rules! values {
        ($($text:literal = $value:expr),* $(,)?) => {
            $(rows.push(($text, u64::try_from($value).unwrap()));)*
        };
    }
    numbers!(
        BLKROGET,
        BLKFLSBUF,
        BLKSSZGET,
        BLKPG,
        BLKGETSIZE64,
        BLKDISCARD,
        BLKPBSZGET,
        BLKZEROOUT,
        FIBMAP,
        FIGETBSZ,
        FS_IOC_GETFLAGS,
        FS_IOC_FIEMAP,
        WDIOC_GETSUPPORT,
        WDIOC_GETBOOTSTATUS,
        WDIOC_KEEPALIVE,
        WDIOC_SETTIMEOUT,
        WDIOC_GETTIMEOUT,
        WDIOC_GETTIMELEFT,
        MEMGETINFO,
        MEMLOCK,
        MEMUNLOCK,
        MEMGETBADBLOCK,
        MEMSETBADBLOCK,
        MEMERASE64,
        MEMISLOCKED,
        UBI_IOCVOLUP,
        UBI_IOCEBCH,
        UBI_IOCEBISMAP,
        UBI_IOCATT,
        MMC_IOC_CMD
    );
    values!(
        "sizeof(struct fiemap)" = size_of::<extents::Head>(),
        "sizeof(struct fiemap_extent)" = size_of::<extents::RawExtent>(),
        "offsetof(struct fiemap, fm_extents)" = offset_of!(extents::Request, extents),
        "offsetof(struct fiemap, fm_mapped_extents)" = offset_of!(extents::Head, mapped_extents),
        "offsetof(struct fiemap_extent, fe_flags)" = offset_of!(extents::RawExtent, flags),
        "sizeof(struct blkpg_ioctl_arg)" = size_of::<partition::Argument>(),
        "offsetof(struct blkpg_ioctl_arg, data)" = offset_of!(partition::Argument, data),
        "sizeof(struct blkpg_partition)" = size_of::<partition::RawPartition>(),
        "offsetof(struct blkpg_partition, pno)" = offset_of!(partition::RawPartition, number),
        "BLKPG_ADD_PARTITION" = partition::ADD,
        "BLKPG_DEL_PARTITION" = partition::DELETE,
        "BLKPG_RESIZE_PARTITION" = partition::RESIZE,
        "sizeof(struct watchdog_info)" = size_of::<watchdog::RawInfo>(),
        "offsetof(struct watchdog_info, identity)" = offset_of!(watchdog::RawInfo, identity),
        "WDIOF_CARDRESET" = watchdog::CARD_RESET,
        "WDIOF_SETTIMEOUT" = watchdog::SET_TIMEOUT,
        "WDIOF_MAGICCLOSE" = watchdog::MAGIC_CLOSE,
        "WDIOF_PRETIMEOUT" = watchdog::PRETIMEOUT,
        "WDIOF_ALARMONLY" = watchdog::ALARM_ONLY,
        "sizeof(struct mtd_info_user)" = size_of::<mtd::RawInfo>(),
        "offsetof(struct mtd_info_user, flags)" = offset_of!(mtd::RawInfo, flags),
        "offsetof(struct mtd_info_user, oobsize)" = offset_of!(mtd::RawInfo, oob_size),
        "sizeof(struct erase_info_user)" = size_of::<mtd::Range32>(),
        "sizeof(struct erase_info_user64)" = size_of::<mtd::Range64>(),
        "MTD_RAM" = mtd::RAM,
        "MTD_ROM" = mtd::ROM,
        "MTD_NORFLASH" = mtd::NOR,
        "MTD_NANDFLASH" = mtd::NAND,
        "MTD_DATAFLASH" = mtd::DATAFLASH,
        "MTD_UBIVOLUME" = mtd::UBI_VOLUME,
        "MTD_MLCNANDFLASH" = mtd::MLC_NAND,
        "MTD_WRITEABLE" = mtd::WRITEABLE,
        "MTD_BIT_WRITEABLE" = mtd::BIT_WRITEABLE,
        "sizeof(struct ubi_leb_change_req)" = size_of::<ubi::LebChange>(),
        "offsetof(struct ubi_leb_change_req, bytes)" = offset_of!(ubi::LebChange, bytes),
        "sizeof(struct ubi_attach_req)" = size_of::<ubi::Attach>(),
        "offsetof(struct ubi_attach_req, max_beb_per1024)" = offset_of!(ubi::Attach, spare),
        "sizeof(struct mmc_ioc_cmd)" = size_of::<mmc::Command>(),
        "offsetof(struct mmc_ioc_cmd, response)" = offset_of!(mmc::Command, response),
        "offsetof(struct mmc_ioc_cmd, blksz)" = offset_of!(mmc::Command, block_size),
        "offsetof(struct mmc_ioc_cmd, data_ptr)" = offset_of!(mmc::Command, data),
    );
    rows
}

#[test]
fn numbers_and_layouts_are_the_kernels() {
    let rows = rows();
    let mut program = String::new();
    for header in HEADERS {
        program.push_str(&format!("#include <{header}>\n"));
    }
    program.push_str("int main(void) {\n");
    for (text, _) in &rows {
        program.push_str(&format!(
            "printf(\"%llu\\n\", (unsigned long long)({text}));\n"
        ));
    }
    program.push_str("return 0; }\n");
    let dir = tempfile::tempdir().unwrap();
    let (source, binary) = (dir.path().join("abi.c"), dir.path().join("abi"));
    std::fs::File::create(&source)
        .unwrap()
        .write_all(program.as_bytes())
        .unwrap();
    let built = Command::new("cc")
        .arg("-o")
        .arg(&binary)
        .arg(&source)
        .output();
    let built = built.expect("no C compiler: install gcc and linux-libc-dev");
    assert!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
    let out = Command::new(&binary).output().unwrap().stdout;
    let theirs: Vec<u64> = String::from_utf8(out)
        .unwrap()
        .lines()
        .map(|l| l.parse().unwrap())
        .collect();
    assert_eq!(theirs.len(), rows.len());
    for ((text, ours), theirs) in rows.iter().zip(theirs) {
        assert_eq!(*ours, theirs, "{text}");
    }
}
