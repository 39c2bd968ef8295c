//! Sessions that one member knows and no other, until they have an ephemeral.

use zoarium::records::CreateMode;

use crate::cluster::{Cluster, Mode};
use crate::passwords::Held;
use crate::{create, options};

#[test]
fn what_all_know_outlives_its_member_and_what_one_knows_does_not() {
    // G-10, G-11
    let mut cluster = Cluster::start(3);
    for at in 0..3 {
        cluster.set(at, "localSessionsEnabled=true\nlocalSessionsUpgradingEnabled=true");
        cluster.kill(at);
    }
    (0..3).for_each(|at| cluster.spawn(at));
    cluster.until("all serve", Cluster::is_whole);
    for mode in [Mode::Follower, Mode::Leader] {
        let at = cluster.find(mode).unwrap();
        let mut client = cluster.connect(at, &options());
        create(&mut client, &format!("/of-{mode:?}"), CreateMode::Persistent).unwrap();
        let local = Held { session: client.session(), password: client.password() };
        drop(client);
        assert!(local.opens(&cluster, at, local.password), "it goes on where it began");
        let path = format!("/held-{mode:?}");
        let mut upgraded = Held::new(&cluster, at, &path);
        cluster.kill(at);
        let other = (at + 1) % 3;
        upgraded.resumes(&cluster, other);
        assert!(!local.opens(&cluster, other, local.password));
        let mut client = cluster.connect(other, &options());
        client.sync("/").unwrap();
        assert!(client.exists(&path, false).unwrap().is_some());
        cluster.spawn(at);
        cluster.until("all serve", Cluster::is_whole);
        upgraded.resumes(&cluster, at);
    }
}
