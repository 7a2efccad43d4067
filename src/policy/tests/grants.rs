//! What a permit gives that opens an artifact.

use super::*;

#[test]
fn a_grant_names_what_was_decided_and_ends() {
    let (policies, world, serve) = (Policies::defaults(), World::new(), serve());
    let request = ask(&serve, Transport::Mtls, Action::Open, world.artifact(), true);
    let grant = policies.decide_on(request.clone()).grant(VERSION, Lease::default()).unwrap();
    assert_eq!(
        (grant.principal(), grant.action(), grant.artifact(), grant.version()),
        (&serve, Action::Open, MODEL, VERSION)
    );
    assert_eq!(grant.decision().determining, ["granted-read"]);
    assert_eq!(
        (grant.issued_at(), grant.expires_at(), grant.lease_bytes()),
        (NOW, NOW.plus(Duration::from_secs(60)), 1 << 30)
    );
    let after = |ms: i64| Timestamp::from_millis(NOW.as_millis() + ms);
    for (ms, holds) in
        [(0, true), (59_999, true), (60_000, false), (-5_000, true), (-5_001, false), (-3_600_000, false)]
    {
        assert_eq!(grant.check(after(ms)).is_ok(), holds, "{ms}");
    }
    grant.check_for(Action::Open, VERSION, NOW).unwrap();
    assert_eq!(grant.check_for(Action::Export, VERSION, NOW).unwrap_err().id(), ErrorId::Denied);
    assert_eq!(grant.check_for(Action::Open, VersionId([9; 16]), NOW).unwrap_err().id(), ErrorId::Denied);
    let endless = Lease { duration: Duration::MAX, bytes: 1 };
    let grant = policies.decide_on(request).grant(VERSION, endless).unwrap();
    assert_eq!(grant.expires_at(), NOW.plus(Lease::LONGEST));
}

#[test]
fn no_grant_comes_of_a_denial_or_of_an_action_that_opens_nothing() {
    let (policies, world, serve, owner) = (Policies::defaults(), World::new(), serve(), Principal::local_operator(0));
    let denied = policies
        .decide_on(ask(&serve, Transport::Mtls, Action::Open, world.artifact(), false))
        .grant(VERSION, Lease::default())
        .unwrap_err();
    assert!(!denied.decision.allowed);
    let error = Error::from(denied);
    assert_eq!(error.id(), ErrorId::Denied);
    assert_eq!(error.message(), "workload default/serve-1: open default/resnet: denied: no policy permits it");
    for &action in Action::ALL {
        let request = ask(&owner, Transport::Local, action, world.any_resource(action), true);
        let opens = matches!(action, Action::Open | Action::OpenRange | Action::Verify | Action::Export);
        match policies.decide_on(request).grant(VERSION, Lease::default()) {
            Ok(_) => assert!(opens, "{action}"),
            Err(denied) => assert!(!opens && !denied.decision.allowed, "{action}"),
        }
    }
}

#[test]
fn the_cedar_of_a_grant_is_a_policy_with_the_same_effect() {
    let (world, serve) = (World::new(), serve());
    let cedar = grant_as_cedar(&world.namespace, &world.workload, MODEL);
    let policies = Policies::parse(&format!("@id(\"shown\") {cedar}")).unwrap();
    let decision = policies.decide(&ask(&serve, Transport::Mtls, Action::Open, world.artifact(), false));
    assert_eq!(decision.determining, ["shown"]);
    let permitted =
        |action: &Action| policies.decide(&ask(&serve, Transport::Mtls, *action, world.artifact(), false)).allowed;
    let of_artifacts = [GRANTED.as_slice(), &[Action::Tag, Action::Rm, Action::Verify, Action::Export, Action::Grant]];
    assert_eq!(of_artifacts.concat().into_iter().filter(permitted).collect::<Vec<_>>(), GRANTED);
}
