//! Metrics: a [`Report`] as Prometheus and OpenMetrics read it.
//!
//! Names begin with `vsync_`, units are seconds and bytes, counters end in `_total`; each group's
//! lines carry its name as the label `group`. Everything is counted since the node began to enter
//! the group, so a counter that falls back says that the node has entered it anew.
//!
//! ```
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! # use std::time::Duration;
//! let cluster = vsync::testing::Cluster::new(1).await;
//! // What an HTTP server answers at /metrics, as `vsync::metrics::CONTENT_TYPE`.
//! let text = cluster.node(0).report(Duration::from_secs(1)).await?.openmetrics();
//! assert!(text.contains("vsync_group_ready"));
//! # Ok::<(), vsync::report::ReportError>(())
//! # }).unwrap();
//! ```
//!
//! Whoever has a [`Registry`] of their own registers the report there: it is a [`Collector`].

use std::fmt::Error;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};
use vsync_net::{Class, ClassStats};

use crate::report::{BOUNDS, GroupReport, Moved, Report, Spells, Standing};

/// The media type of [`Report::openmetrics`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

impl Report {
    /// This report as text in the OpenMetrics format, which Prometheus scrapes.
    pub fn openmetrics(&self) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self.clone()));
        let mut text = String::new();
        match prometheus_client::encoding::text::encode(&mut text, &registry) {
            Ok(()) => text,
            // Writing to a string does not fail.
            Err(Error) => unreachable!("a string takes all that is written"),
        }
    }
}

impl Collector for Report {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut lines = Lines { encoder: &mut encoder };
        self.of_the_node(&mut lines)?;
        for (name, help, unit, value) in GAUGES {
            lines.gauges(name, help, unit.as_ref(), &self.by_group(value))?;
        }
        for (name, help, unit, value) in COUNTERS {
            lines.counters(name, help, unit.as_ref(), &self.by_group(value))?;
        }
        lines.moved("saved", "taken for joiners", &self.by_group(|group| &group.saved))?;
        lines.moved("loaded", "loaded", &self.by_group(|group| &group.loaded))?;
        let changes = self.by_group(|group| &group.changes);
        lines.spells("vsync_view_change", "How long view changes held up the group", &changes)
    }
}

/// A name, what it says, its unit, and where it comes from.
type Family = (&'static str, &'static str, Option<Unit>, fn(&GroupReport) -> u64);

const GAUGES: [Family; 11] = [
    ("vsync_group_ready", "Whether the node is an active member that sees a quorum", None, |g| {
        u64::from(g.standing == Standing::Active)
    }),
    ("vsync_group_blocked", "Whether no quorum is in sight", None, |g| {
        u64::from(g.standing == Standing::Blocked)
    }),
    ("vsync_group_view", "The number of the installed view", None, |g| g.view),
    ("vsync_group_members", "Members in the view, joining ones included", None, |g| {
        g.members as u64
    }),
    ("vsync_group_active_members", "Active members in the view", None, |g| g.active as u64),
    ("vsync_group_version", "The active version of the type, 0 if unknown", None, |g| {
        g.version.unwrap_or(0).into()
    }),
    ("vsync_group_unstable_updates", "Updates applied and not known to be stable", None, |g| {
        g.unstable
    }),
    ("vsync_group_waiting_updates", "Own updates that wait for room in the window", None, |g| {
        g.waiting as u64
    }),
    (
        "vsync_group_retained",
        "Updates kept for members that may lack them",
        Some(Unit::Bytes),
        |g| g.retained as u64,
    ),
    ("vsync_group_held", "Updates that wait for a busy replica", Some(Unit::Bytes), |g| {
        g.held as u64
    }),
    ("vsync_group_working", "Whether the replica is busy away from the driver", None, |g| {
        u64::from(g.working)
    }),
];

const COUNTERS: [Family; 7] = [
    ("vsync_group_applied_updates", "Updates applied", None, |g| g.applied),
    ("vsync_group_sent_updates", "Own updates sent", None, |g| g.sent),
    ("vsync_group_views", "Views installed", None, |g| g.views),
    ("vsync_group_exclusions", "How often the others went on without this node", None, |g| {
        g.exclusions
    }),
    ("vsync_group_failed_updates", "Updates that failed at this replica", None, |g| g.failures),
    ("vsync_group_differences", "Replicas that were found to differ", None, |g| g.differences),
    ("vsync_group_comparisons", "How often all replicas were compared", None, |g| g.comparisons),
];

