//! The script: every operation, in ways that succeed and ways that do not.

use zoarium::handle::{Chroot, Options, Resume, WatchMode};
use zoarium::records::{Acl, OpCode};

use crate::requests::*;
use crate::stage::Stage;

pub fn play(mut stage: Stage) -> Vec<String> {
    stage.enter("anna", Options { session_timeout_ms: 25_000, ..Options::default() });
    stage.enter("bert", Options { session_timeout_ms: 1, ..Options::default() });
    creating(&mut stage);
    data(&mut stage);
    children(&mut stage);
    deleting(&mut stage);
    permissions(&mut stage);
    multis(&mut stage);
    one_shot_watches(&mut stage);
    standing_watches(&mut stage);
    watch_numbers(&mut stage);
    chroot(&mut stage);
    sessions(&mut stage);
    odds_and_ends(&mut stage);
    stage.close("bert");
    stage.close("anna");
    stage.end()
}

fn creating(stage: &mut Stage) {
    let open = [Acl::open()];
    for (at, op) in [OpCode::Create, OpCode::Create2].into_iter().enumerate() {
        for flags in 0..=3 {
            for _ in 0..2 {
                stage.call("anna", create_as(op, &format!("/m{at}{flags}-"), Some(b"x"), &open, flags));
            }
        }
        for flags in [-1, 7, 100] {
            stage.call("anna", create_as(op, "/flags", Some(b""), &open, flags));
        }
        for path in ["/m00-/child", "/no/parent", "/", "no-slash", "", "/a//b", "/a/", "/a/.", "/a/../b", "/nul\0"] {
            stage.call("anna", create_as(op, path, Some(b""), &open, 0));
        }
        stage.call("anna", create_as(op, "/m01-/child", None, &open, 0));
        stage.call("anna", create_as(op, "/acl", None, &[], 0));
        stage.call("anna", create_as(op, "/acl", None, &[Acl::new(31, "no-such-scheme", "x")], 0));
        stage.call("anna", create_as(op, "/acl", None, &[Acl::new(31, "auth", "")], 0));
    }
    stage.call("anna", container("/box"));
    stage.call("anna", container("/box"));
    stage.call("anna", create("/box/in", "", 0));
    for flags in [5, 6] {
        stage.call("anna", create_ttl("/ttl", flags, 3_600_000));
        stage.call("anna", create_ttl("/ttl-none", flags, 0));
        stage.call("anna", create_ttl("/ttl-less", flags, -5));
    }
    stage.call("anna", create("/data", "", 0));
    for n in 0..12 {
        stage.call("bert", create("/data/s-", "", if n % 3 == 0 { 3 } else { 2 }));
        if n == 5 {
            stage.call("bert", delete("/data/s-0000000005", -1));
        }
    }
    stage.read("anna", OpCode::Exists, "/data");
}

fn data(stage: &mut Stage) {
    stage.call("anna", create_as(OpCode::Create2, "/null", None, &[Acl::open()], 0));
    stage.read("anna", OpCode::GetData, "/null");
    stage.call("anna", set("/null", "", 0));
    stage.read("anna", OpCode::GetData, "/null");
    stage.call("anna", set_null("/null"));
    stage.read("bert", OpCode::GetData, "/null");
    for (path, version) in [("/null", 2), ("/null", 2), ("/null", -1), ("/null", -2), ("/nowhere", 0), ("relative", 0)]
    {
        stage.call("bert", set(path, "some text", version));
    }
    stage.call("bert", set("/null", &"long ".repeat(50_000), -1));
    for op in [OpCode::GetData, OpCode::Exists] {
        for path in ["/null", "/nowhere", "/", "/box", "/ttl"] {
            stage.read("anna", op, path);
        }
    }
}

fn children(stage: &mut Stage) {
    for path in ["/", "/data", "/box", "/box/in", "/nowhere", "/zookeeper"] {
        for op in [OpCode::GetChildren, OpCode::GetAllChildrenNumber] {
            stage.call("bert", read(op, path));
        }
        stage.read("bert", OpCode::GetChildren2, path);
    }
    for prefix in ["/", "/data", "/m", "/none"] {
        stage.call("anna", read(OpCode::GetEphemerals, prefix));
        stage.call("bert", read(OpCode::GetEphemerals, prefix));
    }
}

