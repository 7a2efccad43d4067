//! The part of JSON Schema (draft 2020-12) that `contracts/schemas/` uses. A keyword it does not know is an error: a schema must
//! not promise what nobody checks.

use std::path::PathBuf;

use serde_json::{Map, Value};

/// Checks a document against the schema of that name.
pub fn check(name: &str, document: &Value) {
    let schema = load(name);
    if let Err(why) = validate(&schema, document, name) {
        panic!("{why}\nin {document:#}");
    }
}

pub fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../contracts/schemas")
}

fn load(name: &str) -> Value {
    let path = directory().join(format!("{name}.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

pub fn validate(schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let fail = |why: String| Err(format!("{at}: {why}"));
    for (keyword, rule) in schema.as_object().expect("a schema is an object") {
        let holds = match keyword.as_str() {
            "$schema" | "$id" | "description" => true,
            "$ref" => {
                let name =
                    rule.as_str().and_then(|r| r.strip_suffix(".json")).expect("a reference to a file beside it");
                return validate(&load(name), value, at);
            }
            "anyOf" => rule.as_array().unwrap().iter().any(|option| validate(option, value, at).is_ok()),
            "type" => match rule {
                Value::Array(types) => types.iter().any(|t| has_type(value, t)),
                one => has_type(value, one),
            },
            "enum" => rule.as_array().unwrap().contains(value),
            "pattern" => value.as_str().is_none_or(|text| matches(rule.as_str().unwrap(), text)),
            "minLength" => value.as_str().is_none_or(|text| text.chars().count() as u64 >= rule.as_u64().unwrap()),
            "minimum" => value.as_i64().is_none_or(|n| n >= rule.as_i64().unwrap()),
            "items" => {
                for (i, item) in value.as_array().into_iter().flatten().enumerate() {
                    validate(rule, item, &format!("{at}[{i}]"))?;
                }
                true
            }
            "properties" => {
                for (key, rule) in rule.as_object().unwrap() {
                    if let Some(inner) = value.get(key) {
                        validate(rule, inner, &format!("{at}.{key}"))?;
                    }
                }
                true
            }
            "required" => match value.as_object() {
                Some(object) => {
                    match rule.as_array().unwrap().iter().find(|k| !object.contains_key(k.as_str().unwrap())) {
                        Some(missing) => return fail(format!("{missing} is missing")),
                        None => true,
                    }
                }
                None => true,
            },
            "additionalProperties" => {
                let empty = Map::new();
                let known = schema.get("properties").and_then(Value::as_object).unwrap_or(&empty);
                for (key, inner) in value.as_object().into_iter().flatten().filter(|(k, _)| !known.contains_key(*k)) {
                    match rule {
                        Value::Bool(false) => return fail(format!("{key:?} is not in the contract")),
                        rule => validate(rule, inner, &format!("{at}.{key}"))?,
                    }
                }
                true
            }
            unknown => panic!("{at}: the schema uses {unknown:?}, which is not checked"),
        };
        if !holds {
            return fail(format!("{value} breaks {keyword}: {rule}"));
        }
    }
    Ok(())
}

fn has_type(value: &Value, wanted: &Value) -> bool {
    match wanted.as_str().expect("a type is a word") {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        unknown => panic!("type {unknown:?}"),
    }
}

/// Anchored patterns of literals, classes and one group, each with `{n}`, `{m,n}`, `+` or nothing: what the schemas need.
fn matches(pattern: &str, text: &str) -> bool {
    let inner = pattern.strip_prefix('^').and_then(|p| p.strip_suffix('$')).expect("patterns are anchored");
    let pattern: Vec<char> = inner.chars().collect();
    let text: Vec<char> = text.chars().collect();
    ends(&pattern, &text, vec![0]).contains(&text.len())
}

/// All places in `text` where a match from one of `starts` may end.
fn ends(pattern: &[char], text: &[char], mut at: Vec<usize>) -> Vec<usize> {
    let mut p = 0;
    while p < pattern.len() {
        let atom = match pattern[p] {
            '[' => p + pattern[p..].iter().position(|c| *c == ']').expect("a class ends") + 1,
            '(' => p + pattern[p..].iter().position(|c| *c == ')').expect("a group ends") + 1,
            '\\' => p + 2,
            _ => p + 1,
        };
        let (least, most, next) = repeats(&pattern[atom..]);
        let mut reached: Vec<usize> = if least == 0 { at.clone() } else { Vec::new() };
        for round in 1..=most.min(text.len()) {
            at = at.into_iter().flat_map(|from| step(&pattern[p..atom], text, from)).collect();
            at.dedup();
            if at.is_empty() {
                break;
            }
            if round >= least {
                reached.extend(&at);
            }
        }
        reached.sort_unstable();
        reached.dedup();
        at = reached;
        p = atom + next;
    }
    at
}

fn repeats(rest: &[char]) -> (usize, usize, usize) {
    match rest.first() {
        Some('+') => (1, usize::MAX, 1),
        Some('{') => {
            let end = rest.iter().position(|c| *c == '}').expect("a count ends");
            let text: String = rest[1..end].iter().collect();
            let (least, most) = text.split_once(',').unwrap_or((&text, &text));
            (least.parse().unwrap(), most.parse().unwrap(), end + 1)
        }
        _ => (1, 1, 0),
    }
}

fn step(atom: &[char], text: &[char], from: usize) -> Vec<usize> {
    if atom[0] == '(' {
        return ends(&atom[1..atom.len() - 1], text, vec![from]);
    }
    let Some(&c) = text.get(from) else { return Vec::new() };
    let hit = match atom[0] {
        '[' => in_class(&atom[1..atom.len() - 1], c),
        '\\' => atom[1] == c,
        literal => literal == c,
    };
    if hit { vec![from + 1] } else { Vec::new() }
}

fn in_class(class: &[char], c: char) -> bool {
    let mut i = 0;
    while i < class.len() {
        if i + 2 < class.len() && class[i + 1] == '-' {
            if (class[i]..=class[i + 2]).contains(&c) {
                return true;
            }
            i += 3;
        } else {
            if class[i] == c {
                return true;
            }
            i += 1;
        }
    }
    false
}

#[test]
fn the_validator_refuses_what_it_should() {
    let schema = serde_json::json!({
        "type": "object",
        "properties": { "id": { "type": ["string", "null"], "pattern": "^([0-9a-f]{2})+$" }, "n": { "type": "integer", "minimum": 1 } },
        "required": ["id"],
        "additionalProperties": false
    });
    for (good, document) in [
        (true, serde_json::json!({ "id": "0aff", "n": 1 })),
        (true, serde_json::json!({ "id": null })),
        (false, serde_json::json!({ "id": "0af" })),
        (false, serde_json::json!({ "id": "0AFF" })),
        (false, serde_json::json!({ "id": "" })),
        (false, serde_json::json!({ "n": 1 })),
        (false, serde_json::json!({ "id": null, "n": 0 })),
        (false, serde_json::json!({ "id": null, "n": 1.5 })),
        (false, serde_json::json!({ "id": null, "x": 1 })),
        (false, serde_json::json!([])),
    ] {
        assert_eq!(validate(&schema, &document, "test").is_ok(), good, "{document}");
    }
    assert!(matches("^[a-z0-9][a-z0-9._-]{0,63}$", "a.b-c"));
    assert!(!matches("^[a-z0-9][a-z0-9._-]{0,63}$", "-a"));
}
