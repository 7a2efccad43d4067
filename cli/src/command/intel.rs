//! `vault intel`: lists of known bad digests and keys.

use std::io::Read as _;
use std::path::Path;

use model_vault::facts::{IntelImportFacts, IntelListsFacts};
use model_vault::intel::{List, MAX_BYTES};
use model_vault::names::Name;
use model_vault::{Error, Result};
use serde::Serialize;

use super::{Context, show};
use crate::args::{Intel, IntelImport};
use crate::files;
use crate::output::table::Table;
use crate::output::text::visible;

/// Versions shown without --json.
const SHOWN: usize = 20;

/// The JSON document of `vault intel rm`.
#[derive(Debug, Serialize)]
struct Removed {
    source: String,
}

/// Dispatches.
pub fn run(cx: &Context<'_>, args: &Intel) -> Result<()> {
    match args {
        Intel::Import(args) => import(cx, args),
        Intel::Ls => ls(cx),
        Intel::Rm(args) => rm(cx, &args.source),
    }
}

fn import(cx: &Context<'_>, args: &IntelImport) -> Result<()> {
    let bytes = read(&args.file)?;
    // A mistake is found before a passphrase is asked for.
    List::parse(&bytes).map_err(|e| Error::from(e).on(args.file.display()))?;
    let client = cx.session.client()?;
    let outcome = cx.session.wait(client.import_intel(&args.source, bytes))?;
    cx.out.report(&outcome, |o: &IntelImportFacts| {
        let mut text = format!("{} entries from {} are in force\n", o.entries, visible(&o.source));
        if o.passed_over > 0 {
            text += &format!(
                "{} indicators were passed over: not about SHA-256 or BLAKE3 of files alone, or revoked\n",
                o.passed_over
            );
        }
        if o.unread > 0 {
            text += &format!("{} versions could not be read: vault doctor tells why\n", o.unread);
        }
        text += &match o.matched {
            0 => "nothing that was sealed is named\n".to_owned(),
            matched => format!("{matched} versions are named, and refused from now on:\n"),
        };
        for hit in o.hits.iter().take(SHOWN) {
            text += &format!("  {}  {}\n", visible(&hit.reference), visible(&hit.indicator));
        }
        if o.matched > SHOWN as u64 {
            text += "  ... (--json shows more, the audit log all)\n";
        }
        text
    })
}

fn ls(cx: &Context<'_>) -> Result<()> {
    let client = cx.session.client()?;
    let lists = IntelListsFacts { lists: cx.session.wait(client.intel_lists())? };
    cx.out.report(&lists, |l| {
        let mut table = Table::new(&["SOURCE", ">FILES", ">KEYS", ">ROOTS", ">PASSED OVER", "IMPORTED"]);
        for list in &l.lists {
            let [files, keys, roots, passed] =
                [list.files, list.key_count, list.roots, list.passed_over].map(|n| n.to_string());
            table.row([visible(&list.source), files, keys, roots, passed, show::time(list.imported)]);
        }
        let mut text = table.render(cx.out.styled());
        for list in &l.lists {
            for key in list.keys.iter().take(SHOWN) {
                text += &format!("key:{key}  {}\n", visible(&list.source));
            }
            if list.key_count > SHOWN as u64 {
                text +=
                    &format!("  ... and {} more keys of {}\n", list.key_count - SHOWN as u64, visible(&list.source));
            }
        }
        text
    })
}

fn rm(cx: &Context<'_>, source: &Name) -> Result<()> {
    let client = cx.session.client()?;
    cx.session.wait(client.remove_intel(source))?;
    let removed = Removed { source: source.to_string() };
    cx.out.report(&removed, |r| format!("the list from {} is in force no more\n", visible(&r.source)))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let max = MAX_BYTES as u64;
    if path != Path::new("-") {
        return files::read_small(path, max).map_err(files::on(path));
    }
    let mut bytes = Vec::new();
    // One byte more shows that it is too long.
    std::io::stdin().lock().take(max + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
