//! What operators say about artifacts: a column of their rows, so that it cannot be taken away unseen.

use super::super::*;
use super::SqliteCatalogue;
use super::artifacts::artifact;
use super::requests;
use crate::marks::{Marks, MarksChange};
use crate::names::ArtifactId;

impl Marking for SqliteCatalogue {
    fn marks(&self, id: ArtifactId) -> Result<Marks> {
        self.read(|db| Ok(artifact(db, id)?.marks))
    }

    fn mark(&self, id: ArtifactId, change: MarksChange, entry: Entry) -> Result<(Marks, Sequence)> {
        self.write(move |db| {
            let before = artifact(db, id)?;
            let marks = before.marks.clone();
            let marks = marks.changed(change).map_err(|e| CatalogueError::InvalidArgument(e.message().into()))?;
            db.update(&ArtifactRecord { marks: marks.clone(), ..before })?;
            Ok((marks, requests::append(db, &entry, 0)?))
        })
    }
}
