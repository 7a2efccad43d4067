//! Which columns hold which facts. The order is that of the schema.

use rusqlite::types::Value;

use super::super::*;
use super::rows::{Columns, Row, Table, blob, number, text, time, time_if_any};
use crate::marks::Marks;
use crate::names::Sha256;

/// A fact about the database itself.
pub(super) struct Meta {
    pub name: String,
    pub value: Vec<u8>,
}

impl Row for Meta {
    const TABLE: Table = Table { name: "meta", columns: &["name", "value"], key: 1, added: 0 };

    fn values(&self) -> Result<Vec<Value>> {
        Ok(vec![text(&self.name), blob(&self.value)])
    }

    fn read(c: &mut Columns<'_>) -> Result<Self> {
        Ok(Self { name: c.text()?, value: c.bytes()? })
    }
}

impl Row for NamespaceRecord {
    const TABLE: Table = Table { name: "namespaces", columns: &["id", "name", "created"], key: 1, added: 0 };

    fn values(&self) -> Result<Vec<Value>> {
        Ok(vec![blob(&self.id.0), text(self.name.as_str()), time(self.created)])
    }

    fn read(c: &mut Columns<'_>) -> Result<Self> {
        Ok(Self { id: c.id()?, name: c.text()?, created: c.time()? })
    }
}

impl Row for ArtifactRecord {
    const TABLE: Table = Table {
        name: "artifacts",
        columns: &["id", "namespace_id", "name", "kind", "next_number", "created", "marks"],
        key: 1,
        added: 1,
    };

    fn values(&self) -> Result<Vec<Value>> {
        Ok(vec![
            blob(&self.id.0),
            blob(&self.namespace_id.0),
            text(self.name.as_str()),
            text(self.kind.as_str()),
            number(self.next_number)?,
            time(self.created),
            if self.marks == Marks::default() { Value::Null } else { text(&self.marks.to_string()) },
        ])
    }

    fn read(c: &mut Columns<'_>) -> Result<Self> {
        Ok(Self {
            id: c.id()?,
            namespace_id: c.id()?,
            name: c.text()?,
            kind: c.text()?,
            next_number: c.number()?,
            created: c.time()?,
            marks: c.text_if_any()?.unwrap_or_default(),
        })
    }
}

impl Row for Reservation {
    const TABLE: Table =
        Table { name: "reservations", columns: &["version_id", "artifact_id", "number", "reserved"], key: 1, added: 0 };

    fn values(&self) -> Result<Vec<Value>> {
        Ok(vec![blob(&self.version_id.0), blob(&self.artifact_id.0), number(self.number)?, time(self.reserved)])
    }

    fn read(c: &mut Columns<'_>) -> Result<Self> {
        Ok(Self { version_id: c.id()?, artifact_id: c.id()?, number: c.number()?, reserved: c.time()? })
    }
}

impl Row for VersionRecord {
    const TABLE: Table = Table {
        name: "versions",
        columns: &[
            "id",
            "artifact_id",
            "namespace_id",
            "number",
            "kind",
            "file_id",
            "commitment",
            "root",
            "generation",
            "header_len",
            "body_len",
            "payload_len",
            "member_count",
            "media_type",
            "format",
            "signer",
            "sealed_by",
            "created",
            "key_id",
            "key_version",
            "request_id",
            "sequence",
            "unlisted",
            "shred_begun",
            "shredded",
            "content_len",
            "part_of",
        ],
        key: 1,
        added: 2,
    };

    fn values(&self) -> Result<Vec<Value>> {
        let f = &self.facts;
        Ok(vec![
            blob(&f.version_id.0),
            blob(&f.artifact_id.0),
            blob(&self.namespace_id.0),
            number(f.number)?,
            text(self.kind.as_str()),
            blob(&f.file_id.0),
            blob(&f.commitment.0),
            blob(&f.root.0),
            number(f.generation.into())?,
            number(f.header_len)?,
            number(f.body_len)?,
            number(f.payload_len)?,
            number(f.member_count)?,
            text(&f.media_type),
            text(&f.format),
            blob(&f.signer.0),
            text(&f.sealed_by),
            time(f.created),
            blob(&f.artifact_key.id.0),
            number(f.artifact_key.version.into())?,
            blob(&f.request_id.0),
            number(self.sequence)?,
            time_if_any(self.unlisted),
            time_if_any(self.shred_begun),
            time_if_any(self.shredded),
            number(f.content_len)?,
            self.part_of.map_or(Ok(Value::Null), number)?,
        ])
    }

