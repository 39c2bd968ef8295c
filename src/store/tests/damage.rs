//! Rot in bytes that had been durable: every sector flipped, zeroed, rolled back, swapped (F-05 to F-07, S-41).

use std::ops::Range;
use std::sync::Arc;

use super::Model;
use super::sim_disk::{Rng, SimDisk};
use super::world::{World, tiny};
use crate::failpoint::{self, Failpoint};
use crate::ids::{Millis, Zxid};
use crate::store::chain::Chain;
use crate::store::frame::FrameKind;
use crate::store::layout::{EXTENTS_AT, PAGE, SLOT_AT, SLOT_LEN};
use crate::store::log::EarlierExtents;
use crate::store::parallel;
use crate::store::recover::{self, recover_image};
use crate::store::superblock::{Copies, Superblock};
use crate::store::{Disk, EndOfLog, InspectLine, InspectVerdict, RecoveryReport, Store, StoreError, inspect_bytes};

const SECTOR: usize = 512;

/// A file after some work, and what is known of it.
struct Specimen {
    /// As it was a while ago.
    early: Vec<u8>,
    image: Vec<u8>,
    owed: Model,
    sb: Superblock,
    clean: bool,
    /// The last frame with records, if nothing later says that it was synced: the documented exception.
    last_group: Range<u64>,
    /// The frames with records: where they end, and the last zxid before each.
    frames: Vec<(u64, Range<u64>, Zxid)>,
    /// Where the log ends.
    end: u64,
}

fn specimen(seed: u64, clean: bool) -> Specimen {
    let mut world = World::new(seed, tiny());
    world.open().unwrap().unwrap();
    for _ in 0..300 {
        world.step().unwrap().unwrap();
    }
    let early = world.disk.image();
    let mut steps = 0;
    while steps < 40 || (world.snapshots < 2 && steps < 3000) {
        world.step().unwrap().unwrap();
        steps += 1;
    }
    world.append().unwrap();
    let store = world.store.take().unwrap();
    if clean {
        store.close().unwrap();
    }
    let image = world.disk.image();
    let source = &image[..];
    let sb = Copies::read(&source).unwrap().newest().unwrap().clone();
    let mut last_group = 0..0;
    let (mut group_fseq, mut last_zxid, mut frames) = (0, Zxid::ZERO, Vec::new());
    let mut previous = (FrameKind::Mark, 0);
    let chain = Chain::walk(&source, &sb, &mut |head, _| {
        if head.kind == FrameKind::Txns {
            let from = if previous.0 == FrameKind::Open { previous.1 } else { head.own_offset };
            (last_group, group_fseq) = (from..head.own_offset + head.len(), head.fseq);
            frames.push((head.fseq, last_group.clone(), last_zxid));
        } else if head.synced_fseq >= group_fseq {
            last_group = 0..0;
        }
        previous = (head.kind, head.own_offset);
        last_zxid = head.last_zxid;
        Ok(())
    })
    .unwrap();
    let end = chain.at;
    Specimen { early, image, owed: world.owed, sb, clean, last_group, frames, end }
}

/// Where a place belongs, for the counts.
fn region(s: &Specimen, at: u64) -> &'static str {
    if at < EXTENTS_AT {
        return if SLOT_AT.iter().flatten().any(|slot| (*slot..slot + SLOT_LEN as u64).contains(&at)) {
            "superblock"
        } else {
            "gap"
        };
    }
    let index = ((at - EXTENTS_AT) >> s.sb.extent_log2) as usize;
    match s.sb.map.get(index).map(|extent| extent.state.code()) {
        Some(1) => "log",
        Some(2 | 3) => "snapshot",
        _ => "free",
    }
}

