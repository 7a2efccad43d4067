//! Opening a sealed file and reading from it (docs/format.md 9.1 and 9.2).
//!
//! The order of the steps is normative: it decides which error is reported when several things are wrong.

use std::ops::Range;

use zeroize::{Zeroize, Zeroizing};

use super::error::SealError;
use super::header::{Header, HeaderFacts};
use super::io::ReadAt;
use super::keys::derive;
use super::layout::Layout;
use super::manifest::{Manifest, Member};
use super::pins::Pins;
use super::preamble::Preamble;
use super::segment::{Segments, check_range, nonce};
use super::signatures;
use super::slots::Slot;
use super::trailer::{INDEX_ENTRY_LEN, Tail, manifest_plain_len, manifest_segments};
use super::unlock::Credential;
use crate::crypto::aead::{SegmentCipher, TAG_LEN, Tag, segment_cipher};
use crate::crypto::keys::{FileKey, Key, ManifestKey, PayloadKey};
use crate::crypto::sign::PublicKey;
use crate::crypto::{equal, hash};
use crate::error::Error;
use crate::names::{KeyId, Root};

/// What the caller demands of a file.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenOptions<'a> {
    /// What is known about it.
    pub pins: Pins,
    /// One of these must have sealed it. An empty list refuses every file.
    pub required_signers: Option<&'a [PublicKey]>,
    /// Opens a file by a hybrid slot although neither a signer is required nor root or commitment pinned. Anyone can seal a
    /// file to a public key: what comes out may be from anybody (docs/format.md 13).
    pub accept_unknown_origin: bool,
}

/// Whether the hash of a segment's ciphertext is compared before it is decrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashCheck {
    /// Yes: every reader but one.
    Compare,
    /// No, the tag only: for a server whose client has announced that it checks every group of plaintext against the member
    /// digests of a signed statement (docs/format.md 9.2).
    SkipForCheckingClient,
}

/// Asked before a segment of so many bytes is decrypted, whether its plaintext may still be had.
pub type Gate = Box<dyn Fn(u64) -> Result<(), Error> + Send + Sync>;

/// A sealed file that was opened. Any number of threads may read from it.
pub struct Reader {
    source: Box<dyn ReadAt>,
    facts: HeaderFacts,
    root: Root,
    signers: Vec<KeyId>,
    signatures: Vec<u8>,
    index: Vec<u8>,
    manifest: Manifest,
    outboard: Vec<u8>,
    pub(super) layout: Layout,
    cipher: Box<dyn SegmentCipher>,
    gate: Option<Gate>,
}

impl Reader {
    /// Opens `source`, reading header, index, manifest, signatures and trailer once; nothing of them is ever read again.
    ///
    /// # Errors
    /// The first step of docs/format.md 9.1 that fails.
    pub fn open(
        source: impl ReadAt + 'static,
        credential: &Credential,
        options: &OpenOptions<'_>,
    ) -> Result<Self, SealError> {
        Self::open_boxed(Box::new(source), credential, options)
    }

    fn open_boxed(
        source: Box<dyn ReadAt>,
        credential: &Credential,
        options: &OpenOptions<'_>,
    ) -> Result<Self, SealError> {
        let OpenOptions { pins, required_signers, .. } = options;
        let header = Header::read(&*source, pins)?;
        let key = header.unlock(credential, pins)?;
        let facts = header.facts;
        let preamble = &facts.preamble;

        let tail = Tail::read(&*source, preamble)?;
        let parts = tail.read_parts(&*source)?;
        let root = parts.root(&preamble.to_bytes(), tail.lengths.payload);
        if !equal(&parts.footer_mac(&key, preamble, tail.lengths, &root), &tail.footer_mac) {
            return Err(SealError::FooterAuthFailed);
        }
        pins.check_root(&root)?;
        let signers = match required_signers {
            Some(trusted) => signatures::check(&parts.signatures, trusted, &preamble.file_id, &root)?,
            None if origin_is_open(credential, options) => return Err(SealError::SignatureMissing),
            None => Vec::new(),
        };

        let (manifest, outboard) = open_manifest(parts.manifest, &key, preamble, tail.segments)?;
        let layout = Layout::new(tail.segments, manifest.members.iter().map(|m| (m.offset, m.size)));
        let cipher = segment_cipher(&derive::<PayloadKey>(&key, &preamble.commitment).expose());
        Ok(Self {
            source,
            root,
            signers,
            signatures: parts.signatures,
            index: parts.index,
            manifest,
            outboard,
            layout,
            cipher,
            facts,
            gate: None,
        })
    }

    /// The same file behind a gate: not one segment is decrypted without it, by whatever method.
    #[must_use]
    pub fn gated(self, gate: Gate) -> Self {
        Self { gate: Some(gate), ..self }
    }

    /// The fixed part of the header.
    pub fn preamble(&self) -> &Preamble {
        &self.facts.preamble
    }