    fn read(c: &mut Columns<'_>) -> Result<Self> {
        let (version_id, artifact_id, namespace_id, number, kind) = (c.id()?, c.id()?, c.id()?, c.number()?, c.text()?);
        let mut facts = NewVersion {
            version_id,
            artifact_id,
            number,
            file_id: c.id()?,
            commitment: c.id()?,
            root: c.id()?,
            generation: c.number()?,
            header_len: c.number()?,
            body_len: c.number()?,
            payload_len: c.number()?,
            content_len: 0,
            member_count: c.number()?,
            media_type: c.text()?,
            format: c.text()?,
            signer: c.id()?,
            sealed_by: c.text()?,
            created: c.time()?,
            artifact_key: ArtifactKeyRef { id: c.id()?, version: c.number()? },
            request_id: c.id()?,
        };
        let (sequence, unlisted, shred_begun, shredded) =
            (c.number()?, c.time_if_any()?, c.time_if_any()?, c.time_if_any()?);
        facts.content_len = c.number_if_any()?.unwrap_or(facts.payload_len);
        let part_of = c.number_if_any()?;
        Ok(Self { facts, namespace_id, kind, sequence, unlisted, shred_begun, shredded, part_of })
    }
}

impl Row for TagRecord {
    const TABLE: Table = Table {
        name: "tags",
        columns: &["artifact_id", "tag", "version_id", "number", "moves", "moved"],
        key: 2,
        added: 0,
    };

    fn values(&self) -> Result<Vec<Value>> {
        Ok(vec![
            blob(&self.artifact_id.0),
            text(self.tag.as_str()),
            blob(&self.version_id.0),
            number(self.number)?,
            number(self.moves)?,
            time(self.moved),
        ])
    }

    fn read(c: &mut Columns<'_>) -> Result<Self> {
        Ok(Self {
            artifact_id: c.id()?,
            tag: c.text()?,
            version_id: c.id()?,
            number: c.number()?,
            moves: c.number()?,
            moved: c.time()?,
        })
    }
}

impl Row for PolicyRecord {
    const TABLE: Table =
        Table { name: "policies", columns: &["version", "text", "created", "envelope"], key: 1, added: 1 };

    fn values(&self) -> Result<Vec<Value>> {
        let envelope = self.envelope.as_deref().map_or(Value::Null, text);
        Ok(vec![number(self.version)?, text(&self.text), time(self.created), envelope])
    }

    fn read(c: &mut Columns<'_>) -> Result<Self> {
        Ok(Self { version: c.number()?, text: c.text()?, created: c.time()?, envelope: c.text_if_any()? })
    }
}

impl Row for SignersRecord {
    const TABLE: Table = Table { name: "signers", columns: &["version", "text", "created"], key: 1, added: 0 };

    fn values(&self) -> Result<Vec<Value>> {
        Ok(vec![number(self.version)?, text(&self.text), time(self.created)])
    }

    fn read(c: &mut Columns<'_>) -> Result<Self> {
        Ok(Self { version: c.number()?, text: c.text()?, created: c.time()? })
    }
}

impl Row for WorkloadRecord {
    const TABLE: Table = Table {
        name: "workloads",
        columns: &["namespace_id", "name", "enrolment", "created", "revoked"],
        key: 2,
        added: 0,
    };

    fn values(&self) -> Result<Vec<Value>> {
        Ok(vec![
            blob(&self.namespace_id.0),
            text(self.name.as_str()),
            number(self.enrolment.into())?,
            time(self.created),
            time_if_any(self.revoked),
        ])
    }

    fn read(c: &mut Columns<'_>) -> Result<Self> {
        Ok(Self {
            namespace_id: c.id()?,
            name: c.text()?,
            enrolment: c.number()?,
            created: c.time()?,
            revoked: c.time_if_any()?,
        })
    }
}

