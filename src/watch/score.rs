//! How good rules are on labelled traffic: attacks found, how soon, and alerts about nothing.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Serialize;

use super::trace::Labelled;
use super::{Alert, RuleId, Rules, Watcher};

/// Milliseconds after the last event of an attack in which an alert about its principal is not called false.
const AFTERMATH: i64 = 24 * 3_600_000;

/// Counts over one trace, or over several that were added up.
#[derive(Clone, Debug, Default)]
pub struct Score {
    attacks: BTreeMap<String, Kind>,
    false_by_rule: BTreeMap<&'static str, u64>,
    aftermath: u64,
    principal_days: u64,
    events: u64,
}

/// Attacks of one kind.
#[derive(Clone, Debug, Default)]
struct Kind {
    instances: u64,
    found: u64,
    delays: Vec<i64>,
    events: Vec<u64>,
    rules: BTreeMap<&'static str, u64>,
}

/// What these rules say to a trace.
pub fn score<'a>(rules: &Rules, trace: impl IntoIterator<Item = &'a Labelled>) -> Score {
    let (mut watcher, mut scorer) = (Watcher::new(rules.clone(), [0; 32]), Scorer::default());
    for labelled in trace {
        let alerts = watcher.observe(&labelled.event);
        scorer.observe(labelled, &alerts);
    }
    scorer.finish()
}

/// What is remembered of an attack while its trace is read.
#[derive(Clone, Debug)]
struct Attack {
    began: i64,
    last: i64,
    events: u64,
    found: Option<(i64, u64, RuleId)>,
}

/// Reads a trace along with the alerts it raises.
#[derive(Debug, Default)]
pub struct Scorer {
    attacks: HashMap<String, Attack>,
    /// Of each principal that attacked: until when.
    attackers: HashMap<String, i64>,
    days: HashSet<(String, i64)>,
    score: Score,
}

impl Scorer {
    /// The next event and what was said about it.
    pub fn observe(&mut self, labelled: &Labelled, alerts: &[Alert]) {
        let (event, time) = (&labelled.event, labelled.event.time.as_millis());
        let who = event.actor.to_string();
        self.score.events += 1;
        match &labelled.label {
            Some(label) => {
                let first = Attack { began: time, last: time, events: 0, found: None };
                let attack = self.attacks.entry(label.clone()).or_insert(first);
                attack.last = time;
                attack.events += 1;
                if let (None, Some(alert)) = (attack.found, alerts.first()) {
                    attack.found = Some((time - attack.began, attack.events, alert.rule));
                }
                self.attackers.insert(who.clone(), time);
            }
            None => {
                for alert in alerts {
                    // The log's own rules speak about no principal.
                    let struck = match &alert.principal {
                        Some(_) => self.attackers.get(&who).copied(),
                        None => self.attackers.values().max().copied(),
                    };
                    if struck.is_some_and(|last| time - last <= AFTERMATH) {
                        self.score.aftermath += 1;
                    } else {
                        *self.score.false_by_rule.entry(alert.rule.as_str()).or_default() += 1;
                    }
                }
            }
        }
        self.days.insert((who, time.div_euclid(86_400_000)));
    }

    /// The counts.
    pub fn finish(mut self) -> Score {
        self.score.principal_days = self.days.len() as u64;
        for (label, attack) in self.attacks {
            let kind = label.split_once('#').map_or(label.as_str(), |(kind, _)| kind);
            let of = self.score.attacks.entry(kind.to_owned()).or_default();
            of.instances += 1;
            if let Some((delay, events, rule)) = attack.found {
                of.found += 1;
                of.delays.push(delay);
                of.events.push(events);
                *of.rules.entry(rule.as_str()).or_default() += 1;
            }
        }
        self.score
    }
}

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Detection {
    /// Kind of attack.
    pub attack: String,
    /// How many there were.
    pub instances: u64,
    /// How many were found while they went on.
    pub found: u64,
    /// Share found.
    pub rate: f64,
    /// Its 95 % confidence interval (Wilson).
    pub interval: [f64; 2],
    /// Half of those found were found within so many seconds of their first event ...
    pub median_delay_seconds: Option<i64>,
    /// ... and at this event of theirs.
    pub median_event: Option<u64>,
    /// Which rules found them first.
    pub rules: BTreeMap<String, u64>,
}

impl Score {
    /// Adds the counts of another trace.
    pub fn add(&mut self, other: Self) {
        for (name, kind) in other.attacks {
            let of = self.attacks.entry(name).or_default();
            of.instances += kind.instances;
            of.found += kind.found;
            of.delays.extend(kind.delays);
            of.events.extend(kind.events);
            kind.rules.into_iter().for_each(|(rule, n)| *of.rules.entry(rule).or_default() += n);
        }
        other.false_by_rule.into_iter().for_each(|(rule, n)| *self.false_by_rule.entry(rule).or_default() += n);
        self.aftermath += other.aftermath;
        self.principal_days += other.principal_days;
        self.events += other.events;
    }

