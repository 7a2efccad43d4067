//! The tap: whoever inspects content sees the plaintext of a seal in the same pass, and may refuse it.

/// Sees the bytes that are being sealed.
///
/// Each member's bytes come in order, and then its end; members may be interleaved, in any order. Called from one thread at a
/// time. Do not keep plaintext longer than the question needs it.
pub trait Tap: Send {
    /// The bytes of `member` from `offset` on.
    ///
    /// # Errors
    /// A veto aborts the seal with `InspectionRefused`.
    fn segment(&mut self, member: &str, offset: u64, plaintext: &[u8]) -> Result<(), TapVeto>;

    /// `member` has no more bytes. The last chance to refuse it.
    ///
    /// # Errors
    /// A veto aborts the seal with `InspectionRefused`.
    fn member_end(&mut self, member: &str) -> Result<(), TapVeto>;
}

/// The content must not be sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TapVeto {
    /// A sentence for the user. It must not quote the content.
    pub reason: String,
}
