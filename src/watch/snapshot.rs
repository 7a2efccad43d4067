//! What a watcher remembers as bytes, so that another process goes on where it was.
//!
//! The bytes are as trusted as whoever keeps them makes them: the vault seals them with a key of its own. Read back they are still
//! checked for their bounds, and anything but what this release wrote is nothing.

use std::collections::HashMap;
use std::hash::Hash;

/// Longest snapshot: of as many principals as there may be, with some room.
pub const SNAPSHOT_MAX: u64 = 192 << 20;

/// A thing with a form in bytes. Numbers are little-endian; what has a length has it before it.
pub(super) trait Kept: Sized {
    fn put(&self, to: &mut Vec<u8>);
    /// `None` for what was never put.
    fn take(from: &mut &[u8]) -> Option<Self>;
}

macro_rules! numbers {
    ($($type:ident)*) => {$(
        impl Kept for $type {
            fn put(&self, to: &mut Vec<u8>) {
                to.extend_from_slice(&self.to_le_bytes());
            }
            fn take(from: &mut &[u8]) -> Option<Self> {
                let (bytes, rest) = from.split_first_chunk()?;
                *from = rest;
                Some(Self::from_le_bytes(*bytes))
            }
        }
    )*};
}
numbers!(u8 u16 u32 u64 i32 i64);

/// A struct is its fields, in this order.
macro_rules! kept {
    ([$($bounds:tt)*] $type:ty { $($field:ident),* $(,)? } $(if $valid:expr)?) => {
        impl<$($bounds)*> $crate::watch::snapshot::Kept for $type {
            fn put(&self, to: &mut Vec<u8>) {
                $(self.$field.put(to);)*
            }
            fn take(from: &mut &[u8]) -> Option<Self> {
                let taken = Self { $($field: $crate::watch::snapshot::Kept::take(from)?,)* };
                $(let valid: fn(&Self) -> bool = $valid; if !valid(&taken) { return None; })?
                Some(taken)
            }
        }
    };
}
pub(super) use kept;

impl Kept for bool {
    fn put(&self, to: &mut Vec<u8>) {
        u8::from(*self).put(to);
    }
    fn take(from: &mut &[u8]) -> Option<Self> {
        match u8::take(from)? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

impl<T: Kept> Kept for Option<T> {
    fn put(&self, to: &mut Vec<u8>) {
        self.is_some().put(to);
        if let Some(thing) = self {
            thing.put(to);
        }
    }
    fn take(from: &mut &[u8]) -> Option<Self> {
        if bool::take(from)? { T::take(from).map(Some) } else { Some(None) }
    }
}

impl<T: Kept + Default, const N: usize> Kept for [T; N] {
    fn put(&self, to: &mut Vec<u8>) {
        self.iter().for_each(|thing| thing.put(to));
    }
    fn take(from: &mut &[u8]) -> Option<Self> {
        let mut taken = std::array::from_fn(|_| T::default());
        for thing in &mut taken {
            *thing = T::take(from)?;
        }
        Some(taken)
    }
}

impl<T: Kept> Kept for Box<T> {
    fn put(&self, to: &mut Vec<u8>) {
        (**self).put(to);
    }
    fn take(from: &mut &[u8]) -> Option<Self> {
        T::take(from).map(Self::new)
    }
}

impl Kept for String {
    fn put(&self, to: &mut Vec<u8>) {
        (self.len() as u64).put(to);
        to.extend_from_slice(self.as_bytes());
    }
    fn take(from: &mut &[u8]) -> Option<Self> {
        // Read first: the rest begins behind it.
        let len = usize::try_from(u64::take(from)?).ok()?;
        let (text, rest) = from.split_at_checked(len)?;
        *from = rest;
        Self::from_utf8(text.to_vec()).ok()
    }
}

impl<K: Kept + Eq + Hash, V: Kept> Kept for HashMap<K, V> {
    fn put(&self, to: &mut Vec<u8>) {
        (self.len() as u64).put(to);
        for (key, value) in self {
            key.put(to);
            value.put(to);
        }
    }
    fn take(from: &mut &[u8]) -> Option<Self> {
        let mut taken = Self::new();
        // Grows with what is there, not with what is said to be.
        for _ in 0..u64::take(from)? {
            taken.insert(K::take(from)?, V::take(from)?);
        }
        Some(taken)
    }
}
