//! Generates the error ids from `contracts/errors.tsv` and, with a wire feature on, the gRPC types from `proto/`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::{env, fs};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let out = PathBuf::from(env::var("OUT_DIR")?);
    println!("cargo::rerun-if-changed=contracts/errors.tsv");
    fs::write(out.join("error_table.rs"), error_table(&fs::read_to_string("contracts/errors.tsv")?)?)?;
    if env::var_os("CARGO_FEATURE_CLIENT").is_some() {
        protos(&out)?;
    }
    Ok(())
}

/// Rust source of `Kind` and `ErrorId` with their columns as `const fn`s.
fn error_table(table: &str) -> Result<String, Failure> {
    let mut kinds = BTreeMap::new();
    let (mut kind_lines, mut error_lines) = (Vec::new(), Vec::new());
    for line in table.lines().filter(|l| !l.is_empty() && !l.starts_with('#')) {
        match line.split('\t').collect::<Vec<_>>()[..] {
            ["kind", name, grpc, exit, remote] => {
                kinds.insert(name, grpc);
                kind_lines.push((name, grpc, exit.parse::<u8>()?, remote));
            }
            ["error", id, kind, grpc, meaning, hint] => error_lines.push((id, kind, grpc, meaning, hint)),
            _ => return Err(format!("contracts/errors.tsv: bad line {line:?}").into()),
        }
    }
    let mut code = String::new();
    let doc = "The class of an error: decides exit status, gRPC status and what a stranger sees.";
    enumeration(
        &mut code,
        "Kind",
        doc,
        kind_lines.iter().map(|k| (k.0, format!("Exit status {}, gRPC {}.", k.2, k.1))),
    )?;
    column(
        &mut code,
        "Kind",
        "exit_status",
        "Exit status of the command line.",
        "u8",
        kind_lines.iter().map(|k| (k.0, k.2.to_string())),
    )?;
    column(
        &mut code,
        "Kind",
        "remote_id",
        "What an unprivileged remote caller sees; `None`: the id itself.",
        "Option<&'static str>",
        kind_lines.iter().map(|k| (k.0, if k.3 == "id" { "None".into() } else { format!("Some({:?})", k.3) })),
    )?;
    let doc = "A stable error id (`contracts/errors.tsv`).";
    enumeration(&mut code, "ErrorId", doc, error_lines.iter().map(|e| (e.0, format!("{}.", capital(e.3)))))?;
    column(
        &mut code,
        "ErrorId",
        "name",
        "The id as text.",
        "&'static str",
        error_lines.iter().map(|e| (e.0, format!("{:?}", e.0))),
    )?;
    column(
        &mut code,
        "ErrorId",
        "meaning",
        "What it means, in a few words.",
        "&'static str",
        error_lines.iter().map(|e| (e.0, format!("{:?}", e.3))),
    )?;
    column(
        &mut code,
        "ErrorId",
        "kind",
        "Its class.",
        "Kind",
        error_lines.iter().map(|e| (e.0, format!("Kind::{}", e.1))),
    )?;
    column(
        &mut code,
        "ErrorId",
        "default_hint",
        "What to do about it, where something can be said for every case.",
        "Option<&'static str>",
        error_lines.iter().map(|e| (e.0, if e.4 == "-" { "None".into() } else { format!("Some({:?})", e.4) })),
    )?;
    let mut statuses = Vec::new();
    for (id, kind, grpc, ..) in &error_lines {
        let of_kind = kinds.get(kind).ok_or_else(|| format!("contracts/errors.tsv: {id} has unknown kind {kind}"))?;
        statuses.push((*id, format!("{:?}", if *grpc == "-" { of_kind } else { grpc })));
    }
    column(&mut code, "ErrorId", "grpc_status", "Name of the gRPC status code.", "&'static str", statuses)?;
    Ok(code)
}

fn enumeration<'a>(
    code: &mut String,
    name: &str,
    doc: &str,
    variants: impl Iterator<Item = (&'a str, String)>,
) -> Result<(), Failure> {
    writeln!(
        code,
        "/// {doc}\n#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]\n#[non_exhaustive]\npub enum {name} {{"
    )?;
    let mut all = String::new();
    for (variant, doc) in variants {
        writeln!(code, "    /// {doc}\n    {variant},")?;
        write!(all, "{name}::{variant}, ")?;
    }
    writeln!(
        code,
        "}}\nimpl {name} {{\n    /// All of them, in the order of the table.\n    pub const ALL: &'static [{name}] = &[{all}];\n}}"
    )?;
    Ok(())
}

fn column<'a>(
    code: &mut String,
    name: &str,
    function: &str,
    doc: &str,
    result: &str,
    values: impl IntoIterator<Item = (&'a str, String)>,
) -> Result<(), Failure> {
    writeln!(
        code,
        "impl {name} {{\n    /// {doc}\n    pub const fn {function}(self) -> {result} {{\n        match self {{"
    )?;
    for (variant, value) in values {
        writeln!(code, "            Self::{variant} => {value},")?;
    }
    writeln!(code, "        }}\n    }}\n}}")?;
    Ok(())
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |c| c.to_uppercase().chain(chars).collect())
}

/// Compiles `proto/modelvault/v1/*.proto` with protox (no protoc needed) and writes the descriptor set used by reflection.
fn protos(out: &std::path::Path) -> Result<(), Failure> {
    println!("cargo::rerun-if-changed=proto");
    let mut files: Vec<_> =
        fs::read_dir("proto/modelvault/v1")?.map(|e| e.map(|e| e.path())).collect::<Result<_, _>>()?;
    files.retain(|f| f.extension().is_some_and(|e| e == "proto"));
    files.sort();
    if files.is_empty() {
        return Ok(());
    }
    let descriptors = protox::compile(&files, ["proto"])?;
    fs::write(out.join("descriptors.bin"), prost::Message::encode_to_vec(&descriptors))?;
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)?;
    // What others speak is no part of what this vault says of itself.
    let of_others = protox::compile(["proto/spiffe/workload.proto"], ["proto/spiffe"])?;
    tonic_prost_build::configure().bytes(".").compile_fds(of_others)?;
    Ok(())
}
