//! `tlog-interop DIR`: opens the checkpoint under the key that lies beside it, authenticates every tile against it, proves every
//! record, and checks that the tree extends each of its own beginnings. Nothing here is ours but the order of the calls.

use std::fs;
use std::path::PathBuf;

use signed_note::{Note, StandardVerifier, VerifierList};
use tlog_tiles::{
    Checkpoint, Error, Tile, TileHashReader, TileReader, check_record, check_tree, prove_record, prove_tree, record_hash,
    tree_hash,
};

struct Directory(PathBuf);

impl TileReader for Directory {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, Error> {
        // The paths of sumdb name the height too; tlog-tiles fixes it and leaves it out.
        let read = |tile: &Tile| {
            let path = tile.path();
            let path = path.replacen("tile/8/", "tile/", 1);
            fs::read(self.0.join(&path)).unwrap_or_else(|e| panic!("{path}: {e}"))
        };
        Ok(tiles.iter().map(read).collect())
    }

    fn save_tiles(&self, _: &[Tile], _: &[Vec<u8>]) {}
}

fn main() {
    let directory = Directory(std::env::args().nth(1).expect("a directory of tiles").into());
    let vkey = fs::read_to_string(directory.0.join("vkey")).expect("the key");
    let note = fs::read(directory.0.join("checkpoint")).expect("the checkpoint");
    let verifier = StandardVerifier::new(vkey.trim_end()).expect("the key is a verifier key");
    let note = Note::from_bytes(&note).expect("the checkpoint is a note");
    let (signed, _) = note.verify(&VerifierList::new(vec![Box::new(verifier)])).expect("the signature verifies");
    assert_eq!(signed.len(), 1);
    let checkpoint = Checkpoint::from_bytes(note.text()).expect("the note is a checkpoint");
    let (size, root) = (checkpoint.size(), *checkpoint.hash());

    // This reader authenticates each tile against the root before it hands a hash on.
    let reader = TileHashReader::new(size, root, &directory);
    assert_eq!(tree_hash(size, &reader).expect("the tiles are the tree"), root);
    for index in 0..size {
        let proof = prove_record(size, index, &reader).expect("a proof");
        check_record(&proof, size, root, index, record_hash(&entry(&directory, index, size))).expect("it holds");
    }
    for old in (1..size).step_by(1 + size as usize / 50) {
        let proof = prove_tree(size, old, &reader).expect("a proof");
        let old_root = tree_hash(old, &reader).expect("the tree of then");
        check_tree(&proof, size, root, old, old_root).expect("it holds");
    }
    println!("{} records of {}: every one proven by another implementation", size, checkpoint.origin());
}

/// An entry of a bundle: two bytes of length before each.
fn entry(directory: &Directory, index: u64, size: u64) -> Vec<u8> {
    let tile = Tile::new(8, 0, index / 256, (size - index / 256 * 256).min(256) as u32, true);
    let path = tile.path().replacen("tile/8/data/", "tile/entries/", 1);
    let bundle = fs::read(directory.0.join(&path)).unwrap_or_else(|e| panic!("{path}: {e}"));
    let mut rest = &bundle[..];
    for at in 0.. {
        let (length, behind) = rest.split_at(2);
        let (entry, behind) = behind.split_at(usize::from(length[0]) << 8 | usize::from(length[1]));
        if at == index % 256 {
            return entry.to_vec();
        }
        rest = behind;
    }
    unreachable!()
}
