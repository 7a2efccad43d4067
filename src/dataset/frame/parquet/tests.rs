//! Files written by the same crate, and damage to them.

use ::parquet::arrow::ArrowWriter;
use ::parquet::basic::{Compression, ZstdLevel};
use ::parquet::file::properties::WriterProperties;
use arrow_array::builder::{Int32Builder, ListBuilder};
use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray, DurationSecondArray,
    Float32Array, Float64Array, Int32Array, Int64Array, StringArray, StructArray, TimestampMillisecondArray,
    UInt64Array,
};

use super::*;
use crate::dataset::measure::{Measured, Source, Surveyor};

fn written(batch: &RecordBatch, compression: Compression, group: usize) -> Vec<u8> {
    let properties =
        WriterProperties::builder().set_compression(compression).set_max_row_group_row_count(Some(group)).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.into_inner().unwrap()
}

fn plain(columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
    written(&RecordBatch::try_from_iter(columns).unwrap(), Compression::UNCOMPRESSED, 1 << 20)
}

fn measured_as(path: &str, bytes: Vec<u8>, schema: Option<Schema>) -> Result<(Measured, Schema)> {
    let source = Source { path, format: Format::of_name(path).unwrap(), bytes: Arc::new(bytes) };
    let schema = match schema {
        Some(schema) => schema,
        None => {
            let mut surveyor = Surveyor::default();
            surveyor.add(&source, 2)?;
            surveyor.schema()?
        }
    };
    Ok((source.measure(&schema, None, 2, &mut |_, _| Ok(()))?.0, schema))
}

fn measured(bytes: Vec<u8>) -> Result<(Measured, Schema)> {
    measured_as("t.parquet", bytes, None)
}

fn json(text: &str) -> (Measured, Schema) {
    measured_as("t.jsonl", text.as_bytes().to_vec(), None).unwrap()
}

