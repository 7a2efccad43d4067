//! `vault login --server`, `vault logout DIR`: a token exchanged for a session, and its end.

use std::path::{Path, PathBuf};

use model_vault::client::{Client, Endpoint};
use model_vault::crypto::pem;
use model_vault::crypto::random::SystemRandom;
use model_vault::crypto::sign::PublicKey;
use model_vault::facts::SessionFacts;
use model_vault::identity::{Enrolment, new_key_and_csr};
use model_vault::names::{Name, Reference, SessionId};
use model_vault::{Error, ErrorId, Result};
use serde::Serialize;

use super::{Context, show};
use crate::args::Login;
use crate::files;
use crate::output::table::facts;

/// The JSON document of `vault login --server`.
#[derive(Debug, Serialize)]
struct LoggedIn {
    session: SessionFacts,
    directory: PathBuf,
}

/// The JSON document of `vault logout DIR`.
#[derive(Debug, Serialize)]
struct LoggedOut {
    session: SessionId,
}

/// Logs in.
pub fn login(cx: &Context<'_>, args: &Login, server: &str, token: &Path, output: &Path) -> Result<()> {
    // Before the token is used up.
    Enrolment::check_place(output)?;
    let earlier = Enrolment::read(output).ok();
    if earlier.as_ref().is_some_and(|e| e.session().is_none()) {
        let text = format!("{} is the enrolment of a workload", output.display());
        return Err(Error::new(ErrorId::AlreadyExists, text).hint("name another directory with -o"));
    }
    let ca = match (&args.ca, &earlier) {
        (Some(path), _) => {
            let text = files::read_text(path)?;
            let of_file = |e| Error::new(ErrorId::BadCredential, format!("{}: {e}", path.display()));
            pem::one(text.as_bytes(), "CERTIFICATE").map_err(of_file)?.to_vec()
        }
        (None, Some(earlier)) => earlier.ca.clone(),
        (None, None) => {
            return Err(Error::new(ErrorId::NoCredential, "whose certificate the daemon must show is not known").hint(
                "give --ca FILE: ca.crt of any enrolment of the vault, or of vault workload enroll NAME -o DIR",
            ));
        }
    };
    let mut signers = args.signer_key.iter().map(|path| PublicKey::read(path)).collect::<Result<Vec<_>>>()?;
    if let (true, Some(earlier)) = (signers.is_empty(), &earlier) {
        signers.clone_from(&earlier.signers);
    }
    let token = files::read_text(token)?;
    let name: Name = "session".parse()?;
    let (key, csr) = new_key_and_csr(&name)?;
    let endpoint = Endpoint::Anonymous { address: server.to_owned(), ca: ca.clone() };
    let client = cx.session.wait(Client::connect(endpoint))?;
    let login = cx.session.wait(client.login(token.trim(), csr)).map_err(|e| match e.id() {
        ErrorId::BadCredential => e.on("the token").hint(
            "each token is taken once; issuer, audience, subject and times must be as the vault's settings say: \
             vault config get issuers, and vault audit tail tells an operator why",
        ),
        _ => e,
    })?;
    if login.ca_certificate != ca {
        return Err(Error::new(
            ErrorId::BadCredential,
            "the daemon names another certificate authority than it is under",
        ));
    }
    let namespace = match &login.session.namespace {
        Some(namespace) => namespace.clone(),
        None => Reference::DEFAULT_NAMESPACE.parse()?,
    };
    let enrolment =
        Enrolment { address: server.to_owned(), namespace, signers, ca, certificate: login.certificate, key };
    enrolment.write(output, &SystemRandom)?;
    let logged_in = LoggedIn { session: login.session, directory: output.to_path_buf() };
    cx.out.report(&logged_in, |l| {
        let groups: Vec<_> = l.session.groups.iter().map(Name::as_str).collect();
        facts([
            (l.session.kind.as_str(), Some(l.session.subject.clone())),
            ("vouched for by", Some(l.session.issuer.clone())),
            ("namespace", l.session.namespace.as_ref().map(ToString::to_string)),
            ("groups", Some(groups.join(" ")).filter(|g| !g.is_empty())),
            ("session", Some(l.session.id.to_string())),
            ("ends", Some(show::time(l.session.expires))),
            ("directory", Some(l.directory.display().to_string())),
        ])
    })
}

/// Ends a session.
pub fn logout(cx: &Context<'_>, directory: &Path) -> Result<()> {
    let enrolment = Enrolment::read(directory)?;
    let Some(session) = enrolment.session() else {
        let text = format!("{} is an enrolment, not a session", directory.display());
        return Err(
            Error::new(ErrorId::InvalidArgument, text).hint("vault workload revoke NAME takes an enrolment back")
        );
    };
    let client = cx.session.workload(None, enrolment)?;
    cx.session.wait(client.logout())?;
    let logged_out = LoggedOut { session: session.session };
    cx.out.report(&logged_out, |l| format!("session {} is over\n", l.session))
}