fn deleting(stage: &mut Stage) {
    for (path, version) in [
        ("/data", -1),
        ("/nowhere", -1),
        ("/", -1),
        ("/m00-", 5),
        ("/m00-", 0),
        ("/m00-", 0),
        ("/zookeeper", -1),
        ("/zookeeper/config", -1),
        ("relative", -1),
        ("/box/in", 0),
    ] {
        stage.call("bert", delete(path, version));
    }
    stage.read("anna", OpCode::Exists, "/");
    stage.read("anna", OpCode::Exists, "/box");
}

fn permissions(stage: &mut Stage) {
    let hash = "bert:2pUDHiLWsxdvKLVcwuIjhVT1Xxk=";
    stage.call("anna", (OpCode::WhoAmI, Vec::new()));
    stage.add_auth("anna", "digest", "anna:secret");
    stage.add_auth("anna", "digest", "anna:secret");
    stage.call("anna", (OpCode::WhoAmI, Vec::new()));
    stage.call("anna", create_as(OpCode::Create2, "/hers", Some(b"x"), &[Acl::new(31, "auth", "")], 0));
    stage.read("anna", OpCode::GetAcl, "/hers");
    for op in [OpCode::GetData, OpCode::Exists, OpCode::GetAcl, OpCode::GetChildren2] {
        stage.read("bert", op, "/hers");
    }
    stage.call("bert", set("/hers", "y", -1));
    stage.call("bert", create("/hers/child", "", 0));
    stage.call("bert", set_acl("/hers", &[Acl::open()], -1));
    stage.call("bert", read(OpCode::GetAllChildrenNumber, "/hers"));
    let lists = [
        vec![Acl::new(1, "world", "anyone"), Acl::new(31, "auth", "")],
        vec![Acl::new(31, "digest", hash), Acl::new(17, "world", "anyone")],
    ];
    for (version, acl) in [(5, &lists[0]), (0, &lists[0]), (-1, &lists[1]), (-1, &vec![]), (-1, &lists[0])] {
        stage.call("anna", set_acl("/hers", acl, version));
        stage.read("bert", OpCode::GetAcl, "/hers");
        stage.read("bert", OpCode::GetData, "/hers");
    }
    stage.add_auth("bert", "digest", "anna:secret");
    stage.read("bert", OpCode::GetAcl, "/hers");
    stage.call("bert", set_acl("/hers", &[Acl::new(31, "world", "somebody")], -1));
    stage.call("bert", set_acl("/hers", &[Acl::new(31, "digest", "no-colon")], -1));
    stage.call("bert", set_acl("/hers", &[Acl::new(31, "ip", "127.0.0.1/8"), Acl::new(31, "ip", "nonsense")], -1));
    stage.call("bert", set_acl("/hers", &[Acl::open()], 2));
    stage.call("bert", set_acl("/nowhere", &[Acl::open()], -1));
    stage.call("bert", (OpCode::WhoAmI, Vec::new()));
}

fn multis(stage: &mut Stage) {
    let all = OpCode::Multi;
    stage.call("anna", multi(all, &[]));
    stage.call(
        "anna",
        multi(
            all,
            &[
                create("/multi", "1", 0),
                create_as(OpCode::Create, "/multi/a", Some(b"2"), &[Acl::open()], 0),
                create("/multi/s-", "3", 2),
                create("/multi/e", "4", 1),
                container("/multi/c"),
                create_ttl("/multi/t", 5, 3_600_000),
                set("/multi", "5", 0),
                check("/multi", 1),
                delete("/multi/a", 0),
                create("/multi/a", "6", 0),
            ],
        ),
    );
    stage.read("bert", OpCode::GetData, "/multi");
    stage.read("bert", OpCode::GetChildren2, "/multi");
    let failing = [
        check("/multi", 0),
        check("/nowhere", -1),
        create("/multi", "", 0),
        create("/no/parent", "", 0),
        create("/multi/e/child", "", 0),
        delete("/multi", -1),
        delete("/multi/a", 9),
        set("/nowhere", "", -1),
        set("/multi", "", 9),
    ];
    for wrong in failing {
        stage.call("bert", multi(all, &[create("/multi/s-", "", 2), wrong, set("/multi", "never", -1)]));
    }
    stage.read("bert", OpCode::Exists, "/multi");
    let reading = OpCode::MultiRead;
    stage.call("bert", multi(reading, &[]));
    stage.call(
        "bert",
        multi(
            reading,
            &[
                read(OpCode::GetData, "/multi"),
                read(OpCode::GetChildren, "/multi"),
                read(OpCode::GetData, "/nowhere"),
                read(OpCode::GetChildren, "/nowhere"),
                read(OpCode::GetData, "/multi/a"),
            ],
        ),
    );
}