impl Report {
    fn by_group<'a, T>(&'a self, value: impl Fn(&'a GroupReport) -> T) -> Vec<(Labels<'a>, T)> {
        let line = |group: &'a GroupReport| ([("group", group.name.as_str())], value(group));
        self.groups.iter().map(line).collect()
    }

    fn of_the_node(&self, lines: &mut Lines<'_, '_>) -> Result<(), Error> {
        let network = &self.network;
        let here = |value: u64| [([("node", self.node.as_str())], value)];
        let nodes = here(self.cluster_size as u64);
        lines.gauges(
            "vsync_cluster_nodes",
            "Nodes in the cluster, seen from here",
            None,
            &nodes,
        )?;
        let open = here(network.connections);
        lines.gauges("vsync_connections", "Connections that are up", None, &open)?;
        let bytes = Some(&Unit::Bytes);
        for (name, help, unit, value) in [
            ("vsync_wire_sent", "UDP payload sent", bytes, network.wire_sent),
            ("vsync_wire_received", "UDP payload received", bytes, network.wire_received),
            ("vsync_reconnects", "Peers that came up again", None, network.reconnects),
            ("vsync_refused_connections", "Connections refused at the door", None, network.refused),
            ("vsync_violations", "Connections closed for garbage", None, network.violations),
            ("vsync_lost_frames", "Frames that found no connection", None, network.dropped),
        ] {
            lines.counters(name, help, unit, &here(value))?;
        }
        let classes = Class::ALL.map(|class| format!("{class:?}").to_lowercase());
        let by_class = |value: fn(&ClassStats) -> u64| {
            let of = classes.iter().zip(&network.classes);
            of.map(|(class, stats)| ([("class", class.as_str())], value(stats))).collect::<Vec<_>>()
        };
        let (sent, received) = (by_class(|c| c.frames_sent), by_class(|c| c.frames_received));
        lines.counters("vsync_sent_frames", "Frames sent", None, &sent)?;
        lines.counters("vsync_received_frames", "Frames received", None, &received)?;
        let reasons: Vec<_> =
            self.dropped.iter().map(|(reason, count)| (format!("{reason:?}"), *count)).collect();
        let dropped: Vec<_> =
            reasons.iter().map(|(why, count)| ([("reason", why.as_str())], *count)).collect();
        lines.counters(
            "vsync_dropped_frames",
            "Frames that the protocol dropped",
            None,
            &dropped,
        )?;
        let strangers: Vec<_> = self
            .strangers
            .iter()
            .map(|(seed, times)| ([("seed", seed.as_str())], *times))
            .collect();
        let help = "Answers of seeds that are in another cluster of the same secret";
        lines.counters("vsync_strangers", help, None, &strangers)
    }
}

type Labels<'a> = [(&'static str, &'a str); 1];

/// Where lines go.
struct Lines<'a, 'b> {
    encoder: &'a mut DescriptorEncoder<'b>,
}