    /// Generation of the header.
    pub fn generation(&self) -> u32 {
        self.facts.table.generation
    }

    /// The slots of the header.
    pub fn slots(&self) -> &[Slot] {
        &self.facts.table.slots
    }

    /// Names the content for life.
    pub fn root(&self) -> Root {
        self.root
    }

    /// The required signers that did sign; empty where none was required.
    pub fn signers(&self) -> &[KeyId] {
        &self.signers
    }

    /// SIGNATURES as they lie in the file: the seal statements, checked only if signers were required.
    pub fn signatures(&self) -> &[u8] {
        &self.signatures
    }

    /// Key ids that the seal statements name. Named, not verified: for display only.
    pub fn claimed_signers(&self) -> Vec<String> {
        signatures::claimed(&self.signatures)
    }

    /// What the file holds.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The trees of all members that have one.
    pub fn outboard(&self) -> &[u8] {
        &self.outboard
    }

    /// The tree of one member; empty if it has at most one group.
    pub fn outboard_of(&self, member: &Member) -> &[u8] {
        // Ranges of our own members were checked when the manifest was read; a foreign member has none here.
        let range = member.outboard.clone().unwrap_or(0..0);
        self.outboard.get(range.start as usize..range.end as usize).unwrap_or_default()
    }

    /// How the payload is cut.
    pub fn segments(&self) -> Segments {
        self.layout.segments
    }

    /// Bytes of the payload, gaps included.
    pub fn payload_len(&self) -> u64 {
        self.segments().payload_len()
    }

    /// Number of segments.
    pub fn segment_count(&self) -> u64 {
        self.segments().count()
    }

    /// The payload bytes of segment `index`; `None` if there is no such segment.
    pub fn segment_range(&self, index: u64) -> Option<Range<u64>> {
        self.segments().range(index)
    }

    /// Reads, checks and decrypts one segment into `buffer`, which takes its length. Nothing of it is readable before its
    /// tag was verified; after a failure the buffer is wiped and empty.
    ///
    /// # Errors
    /// `IndexMismatch`, `SegmentAuthFailed`; `RangeInvalid` if there is no such segment; what the gate gives.
    pub fn read_segment(&self, index: u64, buffer: &mut Vec<u8>, check: HashCheck) -> Result<(), SealError> {
        let range = self.range_of(index)?;
        let len = (range.end - range.start) as usize;
        if buffer.capacity() < len {
            // Growing would leave a copy of earlier plaintext in freed memory.
            buffer.zeroize();
            buffer.reserve_exact(len);
        }
        buffer.resize(len, 0);
        let read = self.read_segment_into(index, buffer, check);
        if read.is_err() {
            buffer.zeroize();
        }
        read
    }

    /// The same into a place of exactly the segment's length; zeroed after a failure.
    ///
    /// # Errors
    /// As [`read_segment`](Self::read_segment).
    pub fn read_segment_into(&self, index: u64, place: &mut [u8], check: HashCheck) -> Result<(), SealError> {
        let range = self.range_of(index)?;
        assert_eq!(place.len() as u64, range.end - range.start, "a place of the segment's length");
        if let Some(gate) = &self.gate {
            gate(place.len() as u64).map_err(SealError::Caller)?;
        }
        let result = self.decrypt(index, range.start, place, check);
        if result.is_err() {
            place.zeroize();
        }
        result
    }

    fn decrypt(&self, index: u64, start: u64, place: &mut [u8], check: HashCheck) -> Result<(), SealError> {
        self.source.read_exact_at(place, u64::from(self.facts.preamble.header_len) + start)?;
        let (tag, expected) = self.index_entry(index);
        if check == HashCheck::Compare && !equal(&hash::blake3(place).0, expected) {
            return Err(SealError::IndexMismatch { segment: index });
        }
        let nonce = nonce(index, self.segment_count());
        self.cipher.open(&nonce, b"", place, &tag).map_err(|_| SealError::SegmentAuthFailed { segment: index })
    }

    fn index_entry(&self, index: u64) -> (Tag, &[u8]) {
        let entry = &self.index[index as usize * INDEX_ENTRY_LEN..][..INDEX_ENTRY_LEN];
        let (tag, hash) = entry.split_at(TAG_LEN);
        (tag.try_into().expect("an entry starts with a tag"), hash)
    }

    fn range_of(&self, index: u64) -> Result<Range<u64>, SealError> {
        let count = self.segment_count();
        self.segment_range(index).ok_or(SealError::RangeInvalid { start: index, end: index, len: count })
    }

