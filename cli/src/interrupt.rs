//! An interrupted command removes what it was making, gives the terminal back and exits with 130.

use std::io::Write;

use tokio::signal::unix::{SignalKind, signal};

use crate::files::temporary;
use crate::output::terminal;

/// Exit status after SIGINT, SIGTERM or SIGHUP.
pub const INTERRUPTED: u8 = 130;

/// Waits for the signals on a thread of its own: a command may be busy in a call that looks at nothing else.
pub fn watch() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let guard = runtime.enter();
    let mut signals =
        [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?];
    drop(guard);
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        let [int, term, hup] = &mut signals;
        runtime.block_on(async {
            tokio::select! { _ = int.recv() => {}, _ = term.recv() => {}, _ = hup.recv() => {} }
        });
        terminal::restore();
        temporary::remove_all();
        let _ = writeln!(std::io::stderr(), "\nvault: interrupted");
        std::process::exit(INTERRUPTED.into());
    })?;
    Ok(())
}
