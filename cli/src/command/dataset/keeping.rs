//! What is kept beside a dataset while it is measured: hashes of records, pieces, and who supplied what.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::PathBuf;

use model_vault::Result;
use model_vault::crypto::hash::sha256;
use model_vault::dataset::{Attested, CONTRIBUTORS, Follow, LeafWriter, Multiset, PIECES, Pieces, RecordKey, Runs};
use model_vault::names::Sha256;

use crate::files::on;

/// Keeps it in a directory of its own, until all is measured.
pub struct Keeping {
    into: PathBuf,
    attested: Option<Attested>,
    /// Records that are kept out, and the contributor that they were kept out for: they stay so, whoever has them now.
    kept_out: HashMap<Sha256, u32>,
    /// Files come one after the other: one tree is open at a time.
    open: Option<Open>,
    multiset: Multiset,
    /// What is said of each file's contributors.
    pub runs: BTreeMap<String, Sha256>,
    /// Records of each contributor, by its number; of nobody first.
    pub counts: Vec<u64>,
}

struct Open {
    file: String,
    leaves: LeafWriter,
    runs: Runs,
}

impl Keeping {
    /// Below `into`, from which all else is removed. `attested`: what so many contributors attest.
    pub fn begin(into: PathBuf, attested: Option<(Attested, usize)>, kept_out: HashMap<Sha256, u32>) -> Self {
        let _ = fs::remove_dir_all(&into);
        let contributors = attested.as_ref().map_or(0, |(_, n)| *n);
        let attested = attested.map(|(attested, _)| attested);
        let multiset = Multiset::new(&into);
        let (runs, counts) = (BTreeMap::new(), vec![0; contributors + 1]);
        Self { into, attested, kept_out, open: None, multiset, runs, counts }
    }

    /// Of all records that came.
    pub fn multiset(&mut self) -> Result<Sha256> {
        std::mem::replace(&mut self.multiset, Multiset::new(&self.into)).digest()
    }

    /// Puts it where it belongs.
    pub fn settle(self, place: &std::path::Path) -> Result<()> {
        let _ = fs::remove_dir_all(place);
        if self.into.exists() { fs::rename(&self.into, place).map_err(on(place)) } else { Ok(()) }
    }

    fn write(&self, file: &str, name: &str, text: &str) -> Result<()> {
        let dir = self.into.join(file);
        let path = dir.join(name);
        fs::create_dir_all(&dir).and_then(|()| fs::write(&path, text)).map_err(on(&path))
    }
}

/// What was not settled leaves nothing, whatever came between: `verify` takes what lies there for something foreign.
impl Drop for Keeping {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.into);
    }
}

impl Follow for Keeping {
    fn records(&mut self, file: &str, hashes: &[Sha256], _: &[RecordKey]) -> Result<()> {
        let open = match &mut self.open {
            Some(open) => open,
            closed => {
                let leaves = LeafWriter::create(&self.into.join(file))?;
                closed.insert(Open { file: file.into(), leaves, runs: Runs::default() })
            }
        };
        debug_assert_eq!(open.file, file, "files come one after the other");
        if let Some(attested) = &mut self.attested {
            for record in hashes {
                let by = attested.take(record);
                let by = self.kept_out.get(record).copied().unwrap_or(by);
                open.runs.push(by);
                if let Some(count) = self.counts.get_mut(by as usize) {
                    *count += 1;
                }
            }
        }
        open.leaves.push(hashes)?;
        self.multiset.push(hashes)
    }

    fn pieces(&mut self, file: &str, pieces: &Pieces) -> Result<()> {
        if let Some(open) = self.open.take() {
            open.leaves.finish()?;
            if !open.runs.0.is_empty() {
                let text = open.runs.to_text();
                self.runs.insert(file.into(), sha256(text.as_bytes()));
                self.write(file, CONTRIBUTORS, &text)?;
            }
        }
        self.write(file, PIECES, &pieces.to_text())
    }
}
