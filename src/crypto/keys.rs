//! Secrets as types. A [`Key`] lives in pages that are locked into memory and left out of core dumps, prints as
//! `REDACTED`, is compared in constant time and wiped when dropped. Copies exist only while they are used.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Mutex;

use memmap2::{Advice, MmapMut};
use zeroize::{Zeroize, Zeroizing};

use crate::error::Result;
use crate::names::Random;

/// What a key is for. A type per purpose: a footer key cannot be passed where a payload key is wanted.
pub trait Purpose: Send + Sync + 'static {
    /// Shown instead of the bytes.
    const NAME: &'static str;
}

macro_rules! purposes {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub enum $name {}
        impl Purpose for $name {
            const NAME: &'static str = stringify!($name);
        }
    )*};
}
purposes! {
    /// Custody: everything else hangs below it (TRUST 1).
    RootSecret,
    /// Encrypts the keyring under a fresh key.
    KeyringBody,
    /// A namespace's key-encryption key.
    NamespaceKek,
    /// FORMAT type 3 slots: an artifact key, one per version.
    ArtifactKey,
    /// FK of a sealed file.
    FileKey,
    /// K_payload.
    PayloadKey,
    /// K_manifest.
    ManifestKey,
    /// K_header.
    HeaderKey,
    /// K_footer.
    FooterKey,
    /// What a passphrase became by Argon2id, or what a KMS returned for a blob.
    SlotSecret,
    /// An X-Wing seed.
    HybridSeed,
    /// An Ed25519 seed.
    SigningSeed,
    /// Authenticates rows of the catalogue.
    CatalogueKey,
}

/// 32 secret bytes for purpose `P`.
pub struct Key<P: Purpose> {
    slot: Slot,
    purpose: PhantomData<P>,
}

impl<P: Purpose> Key<P> {
    /// Takes the bytes over and wipes the caller's copy.
    pub fn take(bytes: &mut [u8; 32]) -> Self {
        let slot = Slot::take(bytes);
        bytes.zeroize();
        Self { slot, purpose: PhantomData }
    }

    /// A fresh random key.
    pub fn generate(random: &dyn Random) -> Result<Self> {
        let mut bytes = Zeroizing::new([0; 32]);
        random.fill(&mut *bytes)?;
        Ok(Self::take(&mut bytes))
    }

    /// A short-lived copy, wiped when it goes. The name is meant to be seen in review.
    pub fn expose(&self) -> Zeroizing<[u8; 32]> {
        self.slot.read()
    }
}

impl<P: Purpose> Clone for Key<P> {
    fn clone(&self) -> Self {
        Self::take(&mut self.expose())
    }
}

impl<P: Purpose> fmt::Debug for Key<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(REDACTED)", P::NAME)
    }
}

impl<P: Purpose> PartialEq for Key<P> {
    fn eq(&self, other: &Self) -> bool {
        super::equal(&*self.expose(), &*other.expose())
    }
}
impl<P: Purpose> Eq for Key<P> {}

/// A passphrase: wiped when dropped, never printed.
#[derive(Clone)]
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// Takes the text over; one trailing line break is not part of it.
    pub fn new(text: String) -> Self {
        let mut text = Zeroizing::new(text);
        let kept = text.strip_suffix('\n').map_or(text.len(), |t| t.strip_suffix('\r').unwrap_or(t).len());
        text.truncate(kept);
        Self(text)
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes Argon2id takes: UTF-8 in normalization form C, so that the same text typed on two systems is one passphrase.
    pub fn nfc_bytes(&self) -> Zeroizing<Vec<u8>> {
        use unicode_normalization::UnicodeNormalization;
        let mut bytes = Zeroizing::new(Vec::with_capacity(4 * self.0.len()));
        for c in self.0.nfc() {
            let mut utf8 = [0; 4];
            bytes.extend_from_slice(c.encode_utf8(&mut utf8).as_bytes());
        }
        bytes
    }
}

impl PartialEq for Passphrase {
    fn eq(&self, other: &Self) -> bool {
        super::equal(self.0.as_bytes(), other.0.as_bytes())
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(REDACTED)")
    }
}

