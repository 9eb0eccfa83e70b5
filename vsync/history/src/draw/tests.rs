use super::*;
use crate::event::{Class, Event, Gone, Level, Line, Member, Reason};
use crate::read::Log;

fn id(name: &str) -> Id {
    format!("{name}#1{}@1", name.len()).into()
}

/// A run of these members, who are all in view 1; each sends `sends` updates, 100 µs apart, and
/// the others deliver them 40 µs later. The last member dies, and the others install view 2.
fn run(members: &[&str], sends: u64) -> History {
    let mut logs: Vec<Log> = Vec::new();
    let write = |logs: &mut Vec<Log>, at: usize, t: u64, event: Event| {
        let (group, generation) = (Some("g".into()), Some(1));
        let node = id(members[at]);
        logs[at].lines.push(Line { t, node, group, generation, event });
    };
    let list = |names: &[&str]| -> Vec<Member> {
        names.iter().map(|name| Member { id: id(name), active: true }).collect()
    };
    let ids = |names: &[&str]| -> Vec<Id> { names.iter().map(|name| id(name)).collect() };
    let (last, rest) = members.split_last().expect("members");
    for (at, name) in members.iter().enumerate() {
        let start = Event::Start { wall_us: 5_000, protocol: 1 };
        let process = names::process(&id(name)).into();
        let line = Line { t: 0, node: process, group: None, generation: None, event: start };
        logs.push(Log { name: format!("{name}.jsonl"), lines: vec![line] });
        let (all, ids) = (list(members), ids(members));
        let (together, joined) = (ids.clone(), ids);
        let view = Event::View { view: 1, members: all, together, joined, left: vec![] };
        write(&mut logs, at, 1_000, view);
    }
    for seq in 0..sends {
        for from in 0..members.len() {
            let t = 2_000 + 100 * (seq * members.len() as u64 + from as u64);
            let (class, count) = (Class::Causal, 1);
            write(&mut logs, from, t, Event::Send { view: 1, seq, count, class });
            for to in 0..members.len() {
                let (sender, level) = (id(members[from]), Level::Optimistic);
                let (view, position) = (1, None);
                let event = Event::Deliver { view, sender, seq, count, class, position, level };
                write(&mut logs, to, if to == from { t } else { t + 40 }, event);
            }
        }
    }
    let end = 3_000 + 100 * sends * members.len() as u64;
    for at in 0..rest.len() {
        let left = vec![Gone { id: id(last), reason: Reason::Failed }];
        let (members, together) = (list(rest), ids(rest));
        let view = Event::View { view: 2, members, together, joined: vec![], left };
        write(&mut logs, at, end, view);
        write(&mut logs, at, end + 500, Event::Closed { view: 2, own: None });
    }
    History { logs }
}

fn count(text: &str, part: &str) -> usize {
    text.matches(part).count()
}

