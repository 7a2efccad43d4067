//! `vault grant`: lets a workload read an artifact, or takes that back.

use model_vault::names::Reference;
use model_vault::{Error, ErrorId, Result};
use serde::Serialize;

use super::Context;
use crate::args;
use crate::output::text::visible;

/// The JSON document of `vault grant`.
#[derive(Debug, Serialize)]
struct Granted {
    workload: String,
    artifact: String,
    granted: bool,
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
        cedar,
    };
    cx.out.report(&granted, |g| match &g.cedar {
        Some(cedar) => {
            format!("{} may read every version of {}\n{}\n", g.workload, g.artifact, visible(cedar.trim_end()))
        }
        None => format!("{} may no longer read {}\n", g.workload, g.artifact),
    })
}
