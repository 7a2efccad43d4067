//! Judges the cases of a directory: `mvlt-check DIR` reads DIR/cases.json in the layout of tests/vectors/mvlt and prints one
//! JSON line a case: `{"name", "result": "ok" | error id, "plaintext_blake3" | "root"}`. Exit status 0 if all cases ran.

#[path = "../tests/support/cases.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod cases;

use std::io::Write as _;

use cases::{Outcome, Suite, Verdict};
use serde_json::{Value, json};

fn main() -> Outcome<()> {
    let dir = std::env::args_os().nth(1).ok_or("usage: mvlt-check DIR")?;
    let suite = Suite::load(dir)?;
    let mut out = std::io::stdout().lock();
    let mut not_run = 0;
    for case in &suite.cases {
        match suite.judge(case) {
            Ok(verdict) => writeln!(out, "{}", line(&case["name"], verdict))?,
            Err(e) => {
                not_run += 1;
                eprintln!("mvlt-check: {}: {e}", case["name"]);
            }
        }
    }
    if not_run == 0 { Ok(()) } else { Err(format!("{not_run} cases could not be run").into()) }
}

fn line(name: &Value, verdict: Verdict) -> Value {
    let mut line = json!({ "name": name, "result": verdict.result });
    for (key, digest) in [("plaintext_blake3", verdict.plaintext_blake3), ("root", verdict.root)] {
        if let Some(digest) = digest {
            line[key] = digest.into();
        }
    }
    line
}