#[test]
fn a_run_is_drawn_with_all_its_parts() {
    let drawing = draw(&run(&["a", "bb", "ccc"], 4), &Options::default()).expect("a drawing");
    let svg = &drawing.svg;
    assert_eq!(drawing.notes, [""; 0]);
    assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"));
    assert_eq!(count(svg, r#"<line class="arrow causal""#), 3 * 4 * 2 + 1, "and the legend");
    assert_eq!(count(svg, r#"class="causal-dot" d="M"#), 3 * 4 + 2, "legend and arrow head");
    assert_eq!(count(svg, r#"class="crash" d"#), 1 + 1);
    assert_eq!(count(svg, r#"class="closed" d"#), 2 + 1);
    assert_eq!(count(svg, " band\""), 3 + 2 + 2, "three in view 1, two in view 2, the list");
    assert!(svg.contains("− ccc failed"), "{svg}");
    assert!(svg.contains("prefers-color-scheme"));
    assert!(!svg.contains("NaN") && !svg.contains("inf"));
}

#[test]
fn five_processes_with_two_hundred_events_need_no_window() {
    let history = run(&["a", "bb", "ccc", "dddd", "eeeee"], 33);
    assert!(history.logs.iter().all(|log| log.lines.len() >= 200));
    let drawing = draw(&history, &Options::default()).expect("a drawing");
    assert_eq!(drawing.notes, [""; 0]);
    assert_eq!(count(&drawing.svg, r#"<line class="arrow causal""#), 5 * 33 * 4 + 1);
}

#[test]
fn of_a_longer_run_the_first_failure_is_drawn() {
    let history = run(&["a", "bb", "ccc", "dddd", "eeeee"], 500);
    let drawing = draw(&history, &Options::default()).expect("a drawing");
    assert!(drawing.notes[0].contains("around the first failure"), "{:?}", drawing.notes);
    let arrows = count(&drawing.svg, r#"<line class="arrow causal""#);
    assert!((CHOSEN_ARROWS / 2..=CHOSEN_ARROWS + 1).contains(&arrows), "{arrows}");
    assert_eq!(count(&drawing.svg, r#"class="crash" d"#), 2);
}

#[test]
fn windows_are_as_asked_for() {
    let history = run(&["a", "bb"], 50);
    let window = |from, to| draw(&history, &Options { from, to, ..Options::default() });
    let part = window(Some(3_000), Some(4_000)).expect("a drawing");
    assert!(part.svg.contains("· 3 to 4 ms"), "{}", part.svg);
    let arrows = count(&part.svg, r#"<line class="arrow causal""#);
    assert!((8..=13).contains(&arrows), "{arrows}");
    assert_eq!(window(Some(4_000), Some(4_000)).unwrap_err(), DrawError::Backwards);
    let outside = window(Some(900_000), None).unwrap_err();
    assert_eq!(outside, DrawError::Outside { begin: 1_000, end: 13_500 });
    assert!(outside.to_string().contains("from 1 to 13.5 ms"), "{outside}");
    window(Some(0), Some(u64::MAX)).expect("no limit");
}

#[test]
fn groups_are_found_by_name_and_generation() {
    let mut history = run(&["a", "bb"], 2);
    let mut second = run(&["a", "bb"], 1);
    for (log, more) in history.logs.iter_mut().zip(&mut second.logs) {
        for mut line in more.lines.drain(1..) {
            line.generation = Some(2);
            log.lines.push(line);
        }
    }
    let group = |group: &str| {
        draw(&history, &Options { group: Some(group.to_owned()), ..Options::default() })
    };
    let arrows = |drawing: Drawing| count(&drawing.svg, r#"<line class="arrow causal""#) - 1;
    assert_eq!(arrows(group("g/1").expect("a drawing")), 4);
    assert_eq!(arrows(group("g").expect("the last generation")), 2);
    assert_eq!(
        group("x").unwrap_err(),
        DrawError::UnknownGroup { asked: "x".into(), known: vec!["g/1".into(), "g/2".into()] }
    );
    let nothing = draw(&History::default(), &Options::default());
    assert_eq!(nothing.unwrap_err(), DrawError::NoGroup);
}

#[test]
fn names_are_text() {
    let history = run(&["<script>", "a&\"b\"", "</title>"], 1);
    let title = Some("<b>".to_owned());
    let drawing = draw(&history, &Options { title, ..Options::default() }).expect("a drawing");
    let svg = drawing.svg;
    assert!(!svg.contains("<script>") && !svg.contains("<b>") && !svg.contains("a&\""), "{svg}");
    assert!(svg.contains("&lt;script&gt;") && svg.contains("a&amp;&quot;b&quot;"));
    assert_eq!(count(&svg, "<title>"), count(&svg, "</title>"));
}

#[test]
fn a_member_without_a_file_is_drawn_as_the_others_tell() {
    let mut history = run(&["a", "bb", "ccc"], 3);
    history.logs.pop();
    let drawing = draw(&history, &Options::default()).expect("a drawing");
    assert!(drawing.notes[0].contains("6 deliveries have no arrow"), "{:?}", drawing.notes);
    assert!(drawing.svg.contains("left no file"));
    assert_eq!(count(&drawing.svg, r#"class="crash" d"#), 2);
}

#[test]
fn a_clock_that_is_behind_is_put_forward() {
    let mut history = run(&["a", "bb"], 3);
    if let Event::Start { wall_us, .. } = &mut history.logs[1].lines[0].event {
        *wall_us += 7_000;
    }
    let drawing = draw(&history, &Options::default()).expect("a drawing");
    assert!(drawing.notes[0].contains("a's clock is put forward by 6.96 ms"), "{drawing:?}");
}

#[test]
fn a_clock_that_is_years_behind_does_not_move_the_beginning() {
    let mut history = run(&["a", "bb"], 3);
    let years = 400_000_000_000_000;
    if let Event::Start { wall_us, .. } = &mut history.logs[1].lines[0].event {
        *wall_us += years;
    }
    let drawing = draw(&history, &Options::default()).expect("a drawing");
    assert!(drawing.notes[0].contains("a's clock is put forward"), "{drawing:?}");
    assert!(drawing.svg.contains("· 1 to 4.1 ms"), "{}", drawing.svg);
}

#[test]
fn a_node_that_comes_back_is_told_from_what_it_was() {
    let mut history = run(&["a", "bb", "ccc"], 2);
    // All of one name, and incarnations of their own.
    for log in &mut history.logs {
        let text = String::from_utf8(log.to_text()).expect("text");
        let text = text.replace("ccc#13", "a#24").replace("bb#", "a#");
        log.lines = text.lines().map(|line| serde_json::from_str(line).expect("a line")).collect();
    }
    let svg = draw(&history, &Options::default()).expect("a drawing").svg;
    assert!(svg.contains("0 a#11 · 1 a#12 · 2 a#24"), "{svg}");
    assert!(svg.contains("− a#24 failed") && svg.contains("a#11 → a#24"));
}

#[test]
fn classes_that_travel_together_are_side_by_side() {
    let mut history = run(&["a", "bb"], 1);
    for log in &mut history.logs {
        let mut twins = Vec::new();
        for line in &mut log.lines {
            let mut twin = line.clone();
            match &mut twin.event {
                Event::Send { seq, class, .. } | Event::Deliver { seq, class, .. } => {
                    (*seq, *class) = (1, Class::Total);
                    twins.push(line.clone());
                    twins.push(twin);
                }
                _ => twins.push(twin),
            }
        }
        log.lines = twins;
    }
    let svg = draw(&history, &Options::default()).expect("a drawing").svg;
    let start = |class: &str| -> f64 {
        let (_, after) = svg.split_once(&format!(r#"<line class="arrow {class}" x1=""#)).unwrap();
        after.split('"').next().unwrap().parse().unwrap()
    };
    assert!((start("total") - start("causal") - 3.0).abs() < 0.11, "{svg}");
}

#[test]
fn arrows_that_cross_the_edge_are_faint_and_explained() {
    let history = run(&["a", "bb"], 50);
    let window = |from, to| {
        let options = Options { from: Some(from), to: Some(to), ..Options::default() };
        draw(&history, &options).expect("a drawing").svg
    };
    let crossing = window(3_020, 4_020);
    assert_eq!(count(&crossing, r#"class="arrow causal part""#), 2 + 1, "{crossing}");
    assert!(crossing.contains("begins or ends outside the window"));
    assert!(!window(3_050, 4_050).contains("begins or ends outside"));
}

#[test]
fn idle_time_is_left_out_unless_it_is_asked_for() {
    let mut history = run(&["a", "bb"], 20);
    for log in &mut history.logs {
        let last = log.lines.len() - if log.name == "a.jsonl" { 2 } else { 0 };
        for line in &mut log.lines[last..] {
            line.t += 1_000_000;
        }
    }
    let gaps = |linear| {
        let drawing = draw(&history, &Options { linear, ..Options::default() });
        count(&drawing.expect("a drawing").svg, r#"class="gap""#)
    };
    // One before the first multicast, and the long one.
    assert_eq!((gaps(false), gaps(true)), (2, 0));
}

#[test]
fn numbers_that_cannot_be_true_do_no_harm() {
    let mut history = run(&["a", "bb"], 2);
    for line in history.logs.iter_mut().flat_map(|log| &mut log.lines) {
        line.t = u64::MAX - line.t;
        match &mut line.event {
            Event::Start { wall_us, .. } => {
                *wall_us = u64::MAX * (wall_us.is_multiple_of(2) as u64)
            }
            Event::Send { seq, count, .. } => (*seq, *count) = (u64::MAX - 1, u64::MAX),
            Event::Deliver { seq, count, position, .. } => {
                (*seq, *count, *position) = (u64::MAX, u64::MAX, Some(u64::MAX));
            }
            _ => {}
        }
    }
    draw(&history, &Options::default()).expect("a drawing");
}
