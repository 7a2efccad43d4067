//! `vault grant`: lets a workload read an artifact, or takes that back.

use model_vault::names::Reference;
use model_vault::policy::Action;
use model_vault::{Error, ErrorId, Result};
use serde::Serialize;

use super::Context;
use crate::args;

/// The JSON document of `vault grant`.
#[derive(Debug, Serialize)]
struct Granted {
    workload: String,
    artifact: String,
    granted: bool,
    /// What the workload may do with the artifact now, under the built-in policy.
    actions: Vec<&'static str>,
    /// The Cedar the grant amounts to.
    cedar: Option<String>,
}

/// Grants or revokes.
pub fn run(cx: &Context<'_>, args: &args::Grant) -> Result<()> {
    let artifact: Reference = args.reference.parse()?;
    if args.reference.contains('@') || artifact.member.is_some() {
        return Err(Error::new(ErrorId::InvalidArgument, "grants are of whole artifacts, with all their versions")
            .hint(format!("vault grant {} {}/{}", args.workload, artifact.namespace, artifact.name)));
    }
    // A workload is named like an artifact: [NAMESPACE/]NAME.
    let workload: Reference = args.workload.parse()?;
    if args.workload.contains('@') || workload.member.is_some() {
        return Err(Error::new(ErrorId::InvalidArgument, format!("not a workload: {:?}", args.workload))
            .hint("workloads are [NAMESPACE/]NAME"));
    }
    let client = cx.session.client()?;
    let name = format!("{}/{}", artifact.namespace, artifact.name);
    let cedar = if args.revoke {
        cx.session.wait(client.ungrant(&workload.namespace, &workload.name, &name))?;
        None
    } else {
        Some(cx.session.wait(client.grant(&workload.namespace, &workload.name, &name))?)
    };
    let granted = Granted {
        workload: format!("{}/{}", workload.namespace, workload.name),
        artifact: name,
        granted: !args.revoke,
        actions: if args.revoke { Vec::new() } else { model_vault::policy::GRANTED.map(Action::as_str).to_vec() },
        cedar,
    };
    cx.out.report(&granted, |g| match g.granted {
        true => format!(
            "{} may read {}: {}\n{}\n",
            g.workload,
            g.artifact,
            g.actions.join(", "),
            g.cedar.as_deref().unwrap_or_default()
        ),
        false => format!("{} may no longer read {}\n", g.workload, g.artifact),
    })
}
