//! Against a program that prints what nvidia-smi of several generations does, in the forms of its manual.

use super::super::super::Verdict::{Fail, Pass, Skip};
use super::*;
use crate::gpu::Process;
use std::fs;
use std::os::unix::fs::PermissionsExt;

const L4: &str = "GPU-4b0c2f0e-5d4e-7c66-3f3a-1b6f0a6b9d11";
const RTX: &str = "GPU-9f3d9d6b-77a6-2f4e-90c1-6f8f2d1c5a02";
const H200: &str = "GPU-c1a7e1b2-0a5f-4be2-8c29-3d9be0d2ee03";
const SLICES: [&str; 2] = [
    "MIG-5be5d8a6-9b3c-5fd2-9d5d-52e0a8a4b6d4",
    "MIG-0c9e7f7e-3b0f-5cf5-b6a4-74a0d3c9f1e5",
];

/// The XML of a GPU; of one that is cut with its slices.
fn xml(uuid: &str, slices: &str) -> String {
    format!(
        "<?xml version=\"1.0\" ?>\n<!DOCTYPE nvidia_smi_log SYSTEM \"nvsmi_device_v12.dtd\">\n<nvidia_smi_log>\n\
         \t<driver_version>570.86.15</driver_version>\n\t<attached_gpus>1</attached_gpus>\n\
         \t<gpu id=\"00000000:19:00.0\">\n\t\t<product_name>of a maker's</product_name>\n\
         \t\t<mig_devices>\n{slices}\t\t</mig_devices>\n\t\t<uuid>{uuid}</uuid>\n\
         \t\t<fb_memory_usage>\n\t\t\t<total>143771 MiB</total>\n\t\t\t<reserved>613 MiB</reserved>\n\
         \t\t\t<used>90 MiB</used>\n\t\t</fb_memory_usage>\n\t\t<supported_clocks/>\n\t</gpu>\n</nvidia_smi_log>\n"
    )
}

fn xml_of_slice(place: usize, total: &str, used: &str) -> String {
    format!(
        "\t\t\t<mig_device>\n\t\t\t\t<index>{place}</index>\n\t\t\t\t<gpu_instance_id>{}</gpu_instance_id>\n\
         \t\t\t\t<ecc_error_count>\n\t\t\t\t\t<volatile_count>\n\t\t\t\t\t\t<sram_uncorrectable>0</sram_uncorrectable>\n\
         \t\t\t\t\t</volatile_count>\n\t\t\t\t</ecc_error_count>\n\t\t\t\t<fb_memory_usage>\n\
         \t\t\t\t\t<total>{total}</total>\n\t\t\t\t\t<reserved>0 MiB</reserved>\n\t\t\t\t\t<used>{used}</used>\n\
         \t\t\t\t</fb_memory_usage>\n\t\t\t\t<bar1_memory_usage>\n\t\t\t\t\t<total>65535 MiB</total>\n\
         \t\t\t\t\t<used>1 MiB</used>\n\t\t\t\t</bar1_memory_usage>\n\t\t\t</mig_device>\n",
        place + 1
    )
}

/// An L4 on which two programs compute.
fn l4() -> (Printed, Vec<Told>) {
    let printed = Printed {
        whole: format!("{L4}, NVIDIA L4, 23034, 8.9, 1210, 87, Enabled, 0, 2\n"),
        listed: format!("GPU 0: NVIDIA L4 (UUID: {L4})\n"),
        programs: Some(format!("{L4}, 4211, 810\n{L4}, 977, 392\n")),
        xml: xml(L4, "\t\t\tNone\n"),
    };
    let told = Told {
        uuid: L4.to_owned(),
        model: Some("NVIDIA L4".to_owned()),
        capability: Some(89),
        total_mib: Some(23_034),
        used_mib: Some(1210),
        busy_percent: Some(87),
        ecc_on: Some(true),
        ecc_volatile: Some(0),
        ecc_aggregate: Some(2),
        programs: Some([(977, Some(392)), (4211, Some(810))].into()),
        ..Told::default()
    };
    (printed, vec![told])
}

/// A card for games, which counts no errors and names no programs' memory.
fn rtx() -> (Printed, Vec<Told>) {
    let model = "NVIDIA GeForce RTX 3080";
    let printed = Printed {
        whole: format!("{RTX}, {model}, 10240, 8.6, 310, 2, [N/A], [N/A], [N/A]\n"),
        listed: format!("GPU 0: {model} (UUID: {RTX})\n"),
        programs: Some(format!("{RTX}, 1500, [N/A]\n")),
        xml: xml(RTX, "\t\t\tNone\n"),
    };
    let told = Told {
        uuid: RTX.to_owned(),
        model: Some(model.to_owned()),
        capability: Some(86),
        total_mib: Some(10_240),
        used_mib: Some(310),
        busy_percent: Some(2),
        programs: Some([(1500, None)].into()),
        ..Told::default()
    };
    (printed, vec![told])
}