/// Whether key pages could be locked and left out of core dumps. `vault doctor` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protection {
    /// Pages cannot be swapped out.
    pub locked: bool,
    /// Pages are left out of core dumps.
    pub undumpable: bool,
}

/// How well the pages that hold keys are protected on this machine.
pub fn protection() -> Protection {
    let arena = ARENA.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    match arena.pages.first() {
        Some(page) => page.protection,
        None => Page::new().map_or(Protection { locked: false, undumpable: false }, |p| p.protection),
    }
}

/// Makes this process leave no core dump and not be attachable by its own user (prctl(2), getrlimit(2)). For the daemon.
pub fn harden_process() -> std::io::Result<()> {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// All keys of the process: pages of 128 slots, so that thousands of keys fit the usual limit of 8 MiB locked memory.
static ARENA: Mutex<Arena> = Mutex::new(Arena { pages: Vec::new() });

const SLOT: usize = 32;
const PAGE: usize = 4096;
const SLOTS: usize = PAGE / SLOT;

struct Arena {
    pages: Vec<Page>,
}

struct Page {
    memory: MmapMut,
    used: u128,
    protection: Protection,
}

impl Page {
    fn new() -> std::io::Result<Self> {
        let memory = MmapMut::map_anon(PAGE)?;
        // A machine may forbid either. Keys must still work there: `protection` reports it, `vault doctor` says so.
        let locked = memory.lock().is_ok();
        let undumpable = memory.advise(Advice::DontDump).is_ok();
        Ok(Self { memory, used: 0, protection: Protection { locked, undumpable } })
    }
}

/// Place of one key in the arena; wiped and given back when dropped.
struct Slot {
    page: usize,
    slot: usize,
}

impl Slot {
    fn take(bytes: &[u8; 32]) -> Self {
        let mut arena = ARENA.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let page = arena.pages.iter().position(|p| p.used != u128::MAX).unwrap_or_else(|| {
            arena
                .pages
                .push(Page::new().expect("an anonymous page can be mapped, or no allocation of this process can"));
            arena.pages.len() - 1
        });
        let target = &mut arena.pages[page];
        let slot = target.used.trailing_ones() as usize;
        target.used |= 1 << slot;
        target.memory[slot * SLOT..][..SLOT].copy_from_slice(bytes);
        Self { page, slot }
    }

    fn read(&self) -> Zeroizing<[u8; 32]> {
        let arena = ARENA.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut copy = Zeroizing::new([0; SLOT]);
        copy.copy_from_slice(&arena.pages[self.page].memory[self.slot * SLOT..][..SLOT]);
        copy
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut arena = ARENA.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let page = &mut arena.pages[self.page];
        page.memory[self.slot * SLOT..][..SLOT].zeroize();
        page.used &= !(1 << self.slot);
    }
}

const _: () = assert!(SLOTS == 128, "`used` has one bit a slot");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_print_nothing_and_compare_by_value() {
        let key = Key::<FileKey>::take(&mut [7; 32]);
        assert_eq!(format!("{key:?}"), "FileKey(REDACTED)");
        assert_eq!(key, key.clone());
        assert_ne!(key, Key::take(&mut [8; 32]));
        assert_eq!(format!("{:?}", Passphrase::new("secret".into())), "Passphrase(REDACTED)");
    }

    #[test]
    fn taking_wipes_the_source_and_slots_are_reused_without_mixing() {
        let mut bytes = [9; 32];
        let first = Key::<FileKey>::take(&mut bytes);
        assert_eq!(bytes, [0; 32]);
        let many: Vec<_> = (0..300u16).map(|i| Key::<FileKey>::take(&mut [i as u8; 32])).collect();
        drop(first);
        let again = Key::<FileKey>::take(&mut [1; 32]);
        assert_eq!(*again.expose(), [1; 32]);
        assert!(many.iter().enumerate().all(|(i, k)| *k.expose() == [i as u8; 32]));
    }

    #[test]
    fn passphrases_are_normalized_and_lose_one_line_break() {
        assert_eq!(Passphrase::new("e\u{301}\r\n".into()).nfc_bytes().as_slice(), "\u{e9}".as_bytes());
        assert_eq!(Passphrase::new("a\n\n".into()).nfc_bytes().as_slice(), b"a\n");
    }
}