impl Specimen {
    /// What opening the image says, the state it finds, and whether the log that it passed over turns out to be damaged.
    fn open(&self, image: Vec<u8>) -> (Result<RecoveryReport, StoreError>, Model, bool) {
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::of_image(image, 1));
        let mut found = Model::default();
        let mut covered = false;
        let result = Store::open_on(disk, &tiny(), &mut found).map(|(mut store, report)| {
            while store.log.earlier == EarlierExtents::Unchecked {
                store.tick(Millis(1)).unwrap();
            }
            covered = store.log.earlier == EarlierExtents::Damaged;
            report
        });
        (result, found, covered)
    }

    /// Whether every frame after `last` that could tell what had been synced is damaged itself: the documented exception.
    fn all_witnesses_hit(&self, last: i64, damaged: &[Range<u64>]) -> bool {
        let hit = |r: &Range<u64>| damaged.iter().any(|d| d.start < r.end && r.start < d.end);
        self.frames.iter().filter(|(_, _, before)| before.0 >= last).all(|(_, range, _)| hit(range))
    }

    /// The verdict on a damaged image is right: everything there, or said to be damaged.
    fn check(&self, image: Vec<u8>, damaged: &[Range<u64>], what: &str) -> Result<&'static str, String> {
        let mut covered = false;
        let mut each = |line: InspectLine<'_>| covered |= matches!(line, InspectLine::CoveredDamage { .. });
        let verdict =
            inspect_bytes(&&image[..], false, &mut each).map_err(|error| format!("{what} at {damaged:?}: {error}"))?;
        let (result, found, covered_found) = self.open(image);
        if covered != covered_found {
            return Err(format!(
                "S-41: {what} at {damaged:?}: covered log is damaged: {covered_found}, inspected {covered}"
            ));
        }
        // `inspect` says the same without opening.
        let agree = match (&result, &verdict) {
            (Ok(report), InspectVerdict::Good { .. }) => report.end == EndOfLog::Clean,
            (Ok(report), InspectVerdict::Torn { at, .. }) => report.end == EndOfLog::Cut { at: *at },
            (Err(StoreError::Corrupt { offset, .. }), InspectVerdict::Damaged { at, .. }) => offset == at,
            _ => false,
        };
        if !agree {
            return Err(format!("{what} at {damaged:?}: opened {result:?}, inspected {verdict:?}"));
        }
        let in_last_group = damaged.iter().any(|d| d.start < self.last_group.end && self.last_group.start < d.end);
        match result {
            Ok(report) if found.same_state(&self.owed) => {
                let sound = report.repaired == 0 && report.snapshots_damaged.is_empty();
                Ok(match (sound, covered) {
                    (true, true) => "covered",
                    (true, false) => "harmless",
                    (false, _) => "repaired",
                })
            }
            Ok(_) if !self.clean && in_last_group && self.all_witnesses_hit(found.last, damaged) => Ok("torn"),
            Ok(report) => {
                Err(format!("S-41: {what} at {damaged:?}: {} in place of {}: {report:?}", found.last, self.owed.last))
            }
            Err(StoreError::Corrupt { good_to, .. }) if good_to.0 <= self.owed.last => {
                let snapshot = damaged.iter().all(|d| region(self, d.start) == "snapshot");
                if snapshot && self.sb.snapshots.iter().flatten().count() == 2 {
                    return Err(format!(
                        "D-09: one snapshot of two damaged at {damaged:?} and the other does not help"
                    ));
                }
                Ok("damaged")
            }
            Err(error) => Err(format!("{what} at {damaged:?}: {error}")),
        }
    }
}