/// An H200 in two slices, with a program in the second.
fn cut() -> (Printed, Vec<Told>) {
    let slices = xml_of_slice(0, "71040 MiB", "45 MiB") + &xml_of_slice(1, "16384 MiB", "540 MiB");
    let printed = Printed {
        whole: format!("{H200}, NVIDIA H200, 143771, 9.0, 585, [N/A], Enabled, 0, 0\n"),
        listed: format!(
            "GPU 0: NVIDIA H200 (UUID: {H200})\n  MIG 3g.71gb     Device  0: (UUID: {})\n  \
             MIG 1g.18gb     Device  1: (UUID: {})\n",
            SLICES[0], SLICES[1]
        ),
        programs: Some(format!("{H200}, 31337, 488\n")),
        xml: xml(H200, &slices),
    };
    let whole = Told {
        uuid: H200.to_owned(),
        model: Some("NVIDIA H200".to_owned()),
        capability: Some(90),
        total_mib: Some(143_771),
        used_mib: Some(585),
        ecc_on: Some(true),
        ecc_volatile: Some(0),
        ecc_aggregate: Some(0),
        programs: Some(BTreeMap::new()),
        ..Told::default()
    };
    let slice = |at: usize, total_mib, used_mib, programs: &[(u32, Option<u64>)]| Told {
        uuid: SLICES[at].to_owned(),
        parent: Some(H200.to_owned()),
        total_mib: Some(total_mib),
        used_mib: Some(used_mib),
        programs: Some(programs.iter().copied().collect()),
        ..Told::default()
    };
    let slices = [
        slice(0, 71_040, 45, &[]),
        slice(1, 16_384, 540, &[(31_337, Some(488))]),
    ];
    (printed, [whole].into_iter().chain(slices).collect())
}

/// An H200 that is whole, with nothing on it.
fn h200() -> (Printed, Vec<Told>) {
    let (_, told) = cut();
    let printed = Printed {
        whole: format!("{H200}, NVIDIA H200, 143771, 9.0, 0, 0, Enabled, 0, 0\n"),
        listed: format!("GPU 0: NVIDIA H200 (UUID: {H200})\n"),
        programs: Some(String::new()),
        xml: xml(H200, "\t\t\tNone\n"),
    };
    let told = Told {
        used_mib: Some(0),
        busy_percent: Some(0),
        ..told[0].clone()
    };
    (printed, vec![told])
}

/// A program that prints this.
fn scripted(dir: &Path, printed: &Printed) -> std::path::PathBuf {
    let write = |name: &str, text: &str| fs::write(dir.join(name), text).unwrap();
    write("whole", &printed.whole);
    write("listed", &printed.listed);
    write("xml", &printed.xml);
    if let Some(programs) = &printed.programs {
        write("programs", programs);
    }
    let program = dir.join("nvidia-smi");
    let script = "#!/bin/sh\ncd \"${0%/*}\" || exit\ncase $1 in\n--query-gpu=*) cat whole ;;\n-L) cat listed ;;\n\
        --query-compute-apps=*) cat programs ;;\n-q) cat xml ;;\n*) exit 2 ;;\nesac\n";
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    program
}

/// Those that jobs are offered: what is not cut.
fn offered(told: &[Told]) -> Vec<String> {
    let is_cut = |gpu: &&Told| told.iter().any(|of| of.parent.as_ref() == Some(&gpu.uuid));
    let whole = told.iter().filter(|gpu| !is_cut(gpu));
    whole.map(|gpu| gpu.uuid.clone()).collect()
}

fn judged(printed: &Printed, ours: &[Told]) -> Check {
    let dir = tempfile::tempdir().unwrap();
    let program = scripted(dir.path(), printed);
    compare("jobs-inventory", &offered(ours), &program, || ours.to_vec())
}

