//! Errors as people and programs read them, including those of the argument parser: one form for all.

use model_vault::{Error, ErrorId};

use super::text::visible;

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
    let details: serde_json::Map<String, serde_json::Value> =
        error.details().iter().map(|(key, value)| ((*key).to_owned(), value.clone().into())).collect();
    let document = serde_json::json!({ "error": {
        "id": error.id().name(),
        "message": error.message(),
        "hint": error.hint_text(),
        "details": details,
    }});
    format!("{document:#}\n")
}

/// What the argument parser refused, as an error of the table.
pub fn from_clap(refused: &clap::Error) -> Error {
    let text = refused.render().to_string();
    let mut paragraphs = text.split("\n\n");
    let first = paragraphs.next().unwrap_or_default();
    let message = first.split_whitespace().collect::<Vec<_>>().join(" ");
    let message = message.strip_prefix("error: ").unwrap_or(&message).to_owned();
    let mut hint = None;
    for line in paragraphs.flat_map(str::lines).map(str::trim) {
        if let Some(tip) = line.strip_prefix("tip: ") {
            hint = Some(tip.to_owned());
            break;
        }
        if let Some(usage) = line.strip_prefix("Usage: ") {
            hint = Some(format!("usage: {usage}"));
        }
    }
    let error = Error::new(ErrorId::InvalidArgument, message);
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::command;

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
        let refuse = |args: &[&str]| from_clap(&command("vault").try_get_matches_from(args).unwrap_err());
        let typo = refuse(&["vault", "sael", "x"]);
        assert_eq!(typo.id(), ErrorId::InvalidArgument);
        assert_eq!(typo.message(), "unrecognized subcommand 'sael'");
        assert!(typo.hint_text().unwrap().contains("seal"), "{:?}", typo.hint_text());
        let missing = refuse(&["vault", "tag", "x"]);
        assert_eq!(missing.message(), "the following required arguments were not provided: <TAG>");
        assert_eq!(missing.hint_text(), Some("usage: vault tag <REF> <TAG>"));
    }
}
