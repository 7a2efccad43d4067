//! Files written by the same crate, and damage to them.

use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, DictionaryArray, Int64Array, StringArray};
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};

use super::*;
use crate::dataset::measure::{Measured, Source, Surveyor};

fn batches() -> Vec<RecordBatch> {
    let batch = |from: i64| {
        let words = (from..from + 39_999).map(|i| ["a", "b", "c"][i as usize % 3]);
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("word", Arc::new(words.collect::<DictionaryArray<Int32Type>>())),
            ("n", Arc::new(Int64Array::from_iter_values(from..from + 39_999))),
            (
                "text",
                Arc::new(
                    (from..from + 39_999).map(|i| (i % 5 != 0).then(|| format!("é {i}"))).collect::<StringArray>(),
                ),
            ),
        ];
        RecordBatch::try_from_iter(columns).unwrap()
    };
    vec![batch(0), batch(39_999), batch(79_998)]
}

fn file(compression: Option<CompressionType>) -> Vec<u8> {
    let options = IpcWriteOptions::default().try_with_compression(compression).unwrap();
    let mut writer = FileWriter::try_new_with_options(Vec::new(), &batches()[0].schema(), options).unwrap();
    batches().iter().for_each(|b| writer.write(b).unwrap());
    writer.into_inner().unwrap()
}

fn stream() -> Vec<u8> {
    let mut writer = StreamWriter::try_new(Vec::new(), &batches()[0].schema()).unwrap();
    batches().iter().for_each(|b| writer.write(b).unwrap());
    writer.into_inner().unwrap()
}

fn measured(path: &str, bytes: Vec<u8>) -> Result<Measured> {
    let source = Source { path, format: Format::of_name(path).unwrap(), bytes: Arc::new(bytes) };
    let mut surveyor = Surveyor::default();
    surveyor.add(&source, 2)?;
    Ok(source.measure(&surveyor.schema()?, None, 2, &mut |_, _| Ok(()))?.0)
}

#[test]
fn a_table_has_the_root_of_its_csv_as_file_and_as_stream() {
    let mut csv = String::from("n,text,word\n");
    for i in 0..119_997 {
        let text = if i % 5 == 0 { String::new() } else { format!("é {i}") };
        csv.push_str(&format!("{i},{text},{}\n", ["a", "b", "c"][i % 3]));
    }
    let csv = measured("t.csv", csv.into_bytes()).unwrap();
    let packed = [None, Some(CompressionType::ZSTD), Some(CompressionType::LZ4_FRAME)];
    for bytes in packed.into_iter().map(file).chain([stream()]) {
        let arrow = measured("t.arrow", bytes.clone()).unwrap();
        assert_eq!((arrow.root, arrow.records), (csv.root, 119_997));
        assert_eq!((arrow.sha256, arrow.size), (crate::crypto::hash::sha256(&bytes), bytes.len() as u64));
    }
}

#[test]
fn a_footer_that_names_other_batches_is_refused() {
    let bytes = file(None);
    let footer = u32::from_le_bytes(bytes[bytes.len() - 10..][..4].try_into().unwrap()) as usize;
    let footer = bytes.len() - 10 - footer;
    // The first batch begins where its offset stands in the footer.
    let mut messages = Messages::start("t", &bytes).unwrap();
    while messages.next().unwrap().is_some() {}
    let first = messages.batches[0].to_le_bytes();
    let at = footer + bytes[footer..].windows(8).position(|w| w == first).unwrap();
    let mut other = bytes.clone();
    other[at..at + 8].copy_from_slice(&messages.batches[1].to_le_bytes());
    let error = measured("t.arrow", other).unwrap_err();
    assert!(error.message().contains("its footer names other"), "{error}");
}

#[test]
fn damage_is_an_error_and_never_a_panic() {
    let schema = batches()[0].schema();
    let options = IpcWriteOptions::default().try_with_compression(Some(CompressionType::ZSTD)).unwrap();
    let mut writer = FileWriter::try_new_with_options(Vec::new(), &schema, options).unwrap();
    writer.write(&batches()[0].slice(0, 300)).unwrap();
    let bytes = writer.into_inner().unwrap();
    assert_eq!(measured("t.arrow", bytes.clone()).unwrap().records, 300);
    let (mut refused, mut random) = (0, 0x9E37_79B9_7F4A_7C15_u64);
    for _ in 0..3000 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let mut damaged = bytes.clone();
        damaged[random as usize % bytes.len()] ^= 1 << (random >> 40 & 7);
        refused += u32::from(measured("t.arrow", damaged).is_err());
    }
    for cut in [0, 4, 8, 17, 18, bytes.len() / 2, bytes.len() - 1] {
        assert!(measured("t.arrow", bytes[..cut].to_vec()).is_err());
    }
    assert!(refused > 300, "{refused}");
}