/// Runs every kind of damage over every sector of a few files.
fn rot(seeds: Range<u64>) -> Result<(), String> {
    let mut counts = std::collections::BTreeMap::<(&str, &str, &str), u32>::new();
    for seed in seeds {
        let s = specimen(seed, seed % 2 == 1);
        let mut rng = Rng(seed);
        for sector in 0..s.image.len() / SECTOR {
            let at = sector * SECTOR;
            let place = at as u64..(at + SECTOR) as u64;
            let mut try_it = |kind: &'static str, image: Vec<u8>, damaged: &[Range<u64>]| {
                if image != s.image {
                    let verdict = s.check(image, damaged, kind)?;
                    *counts.entry((region(&s, at as u64), kind, verdict)).or_default() += 1;
                }
                Ok::<(), String>(())
            };
            let mut flipped = s.image.clone();
            let byte = at + rng.below(SECTOR as u64) as usize;
            flipped[byte] ^= 1 << rng.below(8);
            let bit = byte as u64..byte as u64 + 1;
            try_it("flip", flipped, std::slice::from_ref(&bit))?;
            if rng.chance(2) {
                let mut zeroed = s.image.clone();
                zeroed[at..at + SECTOR].fill(0);
                try_it("zero", zeroed, std::slice::from_ref(&place))?;
            }
            if at + SECTOR <= s.early.len() {
                let mut old = s.image.clone();
                old[at..at + SECTOR].copy_from_slice(&s.early[at..at + SECTOR]);
                try_it("rolled back", old, std::slice::from_ref(&place))?;
            }
            // Two snapshots, or two mirrors, hit at once may leave none: those swaps have tests of their own.
            let other = rng.below((s.image.len() / SECTOR) as u64) as usize * SECTOR;
            let single = |at: usize| !matches!(region(&s, at as u64), "snapshot" | "superblock");
            if rng.chance(2) && other != at && single(at) {
                let mut swapped = s.image.clone();
                let mine = swapped[at..at + SECTOR].to_vec();
                swapped.copy_within(other..other + SECTOR, at);
                swapped[other..other + SECTOR].copy_from_slice(&mine);
                try_it("swapped", swapped, &[place, other as u64..(other + SECTOR) as u64])?;
            }
        }
    }
    for (what, count) in &counts {
        println!("{what:?}: {count}");
    }
    let seen = |region: &str, verdict: &str| counts.keys().any(|(r, _, v)| (*r, *v) == (region, verdict));
    for (region, verdict) in [
        ("log", "damaged"),
        ("log", "torn"),
        ("log", "covered"),
        ("snapshot", "repaired"),
        ("superblock", "repaired"),
        ("free", "harmless"),
    ] {
        assert!(seen(region, verdict), "no {region} was ever {verdict}");
    }
    Ok(())
}

// S-41, G-16, F-05, F-06; P4, P8
#[test]
fn rot_in_any_sector_is_repaired_reported_or_harmless() {
    rot(0..4).unwrap();
}

#[test]
fn planted_bugs_of_the_rot_kind_are_found() {
    for bug in [Failpoint::EverythingTorn, Failpoint::RetireByNewest] {
        let found = failpoint::with(bug, || {
            (0..12).step_by(2).find(|seed| !matches!(std::panic::catch_unwind(|| rot(*seed..seed + 2)), Ok(Ok(()))))
        });
        println!("{bug:?}: {found:?}");
        assert!(found.is_some(), "{bug:?} was not found");
    }
}

// F-07
#[test]
fn a_sector_that_cannot_be_read_is_damage_and_never_the_end() {
    for seed in 0..4 {
        let s = specimen(seed, seed % 2 == 1);
        for sector in (0..s.image.len() / SECTOR).step_by(3) {
            let at = (sector * SECTOR) as u64;
            let disk = SimDisk::of_image(s.image.clone(), 1);
            disk.fail_reads(at, at + SECTOR as u64);
            let mut found = Model::default();
            let disk: Arc<dyn Disk> = Arc::new(disk);
            match Store::open_on(disk, &tiny(), &mut found) {
                Ok(_) => {
                    assert!(found.same_state(&s.owed), "sector at {at}: {} in place of {}", found.last, s.owed.last)
                }
                Err(StoreError::Corrupt { .. } | StoreError::Io { .. }) => {}
                Err(error) => panic!("sector at {at}: {error}"),
            }
        }
    }
}

