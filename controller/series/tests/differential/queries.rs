//! Queries at random, from a seed.
//!
//! Left out, because 2.42 means something else by them or the answer is open:
//!
//! - ties among `topk` and `bottomk`, and functions that 2.42 lacks;
//! - windows of subqueries that begin at one of their steps (closed in 2.x, open since 3.0);
//! - `predict_linear` under `@`, where 2.42 loses its window after the first step;
//! - `atan2` with a scalar, which keeps the metric's name in 2.42;
//! - `stddev` and `stdvar` of a group that begins with NaN or infinity, which is 0 in 2.42;
//! - powers as texts and changes of computed values: the last digit is not the same.

/// A small generator: the same queries for the same seed everywhere.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A whole number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 33) as usize % bound
    }

    /// A number from 0 up to 1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }
}

/// A query for instant vectors.
pub(crate) fn query(random: &mut Random) -> String {
    vector(random, 3)
}

fn vector(random: &mut Random, depth: usize) -> String {
    if depth == 0 {
        return selector(random);
    }
    let deeper = depth - 1;
    match random.below(12) {
        0 => selector(random),
        1 => counter_function(random),
        2 => window_function(random),
        3 => subquery(random, deeper),
        4 => plain_function(random, deeper),
        5 | 6 => aggregation(random, deeper),
        7 => with_scalar(random, deeper),
        8 => matched(random),
        9 => set(random, deeper),
        10 => histogram(random),
        _ => relabelled(random, deeper),
    }
}

fn selector(random: &mut Random) -> String {
    let base = random.of(&[
        "level",
        "level{host=\"a\"}",
        "level{kind!=\"idle\"}",
        "cpu_seconds_total",
        "cpu_seconds_total{mode=~\"us.*\"}",
        "cpu_seconds_total{host=~\"a|c\",mode!~\"i.+\"}",
        "info",
        "{host=\"b\",kind=~\".+\"}",
        "nothing",
    ]);
    format!("{base}{}", moment(random))
}

fn moment(random: &mut Random) -> &'static str {
    random.of(&[
        "",
        "",
        "",
        "",
        " offset 2m",
        " offset -45s",
        " @ 1700008200",
        " @ start()",
        " @ end()",
        " @ 1700008200 offset 1m",
    ])
}

fn range(random: &mut Random) -> &'static str {
    random.of(&["1m", "2m", "5m", "45s", "10m"])
}

fn counter_function(random: &mut Random) -> String {
    let function = random.of(&["rate", "increase", "irate", "resets"]);
    let name = random.of(&[
        "cpu_seconds_total",
        "cpu_seconds_total{host=\"b\"}",
        "wait_bucket",
    ]);
    format!("{function}({name}[{}]{})", range(random), moment(random))
}

fn window_function(random: &mut Random) -> String {
    let name = random.of(&["level", "level{host=\"c\"}", "cpu_seconds_total"]);
    let window = format!("{name}[{}]{}", range(random), moment(random));
    match random.below(4) {
        0 => format!(
            "quantile_over_time({}, {window})",
            random.of(&["0.5", "0.9", "0", "1", "2", "-1"])
        ),
        // Without `@`, under which 2.42 loses its window after the first step.
        1 => format!(
            "predict_linear({name}[{}] offset 1m, {})",
            range(random),
            random.of(&["60", "-30", "3600"])
        ),
        2 => format!("holt_winters({window}, 0.3, 0.6)"),
        _ => {
            let function = random.of(&[
                "avg_over_time",
                "min_over_time",
                "max_over_time",
                "sum_over_time",
                "count_over_time",
                "last_over_time",
                "stddev_over_time",
                "stdvar_over_time",
                "present_over_time",
                "absent_over_time",
                "changes",
                "deriv",
                "delta",
                "idelta",
            ]);
            format!("{function}({window})")
        }
    }
}

/// Full seconds plus 3, so that no window begins at a step of the subquery.
fn subquery(random: &mut Random, depth: usize) -> String {
    let function = random.of(&[
        "avg_over_time",
        "max_over_time",
        "min_over_time",
        "count_over_time",
        "last_over_time",
        "sum_over_time",
        "deriv",
    ]);
    let window = random.of(&["183500ms", "303500ms", "65500ms"]);
    let step = random.of(&["30s", "1m", "20s", ""]);
    let inner = vector(random, depth);
    // Not `@` around `@`: 2.42 moves the inner time with the outer one now and then.
    let moment = match inner.contains('@') {
        true => random.of(&["", " offset 1m"]),
        false => random.of(&["", "", " offset 1m", " @ 1700008200"]),
    };
    format!("{function}(({inner})[{window}:{step}]{moment})")
}