fn one_shot_watches(stage: &mut Stage) {
    stage.call("anna", create("/w", "", 0));
    for _ in 0..2 {
        for (op, path) in [
            (OpCode::GetData, "/w"),
            (OpCode::Exists, "/w"),
            (OpCode::Exists, "/w/later"),
            (OpCode::GetChildren, "/w"),
            (OpCode::GetChildren2, "/w"),
            (OpCode::GetData, "/w/later"),
            (OpCode::GetChildren2, "/w/later"),
        ] {
            stage.read_watched("anna", op, path);
        }
        stage.watch("anna", "/w", WatchMode::OnceData);
        stage.watch("anna", "/w/later", WatchMode::OnceData);
        stage.watch("anna", "/w", WatchMode::OnceChildren);
        stage.watch("anna", "/w/never", WatchMode::OnceChildren);
        stage.call("bert", set_acl("/w", &[Acl::open()], -1));
        stage.call("bert", set("/w", "1", -1));
        stage.call("bert", set("/w", "2", -1));
        stage.call("bert", create("/w/later", "", 0));
        stage.call("bert", set("/w/later", "", -1));
        stage.call("bert", create("/w/other", "", 1));
        stage.read_watched("anna", OpCode::GetData, "/w/later");
        stage.read_watched("anna", OpCode::GetChildren2, "/w/later");
        stage.read_watched("anna", OpCode::GetChildren2, "/w");
        stage.call("bert", delete("/w/later", -1));
        stage.call("bert", delete("/w/other", -1));
    }
    // One's own changes, and several in one go.
    stage.read_watched("anna", OpCode::GetData, "/w");
    stage.call("anna", set("/w", "own", -1));
    stage.read_watched("anna", OpCode::GetChildren2, "/w");
    stage.read_watched("anna", OpCode::GetData, "/w");
    stage.read_watched("anna", OpCode::Exists, "/w/x");
    let parts = [create("/w/x", "", 0), set("/w/x", "", 0), set("/w", "", -1), delete("/w/x", 1)];
    stage.call("bert", multi(OpCode::Multi, &parts));
    stage.read_watched("anna", OpCode::GetData, "/w");
    stage.call("bert", multi(OpCode::Multi, &[set("/w", "", -1), check("/nowhere", 0)]));
    stage.call("bert", set("/w", "", -1));
    // What may not be read is not told.
    stage.call("bert", create_as(OpCode::Create2, "/w/shut", None, &[Acl::new(31, "digest", "x:y")], 0));
    stage.read_watched("anna", OpCode::Exists, "/w/shut");
}

fn standing_watches(stage: &mut Stage) {
    stage.call("anna", create("/tree", "", 0));
    stage.watch("bert", "/tree", WatchMode::Persistent);
    stage.watch("bert", "/tree", WatchMode::Recursive);
    stage.watch("bert", "/tree/a", WatchMode::Recursive);
    stage.watch("bert", "/tree/later", WatchMode::Persistent);
    stage.watch("bert", "/tree", WatchMode::OnceData);
    for request in [
        set("/tree", "1", -1),
        set("/tree", "2", -1),
        create("/tree/a", "", 0),
        create("/tree/a/b", "", 0),
        create("/tree/later", "", 1),
        set("/tree/later", "", -1),
        set("/tree/a/b", "", -1),
        multi(OpCode::Multi, &[create("/tree/m", "", 0), delete("/tree/m", -1)]),
        delete("/tree/a/b", -1),
        delete("/tree/later", -1),
    ] {
        stage.call("anna", request);
    }
    stage.unwatch("bert", 0);
    stage.unwatch("bert", 0);
    stage.call("anna", set("/tree", "3", -1));
    stage.unwatch("bert", 2);
    stage.call("anna", set("/tree/a", "", -1));
    stage.unwatch("bert", 4);
    stage.call("anna", delete("/tree/a", -1));
    stage.call("anna", delete("/tree", -1));
    stage.call("anna", create("/tree", "", 0));
    stage.unwatch("bert", 1);
    stage.unwatch("bert", 3);
    stage.call("anna", set("/tree", "4", -1));
}