impl Row for CertificateRecord {
    const TABLE: Table = Table {
        name: "certificates",
        columns: &[
            "serial",
            "namespace_id",
            "workload",
            "spki",
            "not_before",
            "not_after",
            "enrolment",
            "created",
            "revoked",
        ],
        key: 1,
        added: 0,
    };

    fn values(&self) -> Result<Vec<Value>> {
        let c = &self.certificate;
        Ok(vec![
            blob(&c.serial),
            blob(&c.namespace_id.0),
            text(c.workload.as_str()),
            blob(&c.spki.0),
            time(c.not_before),
            time(c.not_after),
            number(self.enrolment.into())?,
            time(self.created),
            time_if_any(self.revoked),
        ])
    }

    fn read(c: &mut Columns<'_>) -> Result<Self> {
        let certificate = NewCertificate {
            serial: c.bytes()?,
            namespace_id: c.id()?,
            workload: c.text()?,
            spki: c.id()?,
            not_before: c.time()?,
            not_after: c.time()?,
        };
        Ok(Self { certificate, enrolment: c.number()?, created: c.time()?, revoked: c.time_if_any()? })
    }
}

impl Row for GrantRecord {
    const TABLE: Table = Table {
        name: "grants",
        columns: &["namespace_id", "workload", "artifact_id", "enrolment", "created_by", "created"],
        key: 3,
        added: 0,
    };

    fn values(&self) -> Result<Vec<Value>> {
        Ok(vec![
            blob(&self.namespace_id.0),
            text(self.workload.as_str()),
            blob(&self.artifact_id.0),
            number(self.enrolment.into())?,
            text(&self.created_by),
            time(self.created),
        ])
    }

    fn read(c: &mut Columns<'_>) -> Result<Self> {
        Ok(Self {
            namespace_id: c.id()?,
            workload: c.text()?,
            artifact_id: c.id()?,
            enrolment: c.number()?,
            created_by: c.text()?,
            created: c.time()?,
        })
    }
}

impl Row for RequestRecord {
    const TABLE: Table = Table {
        name: "requests",
        columns: &["id", "asked", "answer", "number", "sequence", "created"],
        key: 1,
        added: 0,
    };

    fn values(&self) -> Result<Vec<Value>> {
        Ok(vec![
            blob(&self.once.id.0),
            blob(&self.once.asked.0),
            blob(&self.once.answer),
            number(self.number)?,
            number(self.sequence)?,
            time(self.created),
        ])
    }

    fn read(c: &mut Columns<'_>) -> Result<Self> {
        let once = Once { id: c.id()?, asked: c.id()?, answer: c.bytes()? };
        Ok(Self { once, number: c.number()?, sequence: c.number()?, created: c.time()? })
    }
}

/// An artifact key without its secret bytes, which lie in a slot.
pub(super) struct KeyEntry {
    pub key: ArtifactKeyRef,
    pub namespace_id: NamespaceId,
    pub version_id: VersionId,
    pub kek_version: u32,
    pub slot: i64,
    pub digest: Sha256,
}

impl Row for KeyEntry {
    const TABLE: Table = Table {
        name: "artifact_keys",
        columns: &["id", "version", "namespace_id", "version_id", "kek_version", "slot", "digest"],
        key: 2,
        added: 0,
    };

    fn values(&self) -> Result<Vec<Value>> {
        Ok(vec![
            blob(&self.key.id.0),
            number(self.key.version.into())?,
            blob(&self.namespace_id.0),
            blob(&self.version_id.0),
            number(self.kek_version.into())?,
            Value::Integer(self.slot),
            blob(&self.digest.0),
        ])
    }

    fn read(c: &mut Columns<'_>) -> Result<Self> {
        Ok(Self {
            key: ArtifactKeyRef { id: c.id()?, version: c.number()? },
            namespace_id: c.id()?,
            version_id: c.id()?,
            kek_version: c.number()?,
            slot: c.number()?,
            digest: c.id()?,
        })
    }
}