fn plain_function(random: &mut Random, depth: usize) -> String {
    let inner = vector(random, depth);
    match random.below(3) {
        0 => format!(
            "clamp({inner}, -5, {})",
            random.of(&["20", "scalar(info{host=\"a\"})", "NaN"])
        ),
        1 => format!("round({inner}, {})", random.of(&["0.5", "5", "0.1"])),
        _ => {
            let function = random.of(&[
                "abs",
                "ceil",
                "floor",
                "sqrt",
                "ln",
                "sgn",
                "exp",
                "log2",
                "log10",
                "sin",
                "atan",
                "-",
                "+",
                "absent",
                "timestamp",
                "minute",
                "day_of_week",
                "month",
                "sort",
                "deg",
            ]);
            format!("{function}({inner})")
        }
    }
}

fn aggregation(random: &mut Random, depth: usize) -> String {
    let by = random.of(&[
        "",
        " by (host)",
        " without (host)",
        " by (mode, kind)",
        " by (nothing)",
    ]);
    match random.below(6) {
        // Only values of their own: ties may be broken either way.
        0 => format!(
            "{}{by} ({}, level)",
            random.of(&["topk", "bottomk"]),
            random.of(&["1", "2", "9"])
        ),
        1 => format!(
            "quantile{by} ({}, {})",
            random.of(&["0.5", "0.25", "1.5"]),
            vector(random, depth)
        ),
        2 => format!("count_values{by} (\"v\", round({}, 10))", selector(random)),
        3 => {
            let op = random.of(&["stddev", "stdvar"]);
            format!("{op}{by} (rate(cpu_seconds_total[{}]))", range(random))
        }
        _ => {
            let op = random.of(&["sum", "avg", "min", "max", "count", "group"]);
            format!("{op}{by} ({})", vector(random, depth))
        }
    }
}

fn with_scalar(random: &mut Random, depth: usize) -> String {
    let op = random.of(&[
        "+", "-", "*", "/", "%", "^", "==", "!=", "<", ">=", "> bool", "<= bool",
    ]);
    let scalar = random.of(&[
        "2",
        "-0.5",
        "NaN",
        "Inf",
        "(time() % 60)",
        "scalar(sum(info))",
        "0",
    ]);
    let inner = vector(random, depth);
    if random.below(2) == 0 {
        format!("({inner}) {op} {scalar}")
    } else {
        format!("{scalar} {op} ({inner})")
    }
}

fn matched(random: &mut Random) -> String {
    let op = random.of(&["+", "-", "*", "/", ">", "<= bool", "!="]);
    match random.below(5) {
        0 => format!(
            "level {op} on (host) group_left (room) info{}",
            moment(random)
        ),
        1 => format!("info {op} on (host) group_right () cpu_seconds_total"),
        2 => format!(
            "rate(cpu_seconds_total[5m]) {op} ignoring (mode) group_left sum without (mode) (rate(cpu_seconds_total[5m]))"
        ),
        3 => format!("level{{kind=\"idle\"}} {op} on (host) level{{kind=\"user\"}}"),
        _ => format!(
            "level {op} {}(host) cpu_seconds_total",
            random.of(&["on", "ignoring"])
        ),
    }
}

fn set(random: &mut Random, depth: usize) -> String {
    let op = random.of(&[
        "and",
        "or",
        "unless",
        "and on (host)",
        "or on (host)",
        "unless ignoring (kind, mode)",
        "and on ()",
    ]);
    format!(
        "({}) {op} ({})",
        vector(random, depth),
        vector(random, depth)
    )
}

fn histogram(random: &mut Random) -> String {
    let q = random.of(&["0.5", "0.9", "0", "1", "2", "scalar(info{host=\"a\"}) / 3"]);
    let inner = random.of(&[
        "wait_bucket",
        "rate(wait_bucket[5m])",
        "sum by (le) (rate(wait_bucket[2m]))",
        "sum without (host) (wait_bucket)",
    ]);
    format!("histogram_quantile({q}, {inner})")
}

fn relabelled(random: &mut Random, depth: usize) -> String {
    let inner = vector(random, depth);
    match random.below(3) {
        0 => format!("label_replace({inner}, \"place\", \"$1-x\", \"host\", \"(.)\")"),
        1 => format!("label_join({inner}, \"both\", \"/\", \"host\", \"mode\")"),
        _ => format!("label_replace({inner}, \"host\", \"\", \"\", \"\")"),
    }
}