#[test]
fn a_table_has_the_root_of_its_csv_in_every_packing() {
    let (mut csv, rows) = (String::from("id,flag,score,text,kind\n"), 150_000_u32);
    let kinds = ["red", "green", "blue"];
    for i in 0..rows {
        let text = if i % 7 == 0 { String::new() } else { format!("\"line {i}, \"\"é\"\"\"") };
        csv.push_str(&format!("{i},{},{:?},{text},{}\n", i % 2 == 0, f64::from(i) / 8.0, kinds[i as usize % 3]));
    }
    let kinds = (0..rows).map(|i| kinds[i as usize % 3]).collect::<DictionaryArray<Int32Type>>();
    let columns: Vec<(&str, ArrayRef)> = vec![
        (
            "text",
            Arc::new((0..rows).map(|i| (i % 7 != 0).then(|| format!("line {i}, \"é\""))).collect::<StringArray>()),
        ),
        ("id", Arc::new((0..rows).map(|i| i as i32).collect::<Int32Array>())),
        ("score", Arc::new((0..rows).map(|i| f64::from(i) / 8.0).collect::<Float64Array>())),
        ("flag", Arc::new((0..rows).map(|i| Some(i % 2 == 0)).collect::<BooleanArray>())),
        ("kind", Arc::new(kinds)),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let (csv, schema) = measured_as("t.csv", csv.into_bytes(), None).unwrap();
    for (compression, group) in [
        (Compression::ZSTD(ZstdLevel::try_new(1).unwrap()), 1 << 20),
        (Compression::SNAPPY, 1000),
        (Compression::LZ4_RAW, 70_000),
        (Compression::GZIP(Default::default()), 149_999),
        (Compression::BROTLI(Default::default()), 1 << 20),
        (Compression::UNCOMPRESSED, 1 << 20),
    ] {
        let bytes = written(&batch, compression, group);
        let (file, found) = measured(bytes.clone()).unwrap();
        assert_eq!((file.root, file.records, &found), (csv.root, csv.records, &schema), "{compression}");
        assert_eq!((file.sha256, file.size), (crate::crypto::hash::sha256(&bytes), bytes.len() as u64));
    }
}

#[test]
fn nested_and_missing_values_are_those_of_json() {
    let mut lists = ListBuilder::new(Int32Builder::new());
    lists.append_value([Some(1), None, Some(3)]);
    lists.append_null();
    lists.append_value([]);
    let members: Vec<(Arc<Field>, ArrayRef)> = vec![
        (
            Arc::new(Field::new("y", DataType::Utf8, true)),
            Arc::new(StringArray::from(vec![Some("a"), None, Some("c")])),
        ),
        (Arc::new(Field::new("x", DataType::Float64, true)), Arc::new(Float64Array::from(vec![0.5, -0.0, 2.0]))),
    ];
    let bytes = plain(vec![
        ("list", Arc::new(lists.finish())),
        ("n", Arc::new(Int64Array::from(vec![None, Some(-5), Some(1 << 60)]))),
        ("object", Arc::new(StructArray::from(members))),
        ("none", Arc::new(StringArray::from(vec![None::<&str>; 3]))),
    ]);
    let text = "{\"list\":[1,null,3],\"n\":null,\"object\":{\"x\":0.5,\"y\":\"a\"},\"none\":null}\n\
                {\"list\":null,\"n\":-5,\"object\":{\"x\":0.0,\"y\":null}}\n\
                {\"list\":[],\"n\":1152921504606846976,\"object\":{\"y\":\"c\",\"x\":2.0}}\n";
    let ((parquet, ours), (jsonl, theirs)) = (measured(bytes).unwrap(), json(text));
    assert_eq!((parquet.root, ours), (jsonl.root, theirs));
}

#[test]
fn times_and_decimals_are_text_and_narrow_floats_are_widened() {
    let bytes = plain(vec![
        ("day", Arc::new(Date32Array::from(vec![19_783]))),
        ("at", Arc::new(TimestampMillisecondArray::from(vec![1_700_000_000_500]).with_timezone("Europe/Berlin"))),
        ("clock", Arc::new(TimestampMillisecondArray::from(vec![1_700_000_000_000]))),
        ("price", Arc::new(Decimal128Array::from(vec![-1230]).with_precision_and_scale(10, 2).unwrap())),
        ("half", Arc::new(Float32Array::from(vec![0.1]))),
    ]);
    let text = "{\"day\":\"2024-03-01\",\"at\":\"2023-11-14T22:13:20.5Z\",\"clock\":\"2023-11-14T22:13:20\",\
                \"price\":\"-12.30\",\"half\":0.10000000149011612}";
    assert_eq!(measured(bytes).unwrap().0.root, json(text).0.root);
}

#[test]
fn numbers_follow_the_schema_and_nothing_is_rounded() {
    let bytes = |n: Vec<u64>| plain(vec![("n", Arc::new(UInt64Array::from(n)))]);
    let all = "{\"n\":9223372036854775808}\n{\"n\":18446744073709551615}\n";
    assert_eq!(measured(bytes(vec![1 << 63, u64::MAX])).unwrap().0.root, json(all).0.root);
    let (_, float) = json("{\"n\":1}\n{\"n\":1.5}\n");
    let (ours, _) = measured_as("t.parquet", bytes(vec![7]), Some(float.clone())).unwrap();
    let (theirs, _) = measured_as("t.jsonl", b"{\"n\":7}".to_vec(), Some(float.clone())).unwrap();
    assert_eq!(ours.root, theirs.root);
    let error = measured_as("t.parquet", bytes(vec![1, (1 << 53) + 1]), Some(float)).unwrap_err();
    assert_eq!(error.id(), ErrorId::RecordInvalid);
    assert_eq!(error.message(), "t.parquet, record 2: column \"n\" is no number that binary64 holds");
    let raw = plain(vec![("b", Arc::new(BinaryArray::from(vec![&b"\xff\0"[..]])))]);
    let (_, schema) = measured(raw).unwrap();
    assert_eq!(schema.columns()[0].kind, crate::dataset::Type::Bytes);
}

#[test]
fn what_has_no_canonical_form_is_refused_with_column_and_cast() {
    let duration = DurationSecondArray::from(vec![1]);
    let batch = RecordBatch::try_from_iter([("wait", Arc::new(duration) as ArrayRef)]).unwrap();
    let mut arrow = arrow_ipc::writer::FileWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    arrow.write(&batch).unwrap();
    let error = measured_as("t.arrow", arrow.into_inner().unwrap(), None).unwrap_err();
    assert!(error.message().contains("column \"wait\" holds durations"), "{error}");
    let twice = RecordBatch::try_new(
        Arc::new(ArrowSchema::new(vec![
            Field::new("a", DataType::Int64, true),
            Field::new("a", DataType::Int64, true),
        ])),
        vec![Arc::new(Int64Array::from(vec![1])), Arc::new(Int64Array::from(vec![2]))],
    );
    let error = measured(written(&twice.unwrap(), Compression::UNCOMPRESSED, 10)).unwrap_err();
    assert!(error.message().contains("two columns are named \"a\""), "{error}");
    let (_, schema) = json("{\"other\":1}");
    let one = plain(vec![("a", Arc::new(Int64Array::from(vec![1])))]);
    assert_eq!(measured_as("t.parquet", one, Some(schema)).unwrap_err().id(), ErrorId::DatasetChanged);
    let empty = plain(vec![("a", Arc::new(Int64Array::from(Vec::<i64>::new())))]);
    let (file, _) = measured(empty).unwrap();
    assert_eq!((file.records, file.root), (0, crate::crypto::merkle::empty_root()));
}

#[test]
fn damage_is_an_error_and_never_a_panic() {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("a", Arc::new((0..500).map(|i| Some(format!("text {}", i % 50))).collect::<StringArray>())),
        ("b", Arc::new(Int64Array::from_iter_values(0..500))),
    ];
    let bytes = written(&RecordBatch::try_from_iter(columns).unwrap(), Compression::SNAPPY, 200);
    let whole = measured(bytes.clone()).unwrap().0;
    let (mut refused, mut random) = (0, 0x9E37_79B9_7F4A_7C15_u64);
    for _ in 0..3000 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let mut damaged = bytes.clone();
        damaged[random as usize % bytes.len()] ^= 1 << (random >> 40 & 7);
        match measured(damaged) {
            Err(error) => {
                assert!(matches!(
                    error.id(),
                    ErrorId::RecordInvalid | ErrorId::LimitExceeded | ErrorId::InvalidArgument
                ));
                refused += 1;
            }
            Ok((file, _)) => assert_ne!(file.sha256, whole.sha256),
        }
    }
    for cut in [0, 4, 11, 12, bytes.len() / 2, bytes.len() - 1] {
        assert!(measured(bytes[..cut].to_vec()).is_err());
    }
    assert!(refused > 500, "{refused}");
}

