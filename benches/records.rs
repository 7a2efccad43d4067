//! Records a second: a table of 2,000,000 rows of about 140 bytes, made anew the same each time, as CSV, JSON Lines, Parquet and Arrow in
//! memory, looked through for its schema and measured on all cores.
//!
//! ```text
//! cargo bench --bench records --features datasets [-- --small]
//! ```
//!
//! Prints each against its goal on two cores; a shared machine gates nothing. All formats must have one root.

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, reason = "a bench")]

use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::{ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow_ipc::writer::FileWriter;
use model_vault::dataset::{Format, Measured, Source, Surveyor};
use model_vault::seal::io::ReadAt;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

const WORDS: [&str; 16] = [
    "the", "model", "vault", "keeps", "records", "signed", "and", "whole", "no", "byte", "of", "them", "changes",
    "without", "a", "trace",
];

struct Row {
    id: i64,
    label: i64,
    score: f64,
    checked: bool,
    source: String,
    text: String,
}

/// Xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

fn rows(random: &mut Random, from: i64, count: i64) -> Vec<Row> {
    let row = |id: i64| {
        let words: Vec<_> = (0..15).map(|_| WORDS[random.below(16) as usize]).collect();
        Row {
            id,
            label: random.below(10) as i64,
            score: random.below(1_000_000) as f64 / 1e6 + 1e-7,
            checked: random.below(2) == 0,
            source: format!("https://example.org/{}", random.below(5000)),
            text: words.join(" "),
        }
    };
    (from..from + count).map(row).collect()
}

fn batch(rows: &[Row]) -> RecordBatch {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(rows.iter().map(|r| r.id).collect::<Int64Array>())),
        ("label", Arc::new(rows.iter().map(|r| r.label).collect::<Int64Array>())),
        ("score", Arc::new(rows.iter().map(|r| r.score).collect::<Float64Array>())),
        ("checked", Arc::new(rows.iter().map(|r| Some(r.checked)).collect::<BooleanArray>())),
        ("source", Arc::new(rows.iter().map(|r| Some(&*r.source)).collect::<StringArray>())),
        ("text", Arc::new(rows.iter().map(|r| Some(&*r.text)).collect::<StringArray>())),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

/// The table in each format.
fn tables(count: i64) -> Vec<(&'static str, f64, Arc<dyn ReadAt>)> {
    let mut csv = String::from("id,label,score,checked,source,text\n");
    let mut jsonl = String::new();
    let properties =
        WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::try_new(3).unwrap())).build();
    let schema = batch(&[]).schema();
    let mut parquet = ArrowWriter::try_new(Vec::new(), schema.clone(), Some(properties)).unwrap();
    let mut arrow = FileWriter::try_new(Vec::new(), &schema).unwrap();
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    for from in (0..count).step_by(50_000) {
        let rows = rows(&mut random, from, 50_000.min(count - from));
        for Row { id, label, score, checked, source, text } in &rows {
            writeln!(csv, "{id},{label},{score:?},{checked},{source},{text}").unwrap();
            writeln!(
                jsonl,
                "{{\"id\":{id},\"label\":{label},\"score\":{score:?},\"checked\":{checked},\"source\":\"{source}\",\"text\":\"{text}\"}}"
            )
            .unwrap();
        }
        let batch = batch(&rows);
        parquet.write(&batch).unwrap();
        arrow.write(&batch).unwrap();
    }
    vec![
        ("t.csv", 4.5, Arc::new(csv.into_bytes())),
        ("t.jsonl", 2.5, Arc::new(jsonl.into_bytes())),
        ("t.parquet", 4.0, Arc::new(parquet.into_inner().unwrap())),
        ("t.arrow", 0.0, Arc::new(arrow.into_inner().unwrap())),
    ]
}

/// CPU time of this process, user and system.
fn cpu() -> Duration {
    let usage = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<_> = usage.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// Millions a second, the best of some rounds, and nanoseconds of CPU for each record then.
fn rate<T>(records: i64, rounds: u32, mut run: impl FnMut() -> T) -> (f64, f64, T) {
    let mut best: Option<(f64, f64, T)> = None;
    for _ in 0..rounds {
        let (began, before) = (Instant::now(), cpu());
        let made = run();
        let rate = records as f64 / began.elapsed().as_secs_f64() / 1e6;
        let each = (cpu() - before).as_nanos() as f64 / records as f64;
        if best.as_ref().is_none_or(|(other, ..)| rate > *other) {
            best = Some((rate, each, made));
        }
    }
    best.unwrap()
}

fn main() {
    let arguments: Vec<_> = std::env::args().collect();
    let small = arguments.iter().any(|a| a == "--small");
    let only = arguments.iter().position(|a| a == "--only").and_then(|i| arguments.get(i + 1));
    let (count, rounds) = if small { (200_000, 1) } else { (2_000_000, 3) };
    let threads = std::thread::available_parallelism().unwrap().get();
    let mut first: Option<Measured> = None;
    for (path, goal, bytes) in tables(count) {
        if only.is_some_and(|only| !path.ends_with(only.as_str())) {
            continue;
        }
        let size = bytes.len().unwrap();
        let source = Source { path, format: Format::of_name(path).unwrap(), bytes };
        let (looked, look, schema) = rate(count, rounds, || {
            let mut surveyor = Surveyor::default();
            surveyor.add(&source, threads).unwrap();
            surveyor.schema().unwrap()
        });
        let (measured, each, file) =
            rate(count, rounds, || source.measure(&schema, None, threads, &mut |_, _| Ok(())).unwrap().0);
        println!(
            "{path:<10} {:>4} B/row  schema {looked:5.2} M/s ({look:4.0} ns CPU)  measure {measured:5.2} M/s ({each:4.0} ns CPU), \
             goal {goal} M/s{}",
            size / count as u64,
            if measured < goal { ", missed" } else { "" }
        );
        match &first {
            Some(first) => assert_eq!((first.root, first.records), (file.root, file.records), "{path}"),
            None => first = Some(file),
        }
    }
}
