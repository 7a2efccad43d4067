//! `vault workload`: who may fetch, beside people.

use std::path::{Path, PathBuf};

use model_vault::client::Client;
use model_vault::crypto::random::SystemRandom;
use model_vault::crypto::sign::PublicKey;
use model_vault::facts::{IssuedFacts, WorkloadFacts};
use model_vault::identity::{Enrolment, PrivateKey, new_key_and_csr};
use model_vault::names::{KeyId, Name, Timestamp};
use model_vault::{Error, ErrorId, Result};
use serde::Serialize;

use super::{Context, show};
use crate::args::{Enroll, Renew, Revoke, Workload};
use crate::output::table::facts;
use crate::session::REPLACE;

/// Where a daemon listens unless it is told otherwise: what an enrolment names while none serves.
const DEFAULT_ADDRESS: &str = "127.0.0.1:7443";

/// The JSON document of `vault workload enroll` and `renew`.
#[derive(Debug, Serialize)]
struct Enrolled {
    namespace: Name,
    name: Name,
    directory: PathBuf,
    address: String,
    not_after: Timestamp,
    /// Keys whose artifact statements the workload trusts.
    signers: Vec<KeyId>,
}

/// The JSON document of `vault workload ls`.
#[derive(Debug, Serialize)]
struct Listing {
    workloads: Vec<WorkloadFacts>,
}

/// The JSON document of `vault workload revoke`.
#[derive(Debug, Serialize)]
struct Revoked {
    namespace: Name,
    name: Name,
    /// Hex; absent: the workload as a whole.
    serial: Option<String>,
}

/// Dispatches.
pub fn run(cx: &Context<'_>, args: &Workload) -> Result<()> {
    match args {
        Workload::Enroll(args) => enroll(cx, args),
        Workload::Renew(args) => renew(cx, args),
        Workload::Ls => ls(cx),
        Workload::Revoke(args) => revoke(cx, args),
    }
}

fn enroll(cx: &Context<'_>, args: &Enroll) -> Result<()> {
    // Before the vault issues a certificate that would then have no place.
    check_place(args)?;
    let client = cx.session.client()?;
    let (key, csr) = new_key_and_csr(&args.name)?;
    let issued = cx.session.wait(client.enroll(&args.namespace, &args.name, &csr))?;
    if issued.address.is_none() {
        cx.out.message(format!(
            "no daemon serves workloads now: the enrolment names {DEFAULT_ADDRESS}; fetch takes --server"
        ));
    }
    let address = issued.address.clone().unwrap_or_else(|| DEFAULT_ADDRESS.into());
    let enrolment = enrolment(issued, key, address, args.namespace.clone())?;
    enrolment.write(&args.output, &SystemRandom).inspect_err(|_| {
        // Nobody holds this certificate: the name must be free for the next attempt.
        let _ = cx.session.wait(client.revoke(&args.namespace, &args.name, None));
    })?;
    report(cx, &enrolment, &args.output)
}

/// A directory that is free, or holds an earlier enrolment of the same workload: the key of another is not overwritten.
fn check_place(args: &Enroll) -> Result<()> {
    Enrolment::check_place(&args.output)?;
    let Ok(there) = Enrolment::read(&args.output).and_then(|e| e.identity()) else { return Ok(()) };
    if (&there.id.namespace, &there.id.name) == (&args.namespace, &args.name) {
        return Ok(());
    }
    let text = format!("{} is the enrolment of {}/{}", args.output.display(), there.id.namespace, there.id.name);
    Err(Error::new(ErrorId::AlreadyExists, text).hint("name another directory with -o"))
}

fn renew(cx: &Context<'_>, args: &Renew) -> Result<()> {
    let old = Enrolment::read(&args.directory)?;
    let identity = old.identity()?;
    let client: Client = cx.session.workload(args.server.clone(), old.clone())?;
    let (key, csr) = new_key_and_csr(&identity.id.name)?;
    let issued = cx.session.wait(client.renew(&csr)).map_err(|e| match e.id() {
        ErrorId::BadCredential => e.on(args.directory.display()).hint(REPLACE),
        _ => e,
    })?;
    // A daemon that could exchange the CA by a renewal could take the workload over.
    if issued.ca_certificate != old.ca {
        return Err(Error::new(
            ErrorId::BadCredential,
            "the server answers with another certificate authority than the enrolment pins",
        )
        .hint("enrol the workload again on the vault's machine if this is meant"));
    }
    let signers = old.signers.clone();
    let address = args.server.clone().unwrap_or_else(|| old.address.clone());
    let renewed = Enrolment { signers, ..enrolment(issued, key, address, old.namespace)? };
    renewed.write(&args.directory, &SystemRandom)?;
    report(cx, &renewed, &args.directory)
}

fn enrolment(issued: IssuedFacts, key: PrivateKey, address: String, namespace: Name) -> Result<Enrolment> {
    let signer = |spki: &[u8]| {
        PublicKey::from_spki(spki)
            .map_err(|_| Error::new(ErrorId::StreamBroken, "the vault names a signer that is no key"))
    };
    let signers = issued.signers.iter().map(|s| signer(&s.spki)).collect::<Result<_>>()?;
    Ok(Enrolment { address, namespace, signers, ca: issued.ca_certificate, certificate: issued.certificate, key })
}

fn report(cx: &Context<'_>, enrolment: &Enrolment, directory: &Path) -> Result<()> {
    let identity = enrolment.identity()?;
    let enrolled = Enrolled {
        namespace: identity.id.namespace,
        name: identity.id.name,
        directory: directory.to_path_buf(),
        address: enrolment.address.clone(),
        not_after: identity.not_after,
        signers: enrolment.signers.iter().map(PublicKey::key_id).collect(),
    };
    cx.out.report(&enrolled, |e| {
        let signers: Vec<_> = e.signers.iter().map(KeyId::short).collect();
        facts([
            ("workload", Some(format!("{}/{}", e.namespace, e.name))),
            ("enrolment", Some(e.directory.display().to_string())),
            ("daemon", Some(e.address.clone())),
            ("certificate ends", Some(show::time(e.not_after))),
            ("trusts", Some(signers.join(" "))),
        ])
    })
}

fn ls(cx: &Context<'_>) -> Result<()> {
    let client = cx.session.client()?;
    let listing = Listing { workloads: cx.session.wait(client.workloads())? };
    if listing.workloads.is_empty() {
        cx.out.message("no workload is enrolled");
    }
    cx.out.report(&listing, |l| {
        if l.workloads.is_empty() { String::new() } else { show::workloads(&l.workloads, cx.out.styled()) }
    })
}

fn revoke(cx: &Context<'_>, args: &Revoke) -> Result<()> {
    let client = cx.session.client()?;
    let serial = args.serial.as_ref().map(|s| &s.0[..]);
    cx.session.wait(client.revoke(&args.namespace, &args.name, serial))?;
    let hex = serial.map(|bytes| bytes.iter().map(|b| format!("{b:02x}")).collect());
    cx.out.report(&Revoked { namespace: args.namespace.clone(), name: args.name.clone(), serial: hex }, |r| {
        match &r.serial {
            Some(serial) => format!("certificate {serial} of {}/{} is refused from now on\n", r.namespace, r.name),
            None => format!("{}/{} is refused from now on\n", r.namespace, r.name),
        }
    })
}
