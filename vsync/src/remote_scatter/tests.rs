//! A gateway that lags behind the one that has said who the members are.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use vsync_net::Transport;

use crate::testing::Cluster;
use crate::{QueryCtx, replicated};

/// Holds whoever passes while it is shut.
#[derive(Clone, Debug, Default)]
struct Gate(Arc<(Mutex<Held>, Condvar)>);

#[derive(Debug, Default)]
struct Held {
    shut: bool,
    passing: bool,
}

impl Gate {
    fn shut(&self, shut: bool) {
        self.0.0.lock().expect("not poisoned").shut = shut;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        let mut held = self.0.0.lock().expect("not poisoned");
        held.passing = true;
        drop(self.0.1.wait_while(held, |held| held.shut).expect("not poisoned"));
    }

    async fn held(&self) {
        while !self.0.0.lock().expect("not poisoned").passing {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Opens it at the end, come what may: else the runtime would wait for whoever is held.
struct Opened(Gate);

impl Drop for Opened {
    fn drop(&mut self) {
        self.0.shut(false);
    }
}

#[replicated(crate = "crate")]
#[derive(Debug, Default)]
struct Choir {
    songs: usize,
    #[local]
    gate: Gate,
}

fn all(shares: Vec<Vec<usize>>) -> Vec<usize> {
    shares.concat()
}

#[replicated(crate = "crate")]
impl Choir {
    #[update(order = "fifo")]
    fn add(&mut self) {
        self.songs += 1;
    }

    /// Keeps the state from whoever else wants it, while the gate is shut.
    #[query]
    fn hold(&self) {
        self.gate.pass();
    }

    /// Who sings.
    #[query(scatter, gather = all)]
    fn sing(&self, ctx: &QueryCtx) -> Vec<usize> {
        vec![ctx.share_index()]
    }
}

/// The client learns of a member that has just joined, and then loses that gateway. The other one
/// has not come to that view: it knows nothing of the joiner, and has to wait until it does.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_gateway_that_has_not_come_to_the_view_yet_knows_the_joiner_in_the_end() {
    let cluster = Cluster::new(3).await;
    let gate = Gate::default();
    let lags = cluster.node(0).group("choir").create(Choir { songs: 0, gate: gate.clone() }).await;
    let lags: ChoirHandle = lags.expect("created");
    let other = cluster.node(1).group("choir").join(Choir::default()).await;
    let other: ChoirHandle = other.expect("joined");
    let mut views = other.group().views();
    while views.next().await.expect("a view").size() != 2 {}
    // Its replica is held, so that it cannot apply an update, nor go on to the view after that.
    let _opened = Opened(gate.clone());
    gate.shut(true);
    let holding = lags.clone();
    let holding = tokio::task::spawn_blocking(move || drop(holding.hold().optimistic()));
    gate.held().await;
    other.add().await.expect("stable");
    let joiner = cluster.node(2).group("choir").join(Choir::default()).await;
    let joiner: ChoirHandle = joiner.expect("joined");
    while views.next().await.expect("a view").size() != 3 {}
    assert_eq!(lags.group().view().expect("a view").size(), 2, "it does not lag");

    let (net, endpoint) = (cluster.net().clone(), cluster.net().client("client"));
    let (me, [one, two, three]) = (endpoint.local().id, [0, 1, 2].map(|it| cluster.peer(it)));
    net.cut(me, one);
    net.cut(me, three);
    let seeds = vec![cluster.node(0).address().to_owned(), cluster.node(1).address().to_owned()];
    let client = crate::Client::over(Arc::new(endpoint), seeds).await.expect("connected");
    let choir: ChoirClient = client.group("choir");
    let switched = net.clone();
    let each = choir.sing().local().timeout(Duration::from_secs(30)).until(move |answers| {
        // Who the members are is known, and nobody was asked yet.
        if answers.is_empty() {
            switched.cut(me, two);
            switched.heal(me, one);
        }
        answers.len() == 3
    });
    let release = async {
        // Time enough for the client to come to the one that lags, and to be told.
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(lags.group().view().expect("a view").size(), 2, "it does not lag");
        gate.shut(false);
    };
    let (each, ()) = tokio::join!(each, release);
    let each = each.expect("asked");
    assert_eq!(each.missing, [], "nobody is missing");
    let sung: Vec<_> =
        each.answers.iter().map(|(member, share)| (*member, share.clone())).collect();
    let ids = [lags.group().me(), other.group().me(), joiner.group().me()];
    let expected = ids.into_iter().zip(0..).map(|(id, index)| (id.expect("a member"), vec![index]));
    assert_eq!(sung, expected.collect::<Vec<_>>());
    holding.await.expect("not cancelled");
}
