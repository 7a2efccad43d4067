//! Which texts are taken as policies.

use super::*;

#[test]
fn bad_policy_text_is_refused_by_name() {
    let refused = |text: &str| Policies::parse(text).unwrap_err();
    let typo = refused(
        r#"@id("serve") permit (principal, action == ModelVault::Action::"open", resource) when { context.atested };"#,
    );
    assert!(
        matches!(&typo, PolicyError::Invalid { id, message, .. } if id == "serve" && message.contains("atested")),
        "{typo}"
    );
    assert_eq!(Error::from(typo).id(), ErrorId::InvalidArgument);
    let of_type = refused(
        r#"@id("t") permit (principal, action == ModelVault::Action::"open", resource) when { context.hour == "9" };"#,
    );
    assert!(matches!(of_type, PolicyError::Invalid { .. }), "{of_type}");
    for unknown in ["ModelVault::Action::\"opne\"", "ModelVault::Actoin::\"open\"", "Action::\"open\""] {
        let e = refused(&format!("@id(\"u\") permit (principal, action == {unknown}, resource);"));
        assert!(e.to_string().contains("\"u\"") || e.to_string().contains("Actoin"), "{e}");
    }
    let (all, at) = ("permit (principal, action, resource);", Place::START);
    assert_eq!(refused(&format!("@id(\"a\") {all} {all}")), PolicyError::NoId { at: Place { line: 1, column: 48 } });
    assert_eq!(
        refused(&format!("@id(\"a\") {all} @id(\"a\") {all}")),
        PolicyError::DuplicateId { at: Place { line: 1, column: 48 }, id: "a".into() }
    );
    assert_eq!(refused(&format!("@id(\"a b\") {all}")), PolicyError::BadId { at, id: "a b".into() });
    assert_eq!(refused(&format!("@id(\"a#grant\") {all}")), PolicyError::BadId { at, id: "a#grant".into() });
    assert_eq!(refused(&format!("@id {all}")), PolicyError::BadId { at, id: String::new() });
    assert!(matches!(refused("permit (principal"), PolicyError::Syntax { .. }));
    // A forbid that can never apply protects nothing.
    let never = refused(
        "@id(\"n\") forbid (principal, action == ModelVault::Action::\"open\", resource is ModelVault::Vault);",
    );
    assert!(matches!(&never, PolicyError::Invalid { id, .. } if id == "n"), "{never}");
}

#[test]
fn what_is_said_of_a_dataset_is_asked_by_its_name_and_only_where_it_is_known() {
    let rule = |condition: &str| {
        let scope = "principal, action == ModelVault::Action::\"open\", resource";
        Policies::parse(&format!("@id(\"d\") forbid ({scope}) unless {{ {condition} }};"))
    };
    rule("context has dataset && context.dataset.unattributed == 0 && context.dataset.contributors.contains(\"acme\")")
        .unwrap();
    let typo = rule("context has dataset && context.dataset.unattribted == 0").unwrap_err();
    assert!(typo.to_string().contains("unattribted"), "{typo}");
    for bad in [
        "context has dataset && context.dataset.unattribted == 0",
        "context has dataset && context.dataset.scanned == 1",
        "context has dataset && context.dataset == \"none\"",
        "context.dataset.unattributed == 0",
        "context.dataset.unattributed == 0 || context has dataset",
    ] {
        let e = rule(bad).unwrap_err();
        assert!(matches!(&e, PolicyError::Invalid { id, .. } if id == "d"), "{bad}: {e}");
    }
}

#[test]
fn a_mistake_is_where_the_message_says() {
    let before = "// caf\u{e9}; \"\n@id(\"a\") permit (principal, action, resource);\n\n";
    let at = |text: &str| {
        let told = Policies::parse(&format!("{before}{text}")).unwrap_err().to_string();
        told.split(": ").next().unwrap().to_owned()
    };
    assert_eq!(at("@id(\"b\")\npermit (principal, action resource);"), "5:27");
    assert_eq!(at("@id(\"b\") permit (principal, action, resource)\n  when { context.atested };"), "5:10");
    assert_eq!(at("@id(\"b\") permit (principal, action == ModelVault::Action::\"opne\", resource);"), "4:1");
    assert_eq!(at("permit (principal, action, resource);"), "4:1");
    assert_eq!(at("@id(\"a\")\npermit (principal, action, resource);"), "4:1");
    assert_eq!(at("@id(\"b\") permit (principal, action, resource) unless { \"\u{e9}"), "4:56");
}

