//! The roles of the built-in policy, and what a denied caller is told.

use super::*;

#[test]
fn a_denied_operator_learns_what_would_help() {
    let text = r#"@id("all") permit (principal, action, resource);
        @id("factor") forbid (principal, action == ModelVault::Action::"setPolicy", resource) unless { context.mfa_age_s <= 300 };
        @id("two") forbid (principal, action == ModelVault::Action::"export", resource) unless { context.approvals >= 2 };
        @id("both") forbid (principal, action == ModelVault::Action::"shred", resource)
          unless { context.mfa_age_s <= 300 && context.approvals >= 1 };
        @id("too-many") forbid (principal, action == ModelVault::Action::"tag", resource) unless { context.approvals >= 9 };
        @id("never") forbid (principal, action == ModelVault::Action::"rm", resource);"#;
    let (policies, world) = (Policies::parse(text).unwrap(), World::new());
    let owner = Principal::local_operator(0);
    let lacking =
        |who, action| policies.lacking(&ask(who, Transport::Local, action, world.any_resource(action), false));
    assert_eq!(lacking(&owner, Action::SetPolicy), Some(Lack::SecondFactor));
    assert_eq!(lacking(&owner, Action::Export), Some(Lack::Approvals(2)));
    assert_eq!(lacking(&owner, Action::Shred), Some(Lack::SecondFactor));
    for hopeless in [Action::Tag, Action::Rm] {
        assert_eq!(lacking(&owner, hopeless), None, "{hopeless}");
    }
    assert_eq!(lacking(&owner, Action::Seal), None, "permitted");
    let mut after = ask(&owner, Transport::Local, Action::Shred, world.artifact(), false);
    after.context.mfa_age = Some(Duration::from_secs(10));
    assert_eq!(policies.lacking(&after), Some(Lack::Approvals(1)));
    after.context.approvals = 1;
    assert_eq!(policies.lacking(&after), None);
}

/// Everything that the built-in policy permits a caller with one role and nothing else, by default on a model of its namespace.
fn permitted_to(role: &str, principal: &Principal, kind: ArtifactKind) -> Vec<&'static str> {
    let (policies, world) = (Policies::defaults(), World::new());
    let may = |action: &Action| {
        let mut resource = world.any_resource(*action);
        if let Resource::Artifact { kind: of, .. } = &mut resource {
            *of = kind;
        }
        let mut request = ask(principal, Transport::Mtls, *action, resource, false);
        request.groups = vec![name(role)];
        request.context.signer_trusted = true;
        let on_namespace = Request { resource: Resource::Namespace(&world.namespace), ..request.clone() };
        policies.decide(&request).allowed || policies.decide(&on_namespace).allowed
    };
    Action::ALL.iter().filter(|a| may(a)).map(|a| a.as_str()).collect()
}

#[test]
fn each_role_may_do_its_work_and_nothing_else() {
    let alice = Principal { issuer: "corp".into(), subject: "alice".into(), ..Principal::unix_operator(0) };
    let of = |role, who: &Principal| permitted_to(role, who, ArtifactKind::Model);
    assert_eq!(of("nobody", &alice), ["whoami"]);
    assert_eq!(of("admin", &alice).len(), Action::ALL.len());
    let sealer = ["stat", "list", "seal", "import", "tag", "verify", "attest", "readAttestations", "whoami"];
    assert_eq!(of("sealer", &alice), sealer);
    assert_eq!(of("sealer", &serve()), [&sealer[..8], &["renew", "whoami"]].concat());
    assert_eq!(
        of("signer", &alice),
        ["stat", "list", "verify", "attest", "readAttestations", "readSigners", "sign", "whoami"]
    );
    let auditor = of("auditor", &alice);
    for reads in [
        "readAudit",
        "readPolicy",
        "readSettings",
        "readSigners",
        "readSessions",
        "readHolds",
        "readApprovals",
        "listWorkloads",
        "status",
        "list",
        "stat",
    ] {
        assert!(auditor.contains(&reads), "{reads}");
    }
    assert_eq!(auditor.len(), 13);
    // Roles of workloads are for workloads, those of people for people.
    for role in ["serving", "training"] {
        assert_eq!(of(role, &alice), ["whoami"], "{role}");
    }
    for role in ["admin", "signer", "auditor", "nobody"] {
        assert_eq!(of(role, &serve()), ["renew", "whoami"], "{role}");
    }
    assert_eq!(of("serving", &serve()), ["stat", "open", "openRange", "readAttestations", "renew", "whoami"]);
    assert_eq!(permitted_to("serving", &serve(), ArtifactKind::Dataset), ["renew", "whoami"]);
    assert_eq!(
        permitted_to("training", &serve(), ArtifactKind::Dataset),
        ["stat", "open", "openRange", "seal", "readAttestations", "renew", "whoami"]
    );
    assert_eq!(of("training", &serve()), ["seal", "renew", "whoami"]);
    // Nobody reads, seals or lists in another namespace.
    let other = Principal::workload(name("other"), &name("serve-1"));
    for role in ["sealer", "serving", "training"] {
        assert_eq!(of(role, &other), ["whoami"], "{role}");
    }
}

