//! Draws the three executions that every text on virtual synchrony shows, from runs of the real
//! protocol: the same story in a network without delays, in one with, and with updates whose order
//! does not matter. The same code makes the same pictures, byte by byte.

mod stage;

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Parser;
use stage::{Act, Delay, Stage};
use vsync_core::engine::Class;
use vsync_core::wire::Micros;
use vsync_history::draw::{Options, draw};
use vsync_history::event::Event;
use vsync_history::{History, check};
use vsync_tests::println;

/// Draws the figures of the book.
#[derive(Parser)]
struct Args {
    /// Where they go.
    #[arg(default_value = "book/src/figures")]
    dir: PathBuf,
}

/// A figure.
struct Figure {
    name: &'static str,
    title: &'static str,
    class: Class,
    delay: Delay,
    /// Whether members deliver in different orders.
    reordered: bool,
}

const FIGURES: [Figure; 3] = [
    Figure {
        name: "synchronous",
        title: "A synchronous execution: everything happens everywhere at once",
        class: Class::Total,
        delay: at_once,
        reordered: false,
    },
    Figure {
        name: "asynchronous",
        title: "An asynchronous execution: messages overlap, the order is one (total)",
        class: Class::Total,
        delay: uneven,
        reordered: false,
    },
    Figure {
        name: "reordered",
        title: "A reordered execution: concurrent updates commute, causes come first (causal)",
        class: Class::Causal,
        delay: uneven,
        reordered: true,
    },
];

const MS: Micros = 1_000;
/// The group is formed before the figure begins.
const BEGIN: Micros = 60 * MS;
/// When it ends.
const END: Micros = 330 * MS;

/// As good as no delay.
fn at_once(_: u64, _: u64, _: u64) -> Micros {
    400
}

/// A delay that differs from link to link and from frame to frame, always in the same way.
fn uneven(from: u64, to: u64, frame: u64) -> Micros {
    let word = (from * 31 + to * 17 + frame * 7).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    1_500 + (word >> 33) % 5_500
}

/// The story: p and q, then r and s, then p dies, then t comes.
fn script() -> Vec<(Micros, u64, Act)> {
    let [p, q, r, s, t] = [1, 2, 3, 4, 5];
    let mut script = vec![(0, p, Act::Create), (10 * MS, q, Act::Join)];
    let sends = [
        (70, p),
        (72, q),
        (84, q),
        (95, p),
        (160, p),
        (162, r),
        (163, s),
        (172, q),
        (178, s),
        (181, p),
        (186, r),
        (198, p),
        (235, q),
        (237, s),
        (239, r),
        (300, t),
        (302, q),
        (304, s),
        (312, r),
        (314, t),
        // Beyond the end: the lines go on.
        (360, q),
        (361, r),
        (362, s),
        (363, t),
    ];
    script.extend(sends.map(|(ms, node)| (ms * MS, node, Act::Send)));
    script.push((105 * MS, r, Act::Join));
    script.push((111 * MS, s, Act::Join));
    // Its last words are on their way; only r hears them from itself.
    script.push((198 * MS + 100, p, Act::Crash(r)));
    script.push((255 * MS, t, Act::Join));
    script
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    std::fs::create_dir_all(&args.dir)?;
    for figure in FIGURES {
        let mut stage = Stage::new(figure.class, figure.delay, &script());
        stage.run(END + 100 * MS);
        let violations = check(&stage.history);
        assert!(violations.is_empty(), "{}: {violations:#?}", figure.name);
        assert_eq!(reordered(&stage.history), figure.reordered, "{}", figure.name);
        let options = Options {
            group: None,
            from: Some(BEGIN),
            to: Some(END),
            linear: true,
            title: Some(figure.title.to_owned()),
        };
        let drawing = draw(&stage.history, &options)?;
        let path = args.dir.join(format!("{}.svg", figure.name));
        std::fs::write(&path, drawing.svg)?;
        println!("{}", path.display());
    }
    Ok(())
}

/// Whether two members have delivered two updates in different orders.
fn reordered(history: &History) -> bool {
    let mut orders = Vec::new();
    for log in &history.logs {
        let mut order = BTreeMap::new();
        for line in &log.lines {
            if let Event::Deliver { view, sender, seq, .. } = &line.event {
                let place = order.len();
                order.insert((*view, sender.clone(), *seq), place);
            }
        }
        orders.push(order);
    }
    let differ = |one: &BTreeMap<_, usize>, other: &BTreeMap<_, usize>| {
        let both: Vec<_> =
            one.iter().filter_map(|(update, a)| Some((*a, *other.get(update)?))).collect();
        both.iter().any(|x| both.iter().any(|y| x.0 < y.0 && x.1 > y.1))
    };
    orders.iter().any(|one| orders.iter().any(|other| differ(one, other)))
}