#[test]
#[ignore = "writes the seeds of the fuzz targets"]
fn seeds() {
    let mut lists = ListBuilder::new(Int32Builder::new());
    lists.append_value([Some(1), None]);
    lists.append_value([]);
    lists.append_null();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("list", Arc::new(lists.finish())),
        ("text", Arc::new(StringArray::from(vec![Some("one"), None, Some("one")]))),
        ("n", Arc::new(Int64Array::from(vec![1, 2, 3]))),
        ("day", Arc::new(Date32Array::from(vec![19_783, 0, -1]))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let put = |path: &str, bytes: Vec<u8>| {
        std::fs::write(format!("{}/fuzz/corpus/{path}", env!("CARGO_MANIFEST_DIR")), bytes).unwrap();
    };
    put("parquet/plain", written(&batch, Compression::UNCOMPRESSED, 2));
    put("parquet/zstd", written(&batch, Compression::ZSTD(ZstdLevel::try_new(1).unwrap()), 10));
    put("parquet/snappy", written(&batch, Compression::SNAPPY, 10));
    let mut stream = arrow_ipc::writer::StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    stream.write(&batch).unwrap();
    put("arrow/stream", stream.into_inner().unwrap());
    let options = arrow_ipc::writer::IpcWriteOptions::default();
    let options = options.try_with_compression(Some(arrow_ipc::CompressionType::LZ4_FRAME)).unwrap();
    let mut file = arrow_ipc::writer::FileWriter::try_new_with_options(Vec::new(), &batch.schema(), options).unwrap();
    file.write(&batch).unwrap();
    put("arrow/file", file.into_inner().unwrap());
}