#[test]
fn an_auditor_opens_nothing_even_with_another_role() {
    let (policies, world) = (Policies::defaults(), World::new());
    let alice = Principal { issuer: "corp".into(), subject: "alice".into(), ..Principal::unix_operator(0) };
    for action in [Action::Open, Action::OpenRange, Action::Export] {
        let mut request = ask(&alice, Transport::Mtls, action, world.artifact(), false);
        request.groups = vec![name("admin"), name("auditor")];
        assert_eq!(policies.decide(&request).determining, ["auditor-opens-nothing"], "{action}");
    }
}

#[test]
fn who_has_a_second_factor_uses_it_for_what_cannot_be_undone() {
    let (policies, world, owner) = (Policies::defaults(), World::new(), Principal::local_operator(0));
    for &action in Action::ALL {
        let mut request = ask(&owner, Transport::Local, action, world.any_resource(action), false);
        let destroys = ["export", "shred", "setPolicy", "changeSettings", "resetFactor"].contains(&action.as_str());
        assert!(policies.decide(&request).allowed, "{action}: without a factor, nothing changes");
        request.context.mfa_enrolled = true;
        assert_eq!(policies.decide(&request).allowed, !destroys, "{action}");
        assert_eq!(policies.lacking(&request), destroys.then_some(Lack::SecondFactor), "{action}");
        for (age, allowed) in [(300, true), (301, false)] {
            request.context.mfa_age = Some(Duration::from_secs(age));
            assert_eq!(policies.decide(&request).allowed, allowed || !destroys, "{action} {age}");
        }
        // A hold asks for it whatever is done.
        request.context.step_up = true;
        assert_eq!(policies.decide(&request).allowed, action == Action::Whoami, "{action}");
        request.context.mfa_age = Some(Duration::from_secs(3));
        assert!(policies.decide(&request).allowed, "{action}");
    }
}

#[test]
fn an_explanation_names_what_is_not_met_and_what_would_help() {
    let text = r#"
        @id("day") permit (principal in ModelVault::Group::"serving", action == ModelVault::Action::"open", resource)
          when { resource.signed && context.hour >= 8 } unless { context.hour > 20 || resource.labels.contains("hold") };
        @id("other") permit (principal == ModelVault::Workload::"default/other", action, resource);
        @id("granted") permit (principal == ?principal, action == ModelVault::Action::"open", resource == ?resource);
        @id("two") permit (principal is ModelVault::Operator, action == ModelVault::Action::"export", resource)
          when { context.approvals >= 2 && context.mfa_age_s <= 300 };"#;
    let (policies, world, serve) = (Policies::parse(text).unwrap(), World::new(), serve());
    let mut request = ask(&serve, Transport::Mtls, Action::Open, world.artifact(), false);
    request.now = NOW.plus(Duration::from_secs(12 * 3600));
    request.groups = vec![name("serving")];
    request.marks.labels = [name("hold")].into();
    let told = policies.explain(&request);
    assert!(!told.allowed && told.grant && !told.second_factor);
    assert_eq!(told.why, "denied: no policy permits it");
    let [day] = &told.concerning[..] else { panic!("{told:?}") };
    assert_eq!((&*day.id, day.forbids, day.applies), ("day", false, false));
    assert!(day.unmet[0].starts_with("when {") && day.unmet[0].contains("signed"), "{day:?}");
    assert!(day.unmet[1].starts_with("unless {") && day.unmet[1].contains("hold"), "{day:?}");
    assert_eq!(day.unmet.len(), 2, "{day:?}");
    request.granted = true;
    let told = policies.explain(&request);
    assert!(told.allowed && told.concerning.iter().any(|p| p.applies && p.id == "granted"), "{told:?}");
    let owner = Principal::local_operator(0);
    let told = policies.explain(&ask(&owner, Transport::Local, Action::Export, world.artifact(), false));
    assert_eq!((told.allowed, told.second_factor, told.approvals, told.grant), (false, true, 2, false));
}
