//! Sealing: what is asked for, the parts in order, and what comes out (docs/format.md 3 to 8).

use super::digests::MemberDigest;
use super::error::SealError;
use super::fresh::Fresh;
use super::header::{roomy_header_len, write_header};
use super::io::{ReadAt, WriteAt};
use super::keys::derive;
use super::manifest::{Manifest, Member};
use super::payload::write_payload;
use super::plan::Plan;
use super::preamble::{Preamble, check_shape, context_hash};
use super::segment::nonce;
use super::signatures;
use super::slots::SlotTable;
use super::tap::Tap;
use super::trailer::{Lengths, MAX_MANIFEST, Parts, manifest_len, manifest_segments, write_trailer};
use super::unlock::{self, NewSlot, make_table};
use crate::crypto::aead::segment_cipher;
use crate::crypto::dsse::Signer;
use crate::crypto::keys::{FileKey, Key, ManifestKey};
use crate::error::Error;
use crate::names::{ArtifactKind, Commitment, FileId, Random, Root};

/// A file that becomes a member.
pub struct MemberSource<'a> {
    /// Its path in the sealed file.
    pub path: String,
    /// Its bytes, each read once.
    pub source: Box<dyn ReadAt + 'a>,
    /// Whether its SHA-256 is wanted beside the BLAKE3.
    pub sha256: bool,
    /// A hint.
    pub media_type: Option<String>,
    /// A hint.
    pub format: Option<String>,
}

/// What statements are made from: the file's id and its manifest, complete but for the statements.
#[derive(Clone, Copy, Debug)]
pub struct Draft<'a> {
    /// The file.
    pub file_id: FileId,
    /// Members with digests, sizes and offsets.
    pub manifest: &'a Manifest,
}

/// Makes the inner statements once all digests are known.
pub type StatementMaker<'a> = Box<dyn FnOnce(&Draft<'_>) -> Result<Vec<serde_json::Value>, Error> + 'a>;

/// What is to be sealed, and how.
pub struct SealRequest<'a> {
    /// What sort of content.
    pub kind: ArtifactKind,
    /// In any order.
    pub members: Vec<MemberSource<'a>>,
    /// Who may open the file.
    pub slots: Vec<NewSlot>,
    /// Binds the file to its place, for example tenant and artifact ids. Not empty.
    pub context: Option<Vec<u8>>,
    /// Bytes of the header, for life. `None`: at least 8192, with 2 KiB of room.
    pub header_len: Option<u32>,
    /// Segment size exponent. `None`: 20, or less where the gaps would exceed 1/16 of the payload.
    pub log2: Option<u8>,
    /// Group size exponent. `None`: 20, or the smallest larger one whose trees fit the manifest.
    pub group_log2: Option<u8>,
    /// A hint.
    pub media_type: Option<String>,
    /// A hint.
    pub format: Option<String>,
    /// Free content: an object.
    pub annotations: Option<serde_json::Value>,
    /// Makes the inner statements.
    pub statements: StatementMaker<'a>,
    /// Each signs a seal statement; asked last, when the root is known.
    pub seal_signers: Vec<&'a dyn Signer>,
    /// Worker threads. `None`: as many as the machine has, at most 4.
    pub threads: Option<usize>,
    /// Sees the plaintext in the same pass and may refuse it.
    pub tap: Option<&'a mut dyn Tap>,
    /// Told how many bytes of payload were written each time.
    pub progress: &'a (dyn Fn(u64) + Sync),
}

impl<'a> SealRequest<'a> {
    /// A request with everything else left to the writer.
    pub fn new(kind: ArtifactKind, members: Vec<MemberSource<'a>>, slots: Vec<NewSlot>) -> Self {
        Self {
            kind,
            members,
            slots,
            context: None,
            header_len: None,
            log2: None,
            group_log2: None,
            media_type: None,
            format: None,
            annotations: None,
            statements: Box::new(|_| Ok(Vec::new())),
            seal_signers: Vec::new(),
            threads: None,
            tap: None,
            progress: &|_| {},
        }
    }
}

/// What came out. The body was written; the header is here.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// The bytes before the body.
    pub header: Vec<u8>,
    /// The fixed part of the header: file id, commitment, context.
    pub preamble: Preamble,
    /// Names the content for life.
    pub root: Root,
    /// Of the header.
    pub generation: u32,
    /// Bytes of the body.
    pub body_len: u64,
    /// Bytes of the payload.
    pub payload_len: u64,
    /// What the file holds.
    pub manifest: Manifest,
}

impl Sealed {
    /// The file.
    pub fn file_id(&self) -> FileId {
        self.preamble.file_id
    }

    /// Fixes the file key.
    pub fn commitment(&self) -> Commitment {
        self.preamble.commitment
    }

    /// Bytes of the header.
    pub fn header_len(&self) -> u32 {
        self.preamble.header_len
    }
}

/// Seals: reads each member once, writes the body to `body` from `body_offset` on (0 for the store form, the header's length
/// for a portable file) and returns the header.
///
/// # Errors
/// `InvalidArgument`, `LimitExceeded`, `SourceChanged`, `InspectionRefused`, or what reading, writing or the caller's parts
/// give. Whatever was written is useless then, since its key is gone: delete it. To try again is to seal anew.
pub fn seal(
    request: SealRequest<'_>,
    random: &dyn Random,
    body: &dyn WriteAt,
    body_offset: u64,
) -> Result<Sealed, SealError> {
    let fresh = Fresh::draw(random, request.slots.len())?;
    seal_with(request, fresh, body, body_offset)
}

