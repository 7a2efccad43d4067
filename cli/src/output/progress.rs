//! How far a long command is: bytes, rate and time left, on a terminal's standard error only.

use std::io::{IsTerminal, stderr};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar, or nothing where nobody watches. Cheap to clone; gone from the screen when the last clone is.
#[derive(Clone)]
pub struct Progress(ProgressBar);

impl Progress {
    /// For a command that moves `total` bytes. Short ones are over before the bar would show.
    pub fn new(what: &str, total: u64, quiet: bool) -> Self {
        let target =
            if quiet || !stderr().is_terminal() { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let template = "{msg} {wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}";
        // The template is a constant; should a release of indicatif refuse it, its default does.
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::with_draw_target(Some(total), target).with_style(style);
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(250));
        Self(bar)
    }

    /// So many bytes are done in all.
    pub fn at(&self, bytes: u64) {
        self.0.set_position(bytes);
    }

    /// So many more bytes are done.
    pub fn more(&self, bytes: u64) {
        self.0.inc(bytes);
    }

    /// For callbacks that tell the bytes done in all.
    pub fn callback(&self) -> Box<dyn Fn(u64) + Send + Sync> {
        let bar = self.clone();
        Box::new(move |bytes| bar.at(bytes))
    }

    /// Takes the bar off the screen.
    pub fn done(&self) {
        self.0.finish_and_clear();
    }
}
