//! What each setting of the transport is worth.

use serde_json::Value;

use super::source::{Source, at, ratios};
use crate::compare::Spread;

/// The variants that were run in turn with the settings as shipped: what differs, and the words of
/// the command.
pub(crate) const VARIANTS: [(&str, &str); 13] = [
    ("datagrams of 1,452 bytes", "--mtu 1452"),
    ("datagrams of 3,000 bytes", "--mtu 3000"),
    ("a system call for each datagram (no GSO)", "--no-gso"),
    ("the same with datagrams of 1,452 bytes", "--mtu 1452 --no-gso"),
    ("an acknowledgement for 2 packets, quinn's own", "--ack-every 2"),
    ("an acknowledgement for 100 packets", "--ack-every 100"),
    ("socket buffers of 208 KiB, what Linux grants at first", "--socket-buffer 208k"),
    ("socket buffers of 1 MiB", "--socket-buffer 1M"),
    ("a stream's window of 256 KiB", "--stream-window 256k"),
    ("a stream's window of 1 MiB", "--stream-window 1M"),
    ("a stream's window of 32 MiB", "--stream-window 32M"),
    ("writes of 1 KiB", "--write 1k"),
    ("writes of 60 KiB", "--write 60k"),
];

/// Ours with more threads.
pub(crate) const THREADS: [usize; 2] = [2, 4];

/// Raw quinn as ours is set up.
const SHIPPED: &str = "--system quinn !--mtu !--no-gso !--ack-every !--socket-buffer \
                       !--stream-window !--write";

/// The tables, as Markdown; nothing if it was not measured.
pub(super) fn table(source: &Source) -> String {
    let of = |line: &str| source.of("transport", line);
    let mut text = String::new();
    let shipped = of(SHIPPED);
    if shipped.is_empty() {
        return text;
    }
    text.push_str("| raw quinn, four members, all send | of the rate as shipped | CPU |\n");
    text.push_str("|---|---:|---:|\n");
    for (what, line) in VARIANTS {
        let others = VARIANTS.iter().flat_map(|(_, words)| words.split(' '));
        let mut exactly = format!("--system quinn {line}");
        for option in others.filter(|word| word.starts_with("--") && !line.contains(word)) {
            exactly.push_str(&format!(" !{option}"));
        }
        text.push_str(&row(what, &of(&exactly), &shipped));
    }
    let threads = |n: usize, load: &str| of(&format!("--system vsync --threads {n} {load}"));
    text.push_str("\n| ours, with more threads for each member | of the rate with one | CPU |\n");
    text.push_str("|---|---:|---:|\n");
    for n in THREADS {
        for (load, what) in [("!--in-flight", "streaming"), ("--in-flight 1", "one awaited")] {
            let named = format!("{n} threads, {what}");
            text.push_str(&row(&named, &threads(n, load), &threads(1, load)));
        }
    }
    text
}

fn row(what: &str, runs: &[&Value], shipped: &[&Value]) -> String {
    let share = |pointer: &str| {
        let ratios = ratios(&at(runs, pointer), &at(shipped, pointer));
        match ratios.is_empty() {
            true => "not measured".to_owned(),
            false => {
                let Spread { min, median, max } = Spread::of(ratios);
                format!("{median:.2} ({min:.2} to {max:.2})")
            }
        }
    };
    format!("| {what} | {} | {} |\n", share("/applied_per_second"), share("/cpu_per_update"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_setting_is_set_against_the_run_as_shipped() {
        let stream = |line: &str, rate: f64, cpu: f64| {
            json!({
                "command": format!("vsync-bench stream --json {line}"),
                "printed": [{ "applied_per_second": rate, "cpu_per_update": cpu }],
            })
        };
        let mut source = Source::default();
        assert_eq!(table(&source), "");
        source.add(
            "transport",
            &json!({ "runs": [
                stream("--system quinn", 10.0, 1.0),
                stream("--system quinn --mtu 1452", 4.0, 2.0),
                stream("--system quinn --mtu 1452 --no-gso", 2.0, 3.0),
                stream("--system vsync --threads 1", 5.0, 1.0),
                stream("--system vsync --threads 2", 4.0, 1.5),
            ] }),
        );
        let table = table(&source);
        let has = |line: &str| assert!(table.contains(line), "{line} in {table}");
        has("| datagrams of 1,452 bytes | 0.40 (0.40 to 0.40) | 2.00 (2.00 to 2.00) |");
        has("| the same with datagrams of 1,452 bytes | 0.20 (0.20 to 0.20) | 3.00");
        has("| writes of 1 KiB | not measured | not measured |");
        has("| 2 threads, streaming | 0.80 (0.80 to 0.80) | 1.50 (1.50 to 1.50) |");
    }
}