pub(crate) fn seal_with(
    mut request: SealRequest<'_>,
    fresh: Fresh,
    body: &dyn WriteAt,
    body_offset: u64,
) -> Result<Sealed, SealError> {
    // Everything that can be refused is refused before the first byte is read; slots that do not fit must not be found out
    // after an hour of encrypting.
    unlock::check(&request.slots)?;
    let plan = Plan::make(&mut request)?;
    let table = make_table(&request.slots, &fresh.slots, fresh.generation, &fresh.file_id, &fresh.file_key)?;
    let preamble = make_preamble(&request, plan.layout.segments.log2(), &table, &fresh)?;
    let header = write_header(&preamble, &table, &fresh.file_key)?;

    let (index, digests) = write_payload(&mut request, &plan, &preamble, &fresh.file_key, body, body_offset)?;
    let signers = std::mem::take(&mut request.seal_signers);
    let (manifest, outboard) = make_manifest(request, &plan, digests, preamble.file_id)?;
    let manifest_part = encrypt_manifest(manifest.write(&outboard), &plan, &fresh.file_key, &preamble)?;

    let payload_len = plan.layout.segments.payload_len();
    let mut parts = Parts { index, manifest: manifest_part, signatures: Vec::new() };
    let root = parts.root(&preamble.to_bytes(), payload_len);
    parts.signatures = signatures::sign(&preamble.file_id, &root, &preamble.commitment, &signers)?;
    let lengths = Lengths {
        payload: payload_len,
        index: parts.index.len() as u64,
        manifest: parts.manifest.len() as u64,
        signatures: parts.signatures.len() as u64,
    };
    let trailer = write_trailer(lengths, &parts.footer_mac(&fresh.file_key, &preamble, lengths, &root));
    let mut at = body_offset + payload_len;
    for part in [&parts.index[..], &parts.manifest, &parts.signatures, &trailer] {
        body.write_all_at(part, at)?;
        at += part.len() as u64;
    }
    let generation = table.generation;
    Ok(Sealed { header, preamble, root, generation, body_len: at - body_offset, payload_len, manifest })
}

fn make_preamble(request: &SealRequest<'_>, log2: u8, table: &SlotTable, fresh: &Fresh) -> Result<Preamble, SealError> {
    let refuse = |why: &str| SealError::InvalidArgument(why.into());
    if request.seal_signers.len() > signatures::MAX_ENVELOPES {
        return Err(refuse("a sealed file has at most 64 seal statements"));
    }
    let context = match &request.context {
        None => [0; 32],
        Some(context) if context.is_empty() => return Err(refuse("the context is empty")),
        Some(context) => context_hash(context),
    };
    let header_len = request.header_len.unwrap_or_else(|| roomy_header_len(table.len()));
    check_shape(log2, header_len).map_err(refuse)?;
    Ok(Preamble::commit(log2, header_len, fresh.file_id, context, &fresh.file_key))
}

/// The manifest with its statements, and OUTBOARD.
fn make_manifest(
    request: SealRequest<'_>,
    plan: &Plan,
    digests: Vec<MemberDigest>,
    file_id: FileId,
) -> Result<(Manifest, Vec<u8>), SealError> {
    let mut outboard = Vec::new();
    let mut members = Vec::with_capacity(digests.len());
    for (((source, found), offset), size) in
        request.members.into_iter().zip(digests).zip(&plan.offsets).zip(&plan.sizes)
    {
        let start = outboard.len() as u64;
        outboard.extend_from_slice(&found.outboard);
        let end = outboard.len() as u64;
        members.push(Member {
            path: source.path,
            offset: *offset,
            size: *size,
            blake3: found.blake3,
            sha256: found.sha256,
            outboard: (end > start).then_some(start..end),
            media_type: source.media_type,
            format: source.format,
        });
    }
    let mut manifest = Manifest {
        kind: request.kind,
        payload_size: plan.layout.segments.payload_len(),
        group_log2: plan.group_log2,
        members,
        media_type: request.media_type,
        format: request.format,
        statements: Vec::new(),
        annotations: request.annotations,
    };
    manifest.statements = (request.statements)(&Draft { file_id, manifest: &manifest })?;
    Ok((manifest, outboard))
}

/// MANIFEST: all ciphertext, then all tags. The plaintext is fixed here; each of its segments is encrypted once.
fn encrypt_manifest(
    mut bytes: Vec<u8>,
    plan: &Plan,
    key: &Key<FileKey>,
    preamble: &Preamble,
) -> Result<Vec<u8>, SealError> {
    let plain_len = bytes.len();
    if plain_len as u64 > MAX_MANIFEST {
        return Err(SealError::LimitExceeded("length of the manifest"));
    }
    // One truth: what our own reader would refuse is not written.
    let segments = plan.layout.segments;
    Manifest::parse(&bytes, segments.payload_len(), segments.log2())
        .map_err(|e| SealError::InvalidArgument(format!("not a manifest: {e}")))?;
    let cipher = segment_cipher(&derive::<ManifestKey>(key, &preamble.commitment).expose());
    let count = manifest_segments(plain_len).count() as u64;
    let tags: Vec<_> =
        manifest_segments(plain_len).map(|(i, range)| cipher.seal(&nonce(i, count), b"", &mut bytes[range])).collect();
    bytes.extend(tags.iter().flatten());
    debug_assert_eq!(bytes.len() as u64, manifest_len(plain_len as u64));
    Ok(bytes)
}
