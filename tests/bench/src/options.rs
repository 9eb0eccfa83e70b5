//! The command line.

/// What is measured, and how.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Processes in the group.
    pub(crate) members: usize,
    /// How many of them send.
    pub(crate) senders: usize,
    /// How long.
    pub(crate) seconds: u64,
    /// Bytes of payload per update.
    pub(crate) size: usize,
    /// `fifo`, `causal` or `total`.
    pub(crate) order: String,
    /// Threads per member.
    pub(crate) threads: usize,
    /// Awaited calls in flight per sender; 0 streams with `send`.
    pub(crate) in_flight: usize,
    /// Where histories go, if anywhere.
    pub(crate) history: Option<String>,
    /// Which member this process is.
    pub(crate) index: usize,
    /// Whom it finds the cluster through; nobody for the first.
    pub(crate) seed: Option<String>,
}

impl Options {
    /// The command, and its options.
    pub(crate) fn parse(
        mut args: impl Iterator<Item = String>,
    ) -> Result<(String, Options), String> {
        let command = args.next().ok_or("say what to measure: stream")?;
        let mut options = Options {
            members: 4,
            senders: usize::MAX,
            seconds: 5,
            size: 100,
            order: "total".to_owned(),
            threads: 1,
            in_flight: 0,
            history: None,
            index: 0,
            seed: None,
        };
        while let Some(key) = args.next() {
            let value = args.next().ok_or_else(|| format!("{key} needs a value"))?;
            let number = || value.parse().map_err(|_| format!("{key} {value:?} is no number"));
            match key.as_str() {
                "--members" => options.members = number()?,
                "--senders" => options.senders = number()?,
                "--seconds" => options.seconds = number()? as u64,
                "--size" => options.size = number()?,
                "--order" => options.order = value,
                "--threads" => options.threads = number()?,
                "--in-flight" => options.in_flight = number()?,
                "--history" => options.history = Some(value),
                "--index" => options.index = number()?,
                "--seed" => options.seed = Some(value),
                _ => return Err(format!("unknown option {key}")),
            }
        }
        if options.members == 0 || options.threads == 0 || options.seconds == 0 {
            return Err("members, threads and seconds must be at least 1".to_owned());
        }
        if !["fifo", "causal", "total"].contains(&options.order.as_str()) {
            return Err(format!("no order is called {:?}", options.order));
        }
        options.senders = options.senders.min(options.members);
        Ok((command, options))
    }

    /// The arguments that make a member of the same run.
    pub(crate) fn member(&self, index: usize, seed: Option<&str>) -> Vec<String> {
        let mut args = vec!["member".to_owned()];
        let mut put = |key: &str, value: String| args.extend([format!("--{key}"), value]);
        put("members", self.members.to_string());
        put("senders", self.senders.to_string());
        put("seconds", self.seconds.to_string());
        put("size", self.size.to_string());
        put("order", self.order.clone());
        put("threads", self.threads.to_string());
        put("in-flight", self.in_flight.to_string());
        put("index", index.to_string());
        if let Some(history) = &self.history {
            put("history", history.clone());
        }
        if let Some(seed) = seed {
            put("seed", seed.to_owned());
        }
        args
    }
}