#[test]
fn every_value_of_every_generation_is_compared_and_what_neither_gives_is_named() {
    let check = |(printed, ours): (Printed, Vec<Told>), words: &[&str]| {
        let check = judged(&printed, &ours);
        assert_eq!(check.verdict, Pass, "{check:?}");
        for word in words {
            assert!(check.detail.contains(word), "{word}: {check:?}");
        }
        check.detail
    };
    let all = check(l4(), &["1 GPUs, 0 slices and 2 programs"]);
    assert!(!all.contains("neither"), "{all}");
    let none = [
        "ECC",
        "ECC errors",
        "ECC errors ever",
        "memory of program 1500",
    ];
    let named = check(
        rtx(),
        &none
            .map(|what| format!("{RTX} {what}"))
            .each_ref()
            .map(String::as_str),
    );
    assert!(!named.contains("utilisation"), "{named}");
    let idle = check(h200(), &["1 GPUs, 0 slices and 0 programs"]);
    assert!(!idle.contains("neither"), "{idle}");
    let without = format!("{H200} utilisation");
    let cut = check(cut(), &["1 GPUs, 2 slices and 1 programs", &without]);
    assert!(!cut.contains("MIG-"), "{cut}");
}

#[test]
fn a_value_that_differs_or_that_one_gives_alone_fails_with_its_name() {
    type Change = fn(&mut Told);
    let fails = |printed: &Printed, ours: &[Told], words: &str| {
        let check = judged(printed, ours);
        assert_eq!(check.verdict, Fail, "{words}: {check:?}");
        assert!(check.detail.contains(words), "{words}: {check:?}");
        assert!(check.fix.is_some());
    };
    let (printed, ours) = l4();
    let changes: [(&str, Change); 10] = [
        ("model", |told| told.model = Some("NVIDIA L40".to_owned())),
        ("capability", |told| told.capability = None),
        ("memory of", |told| told.total_mib = Some(24_564)),
        ("used memory", |told| told.used_mib = Some(700)),
        ("utilisation", |told| told.busy_percent = None),
        ("ECC of", |told| told.ecc_on = Some(false)),
        ("ECC errors of", |told| told.ecc_volatile = Some(1)),
        ("ECC errors ever", |told| told.ecc_aggregate = None),
        ("programs", |told| {
            told.programs = Some([(977, Some(392))].into())
        }),
        ("memory of program 4211", |told| {
            told.programs = Some([(977, Some(392)), (4211, Some(500))].into());
        }),
    ];
    for (words, change) in changes {
        let mut ours = ours.clone();
        change(&mut ours[0]);
        fails(&printed, &ours, words);
    }
    let mut unlisted = ours.clone();
    unlisted[0].programs = None;
    fails(
        &printed,
        &unlisted,
        "not given by NVML, given by nvidia-smi",
    );
    let silent = Printed {
        whole: printed.whole.replace("87", "[N/A]"),
        ..printed.clone()
    };
    fails(&silent, &ours, "87 by NVML, not given by nvidia-smi");
    let strange = Printed {
        whole: printed.whole.replace("87", "many"),
        ..printed
    };
    fails(&strange, &ours, "not understood");

    let (printed, ours) = cut();
    let memory = Printed {
        xml: printed.xml.replace("16384 MiB", "18432 MiB"),
        ..printed.clone()
    };
    fails(&memory, &ours, &format!("memory of {}", SLICES[1]));
    let untold = Printed {
        xml: printed.xml.replace("16384 MiB", "N/A"),
        ..printed.clone()
    };
    fails(&untold, &ours, "not given by nvidia-smi");
    let used = Printed {
        xml: printed.xml.replace("540 MiB", "20 MiB"),
        ..printed.clone()
    };
    fails(&used, &ours, "used memory");
    fails(&printed, &ours[..2], "is not offered");
}

#[test]
fn what_is_offered_is_what_is_listed_and_not_cut() {
    let (printed, ours) = cut();
    let read = printed.read().unwrap();
    let same = |offered: &[&str]| {
        let offered: Vec<String> = offered.iter().map(|uuid| (*uuid).to_owned()).collect();
        let looks = std::slice::from_ref(&ours);
        same(&offered, looks, &read, &mut BTreeSet::new())
    };
    same(&SLICES).unwrap();
    assert!(same(&SLICES[..1]).unwrap_err().contains("is not offered"));
    let whole = same(&[SLICES[0], SLICES[1], H200]).unwrap_err();
    assert!(whole.contains("does not list"), "{whole}");
}

#[test]
fn a_value_that_moves_is_between_what_was_before_and_after() {
    let (printed, ours) = l4();
    let read = printed.read().unwrap();
    let at = |used, busy, programs: &[(u32, Option<u64>)]| {
        let mut ours = ours.clone();
        (ours[0].used_mib, ours[0].busy_percent) = (Some(used), Some(busy));
        ours[0].programs = Some(programs.iter().copied().collect());
        ours
    };
    let two = [(977, Some(392)), (4211, Some(810))];
    let (then, now) = (at(400, 0, &two[..1]), at(1300, 90, &two));
    let same = |then: &[Told], now: &[Told]| {
        let looks = [then.to_vec(), now.to_vec()];
        same(&offered(&ours), &looks, &read, &mut BTreeSet::new())
    };
    same(&then, &now).unwrap();
    same(&now, &then).unwrap();
    // Rounding is no difference.
    same(&at(1211, 87, &two), &at(1211, 87, &two)).unwrap();
    same(&at(1212, 87, &two), &at(1212, 87, &two)).unwrap_err();
    same(&then, &then).unwrap_err();
}