impl Lines<'_, '_> {
    fn gauges<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        values: &[(L, u64)],
    ) -> Result<(), Error> {
        let mut family = self.encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        for (labels, value) in values {
            family.encode_family(labels)?.encode_gauge(value)?;
        }
        Ok(())
    }

    fn counters<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        values: &[(L, u64)],
    ) -> Result<(), Error> {
        let mut family = self.encoder.encode_descriptor(name, help, unit, MetricType::Counter)?;
        for (labels, value) in values {
            family.encode_family(labels)?.encode_counter::<NoLabelSet, _, u64>(value, None)?;
        }
        Ok(())
    }

    /// How many checkpoints, their bytes, and the time they took.
    fn moved(
        &mut self,
        what: &str,
        done: &str,
        values: &[(Labels<'_>, &Moved)],
    ) -> Result<(), Error> {
        let name = format!("vsync_checkpoints_{what}");
        let counts: Vec<_> = values.iter().map(|(group, moved)| (*group, moved.count)).collect();
        self.counters(&name, &format!("Checkpoints {done}"), None, &counts)?;
        let name = format!("vsync_checkpoint_{what}");
        let bytes: Vec<_> = values.iter().map(|(group, moved)| (*group, moved.bytes)).collect();
        self.counters(&name, &format!("Bytes of those {done}"), Some(&Unit::Bytes), &bytes)?;
        let help = format!("Time of those {done}");
        let unit = Some(&Unit::Seconds);
        let mut family = self.encoder.encode_descriptor(&name, &help, unit, MetricType::Counter)?;
        for (group, moved) in values {
            let seconds = moved.time.as_secs_f64();
            family.encode_family(group)?.encode_counter::<NoLabelSet, _, u64>(&seconds, None)?;
        }
        Ok(())
    }

    fn spells(
        &mut self,
        name: &str,
        help: &str,
        values: &[(Labels<'_>, &Spells)],
    ) -> Result<(), Error> {
        let unit = Some(&Unit::Seconds);
        let mut family = self.encoder.encode_descriptor(name, help, unit, MetricType::Histogram)?;
        for (group, spells) in values {
            let last = (f64::INFINITY, spells.count - spells.classes.iter().sum::<u64>());
            let classes = BOUNDS.iter().copied().zip(spells.classes.iter().copied());
            let classes: Vec<(f64, u64)> = classes.chain([last]).collect();
            let sum = spells.sum.as_secs_f64();
            let mut line = family.encode_family(group)?;
            line.encode_histogram::<NoLabelSet>(sum, spells.count, &classes, None)?;
        }
        Ok(())
    }
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;
    use crate::testing::Cluster;

    fn value(text: &str, line: &str) -> f64 {
        let found = text.lines().find_map(|each| each.strip_prefix(line));
        let number = found.unwrap_or_else(|| panic!("no {line:?} in\n{text}"));
        number.trim().parse().expect("a number")
    }

    #[tokio::test]
    async fn what_a_node_went_through_is_told_in_openmetrics() {
        let mut cluster = Cluster::new(2).await;
        // A change that a member stops for: another node comes, in the directory's group.
        cluster.add().await.expect("it joins");
        let node = cluster.node(0);
        let report = loop {
            let report = node.report(Duration::from_secs(5)).await.expect("alive");
            if report.cluster_size == 3 && report.is_ready() {
                break report;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        let text = report.openmetrics();
        assert!(text.ends_with("# EOF\n"));
        let [directory] = &report.groups[..] else { panic!("{report:?}") };
        let group = |name: &str| format!("{name}{{group=\"{}\"}}", directory.name);
        assert_eq!(value(&text, &group("vsync_group_ready")), 1.0);
        assert_eq!(value(&text, &group("vsync_group_active_members")), 3.0);
        assert_eq!(value(&text, &group("vsync_group_views_total")), directory.views as f64);
        // Others joined: it was their donor, and stood still for each of the views.
        assert!(value(&text, &group("vsync_checkpoints_saved_total")) >= 1.0);
        assert!(value(&text, &group("vsync_checkpoint_saved_bytes_total")) > 0.0);
        let changes = value(&text, &group("vsync_view_change_seconds_count"));
        assert!(changes >= 2.0 && changes <= directory.views as f64, "{changes}");
        let all =
            format!("vsync_view_change_seconds_bucket{{le=\"+Inf\",group=\"{}\"}}", directory.name);
        assert_eq!(value(&text, &all), changes);
        assert!(text.contains("# UNIT vsync_wire_sent_bytes bytes"));
    }

    #[tokio::test]
    async fn the_book_lists_every_name_and_no_other() {
        let cluster = Cluster::new(1).await;
        let report = cluster.node(0).report(Duration::from_secs(5)).await.expect("alive");
        let text = report.openmetrics();
        let page = include_str!("../../book/src/metrics.md");
        let listed: BTreeSet<&str> =
            page.split('`').filter(|it| it.starts_with("vsync_")).collect();
        let told = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let told: BTreeSet<String> = told
            .map(|line| match line.split_once(' ').expect("a name and a kind") {
                (name, "counter") => format!("{name}_total"),
                (name, _) => name.to_owned(),
            })
            .collect();
        assert_eq!(told.iter().map(String::as_str).collect::<BTreeSet<_>>(), listed);
    }

    #[test]
    fn no_name_comes_twice() {
        let mut names: Vec<_> = GAUGES.iter().chain(&COUNTERS).map(|family| family.0).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
