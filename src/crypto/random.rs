//! The system's random generator, hedged against a cloned state (docs/format.md 5.4, rule 5).

use std::sync::OnceLock;
use std::time::Instant;

use zeroize::Zeroizing;

use crate::error::{Error, ErrorId, Result};
use crate::names::Random;

/// getrandom(2).
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, out: &mut [u8]) -> Result<()> {
        getrandom::fill(out)
            .map_err(|e| Error::new(ErrorId::Internal, format!("the system gives no random bytes: {e}")))
    }
}

/// Fills `out` from `random` mixed by HKDF with boot id, process, thread and a monotonic clock: after a machine snapshot or a
/// fork that repeats the generator's state, two attempts to seal still draw different keys.
pub fn fill_hedged(random: &dyn Random, label: &[u8], out: &mut [u8; 32]) -> Result<()> {
    static START: OnceLock<Instant> = OnceLock::new();
    static BOOT_ID: OnceLock<Vec<u8>> = OnceLock::new();
    let boot = BOOT_ID.get_or_init(|| std::fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default());
    let elapsed = START.get_or_init(Instant::now).elapsed().as_nanos();
    let mut fresh = Zeroizing::new([0; 32]);
    random.fill(&mut *fresh)?;
    let place = format!("{}/{:?}/{elapsed}", std::process::id(), std::thread::current().id());
    super::kdf::hkdf(&*fresh, boot, &[label, place.as_bytes()], out);
    Ok(())
}