#[test]
fn gpus_that_work_are_compared_though_never_all_are_between_in_one_round() {
    let two = |busy: [u64; 2]| {
        let one = |(uuid, busy)| format!("{uuid}, NVIDIA L4, 23034, 8.9, 9, {busy}, [N/A], 0, 2\n");
        [L4, RTX].into_iter().zip(busy).map(one).collect::<String>()
    };
    let listed = [L4, RTX].map(|uuid| format!("GPU 0: NVIDIA L4 (UUID: {uuid})\n"));
    let printed = Printed {
        whole: two([99, 99]),
        listed: listed.concat(),
        programs: Some(String::new()),
        xml: xml(L4, "\t\t\tNone\n"),
    };
    let dir = tempfile::tempdir().unwrap();
    let program = scripted(dir.path(), &printed);
    let compared = |peaks: [[u64; 2]; 2]| {
        let looks = std::cell::Cell::new(0);
        let look = || {
            looks.set(looks.get() + 1);
            // The tool's next round meets the peak of one of them.
            fs::write(dir.path().join("whole"), two(peaks[looks.get() % 2])).unwrap();
            let told = |uuid: &str| Told {
                uuid: uuid.to_owned(),
                used_mib: Some(9),
                busy_percent: Some(40 + looks.get() as u64 % 3 * 10),
                ecc_on: None,
                programs: Some(BTreeMap::new()),
                ..l4().1[0].clone()
            };
            [L4, RTX].map(told).to_vec()
        };
        let offered = [L4, RTX].map(str::to_owned);
        compare("jobs-inventory", &offered, &program, look)
    };
    let check = compared([[99, 50], [50, 99]]);
    assert_eq!(check.verdict, Pass, "{check:?}");
    let check = compared([[99, 50], [99, 50]]);
    assert_eq!(check.verdict, Fail, "{check:?}");
    let said = format!("utilisation of {L4}: 40 to 60 by NVML, 99 by nvidia-smi");
    assert_eq!(check.detail, said);
}

#[test]
fn without_the_tool_nothing_is_compared() {
    let (printed, ours) = l4();
    let dir = tempfile::tempdir().unwrap();
    let absent = compare(
        "jobs-inventory",
        &offered(&ours),
        &dir.path().join("none"),
        || ours.clone(),
    );
    assert_eq!(absent.verdict, Skip, "{absent:?}");
    assert!(absent.fix.is_some());
    // One that takes no such question gives no programs; a library that gives some says more.
    let old = Printed {
        programs: None,
        ..printed
    };
    assert_eq!(judged(&old, &ours).verdict, Fail);
    let mut neither = ours;
    neither[0].programs = None;
    let check = judged(&old, &neither);
    assert!(
        check.verdict == Pass && check.detail.contains("programs"),
        "{check:?}"
    );
}

#[test]
fn what_older_drivers_print_for_nothing_is_nothing() {
    let (mut printed, mut ours) = rtx();
    printed.whole = printed.whole.replace("[N/A]", "[Not Supported]");
    printed.programs = Some(format!("{RTX}, 1500, [Not Supported]\n"));
    assert_eq!(judged(&printed, &ours).verdict, Pass);
    ours[0].ecc_on = Some(false);
    printed.whole = printed.whole.replacen("[Not Supported]", "Disabled", 1);
    assert_eq!(judged(&printed, &ours).verdict, Pass);
}

#[test]
fn what_nvml_says_is_compared_value_by_value() {
    let gpu = Gpu {
        uuid: Some(L4.to_owned()),
        model: Some("NVIDIA L4".to_owned()),
        vram_mib: Some(23_034),
        compute_capability: 89,
        ..Gpu::default()
    };
    let process = |pid, mib| Process {
        pid,
        used_mib: Some(mib),
    };
    let reading = Reading {
        used_mib: Some(1210),
        processes: Some(vec![process(4211, 810), process(977, 392)]),
        busy_percent: Some(87),
        ecc_on: Some(true),
        ecc_volatile: Some(0),
        ecc_aggregate: Some(2),
        ..Reading::default()
    };
    assert_eq!(by_nvml(&(gpu, reading)), l4().1[0]);
    let nothing = by_nvml(&(Gpu::default(), Reading::default()));
    assert_eq!(nothing, Told::default());
}
