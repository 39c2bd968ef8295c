//! What a member keeps beside its log.

use std::sync::Arc;

use super::Model;
use super::sim_disk::{Rng, SimDisk, Trap};
use super::world::tiny;
use crate::store::{Disk, KeptConfig, MemberState, Soundness, Store, StoreError};

fn open(disk: &Arc<SimDisk>) -> Store {
    let shared: Arc<dyn Disk> = Arc::clone(disk) as _;
    Store::open_on(shared, &tiny(), &mut Model::default()).unwrap().0
}

fn full() -> MemberState {
    MemberState {
        accepted_epoch: 7,
        current_epoch: 6,
        ensemble_id: *b"sixteen bytes id",
        soundness: Soundness::New,
        secret: [8; 32],
        passwords: 2,
        keyed_since: 0x6_0000_0001,
        config: KeptConfig { version: 0x5_0000_0003, text: b"server.1=a:1:2\nversion=500000003".to_vec() },
        config_seen: KeptConfig { version: -1, text: vec![b'x'; MemberState::TEXTS_MAX - 32] },
    }
}

#[test]
fn everything_that_is_kept_comes_back() {
    let disk = Arc::new(SimDisk::new(1));
    let mut store = open(&disk);
    let secret = store.secret();
    assert_eq!(*store.member_state(), MemberState { secret, ..MemberState::default() });
    let sound = |soundness| MemberState { soundness, ..MemberState::default() };
    for state in [sound(Soundness::Damaged), sound(Soundness::NewAndTrusted), sound(Soundness::New), full()] {
        store.keep(&state).unwrap();
        // Other updates leave it alone.
        store.tick(crate::ids::Millis(1)).unwrap();
        store.close().unwrap();
        store = open(&disk);
        assert_eq!(*store.member_state(), state);
    }
    store.set_epochs(8, 8).unwrap();
    let expected = MemberState { accepted_epoch: 8, current_epoch: 8, ..full() };
    assert_eq!(*store.member_state(), expected);
}

#[test]
fn texts_that_do_not_fit_are_refused_and_change_nothing() {
    let disk = Arc::new(SimDisk::new(1));
    let mut store = open(&disk);
    let mut state = full();
    state.config.text.push(b'x');
    let before = (disk.calls(), store.member_state().clone());
    let (size, limit) = (MemberState::TEXTS_MAX as u64 + 1, MemberState::TEXTS_MAX as u64);
    assert_eq!(store.keep(&state), Err(StoreError::TooLarge { size, limit }));
    assert_eq!((disk.calls(), store.member_state().clone()), before);
}

// D-01, D-03, S-08: epochs and the rest change together or not at all.
#[test]
fn a_power_cut_leaves_the_old_state_or_the_new_one() {
    let mut seen = [0, 0];
    for seed in 0..200 {
        let mut rng = Rng(seed);
        let disk = Arc::new(SimDisk::new(rng.next()));
        let mut store = open(&disk);
        let old = MemberState { accepted_epoch: 3, current_epoch: 3, ..MemberState::default() };
        store.keep(&old).unwrap();
        disk.set_trap(1 + seed % 3, Trap::Crash);
        let kept = store.keep(&full());
        drop(store);
        let disk = Arc::new(disk.after_power_cut(&mut rng));
        let store = open(&disk);
        let found = store.member_state();
        assert!(*found == full() || (*found == old && kept.is_err()), "{found:?}");
        seen[usize::from(*found == full())] += 1;
    }
    assert!(seen[0] > 20 && seen[1] > 20, "{seen:?}");
}
