//! What update methods may use besides the state: the same at every replica.

mod patience;

use patience::within;
use vsync::testing::Cluster;
use vsync::{Ctx, Cursor, Emitted, Events, GroupEvent, View, replicated};

/// Draws, by whom they were made.
#[replicated]
#[derive(Debug, Default)]
pub struct Dice {
    drawn: Vec<u64>,
    views: Vec<(u64, u64)>,
}

#[replicated]
impl Dice {
    /// Draws twice, asking twice for the generator, and some more.
    #[update(order = "total")]
    pub fn roll(&mut self, ctx: &Ctx<Self>) -> Vec<u64> {
        let mut drawn = vec![ctx.rng().u64(), ctx.rng().u64(), ctx.rng().below(6)];
        ctx.rng().shuffle(&mut drawn);
        self.drawn.extend(&drawn);
        drawn
    }

    #[on_view]
    fn view(&mut self, ctx: &Ctx<Self>, view: &View) {
        self.views.push((view.number(), ctx.rng().u64()));
    }

    /// All of it.
    #[query]
    pub fn all(&self) -> (Vec<u64>, Vec<(u64, u64)>) {
        (self.drawn.clone(), self.views.clone())
    }
}

/// What its updates are called.
#[replicated]
#[derive(Debug, Default)]
pub struct Names {
    seen: Vec<(u64, Option<u64>)>,
}

#[replicated]
impl Names {
    /// Notes what this update is called.
    #[update(order = "total")]
    pub fn note(&mut self, ctx: &Ctx<Self>) {
        self.seen.push((ctx.sender().entry, ctx.number()));
    }

    #[on_view]
    fn view(&mut self, ctx: &Ctx<Self>, _view: &View) {
        self.seen.push((0, ctx.number()));
    }

    /// All of it.
    #[query]
    pub fn all(&self) -> Vec<(u64, Option<u64>)> {
        self.seen.clone()
    }
}

#[tokio::test]
async fn an_update_is_named_by_view_sender_and_number() -> Result<(), Box<dyn std::error::Error>> {
    let cluster = Cluster::new(2).await;
    let one: NamesHandle = cluster.node(0).group("names").create(Names::default()).await?;
    let two: NamesHandle = cluster.node(1).group("names").join(Names::default()).await?;
    for handle in [&one, &one, &two] {
        handle.note().await?;
    }
    let (first, second) = (one.all().await?, two.all().await?);
    assert_eq!(first, second);
    assert!(first.iter().all(|(sender, number)| (*sender == 0) == number.is_none()), "{first:?}");
    let notes: Vec<_> =
        first.into_iter().filter_map(|(sender, number)| Some((sender, number?))).collect();
    let (first, second) = (notes[0].0, notes[2].0);
    assert_ne!(first, second, "{notes:?}");
    assert!(notes[0].1 < notes[1].1 && notes[1].0 == first, "{notes:?}");
    Ok(())
}

/// What a bell tells the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sound {
    /// It was rung.
    Rung(u64),
    /// A view began.
    View(u64),
}

/// A bell.
#[replicated(event = Sound)]
#[derive(Debug, Default)]
pub struct Bell {
    rung: u64,
}

#[replicated]
impl Bell {
    /// Rings it, in one order for all.
    #[update(order = "total")]
    pub fn ring(&mut self, ctx: &Ctx<Self>, number: u64) {
        self.rung += 1;
        ctx.emit(Sound::Rung(number));
    }

    /// Rings it twice.
    #[update(order = "fifo")]
    pub fn tap(&mut self, ctx: &Ctx<Self>, number: u64) {
        self.rung += 2;
        ctx.emit(Sound::Rung(number));
        ctx.emit(Sound::Rung(number + 1));
    }

    #[on_view]
    fn view(&mut self, ctx: &Ctx<Self>, view: &View) {
        ctx.emit(Sound::View(view.number()));
    }

    /// How often it was rung.
    #[query]
    pub fn rung(&self) -> u64 {
        self.rung
    }
}

async fn bells(cluster: &Cluster) -> Vec<BellHandle> {
    let mut handles: Vec<BellHandle> = Vec::new();
    for node in cluster.nodes() {
        let joined = node.group("bell").join_or_create(Bell::default()).await;
        handles.push(joined.expect("a member"));
    }
    for handle in &handles {
        settle(handle.group(), handles.len()).await;
    }
    handles
}

/// Waits until it sees a view of `size` active members and nobody else.
async fn settle<S: vsync::Replicated>(group: &vsync::Group<S>, size: usize) {
    let mut views = group.views();
    loop {
        let view = views.next().await.expect("a view");
        if view.size() == size && view.members().len() == size {
            break;
        }
    }
}

/// The next event.
async fn heard(events: &mut Events<Sound>) -> (Cursor, Sound) {
    match events.next().await {
        Some(Emitted::Event { cursor, event }) => (cursor, event),
        other => panic!("{other:?}"),
    }
}

/// The events until this number was rung.
async fn until(events: &mut Events<Sound>, number: u64) -> Vec<(Cursor, Sound)> {
    let mut all = Vec::new();
    while all.last().is_none_or(|(_, sound)| *sound != Sound::Rung(number)) {
        all.push(heard(events).await);
    }
    all
}