// P7, P9
#[test]
fn a_slot_without_a_valid_mirror_is_damage() {
    let s = specimen(5, false);
    for slot in SLOT_AT {
        let mut image = s.image.clone();
        for mirror in slot {
            image[mirror as usize + 100] ^= 4;
        }
        let (result, ..) = s.open(image);
        let error = result.unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
        assert!(error.to_string().contains("zoarium inspect"), "{error}");
    }
}

// F-03, F-04: the last write cut at every byte.
#[test]
fn a_last_frame_cut_at_any_byte_is_a_torn_tail() {
    let mut world = World::new(9, tiny());
    world.open().unwrap().unwrap();
    for _ in 0..80 {
        world.step().unwrap().unwrap();
    }
    let (before, owed) = (world.disk.image(), world.owed.clone());
    let from = world.store.as_ref().unwrap().log.at as usize;
    world.append().unwrap();
    let after = world.disk.image();
    let to = world.store.as_ref().unwrap().log.at as usize;
    assert!(from < to && to - from < 8192, "the frame stays in its extent: pick another seed");
    for cut in from..=to {
        let mut image = before.clone();
        image[from..cut].copy_from_slice(&after[from..cut]);
        let mut found = Model::default();
        let report = recover_image(&image, &mut found).unwrap();
        let whole = image[from..to] == after[from..to];
        assert!(found.same_state(if whole { &world.owed } else { &owed }), "cut at {cut}: {report:?}");
        assert_eq!(report.end, EndOfLog::Cut { at: if whole { to } else { from } as u64 });
    }
}

// F-02, F-03: every subset of the last write's sectors, in an extent and across the end of one.
#[test]
fn any_subset_of_the_last_writes_sectors_is_all_or_nothing() {
    let mut seen = [0, 0];
    for seed in 0..400 {
        if seen[0] > 20 && seen[1] > 2 {
            break;
        }
        let mut world = World::new(seed, tiny());
        world.open().unwrap().unwrap();
        for _ in 0..60 + seed % 40 {
            world.step().unwrap().unwrap();
        }
        let (before, owed) = (world.disk.image(), world.owed.clone());
        let log = |world: &World| world.store.as_ref().map(|s| (s.log.lseq, s.stats().frames)).unwrap();
        let (lseq, frames) = log(&world);
        let next = owed.last + 1;
        world.append_these((0..2).map(|i| (next + i, vec![i as u8; 500])).collect()).unwrap();
        let after = world.disk.image();
        let moved = log(&world).0 > lseq;
        let writes = log(&world).1 - frames;
        if writes > 1 || before.len() != after.len() || before[..EXTENTS_AT as usize] != after[..EXTENTS_AT as usize] {
            continue; // Two frames, or it also grew or linked: more than one write.
        }
        let changed: Vec<usize> =
            (0..after.len()).step_by(SECTOR).filter(|at| before[*at..at + SECTOR] != after[*at..at + SECTOR]).collect();
        // Behind the frame its last page is filled with zeros, and nothing depends on those.
        let end = world.store.as_ref().map(|s| s.log.at as usize).unwrap();
        let padding = end..end.next_multiple_of(PAGE);
        assert!(changed.len() <= 12, "{changed:?}");
        if seen[usize::from(moved)] > 20 {
            continue;
        }
        seen[usize::from(moved)] += 1;
        for subset in 0..1u32 << changed.len() {
            let mut image = before.clone();
            for (i, at) in changed.iter().enumerate().filter(|(i, _)| subset >> i & 1 == 1) {
                let _ = i;
                image[*at..at + SECTOR].copy_from_slice(&after[*at..at + SECTOR]);
            }
            let mut found = Model::default();
            recover_image(&image, &mut found).unwrap_or_else(|e| panic!("seed {seed}, subset {subset:b}: {e}"));
            let whole =
                changed.iter().all(|at| padding.contains(at) || image[*at..at + SECTOR] == after[*at..at + SECTOR]);
            let right = found.same_state(if whole { &world.owed } else { &owed });
            assert!(
                right,
                "seed {seed}, subset {subset:b} of {changed:?}: {} of {}..{}",
                found.last, owed.last, world.owed.last
            );
        }
    }
    assert!(seen[0] > 10 && seen[1] > 0, "{seen:?} writes inside and across extents");
}