fn watch_numbers(stage: &mut Stage) {
    for kind in -1..=7 {
        stage.call("anna", watches(OpCode::CheckWatches, "/tree", kind));
        stage.call("anna", watches(OpCode::RemoveWatches, "/tree", kind));
    }
    for kind in [-1, 2, 9] {
        stage.call("anna", watches(OpCode::AddWatch, "/tree", kind));
    }
    stage.read_watched("anna", OpCode::GetData, "/tree");
    stage.read_watched("anna", OpCode::GetChildren2, "/tree");
    stage.watch("anna", "/tree", WatchMode::Persistent);
    stage.watch("anna", "/tree", WatchMode::Recursive);
    for kind in 1..=5 {
        stage.call("anna", watches(OpCode::CheckWatches, "/tree", kind));
        stage.call("anna", watches(OpCode::RemoveWatches, "/tree", kind));
        stage.call("anna", watches(OpCode::CheckWatches, "/tree", kind));
    }
    stage.call("bert", set("/tree", "quiet", -1));
}

fn chroot(stage: &mut Stage) {
    stage.call("anna", create("/app", "top", 0));
    stage.enter("cora", Options { chroot: Chroot::new("/app").unwrap(), ..Options::default() });
    stage.read("cora", OpCode::GetData, "/");
    stage.read_watched("cora", OpCode::Exists, "/x");
    stage.read_watched("cora", OpCode::GetChildren2, "/");
    stage.watch("cora", "/", WatchMode::Recursive);
    stage.call("bert", create("/app/x", "", 0));
    stage.read("cora", OpCode::GetChildren2, "/");
    stage.read("cora", OpCode::GetData, "/x");
    stage.read("cora", OpCode::GetData, "/app");
    stage.call("bert", delete("/app/x", -1));
    stage.call("bert", set("/app", "", -1));
    stage.close("cora");
}

fn sessions(stage: &mut Stage) {
    stage.enter("dora", Options { session_timeout_ms: 1_000_000, ..Options::default() });
    stage.call("dora", create("/held", "", 1));
    stage.call("dora", create("/w/held", "", 1));
    stage.watch("anna", "/held", WatchMode::OnceData);
    stage.watch("anna", "/w", WatchMode::OnceChildren);
    let dora = stage.session("dora");
    stage.detach("dora");
    stage.read("anna", OpCode::Exists, "/held");
    let resume = |id, password| Options { resume: Some(Resume { id, password }), ..Options::default() };
    stage.enter("guess", resume(dora.id, [1; 16]));
    stage.close("guess");
    stage.enter("again", resume(dora.id, dora.password));
    stage.call("again", read(OpCode::GetEphemerals, "/"));
    stage.call("again", set("/held", "", -1));
    stage.watch("anna", "/held", WatchMode::OnceData);
    stage.close("again");
    stage.enter("late", resume(dora.id, dora.password));
    stage.close("late");
    stage.call("anna", read(OpCode::GetEphemerals, "/held"));
}

fn odds_and_ends(stage: &mut Stage) {
    for path in ["/", "/nowhere", "", "relative"] {
        stage.call("anna", read(OpCode::Sync, path));
    }
    for op in [OpCode::GetData, OpCode::Exists, OpCode::GetChildren, OpCode::GetChildren2, OpCode::GetAcl] {
        for path in ["", "relative", "/a//b", "/ends/"] {
            stage.call("anna", read(op, path));
        }
        // A record that ends early.
        stage.call("anna", (op, vec![0, 0, 0, 9, b'/']));
    }
    stage.call("anna", reconfig("server.9=127.0.0.1:1:2:participant;3"));
    stage.call("anna", check("/", -1));
    // What no client may ask: the connection goes, the session and its watches stay.
    stage.watch("anna", "/w", WatchMode::OnceData);
    stage.call("anna", check("/", -1));
    // More than the server takes: nothing goes.
    stage.call("anna", create("/huge", &"x".repeat(2 << 20), 0));
    stage.read("anna", OpCode::Exists, "/huge");
    stage.call("bert", set("/w", "after", -1));
    stage.enter("eve", Options::default());
    stage.add_auth("eve", "no-such-scheme", "x");
    stage.close("eve");
}