#[test]
fn oversized_policies_are_refused() {
    let rule = |i: usize| format!("@id(\"p{i}\") permit (principal, action, resource);\n");
    let many: String = (0..=MAX_POLICIES).map(rule).collect();
    assert_eq!(Policies::parse(&many).unwrap_err(), PolicyError::TooMany { count: MAX_POLICIES + 1 });
    let long = format!("{}{}", rule(0), " ".repeat(MAX_TEXT_BYTES));
    assert_eq!(Policies::parse(&long).unwrap_err(), PolicyError::TooLong { bytes: long.len() });
}

/// The shapes Cedar walks by recursion: what opens, what ends, and what stands in the middle.
const DEEP: [(&str, &str, &str); 10] = [
    ("(", ")", "true"),
    ("[", "]", "1"),
    ("{a:", "}", "1"),
    ("!", "", "true"),
    ("-", "", "1"),
    ("if context.bound then ", " else context.pq_tls", "context.bound"),
    ("context.bound && ", "", "context.bound"),
    ("context.hour + ", "", "1"),
    ("", ".a", "context"),
    ("", ".contains(1)", "[1]"),
];

fn conditional(condition: &str) -> String {
    format!("@id(\"p\") permit (principal, action, resource) when {{ {condition} }};")
}

#[test]
fn deep_expressions_exhaust_no_stack() {
    let small = std::thread::Builder::new().stack_size(1 << 20).spawn(|| {
        for (open, close, middle) in DEEP {
            for n in [10, 30, 100, 300, 1000, 2000, 5000, 20_000] {
                let outcome = Policies::parse(&conditional(&format!("{}{middle}{}", open.repeat(n), close.repeat(n))));
                assert!(n < 5000 || outcome.is_err(), "{open} {n}");
            }
        }
    });
    small.unwrap().join().unwrap();
}

#[test]
fn policies_that_were_taken_are_evaluated_on_any_stack() {
    let mut taken = Vec::new();
    for (open, close, middle) in DEEP {
        for n in [25, 300, 400, 500, 1000] {
            let deep = format!("{}{middle}{}", open.repeat(n), close.repeat(n));
            for condition in [deep.clone(), format!("{deep} != 1 || context.bound"), format!("{deep} > 1")] {
                taken.extend(Policies::parse(&conditional(&condition)));
            }
        }
    }
    assert!(taken.len() > 10, "{}", taken.len());
    let small = std::thread::Builder::new().stack_size(256 << 10).spawn(move || {
        let (world, serve) = (World::new(), serve());
        for policies in taken.clone() {
            let decision = policies.decide(&ask(&serve, Transport::Mtls, Action::Open, world.artifact(), true));
            assert!(decision.errors.is_empty() || !decision.allowed);
        }
    });
    small.unwrap().join().unwrap();
}

#[test]
fn no_expression_within_the_bounds_is_too_deep_to_be_validated() {
    for (open, close, middle) in DEEP {
        for n in [1, 3, 10, 25, 100, 200, 225, 300, 400, 500, 670, 1000, 2000] {
            // A wrong name before, inside and behind the deep part.
            let deep = |m: &str| format!("{}{m}{}", open.repeat(n), close.repeat(n));
            for text in [
                format!("context.atested == 1 || {} == 1", deep(middle)),
                format!("{} == 1 || context.atested == 1", deep(middle)),
                deep(&format!("({middle} == context.atested)")),
            ] {
                let outcome = Policies::parse(&conditional(&text));
                assert!(outcome.is_err(), "{open}{close} {n} passed unchecked");
            }
        }
    }
}

#[test]
fn size_is_counted_per_policy_and_not_in_strings_or_comments() {
    let text = format!(
        "// {}\n@id(\"a\") permit (principal, action, resource) when {{ context.transport != \"{}\" }};\n{}",
        "; \" ".repeat(5000),
        "; // ) \\\"".repeat(5000),
        (0..500).map(|i| format!("@id(\"b{i}\") permit (principal, action, resource);\n")).collect::<String>()
    );
    Policies::parse(&text).unwrap();
    let large =
        format!("\n\n@id(\"a\") permit (principal, action, resource) when {{ {}true }};", "true || ".repeat(3000));
    assert_eq!(Policies::parse(&large).unwrap_err(), PolicyError::TooLarge { at: Place { line: 3, column: 1 } });
}
