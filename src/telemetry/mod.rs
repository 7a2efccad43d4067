//! What a running vault counts about itself. Numbers only: no name of an artifact, a person or a workload, no address and no secret
//! ever becomes a label; labels are words of this program, of its protocol and of its settings, so their number is bounded.

mod metrics;
mod process;
mod span;

pub use metrics::{Call, Metrics};
pub use process::process;
pub use span::{Span, SpanContext, otlp_spans};

use std::fmt::Write as _;

/// Writes the text format of Prometheus (version 0.0.4).
#[derive(Debug, Default)]
pub struct Page(String);

impl Page {
    /// Begins a metric.
    pub fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Help and names are of this program: no backslash and no line end is in them.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// One value of it.
    pub fn value(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        self.0.push_str(name);
        for (i, (label, text)) in labels.iter().enumerate() {
            let _ = write!(self.0, "{}{label}=\"", if i == 0 { '{' } else { ',' });
            for c in text.chars() {
                match c {
                    '\\' => self.0.push_str("\\\\"),
                    '"' => self.0.push_str("\\\""),
                    '\n' => self.0.push_str("\\n"),
                    c => self.0.push(c),
                }
            }
            self.0.push('"');
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }

    /// A metric of one value.
    pub fn single(&mut self, name: &str, kind: &str, help: &str, value: impl std::fmt::Display) {
        self.family(name, kind, help);
        self.value(name, &[], value);
    }

    /// The page.
    pub fn finish(self) -> String {
        self.0
    }
}