    /// Hands the payload bytes `range` to `sink`, in order, segment by segment, each after its tag was verified.
    ///
    /// # Errors
    /// `RangeInvalid`, what [`read_segment`](Self::read_segment) gives, or what `sink` gives. Bytes handed on before stay
    /// right, but are not the whole.
    pub fn read_range<E: From<SealError>>(
        &self,
        range: Range<u64>,
        check: HashCheck,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut buffer = Zeroizing::new(Vec::new());
        for index in self.segments().covering(&range)? {
            self.read_segment(index, &mut buffer, check)?;
            let segment = self.range_of(index)?;
            let part = range.start.max(segment.start)..range.end.min(segment.end);
            sink(&buffer[(part.start - segment.start) as usize..(part.end - segment.start) as usize])?;
        }
        Ok(())
    }

    /// Fills `place` with the payload bytes from `offset` on; zeroed after a failure. Whole segments are decrypted in place.
    ///
    /// # Errors
    /// As [`read_range`](Self::read_range).
    pub fn read_at(&self, offset: u64, place: &mut [u8], check: HashCheck) -> Result<(), SealError> {
        self.cursor(check).read_at(offset, place)
    }

    /// For reading at several places, one after the other.
    pub fn cursor(&self, check: HashCheck) -> Cursor<'_> {
        Cursor { reader: self, check, held: None, segment: Zeroizing::new(Vec::new()) }
    }

    /// The same for bytes of one member.
    ///
    /// # Errors
    /// As [`read_range`](Self::read_range); `NotFound` if there is no such member.
    pub fn read_member_range<E: From<SealError>>(
        &self,
        path: &str,
        range: Range<u64>,
        check: HashCheck,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let member = self.member(path)?;
        check_range(&range, member.size)?;
        self.read_range(member.offset + range.start..member.offset + range.end, check, sink)
    }

    /// The member of that path.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn member(&self, path: &str) -> Result<&Member, SealError> {
        self.manifest.member(path).ok_or_else(|| SealError::NoSuchMember { path: path.into() })
    }
}

/// Reads at any places, and decrypts a segment once for all places that follow one another within it.
pub struct Cursor<'a> {
    reader: &'a Reader,
    check: HashCheck,
    /// Which segment lies in the buffer.
    held: Option<u64>,
    segment: Zeroizing<Vec<u8>>,
}

impl Cursor<'_> {
    /// As [`Reader::read_at`].
    ///
    /// # Errors
    /// As [`Reader::read_range`].
    pub fn read_at(&mut self, offset: u64, place: &mut [u8]) -> Result<(), SealError> {
        let read = self.fill(offset, place);
        if read.is_err() {
            self.held = None;
            place.zeroize();
        }
        read
    }

    fn fill(&mut self, offset: u64, place: &mut [u8]) -> Result<(), SealError> {
        let reader = self.reader;
        let range = offset..offset.saturating_add(place.len() as u64);
        let first = reader.segments().containing(offset);
        if !place.is_empty() && reader.segment_range(first) == Some(range.clone()) {
            return reader.read_segment_into(first, place, self.check);
        }
        let mut filled = 0;
        for index in reader.segments().covering(&range)? {
            if self.held != Some(index) {
                self.held = None;
                reader.read_segment(index, &mut self.segment, self.check)?;
                self.held = Some(index);
            }
            let segment = reader.range_of(index)?;
            let part = range.start.max(segment.start)..range.end.min(segment.end);
            let bytes = &self.segment[(part.start - segment.start) as usize..(part.end - segment.start) as usize];
            place[filled..filled + bytes.len()].copy_from_slice(bytes);
            filled += bytes.len();
        }
        Ok(())
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader")
            .field("file_id", &self.facts.preamble.file_id)
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}

/// Whether nothing but a public key stands behind the file, and the caller has not said that this is fine.
fn origin_is_open(credential: &Credential, options: &OpenOptions<'_>) -> bool {
    matches!(credential, Credential::Hybrid(_)) && !options.accept_unknown_origin && !options.pins.fix_the_origin()
}

/// Step 9: decrypts the manifest and checks its content; gives OUTBOARD beside it.
fn open_manifest(
    mut part: Vec<u8>,
    key: &Key<FileKey>,
    preamble: &Preamble,
    segments: Segments,
) -> Result<(Manifest, Vec<u8>), SealError> {
    let plain_len = manifest_plain_len(part.len() as u64).ok_or(SealError::ManifestAuthFailed)? as usize;
    let (plaintext, tags) = part.split_at_mut(plain_len);
    let cipher = segment_cipher(&derive::<ManifestKey>(key, &preamble.commitment).expose());
    let count = (tags.len() / TAG_LEN) as u64;
    for ((index, range), tag) in manifest_segments(plain_len).zip(tags.chunks_exact(TAG_LEN)) {
        let tag = tag.try_into().expect("chunks have the length of a tag");
        cipher
            .open(&nonce(index, count), b"", &mut plaintext[range], &tag)
            .map_err(|_| SealError::ManifestAuthFailed)?;
    }
    let (manifest, outboard) = Manifest::parse(plaintext, segments.payload_len(), segments.log2())?;
    let outboard = outboard.to_vec();
    Ok((manifest, outboard))
}
