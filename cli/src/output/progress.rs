//! How far a long command is: bytes, rate and time left, on a terminal's standard error only.

use std::io::{IsTerminal, stderr};
use std::sync::{Arc, Once};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// What takes less is over before anybody reads a bar.
const PATIENCE: Duration = Duration::from_millis(300);
/// How often the bar moves while no bytes do.
const TICK: Duration = Duration::from_millis(250);

/// A bar, or nothing where nobody watches. Cheap to clone; gone from the screen when the last clone is.
#[derive(Clone)]
pub struct Progress {
    bar: ProgressBar,
    watched: bool,
    shown: Arc<Once>,
}

impl Progress {
    /// For a command that moves `total` bytes.
    pub fn new(what: &'static str, total: u64, quiet: bool) -> Self {
        const TEMPLATE: &str = "{msg} {wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}";
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden());
        // The template is a constant; should a release of indicatif refuse it, its default does.
        let style = ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style);
        bar.set_message(what);
        Self { bar, watched: !quiet && stderr().is_terminal(), shown: Arc::new(Once::new()) }
    }

    /// For a command that waits for another process, which tells nothing on the way.
    pub fn waiting(what: &'static str, quiet: bool) -> Self {
        let waiting = Self::new(what, 0, quiet);
        waiting.bar.set_style(ProgressStyle::default_spinner());
        waiting.show();
        waiting
    }

    /// So many bytes are done in all.
    pub fn at(&self, bytes: u64) {
        self.bar.set_position(bytes);
        self.show_if_long();
    }

    /// So many more bytes are done.
    pub fn more(&self, bytes: u64) {
        self.bar.inc(bytes);
        self.show_if_long();
    }

    /// So many bytes are to be done, which was not known at first.
    pub fn of(&self, total: u64) {
        self.bar.set_length(total);
    }

    /// What is being done by now.
    pub fn says(&self, what: String) {
        self.bar.set_message(what);
        self.show_if_long();
    }

    /// For callbacks that tell the bytes done in all.
    pub fn callback(&self) -> Box<dyn Fn(u64) + Send + Sync> {
        let bar = self.clone();
        Box::new(move |bytes| bar.at(bytes))
    }

    /// Takes the bar off the screen.
    pub fn done(&self) {
        self.bar.finish_and_clear();
    }

    fn show_if_long(&self) {
        if self.bar.elapsed() >= PATIENCE {
            self.show();
        }
    }

    fn show(&self) {
        if self.watched {
            self.shown.call_once(|| {
                self.bar.set_draw_target(ProgressDrawTarget::stderr());
                self.bar.enable_steady_tick(TICK);
            });
        }
    }
}