    /// By kind of attack.
    pub fn detections(&self) -> Vec<Detection> {
        let row = |(attack, kind): (&String, &Kind)| Detection {
            attack: attack.clone(),
            instances: kind.instances,
            found: kind.found,
            rate: kind.found as f64 / kind.instances.max(1) as f64,
            interval: wilson(kind.found, kind.instances),
            median_delay_seconds: median(&kind.delays).map(|millis| millis / 1000),
            median_event: median(&kind.events),
            rules: kind.rules.iter().map(|(rule, n)| ((*rule).to_owned(), *n)).collect(),
        };
        self.attacks.iter().map(row).collect()
    }

    /// Alerts about nothing, by rule.
    pub fn false_alarms(&self) -> &BTreeMap<&'static str, u64> {
        &self.false_by_rule
    }

    /// The same for each day on which a principal was active, with a 95 % confidence interval (Poisson, by Byar).
    pub fn false_rate(&self) -> (f64, [f64; 2]) {
        let days = self.principal_days.max(1) as f64;
        let count = self.false_by_rule.values().sum::<u64>() as f64;
        let bound =
            |n: f64, z: f64| if n <= 0.0 { 0.0 } else { n * (1.0 - 1.0 / (9.0 * n) + z / (3.0 * n.sqrt())).powi(3) };
        (count / days, [bound(count, -1.96).max(0.0) / days, bound(count + 1.0, 1.96) / days])
    }

    /// Days on which a principal was active, added up.
    pub fn principal_days(&self) -> u64 {
        self.principal_days
    }

    /// Events.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Further alerts about a principal that had attacked within a day.
    pub fn aftermath(&self) -> u64 {
        self.aftermath
    }
}

/// The interval of a share.
fn wilson(found: u64, of: u64) -> [f64; 2] {
    if of == 0 {
        return [0.0, 1.0];
    }
    let (n, p, z) = (of as f64, found as f64 / of as f64, 1.96_f64);
    let (middle, spread) = (p + z * z / (2.0 * n), z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt());
    let scale = 1.0 + z * z / n;
    [((middle - spread) / scale).max(0.0), ((middle + spread) / scale).min(1.0)]
}

fn median<T: Copy + Ord>(values: &[T]) -> Option<T> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::traffic::{Plan, generate};

    /// A small part of the table of docs/monitoring.md, on seeds that the rules were not tuned on.
    #[test]
    fn rules_find_the_attacks_they_are_for_and_seldom_cry_wolf() {
        let mut total = Score::default();
        for seed in 1001..1005 {
            total.add(score(&Rules::default(), &generate(Plan { seed, days: 36, ..Plan::default() })));
        }
        let rate = |attack: &str| total.detections().into_iter().find(|d| d.attack == attack).map(|d| d.rate);
        for (attack, least) in [
            ("stolen-credential", 0.85),
            ("bulk", 0.5),
            ("slow-ranges", 0.6),
            ("reused-ids", 0.6),
            ("insider-night", 0.6),
            ("probing", 0.85),
            ("replay", 0.85),
            ("sweep", 0.6),
            ("unannounced", 0.85),
            ("patient", 0.6),
            ("rows-removed", 0.85),
            ("clock-back", 0.85),
        ] {
            let rate = rate(attack).unwrap();
            assert!(rate >= least, "{attack}: {rate}");
        }
        let (false_alarms, _) = total.false_rate();
        assert!(false_alarms <= 0.05, "{false_alarms} a principal and day: {:?}", total.false_alarms());
        assert!(total.principal_days() > 4000);
    }

    #[test]
    fn intervals_hold_what_tables_of_statistics_say() {
        let near = |a: f64, b: f64| (a - b).abs() < 0.001;
        let [low, high] = wilson(8, 10);
        assert!(near(low, 0.490) && near(high, 0.943), "{low} {high}");
        let [low, high] = wilson(30, 30);
        assert!(near(low, 0.886) && near(high, 1.0), "{low} {high}");
        assert_eq!(wilson(0, 0), [0.0, 1.0]);
        let mut score = Score { principal_days: 1000, ..Score::default() };
        score.false_by_rule.insert("replay", 10);
        let (rate, [low, high]) = score.false_rate();
        assert!(near(rate, 0.01) && near(low, 0.0048) && near(high, 0.0184), "{low} {high}");
        score.false_by_rule.clear();
        let (rate, [low, high]) = score.false_rate();
        assert!(rate == 0.0 && low == 0.0 && near(high, 0.0037), "{high}");
    }
}