// F-20: a file that lost its end is refused, whatever is left of it.
#[test]
fn a_shortened_file_is_refused_or_empty() {
    let s = specimen(3, true);
    let lengths = (0..2000).chain((2000..s.image.len()).step_by(1777));
    for len in lengths {
        let error = recover_image(&s.image[..len], &mut Model::default()).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. } | StoreError::Foreign { .. }), "{len}: {error}");
    }
}

// Z-09 in small: wild bytes, with checksums repaired where they gate the depth, never panic.
#[test]
fn wild_images_never_panic() {
    let s = specimen(4, false);
    let mut rng = Rng(77);
    for round in 0..1500 {
        let mut image = s.image.clone();
        for _ in 0..1 + rng.below(12) {
            let region = match rng.below(3) {
                0 => 0..EXTENTS_AT,
                1 => s.end.saturating_sub(2000)..s.end,
                _ => EXTENTS_AT..image.len() as u64,
            };
            let at = (region.start + rng.below(region.end - region.start)) as usize;
            image[at] = rng.next() as u8;
        }
        if round % 2 == 0 {
            for at in SLOT_AT.iter().flatten().map(|at| *at as usize) {
                let field = [24, 48, 64, 68, 72, 76, 104, 112, 120, 136, 144, 152, 168, 304, 4096, 4104, 4112]
                    [rng.below(17) as usize];
                let value = [0, 1, 2, u64::MAX, 1 << 47, 1 << 31, rng.below(64)][rng.below(7) as usize];
                image[at + field..at + field + 4].copy_from_slice(&(value as u32).to_le_bytes());
                let crc = crc32c::crc32c(&image[at + 12..at + SLOT_LEN]);
                image[at + 8..at + 12].copy_from_slice(&crc.to_le_bytes());
            }
        }
        let _ = recover_image(&image, &mut Model::default());
        let _ = inspect_bytes(&&image[..], round % 3 == 0, &mut |_| ());
    }
}

/// What recovery finds in an image and makes of it, in words.
fn found(image: &[u8], threads: bool) -> String {
    let mut model = Model::default();
    let result = recover::recover(&image, None, &mut model, threads);
    match result {
        Ok(found) => format!("{:?} {:?} {} {model:?}", found.report, found.chain, found.highest_fseq),
        Err(error) => format!("{error:?}"),
    }
}

#[test]
fn several_threads_find_in_a_file_what_one_does() {
    let mut kinds = [0; 2];
    for (seed, clean) in [(11, true), (11, false), (12, true), (13, false)] {
        let s = specimen(seed, clean);
        let at_once = parallel::recover(&&s.image[..], &s.sb, &mut Model::default(), true);
        assert!(at_once.is_some_and(|whole| whole.replayed > 0), "seed {seed}");
        assert_eq!(found(&s.image, true), found(&s.image, false));
        for at in (0..s.image.len()).step_by(SECTOR) {
            if region(&s, at as u64) == "free" {
                continue;
            }
            let mut image = s.image.clone();
            image[at + at / SECTOR % SECTOR] ^= 0x10;
            let (many, one) = (found(&image, true), found(&image, false));
            assert_eq!(many, one, "clean: {clean}, sector at {at}");
            kinds[usize::from(one.starts_with("Corrupt"))] += 1;
        }
    }
    assert!(kinds.iter().all(|count| *count > 10), "{kinds:?}");
}