#[tokio::test]
async fn all_replicas_draw_the_same_numbers_and_no_update_those_of_another() {
    within(async {
        let cluster = Cluster::new(3).await;
        let mut handles: Vec<DiceHandle> = Vec::new();
        let mut own = Vec::new();
        for node in cluster.nodes() {
            let dice = node.group("dice").join_or_create(Dice::default()).await.expect("a member");
            // Those that follow are sent in one batch.
            for _ in 0..3 {
                dice.roll().send().await.expect("sent");
            }
            own.push(dice.roll().await.expect("stable"));
            handles.push(dice);
        }
        let mut all = Vec::new();
        for handle in &handles {
            handle.group().flush().await.expect("flushed");
            all.push(handle.all().await.expect("a member"));
        }
        let (drawn, views) = all[0].clone();
        assert!(all.iter().all(|other| *other == all[0]), "{all:#?}");
        assert_eq!(drawn.len(), 3 * 4 * 3);
        assert!(own.iter().all(|own| drawn.windows(3).any(|drawn| drawn == own)));
        let mut numbers: Vec<_> = drawn.into_iter().filter(|number| *number > 5).collect();
        numbers.extend(views.iter().map(|(_, number)| number));
        let count = numbers.len();
        assert_eq!(count, 3 * 4 * 2 + views.len());
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), count, "nothing comes twice");
    })
    .await;
}

#[tokio::test]
async fn stable_events_come_to_all_in_one_order_with_the_same_cursors() {
    within(async {
        let mut cluster = Cluster::new(3).await;
        let handles = bells(&cluster).await;
        let mut events: Vec<_> = handles.iter().map(|handle| handle.group().events()).collect();
        for number in 0..30 {
            handles[number as usize % 3].ring(number).send().await.expect("sent");
        }
        handles[2].ring(99).await.expect("stable");
        // Its sender dies, and a new member comes: nothing is lost or shown twice.
        cluster.kill(2);
        settle(handles[0].group(), 2).await;
        let index = cluster.add().await.expect("started");
        let group = cluster.node(index).group("bell");
        let late = group.join(Bell::default()).await.expect("a member");
        let mut late_events = late.group().events();
        late.ring(100).await.expect("stable");
        let first = until(&mut events[0], 100).await;
        assert_eq!(until(&mut events[1], 100).await, first);
        let rung: Vec<_> =
            first.iter().filter(|(_, sound)| matches!(sound, Sound::Rung(_))).collect();
        assert_eq!(rung.len(), 32, "{first:#?}");
        let views: Vec<_> = first
            .iter()
            .filter_map(|(cursor, sound)| match sound {
                Sound::View(number) => Some((cursor.view, cursor.index, *number)),
                Sound::Rung(_) => None,
            })
            .collect();
        // A kill, a joiner, and its activation.
        assert_eq!(views.len(), 3);
        assert!(views.iter().all(|&(view, index, number)| view == number && index == 0));
        assert!(first.is_sorted_by(|one, other| one.0 < other.0), "{first:#?}");
        // To the joiner its event has the same place.
        assert_eq!(until(&mut late_events, 100).await.last(), first.last());
    })
    .await;
}

#[tokio::test]
async fn what_dies_with_a_replica_is_never_shown() {
    within(async {
        let cluster = Cluster::new(3).await;
        let handles = bells(&cluster).await;
        let mut events: Vec<_> = handles.iter().map(|handle| handle.group().events()).collect();
        let mut own = handles[2].group().views();
        handles[2].ring(1).await.expect("stable");
        // Applied at one member, and known to nobody else.
        cluster.cut(0, 2);
        cluster.cut(1, 2);
        handles[2].tap(10).optimistic().await.expect("applied").into_unstable("it gets lost");
        settle(handles[0].group(), 2).await;
        handles[1].tap(20).await.expect("stable");
        cluster.heal(0, 2);
        cluster.heal(1, 2);
        while own.next_event().await.expect("an event") != GroupEvent::Excluded {}
        settle(handles[2].group(), 3).await;
        handles[2].ring(2).await.expect("stable");
        for events in &mut events[..2] {
            let all = until(events, 2).await;
            let all: Vec<_> = all.into_iter().map(|(_, sound)| sound).collect();
            assert!(!all.contains(&Sound::Rung(10)), "{all:?}");
            assert!(all.contains(&Sound::Rung(20)) && all.contains(&Sound::Rung(21)), "{all:?}");
        }
        assert_eq!(heard(&mut events[2]).await.1, Sound::Rung(1));
        assert_eq!(events[2].next().await, Some(Emitted::Gap));
        let all = until(&mut events[2], 2).await;
        assert!(all.iter().all(|(_, sound)| *sound != Sound::Rung(10)), "{all:?}");
        drop(cluster);
        while events[2].next().await.is_some() {}
    })
    .await;
}

#[tokio::test]
async fn a_reader_that_does_not_read_stops_nobody() {
    within(async {
        let cluster = Cluster::new(1).await;
        let bell = &bells(&cluster).await[0];
        let mut slow = bell.group().events();
        for number in 0..3000 {
            bell.ring(number).send().await.expect("sent");
        }
        bell.group().flush().await.expect("flushed");
        assert_eq!(bell.rung().await, Ok(3000));
        let Some(Emitted::Lagged(missed)) = slow.next().await else { panic!("nothing missed") };
        assert_eq!(heard(&mut slow).await.1, Sound::Rung(missed));
    })
    .await;
}
