//! Errors as people and programs read them, including those of the argument parser: one form for all.

use std::ffi::OsString;

use model_vault::{Error, ErrorId};

use super::text::{visible, visible_json};
use crate::manual;

/// `vault: error: ...` and `vault: hint: ...`.
pub fn as_text(error: &Error, styled: bool) -> String {
    let paint = |word: &str, code: &str| if styled { format!("\x1b[{code}m{word}\x1b[0m") } else { word.to_owned() };
    let mut text = format!("vault: {} {}\n", paint("error:", "1;31"), visible(error.message()));
    if let Some(hint) = error.hint_text() {
        text += &format!("vault: {} {}\n", paint("hint:", "1;36"), visible(hint));
    }
    text
}

/// `{"error":{"id","message","hint","details"}}`.
pub fn as_json(error: &Error) -> String {
    let mut details: serde_json::Map<String, serde_json::Value> =
        error.details().iter().map(|(key, value)| ((*key).to_owned(), value.clone().into())).collect();
    if let Some(after) = error.retry_after_hint() {
        details.insert("retry_after_ms".into(), after.as_millis().to_string().into());
    }
    let document = serde_json::json!({ "error": {
        "id": error.id().name(),
        "message": error.message(),
        "hint": error.hint_text(),
        "details": details,
    }});
    format!("{}\n", visible_json(&format!("{document:#}")))
}

/// What the argument parser refused, as an error of the table.
pub fn from_clap(refused: &clap::Error, arguments: &[OsString]) -> Error {
    if let Some(error) = refused_value(refused) {
        return error;
    }
    let text = refused.render().to_string();
    let (first, rest) = text.split_once("\n\n").unwrap_or((&text, ""));
    let message = first.split_whitespace().collect::<Vec<_>>().join(" ");
    let message = message.strip_prefix("error: ").unwrap_or(&message);
    // The list of commands is what `vault help` shows, in order.
    let message = message.split(" [subcommands:").next().unwrap_or_default();
    let tip = rest.lines().find_map(|line| line.trim().strip_prefix("tip: "));
    let hint = tip.map_or_else(|| usage(arguments), str::to_owned);
    Error::new(ErrorId::InvalidArgument, message).hint(hint)
}

/// A value that a rule of ours refuses, with the hint that belongs to the rule, and where the value came from.
fn refused_value(refused: &clap::Error) -> Option<Error> {
    use clap::error::{ContextKind, ContextValue};
    let context = |kind| match refused.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let (argument, value) = (context(ContextKind::InvalidArg)?, context(ContextKind::InvalidValue)?);
    let rule = std::error::Error::source(refused).and_then(|e| e.downcast_ref::<Error>());
    let variable = variable_with(argument, value);
    if rule.is_none() && variable.is_none() {
        return None;
    }
    let message = match rule {
        Some(rule) => format!("{argument}: {}", rule.message()),
        None => format!("invalid value {value:?} for {argument}"),
    };
    let hint = match (variable, rule.and_then(Error::hint_text)) {
        (Some(name), _) => format!("it comes from the environment: correct or unset {name}"),
        (None, hint) => hint.unwrap_or_default().to_owned(),
    };
    Some(Error::new(ErrorId::InvalidArgument, message).hint(hint))
}

/// The variable that gave an option this value, if nothing on the command line did.
fn variable_with(argument: &str, value: &str) -> Option<String> {
    fn of(command: &clap::Command, argument: &str) -> Option<OsString> {
        let own = command.get_arguments().find(|a| a.to_string() == argument).and_then(|a| a.get_env());
        own.map(ToOwned::to_owned).or_else(|| command.get_subcommands().find_map(|c| of(c, argument)))
    }
    let name = of(&manual::for_terminal("vault"), argument)?;
    let typed = std::env::args().any(|a| a.contains(value));
    (std::env::var_os(&name)? == value && !typed).then(|| name.to_string_lossy().into_owned())
}

/// How the command is used: the parser's own line would list every option the environment sets.
fn usage(arguments: &[OsString]) -> String {
    let mut command = manual::for_terminal("vault");
    let mut at = &mut command;
    for word in arguments.iter().skip(1).filter_map(|a| a.to_str()) {
        if at.find_subcommand(word).is_some() {
            at = at.find_subcommand_mut(word).expect("it was found just now");
        } else if !at.has_subcommands() {
            break;
        }
    }
    let usage = at.render_usage().to_string();
    format!("usage: {}", usage.trim_start_matches("Usage: ").trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manual::command;

    #[test]
    fn errors_say_what_failed_and_what_to_do() {
        let error = Error::new(ErrorId::NotSealed, "x\u{7}.bin: no mark").detail("path", "x\u{7}.bin");
        assert_eq!(
            as_text(&error, false),
            "vault: error: x\\u{7}.bin: no mark\nvault: hint: seal it first: vault seal PATH\n"
        );
        let json: serde_json::Value = serde_json::from_str(&as_json(&error)).unwrap();
        assert_eq!(json["error"]["id"], "NotSealed");
        assert_eq!(json["error"]["details"]["path"], "x\u{7}.bin");
        assert_eq!(json["error"]["hint"], "seal it first: vault seal PATH");
    }

    #[test]
    fn the_parser_refuses_in_the_same_form() {
        let refuse = |args: &[&str]| {
            let words: Vec<_> = args.iter().map(OsString::from).collect();
            from_clap(&command("vault").try_get_matches_from(args).unwrap_err(), &words)
        };
        let typo = refuse(&["vault", "sael", "x"]);
        assert_eq!(typo.id(), ErrorId::InvalidArgument);
        assert_eq!(typo.message(), "unrecognized subcommand 'sael'");
        assert!(typo.hint_text().unwrap().contains("seal"), "{:?}", typo.hint_text());
        let missing = refuse(&["vault", "tag", "x"]);
        assert_eq!(missing.message(), "the following required arguments were not provided: <TAG>");
        assert_eq!(missing.hint_text(), Some("usage: vault tag [OPTIONS] <REF> <TAG>"));
    }
}
